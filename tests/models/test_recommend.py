from dataclasses import replace
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import pytest
from services.answering import answers

from models.associations import model as associations
from models.events.encode import EVENT_DTYPE
from models.experiments.assignment import DYNAMIC_VS_STATIC, assign
from models.known import Known
from models.model_set import ModelSet
from models.ranker.model import Ranker, SourceParams, build_sources
from models.schema import EVENT_TYPES, INTENTS
from models.weight_profile import STATIC
from services.api import wire
from services.api.session_data import EMPTY, LiveSession, live_session
from services.serving.features import RecentItems

NOW_US = 1_700_000_000_000_000
DYNAMIC_USER = next(f"u-{n}" for n in range(99) if assign(DYNAMIC_VS_STATIC, f"u-{n}") == "dynamic")
STATIC_USER = next(f"u-{n}" for n in range(99) if assign(DYNAMIC_VS_STATIC, f"u-{n}") == "static")
NOTHING_READ = Known()


def pairs() -> associations.AssociationStore:
    """Ten sessions in which a is followed by b, then c; d stands alone."""
    rows = [(s * 10**9 + at, item) for s in range(10) for at, item in ((0, 0), (1, 1), (2, 2))] + [(10**10, 3)]
    events = np.zeros(len(rows), dtype=EVENT_DTYPE)
    events["occurred_at_us"] = [at for at, _ in rows]
    events["item"] = [item for _, item in rows]
    starts = np.array([item in (0, 3) for _, item in rows])
    return associations.build(events, starts, np.array(["a", "b", "c", "d"], dtype=object))


@pytest.fixture(scope="module")
def champions() -> ModelSet:
    return ModelSet(associations=pairs(), versions=MappingProxyType({"associations": 3}))


def ranker_of(*item_ids: str) -> Ranker:
    """A ranker without trees over ten sessions that go through the items in this order."""
    n = len(item_ids)
    events = np.zeros(10 * n, dtype=EVENT_DTYPE)
    events["item"] = np.tile(np.arange(n), 10)
    starts = events["item"] == 0
    params = SourceParams(n_dims=2)
    return Ranker(build_sources(events, starts, np.array(item_ids, dtype=object), params), None, params, "too_few_questions")


def seen(*events: tuple[str, str]) -> LiveSession:
    """A session of (event type, item), a second apart."""
    listed = [{"type": kind, "item_id": item, "ts": f"2023-11-14T10:00:{n:02d}Z"} for n, (kind, item) in enumerate(events)]
    return live_session(msgspec.convert({"events": listed}, wire.SessionData), NOW_US)


def recommend(
    session: LiveSession, champions: ModelSet, read: Read = NOTHING_READ, user: str = DYNAMIC_USER, **asked: Any
) -> wire.Recommendation:
    request = wire.RecommendationRequest(user_id="u", **asked)
    return answers.recommend(request, session, champions, read, "d-1", user, NOW_US).reply


def ids(answer: wire.Recommendation) -> list[str]:
    return [item.item_id for item in answer.items]


def test_items_that_went_with_the_sessions_items_come_first(champions: ModelSet) -> None:
    answer = recommend(seen(("item_view", "a")), champions)
    assert ids(answer)[:2] == ["b", "c"]
    assert answer.models == {"associations": 3}
    assert "unknown_item" not in answer.degraded
    assert list(answer.intent.probabilities) == list(INTENTS)
    assert sum(answer.intent.probabilities.values()) == pytest.approx(1)
    assert list(answer.weights) == list(EVENT_TYPES)


def test_what_is_in_the_cart_bought_or_asked_about_is_left_out(champions: ModelSet) -> None:
    session = seen(("item_view", "a"), ("add_to_cart", "b"), ("purchase", "c"))
    assert not {"b", "c"} & set(ids(recommend(session, champions)))
    assert "b" in ids(recommend(seen(("item_view", "a"), ("add_to_cart", "b"), ("remove_from_cart", "b")), champions))
    assert "a" not in ids(recommend(EMPTY, champions, item_id="a"))
    assert answers.in_cart(seen(("add_to_cart", "a"), ("add_to_cart", "b"), ("purchase", "a"))) == ["b"]


def test_seen_items_come_back_unless_they_are_unwanted(champions: ModelSet) -> None:
    session = seen(("item_view", "a"), ("item_view", "b"), ("item_view", "a"))
    assert {"a", "b"} & set(ids(recommend(session, champions)))
    assert ids(recommend(session, champions, exclude_seen=True)) == ["c", "d"]


def test_explained_items_say_which_item_and_events_they_come_from(champions: ModelSet) -> None:
    answer = recommend(seen(("item_view", "a")), champions, explain=True, limit=1)
    assert answer.items[0].because is not None
    assert answer.items[0].because[0] == wire.Contribution("a", "item_view", "item_view", 1.0)
    assert recommend(seen(("item_view", "a")), champions, limit=1).items[0].because is None


def test_the_users_recent_items_stand_in_for_an_empty_session(champions: ModelSet) -> None:
    answer = recommend(EMPTY, champions, Known(recent=RecentItems(["a"], NOW_US - 60_000_000)))
    assert ids(answer)[:2] == ["b", "c"]
    assert answer.degraded[:1] == ["session_empty"]
    assert "recent_items" in answer.degraded


def test_nothing_known_gives_popular_items_and_says_so(champions: ModelSet) -> None:
    answer = recommend(EMPTY, champions, Known(missing=("unknown_user",)), item_id="never seen")
    assert set(ids(answer)) == {"a", "b", "c", "d"}
    assert {"unknown_user", "unknown_item", "session_empty", "filled_with_popular"} <= set(answer.degraded)


def test_no_model_at_all_is_still_an_answer() -> None:
    answer = recommend(seen(("item_view", "a")), ModelSet())
    assert answer.items == []
    assert answer.degraded == ["intent_by_rules", "weights_heuristic", "associations_missing"]


def test_the_ranker_answers_where_it_is_asked_for(champions: ModelSet) -> None:
    both = replace(champions, ranker=ranker_of("c", "a", "new"))  # codes of its own, and an item the associations do not know
    session = seen(("item_view", "a"))
    assert "new" not in ids(recommend(session, both))
    answer = recommend(session, both, ranker=True, explain=True, exclude_seen=True)
    assert ids(answer) == ["new", "c"]
    because = {item.item_id: item.because for item in answer.items}
    assert because["new"] == []
    assert because["c"] is not None
    assert because["c"][0] == wire.Contribution("a", "item_view", "item_view", 1.0)
    assert answer.items[0].score >= answer.items[1].score
    assert not {"ranker_missing", "unknown_item"} & set(answer.degraded)
    assert recommend(session, both, ranker=True).items[0].because is None


def test_the_ranker_leaves_out_what_the_associations_leave_out(champions: ModelSet) -> None:
    both = replace(champions, ranker=ranker_of("a", "b", "c", "d"))
    session = seen(("item_view", "a"), ("add_to_cart", "b"), ("purchase", "c"))
    assert not {"b", "c"} & set(ids(recommend(session, both, ranker=True)))
    assert "a" not in ids(recommend(EMPTY, both, ranker=True, item_id="a"))
    assert ids(recommend(session, both, ranker=True, exclude_seen=True)) == ["d"]
    assert len(ids(recommend(session, both, ranker=True, limit=1))) == 1


def test_a_ranker_that_is_not_there_is_named_and_the_associations_answer(champions: ModelSet) -> None:
    session = seen(("item_view", "a"))
    answer = recommend(session, champions, ranker=True)
    assert "ranker_missing" in answer.degraded
    assert ids(answer) == ids(recommend(session, champions))
    assert "ranker_missing" not in recommend(session, champions).degraded


def test_interleaved_lists_come_from_both_and_the_record_says_whose_item_is_whose(champions: ModelSet) -> None:
    both = replace(champions, ranker=ranker_of("c", "d", "e", "f"))
    session, asked = seen(("item_view", "c")), {"interleave": True, "exclude_seen": True, "explain": True}
    request = wire.RecommendationRequest(user_id="u", **asked)
    found = answers.recommend(request, session, both, NOTHING_READ, "d-1", DYNAMIC_USER, NOW_US)
    assert found.reply.experiment == wire.Assignment("associations_vs_ranker", "interleaved")
    teams = found.context["teams"]
    alone = {team: ids(recommend(session, both, ranker=team == "b", exclude_seen=True)) for team in "ab"}
    assert len(teams) == len(ids(found.reply)) == len(set(ids(found.reply))) > 1
    assert all(item in alone[team] for item, team in zip(ids(found.reply), teams, strict=True) if team in alone)
    assert set(teams) >= {"a", "b"}
    assert len(set(found.reply.degraded)) == len(found.reply.degraded)
    again = answers.recommend(request, session, both, NOTHING_READ, "d-1", DYNAMIC_USER, NOW_US)
    assert again == found


def test_without_a_ranker_nothing_is_interleaved(champions: ModelSet) -> None:
    answer = recommend(seen(("item_view", "a")), champions, interleave=True)
    assert answer.experiment.name == "dynamic_vs_static"
    assert "ranker_missing" in answer.degraded
    assert ids(answer) == ids(recommend(seen(("item_view", "a")), champions))


def test_the_ranker_answers_without_associations_and_says_that_reasons_are_missing() -> None:
    alone = ModelSet(ranker=ranker_of("a", "b"))
    session = seen(("item_view", "a"))
    assert ids(recommend(session, alone, ranker=True, exclude_seen=True)) == ["b"]
    assert "associations_missing" not in recommend(session, alone, ranker=True).degraded
    explained = recommend(session, alone, ranker=True, explain=True)
    assert "associations_missing" in explained.degraded
    assert all(item.because == [] for item in explained.items)


def test_the_ranker_fills_up_with_popular_items_and_says_so(champions: ModelSet) -> None:
    both = replace(champions, ranker=ranker_of("a", "b", "c", "d"))
    answer = recommend(EMPTY, both, ranker=True, item_id="never seen")
    assert set(ids(answer)) == {"a", "b", "c", "d"}
    assert {"unknown_item", "filled_with_popular"} <= set(answer.degraded)
    recent = recommend(EMPTY, both, Known(recent=RecentItems(["a"], NOW_US - 60_000_000)), ranker=True)
    assert "recent_items" in recent.degraded
    assert "b" in ids(recent)


def test_the_static_variant_gets_the_static_weights(champions: ModelSet) -> None:
    session = seen(("item_view", "a"), ("spec_compare", "b"))
    static = recommend(session, champions, user=STATIC_USER)
    assert static.experiment.variant == "static"
    assert list(static.weights.values()) == pytest.approx(STATIC.base.tolist())
    assert recommend(session, champions).weights != static.weights


def test_intent_alone_says_what_the_session_is_about(champions: ModelSet) -> None:
    answer = answers.tell_intent(EMPTY, champions)
    assert answer.intent.label in INTENTS
    assert answer.degraded == ["session_empty", "intent_by_rules"]


def test_an_answer_is_json_without_nan(champions: ModelSet) -> None:
    answer = recommend(seen(*[("item_view", item) for item in "abcd" * 10]), champions, explain=True)
    assert b"null" not in msgspec.json.encode(answer)
