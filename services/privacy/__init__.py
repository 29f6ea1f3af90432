"""Privacy: erasure of a user, with its receipt."""
