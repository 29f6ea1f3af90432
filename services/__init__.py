"""Services: HTTP API, background worker, client and the commands that run them."""
