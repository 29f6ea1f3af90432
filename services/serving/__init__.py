"""Serving state of a process: models, live associations, features, the bandit, the decision log."""
