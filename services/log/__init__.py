"""Events in, and the duties that fold what is new."""
