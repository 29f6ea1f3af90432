"""The flow that appends a file of events to the log; the command calls `flows.append` and spares itself Prefect's start-up."""

from pathlib import Path
from typing import Any, Final

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.append import Counts, ingest_file
from flows.sample import form_of
from models.events.sources.maps import TableMap
from models.schema import LOCAL_PARTNER

RETRY_DELAYS_S: Final[list[float]] = [1, 5, 15]


def _is_passing(_task: Any, _run: Any, state: Any) -> bool:
    """A busy store or a file system in trouble may pass; a wrong file stays wrong."""
    try:
        state.result()
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        return False
    except OSError:
        return True
    except ValueError:
        return False
    return False


@task(retries=len(RETRY_DELAYS_S), retry_delay_seconds=RETRY_DELAYS_S, retry_condition_fn=_is_passing, cache_policy=NO_CACHE)
def append_file(path: Path, format: str, home: Path, partner: str = LOCAL_PARTNER, table: TableMap | None = None) -> Counts:
    """Append one file; safe to run again, since the same file adds nothing twice."""
    return ingest_file(path, format, home, partner, table=table)


@flow(name="ingest")
def ingest(path: Path, format: str, home: Path, partner: str = LOCAL_PARTNER, map_file: str | None = None) -> Counts:
    """Bring a file of events into the log of a home; see `flows.append.ingest_file`."""
    format, table = form_of(format, Path(map_file) if map_file else None)
    return append_file(path, format, home, partner, table)


__all__ = ["Counts", "append_file", "ingest", "ingest_file"]
