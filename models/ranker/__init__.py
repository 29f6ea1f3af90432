"""Neighbours, vectors and the ranker over all candidates, and how well a ranking foresees what comes."""
