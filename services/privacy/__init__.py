"""What is forgotten: on request, and by time."""
