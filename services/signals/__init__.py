"""Signals: catalogue, policy, the duty that writes them, pull and stream."""
