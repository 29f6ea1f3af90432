"""Weights of events and actions, and what intent changes about them."""
