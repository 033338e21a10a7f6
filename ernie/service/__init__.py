"""Models of ERNIE behind servers: what the front process knows of them, without loading Paddle."""
