"""A home's store as tests fill it and look at it."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pandas as pd

from infra.store import events
from infra.store.embedded.connection import connect
from infra.store.engines import open_store


def append_events(home: Path, frame: pd.DataFrame, partner: str = "shop", received_at_us: int = 0) -> tuple[int, int]:
    """Append an event frame to a home's log; how many events were new, and how many were known."""
    with closing(open_store(home)) as store:
        return store.write(lambda transaction: events.append_events(transaction, frame, partner, received_at_us))


def append_from_browsers(home: Path, frame: pd.DataFrame, received_at_us: int = 0) -> None:
    """Append an event frame as browser keys send it."""
    append_events(home, frame, received_at_us=received_at_us)
    with closing(connect(home)) as connection:
        connection.execute("UPDATE events SET browser = 1")


def quarantine_events(home: Path, refusals: Iterable[tuple[int, str]]) -> int:
    """Hold events of a home's log back; how many are newly held back, or for another reason."""
    with closing(open_store(home)) as store:
        return store.write(lambda transaction: events.quarantine_events(transaction, list(refusals)))


def hold_anyway(home: Path, refusals: Iterable[tuple[int, str]]) -> int:
    """Hold events back as a feature table does that cannot be made with them."""
    with closing(open_store(home)) as store:
        return store.write(lambda transaction: events.quarantine_events(transaction, list(refusals), anyway=True))


def read_events(home: Path) -> pd.DataFrame:
    """A home's log as a frame."""
    with closing(open_store(home)) as store:
        return events.read_events(store)
