"""Measurements: each module prints one JSON object, with the ratio to a floor measured in the same run."""
