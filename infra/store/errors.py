"""Errors of the store that callers catch, whatever engine is behind it."""


class StoreUnavailable(OSError):  # noqa: N818 - a state of the world
    """The store cannot be opened, read or written now: missing, full, read-only; nothing of the work was kept."""

    @property
    def kind(self) -> str:
        """The engine's name for it, for a log: its words may hold values."""
        return type(self.__cause__ or self).__name__


class StoreBusy(StoreUnavailable):
    """Another connection holds the lock, or too many writes wait; the same work may succeed in a moment."""


class StoreFull(StoreUnavailable):
    """The disk is nearly full: nothing is written until there is room."""


class DamagedStore(StoreUnavailable, ValueError):  # noqa: N818 - a state of the world
    """The file is no store, or a damaged one."""


class WrongRevision(StoreUnavailable):
    """The store is of a revision that this Attune cannot use, however often it tries; the message says what to do."""


class NewerStore(WrongRevision):
    """The store has a revision that this Attune does not know."""


class PendingMigration(WrongRevision):
    """The store is of an older revision and may not be written, so that it cannot be migrated."""


class ConflictingWrite(ValueError):  # noqa: N818 - a state of the world
    """A row that the store's own rules refuse: a second one under one key, or one without what it names."""
