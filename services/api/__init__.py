"""API handlers, the structs that travel, and the composition root."""
