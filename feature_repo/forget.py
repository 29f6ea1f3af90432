"""Erasure: takes one user out of the online store and out of the offline tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from feature_repo.features import KEYS, ONLINE_VIEWS, TABLE
from models.schema import SESSIONS_VIEW, VIEW_KEY

if TYPE_CHECKING:  # Feast takes seconds to import
    from feast import FeatureStore
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

USER_VIEWS: Final = tuple(view for view in ONLINE_VIEWS if VIEW_KEY[view] == KEYS["user"])
OFFLINE_USER_TABLES: Final = tuple(TABLE[view] for view, key in VIEW_KEY.items() if key == KEYS["user"])
SESSION_TABLE: Final = TABLE[SESSIONS_VIEW]


def forget_online(store: "FeatureStore", user_id: str) -> None:
    """Delete a user's rows from the online store.

    Raises
    ------
    OSError, or what the store's driver raises
        If the store cannot be reached.
    """
    from feast.infra.online_stores.redis import RedisOnlineStore
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    from feature_repo.online import ClusteredSqliteOnlineStore

    key = EntityKey(join_keys=[KEYS["user"]], entity_values=[Value(string_val=user_id)])
    online = store._get_provider().online_store  # Feast offers no deletion of one entity
    if isinstance(online, ClusteredSqliteOnlineStore):
        online.forget(store.config, [view for view in store.list_feature_views() if view.name in USER_VIEWS], key)
    elif isinstance(online, RedisOnlineStore):
        _forget_in_redis(store, online, key)
    else:
        raise TypeError(f"no erasure is known for {type(online).__name__}")


def _forget_in_redis(store: "FeatureStore", online: object, key: "EntityKey") -> None:
    from feast.infra.online_stores.helpers import _redis_key

    version = store.config.entity_key_serialization_version
    client = online._get_client(store.config.online_store)  # type: ignore[attr-defined]
    client.delete(_redis_key(store.config.project, key, entity_key_serialization_version=version))


def forget_offline(folder: Path, partner: str, user_id: str) -> int:
    """Write the offline tables anew without a user. Whoever calls holds the lock of the flows that write them.

    Parameters
    ----------
    folder
        Of the tables; a table that is not there has nobody in it.

    Returns
    -------
    How many rows went.
    """
    n_gone = sum(_without(folder / name, KEYS["user"], user_id, prefix=False) for name in OFFLINE_USER_TABLES)
    return n_gone + _without(folder / SESSION_TABLE, KEYS["session"], f"{partner}/{user_id}/", prefix=True)


def _without(path: Path, column: str, value: str, *, prefix: bool) -> int:
    """Leave rows out of one table, which is replaced as a whole and only if it has such rows."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not path.exists():
        return 0

    def gone(keys: object) -> object:
        return pc.starts_with(keys, value) if prefix else pc.equal(keys, value)

    n_gone = int(pc.sum(gone(pq.read_table(path, columns=[column])[column])).as_py() or 0)
    if not n_gone:
        return 0
    draft = path.with_suffix(".draft")
    source = pq.ParquetFile(path)
    with pq.ParquetWriter(draft, source.schema_arrow, compression="zstd") as writer:
        for group in range(source.num_row_groups):
            rows = source.read_row_group(group)
            writer.write_table(rows.filter(pc.invert(gone(rows[column]))))
    draft.replace(path)
    return n_gone
