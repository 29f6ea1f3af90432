"""Rows of Feast's embedded online store, read as they lie there.

Importing Feast takes a service seconds and 120 MB, and its own way of reading makes a view's object anew from the registry each
time. What a request needs is one row of one table: its key as Feast writes it, and its values in Feast's own message, whose
class is loaded from Feast's file without the package around it. `tests/feature_repo/test_store.py` holds both ways against each
other.
"""

import os
import sqlite3
import struct
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

from infra.layout import FEAST
from models.events.touches import History, parse, parse_message
from models.schema import RECENT_ITEMS_VIEW, USER_RECENT_EVENTS, VIEW_KEY

PROJECT: Final = "attune"  # in `feature_store.yaml`; the tables are named by it
FILE: Final = "online.db"
OPENED_WITHIN_S: Final = 2.0
_TEXT: Final = 2  # Feast's number of the type of a key
_READ: Final = 'SELECT feature_name, value, event_ts + 0 FROM "{table}" WHERE entity_key = ?'
_READ_ONE: Final = 'SELECT value FROM "{table}" WHERE entity_key = ? AND feature_name = ?'
_FLOAT: Final = struct.Struct("<Bf")  # such a message: the number of its field, and the value
_MESSAGE: Final = "feast.protos.feast.types.Value_pb2"


class EmbeddedRows:
    """Rows of the online store of a home, one entity at a time; used by one thread.

    Parameters
    ----------
    home
        ``ATTUNE_HOME``.
    wait_ms
        How long a statement waits for another connection's lock, milliseconds.
    opened_within_s
        How long the opening does, when nobody waits for an answer yet.

    Raises
    ------
    sqlite3.Error
        If there is no store yet, or all of it stays locked.
    """

    def __init__(self, home: Path, wait_ms: int, opened_within_s: float = OPENED_WITHIN_S) -> None:
        self._connection = _open(home.expanduser().absolute() / FEAST / FILE, wait_ms, opened_within_s)
        message = _value_message()
        self._parse, self._float_tag = message.FromString, message(float_val=1.0).SerializeToString()[0]
        self._statements = {view: _READ.format(table=f"{PROJECT}_{view}") for view in VIEW_KEY}
        parse_message(b"")  # compiled now, and not within the first request of somebody who is known
        self._touches = _READ_ONE.format(table=f"{PROJECT}_{RECENT_ITEMS_VIEW}")

    def read(self, view: str, key: str, names: Collection[str]) -> tuple[dict[str, Any], int]:
        """The values of one entity by name, and the second that they stand at (0: not found).

        What the entity does not have is left out; a list of texts comes as one.

        Raises
        ------
        sqlite3.Error
            If the store cannot be read.
        """
        rows = self._rows(view, key)
        found: dict[str, Any] = {}
        size, tag, unpack = _FLOAT.size, self._float_tag, _FLOAT.unpack
        for name, value, _ in rows:
            if name in names:
                if len(value) == size and value[0] == tag:  # as most are: no object is made for each
                    found[name] = unpack(value)[1]
                elif (told := self._told(value)) is not None:
                    found[name] = told
        return found, _second(rows[-1][2]) if rows else 0

    def history(self, user_id: str) -> History | None:
        """The history of a user on items; None where there is none.

        Raises
        ------
        sqlite3.Error
            If the store cannot be read.
        """
        entity = entity_key(VIEW_KEY[RECENT_ITEMS_VIEW], user_id)
        kept = self._connection.execute(self._touches, (entity, USER_RECENT_EVENTS)).fetchone()
        if kept is None:
            return None
        found = parse_message(kept[0])
        if found is None:  # what only Feast's own class can read
            found = parse(self._told(kept[0]) or ())
        return found if found.item_ids else None

    def _rows(self, view: str, key: str) -> list[tuple[str, bytes, int]]:
        return self._connection.execute(self._statements[view], (entity_key(VIEW_KEY[view], key),)).fetchall()

    def _told(self, value: bytes) -> Any:
        """What a message says; None for an empty one."""
        message = self._parse(value)
        kind = message.WhichOneof("val")
        if kind is None:
            return None
        told = getattr(message, kind)
        return list(told.val) if kind.endswith("list_val") else told

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def entity_key(join_key: str, key: str) -> bytes:
    """An entity's key as Feast writes it, in its third version."""
    text = key.encode("utf-8", "surrogatepass")
    return _head(join_key) + struct.pack("<I", len(text)) + text


@cache
def _head(join_key: str) -> bytes:
    """Beginning of an entity's key in its third version: how many columns, their names, and the type of the value."""
    name = join_key.encode()
    return struct.pack(f"<III{len(name)}sI", 1, _TEXT, len(name), name, _TEXT)


def _second(kept: int) -> int:
    """The second that Feast keeps: UTC, but counted as if it were local time."""
    return int(datetime.fromtimestamp(kept).replace(tzinfo=UTC).timestamp())


def _value_message() -> Any:
    """Class of Feast's message of a value; of the package itself where that is loaded."""
    if _MESSAGE in sys.modules:
        return sys.modules[_MESSAGE].Value
    package = find_spec("feast")
    if package is None or package.origin is None:
        raise ImportError("feast is not installed; run: make setup")
    file = Path(package.origin).parent.joinpath(*_MESSAGE.split(".")[1:]).with_suffix(".py")
    spec = spec_from_file_location("attune_feast_value", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"feast has no {file.name}; run: make setup")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Value


def _open(path: Path, wait_ms: int, opened_within_s: float) -> sqlite3.Connection:
    """Open the file for reading; where its folder may not be written there is no room for an index of a write-ahead log."""
    is_fixed = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    address = f"{path.as_uri()}?{'immutable=1' if is_fixed else 'mode=ro'}"
    connection = sqlite3.connect(address, uri=True, timeout=opened_within_s, check_same_thread=False)
    # Its first statement really opens the file: while a worker begins to write it, that takes longer than a request may wait.
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {wait_ms}")
    return connection
