"""Inference of intent and next action: labels, examples and the two models that learn from them."""
