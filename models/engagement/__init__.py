"""Engagement, the signals that follow from it, and when they are sent."""
