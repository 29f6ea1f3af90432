"""Experiments: assignment, statistics that may be looked at any time, readouts."""
