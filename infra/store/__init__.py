"""Store: the event log and everything else that must be durable."""
