"""HTTP layer: everything between the ASGI server and a handler."""
