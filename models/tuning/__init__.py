"""Tuning: what sessions teach about the weights of events, each choice ranked as it would be served (`models.replay`)."""
