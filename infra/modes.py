"""Modes of a home's files: what it holds is for its owner, also in a home that others may enter."""

import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from infra import layout

OWNER_ONLY: Final = 0o077  # umask of every process of ours
# The store with its write-ahead log, keys, addresses and what stands in them. Reports are pages for people.
FILES: Final = (f"{layout.STORE}*", "*.key", "*.url", "*.auth", "*.lock", "*.jsonl")
FOLDERS: Final = (
    layout.OFFLINE, layout.FEAST, layout.ARTIFACTS, layout.BENTOML, layout.PREFECT, layout.RUNS, layout.METRICS, layout.LOGS,
)  # fmt: skip


def open_to_others(home: Path) -> Iterator[Path]:
    """Files and folders that somebody else than their owner may open, by their modes; none in a home that is closed itself."""
    if stat.S_IMODE(home.stat().st_mode) & OWNER_ONLY:
        yield from _open(home)


def _open(home: Path) -> Iterator[Path]:
    found = [*(home / name for name in FOLDERS), *(path for pattern in FILES for path in sorted(home.glob(pattern)))]
    for path in found:
        with suppress(OSError):  # not there, or gone meanwhile
            if stat.S_IMODE(path.stat().st_mode) & OWNER_ONLY:
                yield path


def repair(home: Path) -> None:
    """Take from others what they may open; what belongs to another owner stays as it is."""
    for path in list(_open(home)):
        with suppress(OSError):
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~OWNER_ONLY)
