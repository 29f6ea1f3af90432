"""The embedded store's connection under its old name, until all callers use `infra.store.protocol.Store`."""

from typing import Any

import apsw

from infra.store.embedded.connection import OLDEST_SAFE_SQLITE, connect
from infra.store.embedded.migrate import immediate
from infra.store.errors import DamagedStore

__all__ = ["OLDEST_SAFE_SQLITE", "DamagedStore", "connect", "immediate", "rows"]


def rows(connection: apsw.Connection, statement: str, bindings: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All rows of a statement whose column types we know better than the driver's types do."""
    found: list[tuple[Any, ...]] = connection.execute(statement, bindings).fetchall()
    return found
