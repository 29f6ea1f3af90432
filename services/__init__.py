"""The doors: who may ask what, and how the answer travels."""
