"""The declarations say what `models.schema` says, and Feast's own command line finds them."""

from pathlib import Path

import pytest
from feast import FileSource

from feature_repo import features
from models.schema import (
    ENGAGEMENT_SERVICE,
    FEATURE_SERVICES,
    INTENT_FEATURES,
    ITEM_FEATURES,
    LAST_EVENT_AT,
    NEXT_ACTION_FEATURES,
    RECENT_ITEMS_AT,
    SESSION_FEATURES,
    USER_FEATURES,
    USER_RECENT_EVENTS,
    USER_RECENT_ITEMS,
)

DECLARED = features.declare(Path("/nowhere"))
VIEWS = {view.name: view for view in DECLARED.views}
SERVICES = {
    service.name: [feature.name for projection in service.feature_view_projections for feature in projection.features]
    for service in DECLARED.services
}


@pytest.mark.parametrize(
    ("view", "key", "names"),
    [
        ("session_features", "session_id", SESSION_FEATURES),
        ("user_features", "user_id", (*USER_FEATURES, LAST_EVENT_AT)),
        ("user_recent_items", "user_id", (USER_RECENT_ITEMS, RECENT_ITEMS_AT, USER_RECENT_EVENTS)),
        ("item_features", "item_id", ITEM_FEATURES),
    ],
)
def test_a_view_holds_exactly_what_the_schema_names(view, key, names):
    assert [field.name for field in VIEWS[view].features] == list(names)
    assert [column.name for column in VIEWS[view].entity_columns] == [key]
    source = VIEWS[view].batch_source
    assert isinstance(source, FileSource)
    assert source.path == f"/nowhere/{view}.parquet"


def test_sessions_are_folded_from_the_request_so_their_view_is_offline_only():
    assert [name for name, view in VIEWS.items() if not view.online] == ["session_features"]


def test_a_service_per_model_holds_the_models_columns_in_their_order():
    assert SERVICES["intent_v1"] == list(INTENT_FEATURES)
    assert [name for name in SERVICES["next_action_v1"] if name != LAST_EVENT_AT] == list(NEXT_ACTION_FEATURES)
    assert SERVICES["associations_v1"] == [USER_RECENT_ITEMS, RECENT_ITEMS_AT, USER_RECENT_EVENTS]
    assert {*FEATURE_SERVICES.values(), ENGAGEMENT_SERVICE} == set(SERVICES)


def test_feast_apply_would_find_every_object_once(monkeypatch):
    from feast.repo_operations import parse_repo

    repo = Path(features.__file__).parent
    monkeypatch.chdir(repo)
    monkeypatch.syspath_prepend(str(repo))
    found = parse_repo(repo)
    assert sorted(entity.name for entity in found.entities if entity.name != "__dummy") == ["item", "session", "user"]
    assert sorted(view.name for view in found.feature_views) == sorted(VIEWS)
    assert sorted(service.name for service in found.feature_services) == sorted(SERVICES)
