"""Evaluation, the gate of a promotion, and drift since."""
