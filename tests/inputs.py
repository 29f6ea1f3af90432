"""Files of a test, and the events that a map, given or guessed, makes of them."""

from pathlib import Path
from typing import Any

from flows.append import ingest_file
from flows.sample import form_of, map_text, sample
from models.events.sources.guess import guess
from tests.stores import read_events

HEADER = "user,time,action,item"
MAP = '[columns]\nuser_id = "user"\nts = "time"\ntype = "action"\nitem_id = "item"\n'


def file(folder: Path, data: Any, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def read(folder: Path, data: Any, format: str = "attune") -> tuple[int, int, int]:
    return ingest_file(file(folder, data), format, folder / "home", progress=False)


def by_map(folder: Path, path: Path, text: str | None = None) -> Any:
    """Events of a table by a map; by a guessed one where none is given."""
    if text is None:
        guessed = guess(sample(path))
        text = map_text(guessed.table or guessed.format or "")
    (map_file := folder / "map.toml").write_text(text, encoding="utf-8")
    format, table = form_of(None, map_file)
    counts = ingest_file(path, format, folder / "home", progress=False, table=table)
    assert counts.quarantined == counts.duplicate == 0
    return read_events(folder / "home").sort_values("seq")
