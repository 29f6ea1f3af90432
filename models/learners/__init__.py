"""Learners: boosted trees, and the walk through them."""
