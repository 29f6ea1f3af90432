"""The folds over the event log: sessions, users and items, event by event."""
