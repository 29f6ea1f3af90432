"""Feast's SQLite online store with its rows clustered by entity: writing fills one tree, reading one entity is one page.

The table that comes with Feast has a heap and two indices over the same key, filled row by row in random order. Here the key
*is* the table, batches arrive sorted in one statement, and the page cache holds a batch. The file has a write-ahead log, so
that readers wait for no writer. Everything in it can be materialized again, so a commit does not wait for the disk as often as
it could.

Python's own SQLite may be older than 3.51.3, with which two connections that write or checkpoint a write-ahead log in the same
moment can damage the file. So whoever writes holds a lock beside it, and whoever only reads opens it for reading
(`feature_repo.embedded_rows`).
"""

import fcntl
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from feast import Entity, FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig, _quote_id, _table_id
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from feast.utils import to_naive_utc

Rows = list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]]
Row = tuple[bytes, str, bytes, datetime | int, datetime | int | None]  # of a table: entity, feature, value, instants

_PRAGMAS: Final = ("PRAGMA cache_size = -65536", "PRAGMA synchronous = NORMAL", "PRAGMA busy_timeout = 5000")
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS {table} (entity_key BLOB, feature_name TEXT, value BLOB, value_text TEXT, vector_value BLOB, "
    "event_ts timestamp, created_ts timestamp, PRIMARY KEY (entity_key, feature_name)) WITHOUT ROWID"
)
_UPSERT: Final = (
    "INSERT INTO {table} (entity_key, feature_name, value, event_ts, created_ts) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (entity_key, feature_name) DO UPDATE SET value = excluded.value, "
    "event_ts = excluded.event_ts, created_ts = excluded.created_ts"
)


class ClusteredSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """Settings of the store: those of Feast's SQLite store."""

    type: str = "feature_repo.online.ClusteredSqliteOnlineStore"  # type: ignore[assignment]  # Feast names its own only


class ClusteredSqliteOnlineStore(SqliteOnlineStore):
    """Features in one SQLite file."""

    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        is_open = self._conn is not None
        connection: sqlite3.Connection = super()._get_conn(config)
        if not is_open:
            for pragma in _PRAGMAS:
                connection.execute(pragma)
            # As it was made, if it is locked or cannot be written.
            with suppress(sqlite3.OperationalError), self._writing(config):
                connection.execute("PRAGMA journal_mode = WAL")
        return connection

    @contextmanager
    def _writing(self, config: RepoConfig) -> Iterator[None]:
        """Be the only one of all processes that writes."""
        path = Path(self._get_db_path(config))
        with path.with_name(f"{path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Make the tables of the views, and drop those of views that are gone."""
        connection = self._get_conn(config)
        names = [self._table(config, view) for view in tables_to_keep]
        with self._writing(config):
            for name in names:
                connection.execute(_TABLE.format(table=_quote_id(name)))
            for view in tables_to_delete:
                connection.execute(f"DROP TABLE IF EXISTS {_quote_id(self._table(config, view))}")

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Rows, progress: Callable[[int], Any] | None
    ) -> None:
        """Write the features of a batch of entities, in one transaction; the text column is for searches that we do not do."""
        rows: list[Row] = []
        for key, values, at, created in data:
            entity = serialize_entity_key(key, entity_key_serialization_version=config.entity_key_serialization_version)
            instants = to_naive_utc(at), to_naive_utc(created) if created else None
            for name, value in values.items():
                rows.append((entity, name, value.SerializeToString(), *instants))
        rows.sort(key=lambda row: row[:2])
        self.write_rows(config, table, rows)
        if progress:
            progress(len(data))

    def write_rows(self, config: RepoConfig, table: FeatureView, rows: Sequence[Row]) -> None:
        """Write rows in the order of the table's key, in one transaction."""
        connection = self._get_conn(config)
        with self._writing(config), connection:
            connection.executemany(_UPSERT.format(table=_quote_id(self._table(config, table))), rows)

    def forget(self, config: RepoConfig, views: Sequence[FeatureView], keys: Sequence[EntityKey]) -> bool:
        """Delete the rows of entities in one transaction, and let no file keep their bytes; False if one still does.

        The file is then laid out anew: SQLite clears rows that it deletes, not the room that others left when it moved them.
        """
        version = config.entity_key_serialization_version
        entities = [(serialize_entity_key(key, entity_key_serialization_version=version),) for key in keys]
        connection = self._get_conn(config)
        connection.execute("PRAGMA secure_delete = ON")
        with self._writing(config):
            with connection:
                for view in views:
                    table = _quote_id(self._table(config, view))
                    connection.executemany(f"DELETE FROM {table} WHERE entity_key = ?", entities)
            connection.execute("VACUUM")
            ((is_busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return not is_busy

    @staticmethod
    def _table(config: RepoConfig, view: FeatureView) -> str:
        return str(_table_id(config.project, view, config.registry.enable_online_feature_view_versioning))
