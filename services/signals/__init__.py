"""Signals: catalogue, policy, the nudge of a moment, and the body that travels."""
