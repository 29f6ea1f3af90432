"""How much each event and each action counts, and what intent changes about it."""
