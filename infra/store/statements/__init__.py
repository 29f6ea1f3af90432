"""Statements of the store as SQL text, one file per subject. Each is one the engines can prepare; none is edited elsewhere."""
