"""Feature declarations: which features exist, and where they lie."""
