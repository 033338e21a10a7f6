"""Models over HTTP: an ASGI application over `TextService`, and the listener that serves it. No module loads Paddle."""
