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
    ENGAGEMENT_SERVICE,
    FEATURE_SERVICES,
    INSTANT,
    ITEM_FEATURES,
    ITEMS_VIEW,
    LAST_EVENT_AT,
    RECENT_ITEMS_AT,
    RECENT_ITEMS_VIEW,
    SESSION_FEATURES,
    SESSION_IDLE_S,
    SESSIONS_VIEW,
    USER_FEATURES,
    USER_RECENT_EVENTS,
    USER_RECENT_ITEMS,
    USERS_VIEW,
    VIEW_KEY,
)

PROJECT: Final = "attune"
KEYS: Final = {"session": VIEW_KEY[SESSIONS_VIEW], "user": VIEW_KEY[USERS_VIEW], "item": VIEW_KEY[ITEMS_VIEW]}  # entity -> key
TABLE: Final = {view: f"{view}.parquet" for view in VIEW_KEY}  # a folder of parts, see `feature_repo.parts`
ONLINE_VIEWS: Final = (USERS_VIEW, RECENT_ITEMS_VIEW, ITEMS_VIEW)


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

    sessions = view(SESSIONS_VIEW, session, _floats(SESSION_FEATURES), SESSION_IDLE_S)
    users = view(USERS_VIEW, user, [*_floats(USER_FEATURES), Field(name=LAST_EVENT_AT, dtype=Int64)])
    recent_fields = [
        Field(name=USER_RECENT_ITEMS, dtype=Array(String)),
        Field(name=RECENT_ITEMS_AT, dtype=Int64),
        Field(name=USER_RECENT_EVENTS, dtype=Array(String)),
    ]
    recent = view(RECENT_ITEMS_VIEW, user, recent_fields)
    items = view(ITEMS_VIEW, item, _floats(ITEM_FEATURES))
    services = [
        FeatureService(name=FEATURE_SERVICES["intent"], features=[sessions]),
        FeatureService(name=FEATURE_SERVICES["next_action"], features=[sessions, users, items]),
        FeatureService(name=FEATURE_SERVICES["associations"], features=[recent]),
        FeatureService(name=ENGAGEMENT_SERVICE, features=[users, items]),
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
