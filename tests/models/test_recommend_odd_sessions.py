"""Sessions that nobody expects: each gets an answer that says what it lacks, from the associations and from the ranker."""

from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import pytest

from models import weight_profile as weights
from models.associations import model as associations
from models.item_ranking import Asked
from models.known import NOTHING_KNOWN
from models.model_set import ModelSet
from models.ranker.model import Ranker, SourceParams, build_sources
from models.recommend import Recommendation, Who, recommend
from models.schema import EVENT_TYPES, N_INTENTS
from services.api import wire
from services.api.session_data import live_session
from services.http.problems import Refusal
from tests.builders import event_array

NOW_US = 1_700_000_000_000_000
CATALOGUE = [*"abcd", str(2**70), "späte Größe 42"]
Event = dict[str, Any]


def champions(item_ids: list[str]) -> ModelSet:
    """Associations and a ranker of ten sessions through all items, with relations that count."""
    n = len(item_ids)
    items = np.tile(np.arange(n), 10)
    events = event_array(10 * n, item=items, category=items % 2)
    starts = events["item"] == 0
    ids = np.array(item_ids, dtype=object)
    params = SourceParams(n_dims=2)
    return ModelSet(
        associations=associations.build(events, starts, ids),
        ranker=Ranker(build_sources(events, starts, ids, params), None, params, "too_few_questions"),
        weights=weights.profile(weights.STATIC.base, weights.STATIC.factors, np.tile([1.5, 0.5], (N_INTENTS, 1))),
        versions=MappingProxyType({}),
    )


FULL, EMPTY = champions(CATALOGUE), champions([])


def event(item: str | None, kind: str = "item_view", second: int = 0, **more: Any) -> Event:
    at = f"2023-11-14T{8 + second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
    return {"type": kind, "ts": at, **({"item_id": item} if item else {}), **more}


def answer(events: list[Event], models: ModelSet, ranker: bool) -> Recommendation:
    """From the wire on: what is odd about some of these sessions is their text."""
    session = live_session(msgspec.convert({"events": events}, wire.SessionData), NOW_US)
    return recommend(Asked(explain=True, ranker=ranker), session, models, NOTHING_KNOWN, Who("u-1", "d"), NOW_US)


ODD: dict[str, list[Event]] = {
    "an item never seen": [event("never")],
    "a category never seen": [event("a", category="never"), event(None, "category_browse", 1, category="never")],
    "one item": [event("a")],
    "no item": [event(None, "search", query_length=3)],
    "the same item 500 times": [event("a", second=k) for k in range(500)],
    "5,000 events": [event(CATALOGUE[k % 4], EVENT_TYPES[k % 3], k) for k in range(5000)],
    "ids beyond 64 bits and of any letters": [event(str(2**70)), event("späte Größe 42", second=1)],
}


@pytest.mark.parametrize("ranker", [False, True], ids=["associations", "ranker"])
@pytest.mark.parametrize("events", ODD.values(), ids=ODD)
def test_every_session_gets_items_that_are_known_or_a_named_fallback(events: list[Event], ranker: bool) -> None:
    found = answer(events, FULL, ranker)
    items = found.ranking.item_ids
    assert items
    assert len(items) == len(set(items))
    assert set(items) <= set(CATALOGUE)
    assert np.isfinite(found.ranking.scores).all()
    if not {e.get("item_id") for e in events} & set(CATALOGUE):
        assert "filled_with_popular" in found.degraded


@pytest.mark.parametrize("ranker", [False, True], ids=["associations", "ranker"])
@pytest.mark.parametrize("events", ODD.values(), ids=ODD)
def test_an_empty_catalogue_has_nothing_to_offer(events: list[Event], ranker: bool) -> None:
    assert answer(events, EMPTY, ranker).ranking.item_ids == []


def test_an_event_type_never_seen_is_refused_with_its_place() -> None:
    with pytest.raises(Refusal) as refused:
        answer([event("a"), event("a", "teleport", 1)], FULL, ranker=False)
    assert (refused.value.problem.status, refused.value.problem.pointer) == (422, "/session_data/events/1/type")
