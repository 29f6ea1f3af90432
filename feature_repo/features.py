"""Which features exist, who they belong to, and in which Parquet table they lie. Names come from `models.schema`.

Three entities, four views. `session_features` serves training only: a live session is folded from the request itself. The
user's recent items are a view of their own, so that the recommendation path reads two values instead of twenty. A view's rows
are unique per key and instant, and never change what an earlier instant saw.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

from feast import Entity, FeatureService, FeatureView, Field, FileSource, Project, ValueType
from feast.types import Array, Float32, Int64, String

from infra.layout import OFFLINE
from models.schema import (
    ITEM_FEATURES,
    LAST_EVENT_AT,
    RECENT_ITEMS_AT,
    SESSION_FEATURES,
    SESSION_IDLE_S,
    USER_FEATURES,
    USER_RECENT_ITEMS,
)

PROJECT: Final = "attune"
INSTANT: Final = "occurred_at"  # timestamp column of every table, UTC, microseconds
KEYS: Final = {"session": "session_id", "user": "user_id", "item": "item_id"}  # entity -> join key
KEY_OF_VIEW: Final = {
    "session_features": KEYS["session"],
    "user_features": KEYS["user"],
    "user_recent_items": KEYS["user"],
    "item_features": KEYS["item"],
}
TABLE: Final = {view: f"{view}.parquet" for view in KEY_OF_VIEW}
ONLINE_VIEWS: Final = ("user_features", "user_recent_items", "item_features")
# The feature service each model version is trained from and served with; a change of a view's columns starts a new number.
SERVICES: Final = {"intent": "intent_v1", "next_action": "next_action_v1", "associations": "associations_v1"}
ENGAGEMENT: Final = "engagement_v1"  # the part of next_action_v1 that is read online


class Declared(NamedTuple):
    """Everything Feast knows about, in the order of the journey: entities, views, services."""

    entities: list[Entity]
    views: list[FeatureView]
    services: list[FeatureService]


def declare(offline: Path) -> Declared:
    """Declare the repository over the Parquet tables of a folder.

    Parameters
    ----------
    offline
        Folder of the tables, absolute: the DuckDB reader takes a relative path from wherever the process stands.
    """
    session, user, item = (
        Entity(name=name, join_keys=[key], value_type=ValueType.STRING, description=f"One {name}.")
        for name, key in KEYS.items()
    )

    def view(name: str, entity: Entity, fields: list[Field], ttl_s: int = 0) -> FeatureView:
        return FeatureView(
            name=name,
            entities=[entity],
            ttl=timedelta(seconds=ttl_s),  # 0: the reader judges the age itself, for Feast does not do it online
            schema=[Field(name=entity.join_key, dtype=String), *fields],
            source=FileSource(name=f"{name}_table", path=str(offline / TABLE[name]), timestamp_field=INSTANT),
            online=name in ONLINE_VIEWS,
        )

    sessions = view("session_features", session, _floats(SESSION_FEATURES), SESSION_IDLE_S)
    users = view("user_features", user, [*_floats(USER_FEATURES), Field(name=LAST_EVENT_AT, dtype=Int64)])
    recent_fields = [Field(name=USER_RECENT_ITEMS, dtype=Array(String)), Field(name=RECENT_ITEMS_AT, dtype=Int64)]
    recent = view("user_recent_items", user, recent_fields)
    items = view("item_features", item, _floats(ITEM_FEATURES))
    services = [
        FeatureService(name=SERVICES["intent"], features=[sessions]),
        FeatureService(name=SERVICES["next_action"], features=[sessions, users, items]),
        FeatureService(name=SERVICES["associations"], features=[recent]),
        FeatureService(name=ENGAGEMENT, features=[users, items]),
    ]
    return Declared([session, user, item], [sessions, users, recent, items], services)


def _floats(names: tuple[str, ...]) -> list[Field]:
    return [Field(name=name, dtype=Float32) for name in names]


# What `feast apply` looks for: module-level names. Our own flows call `declare` with the folder of their home.
_OFFLINE = Path(os.environ.get("ATTUNE_HOME", ".attune")).absolute() / OFFLINE
project = Project(name=PROJECT, description="Session, user and item features of one shop.")
(
    (session, user, item),
    (session_features, user_features, user_recent_items, item_features),
    (intent_v1, next_action_v1, associations_v1, engagement_v1),
) = declare(_OFFLINE)
