"""Erasure: takes users out of the online store and out of the offline tables, many at once."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from feature_repo.features import KEYS, ONLINE_VIEWS, TABLE
from feature_repo.parts import written
from models.schema import SESSIONS_VIEW, VIEW_KEY

if TYPE_CHECKING:  # Feast takes seconds to import
    from feast import FeatureStore
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

USER_VIEWS: Final = tuple(view for view in ONLINE_VIEWS if VIEW_KEY[view] == KEYS["user"])
OFFLINE_USER_TABLES: Final = tuple(TABLE[view] for view, key in VIEW_KEY.items() if key == KEYS["user"])
DRAFT: Final = ".draft"
SESSION_TABLE: Final = TABLE[SESSIONS_VIEW]


def forget_online(store: "FeatureStore", users: Collection[str]) -> bool:
    """Delete users' rows from the online store.

    Returns
    -------
    False if somebody still reads a state of before, so that a file holds what was deleted; then it must be done again.

    Raises
    ------
    OSError, or what the store's driver raises
        If the store cannot be reached.
    """
    from feast.infra.online_stores.redis import RedisOnlineStore
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    from feature_repo.online import ClusteredSqliteOnlineStore

    keys = [EntityKey(join_keys=[KEYS["user"]], entity_values=[Value(string_val=user_id)]) for user_id in users]
    online = store._get_provider().online_store  # Feast offers no deletion of one entity
    if isinstance(online, ClusteredSqliteOnlineStore):
        return online.forget(store.config, [view for view in store.list_feature_views() if view.name in USER_VIEWS], keys)
    if isinstance(online, RedisOnlineStore):
        _forget_in_redis(store, online, keys)
        return True
    raise TypeError(f"no erasure is known for {type(online).__name__}")


def _forget_in_redis(store: "FeatureStore", online: object, keys: "Collection[EntityKey]") -> None:
    from feast.infra.online_stores.helpers import _redis_key

    version, project = store.config.entity_key_serialization_version, store.config.project
    client = online._get_client(store.config.online_store)  # type: ignore[attr-defined]
    for key in keys:
        client.delete(_redis_key(project, key, entity_key_serialization_version=version))


def forget_offline(
    folder: Path, users: Collection[str], swapping: Callable[[], AbstractContextManager[Any]]
) -> Counter[str] | None:
    """Write the offline tables anew without some users, in one pass however many they are; one pass at a time.

    Parameters
    ----------
    folder
        Of the tables; a table is a Parquet file or a folder of them, and one that is not there has nobody in it.
    users
        Pseudonyms.
    swapping
        Held while a file takes the place of another; whoever else puts tables there holds the same.

    Returns
    -------
    How many rows went, by user; None if somebody else replaced a table meanwhile: then it must be done again.
    """
    for left in folder.rglob(f"*{DRAFT}"):  # of a pass that was killed
        left.unlink()
    gone: Counter[str] = Counter()
    for path, column in _files(folder):
        found = _without(path, column, users, swapping)
        if found is None:
            return None
        gone += found
    return gone


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    """The Parquet files that name users, and the column that does."""
    for name in (*OFFLINE_USER_TABLES, SESSION_TABLE):
        column = KEYS["session"] if name == SESSION_TABLE else KEYS["user"]
        for path in (folder / name, (folder / name).with_suffix("")):
            yield from ((file, column) for file in ([path] if path.is_file() else sorted(path.rglob("*.parquet"))))


def _without(
    path: Path, column: str, users: Collection[str], swapping: Callable[[], AbstractContextManager[Any]]
) -> Counter[str] | None:
    """Leave rows out of one file, which is replaced as a whole and only if it has such rows; their number by user."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, read_dictionary=[column]) as keys:  # a key stands in many rows
            identity, hits = path.stat(), {}
            for group in range(keys.num_row_groups):
                if found := _rows_by_key(keys.read_row_group(group, columns=[column])[column], users):
                    hits[group] = found
        if not hits:
            return Counter()
        draft = path.with_suffix(DRAFT)
        with (
            pq.ParquetFile(path) as source,
            pq.ParquetWriter(draft, source.schema_arrow, **written(source.schema_arrow)) as writer,
        ):
            for group in range(source.num_row_groups):
                rows = source.read_row_group(group)
                writer.write_table(_kept(rows, column, hits[group]) if group in hits else rows)
    except FileNotFoundError:  # replaced by other files meanwhile
        return None
    with swapping():
        if not path.exists() or not os.path.samestat(path.stat(), identity):
            draft.unlink()
            return None
        draft.replace(path)
    gone: Counter[str] = Counter()
    for found in hits.values():
        for user, n in found.values():
            gone[user] += n
    return gone


def _owners(keys: Any) -> Any:
    """The user in each key: the key itself, or the second part of a session's, ``partner/user/...``."""
    import pyarrow.compute as pc

    found = pc.struct_field(pc.extract_regex(keys, r"^[^/]*/(?P<user>[^/]*)/"), [0])
    return pc.if_else(pc.is_valid(found), found, keys)


def _rows_by_key(keys: Any, users: Collection[str]) -> dict[str, tuple[str, int]]:
    """Keys of users, each with its user and its number of rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    counted = pc.value_counts(keys)
    texts = counted.field("values").cast(pa.string())
    rows = pa.table({"key": texts, "user": _owners(texts), "n": counted.field("counts")})
    found = rows.filter(pc.is_in(rows["user"], value_set=pa.array(list(users), pa.string()))).to_pylist()
    return {row["key"]: (row["user"], row["n"]) for row in found}


def _kept(rows: Any, column: str, gone: Collection[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return rows.filter(pc.invert(pc.is_in(rows[column], value_set=pa.array(list(gone), rows[column].type))))
