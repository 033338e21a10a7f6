"""A load on a server: what is sent, when, over which connections, and what came of it."""
