"""Recommendations, intent and engagement: what an answer is made from, and the record of it."""
