"""Gauges of worker and retraining, read from the store when Prometheus asks: neither has to be reachable for it.

What is far behind is seen by `attune_worker_behind`: positions are no counts where a server holds the store. A worker that
stands still, a training that failed and a champion that is old are seen by the instants.
"""

import time
from pathlib import Path
from typing import Final

from infra.archive import CURSOR as ARCHIVE
from infra.store.engines import closed_store
from infra.store.errors import StoreUnavailable
from infra.store.protocol import Read
from infra.store.statements.archive import WAITING_SINCE
from infra.store.statements.console import BEHIND, CURSORS
from infra.store.statements.gauges import GAUGES
from infra.store.statements.quarantine import COUNT_WAITING

KEPT_S: Final = 5.0  # for so long an answer is given again
WAIT_MS: Final = 100
PREFIX: Final = "attune_"
FOLLOW: Final = frozenset({"online_features", "action_weights", "signals", "rewards"})  # duties that follow the event log
_INSTANT: Final = "_timestamp_seconds"
# Name without prefix: its label, and what it tells.
ABOUT: Final = {
    "log_position": ("", "Number of the newest event in the log."),
    "worker_position": ("duty", "Number up to which a duty of the worker has come."),
    "worker_behind": ("duty", "Events that a duty of the worker has not looked at yet, a million at most."),
    "worker_moved_timestamp_seconds": ("duty", "When a duty of the worker last moved on."),
    "log_received_timestamp_seconds": ("", "When the newest event came."),
    "delivery_oldest_timestamp_seconds": ("", "Since when the delivery waits that waits longest."),
    "deliveries_pending": ("", "Deliveries of signals that are still to be made."),
    "quarantine_waiting": ("", "Refused rows that nobody has decided about."),
    "archive_lag_seconds": ("", "Since when the event waits that waits longest for the archive."),
    "champion_version": ("model", "Version of the model that serves."),
    "champion_timestamp_seconds": ("model", "Since when it serves."),
    "trained_timestamp_seconds": ("model", "When the newest version of the model was trained."),
}


class Gauges:
    """Gauges of a home, for one thread."""

    def __init__(self, home: Path) -> None:
        self._store = closed_store(home, wait_ms=WAIT_MS)
        self._asked_at_s = -KEPT_S
        self._text = b""

    def text(self) -> bytes:
        """All gauges in Prometheus' text format; those of a moment ago where they are asked often, none without a store."""
        now_s = time.monotonic()
        if now_s - self._asked_at_s >= KEPT_S:
            self._asked_at_s = now_s
            try:
                read = self._store.read
                cursors = read(CURSORS)
                behind = [
                    ("worker_behind", name, read(BEHIND, (at,))[0][0])
                    for name, at, _ in cursors
                    if name.partition(" ")[0] in FOLLOW
                ]
                behind += [("archive_lag_seconds", "", _lag_s(read, at)) for name, at, _ in cursors if name == ARCHIVE]
                rows = [*read(GAUGES), *behind, ("quarantine_waiting", "", read(COUNT_WAITING)[0][0])]
            except StoreUnavailable:
                rows = []
            self._text = exposition([(str(name), str(label), value) for name, label, value in rows if value is not None])
        return self._text


def _lag_s(read: Read, archived_seq: int) -> float:
    """How long ago the first event came that the archive does not have, seconds; 0 where it has all."""
    ((since_us,),) = read(WAITING_SINCE, (archived_seq,))
    return 0.0 if since_us is None else max(time.time_ns() // 1_000 - since_us, 0) / 1e6


def exposition(rows: list[tuple[str, str, float]]) -> bytes:
    r"""Gauges in Prometheus' text format.

    Parameters
    ----------
    rows
        Name without prefix, label and value, which is in microseconds where the name says that it is an instant.

    Examples
    --------
    >>> print(exposition([("champion_timestamp_seconds", "intent", 1_500_000)]).decode(), end="")
    # HELP attune_champion_timestamp_seconds Since when it serves.
    # TYPE attune_champion_timestamp_seconds gauge
    attune_champion_timestamp_seconds{model="intent"} 1.5
    """
    lines: list[str] = []
    for name, (label, about) in ABOUT.items():
        own = [(of, value) for gauge, of, value in rows if gauge == name]
        if own:
            lines += [f"# HELP {PREFIX}{name} {about}", f"# TYPE {PREFIX}{name} gauge"]
        for of, value in own:
            told = value / 1e6 if name.endswith(_INSTANT) else value
            labels = f'{{{label}="{of}"}}' if label else ""
            lines.append(f"{PREFIX}{name}{labels} {told}")
    return "".join(f"{line}\n" for line in lines).encode()
