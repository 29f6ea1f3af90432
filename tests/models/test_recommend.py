"""Recommend: items that go with a session, from the associations or the ranker, and the fallbacks that stand in."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from models import recommend as recommending
from models.associations import model as associations
from models.experiments.assignment import DYNAMIC_VS_STATIC, assign
from models.item_ranking import Asked
from models.known import NOTHING_KNOWN, Known, RecentItems
from models.live_session import EMPTY, LiveSession, in_cart
from models.model_set import NO_MODELS, ModelSet
from models.ranker.model import Ranker, SourceParams, build_sources
from models.recommend import Assignment, Recommendation, Who
from models.schema import INTENTS, N_EVENT_TYPES
from models.weight_profile import HEURISTIC, STATIC
from tests.builders import NO_EVENTS, NO_STARTS, event_array, item_ids, visit

NOW_US = 1_700_000_000_000_000
DYNAMIC_USER = next(f"u-{n}" for n in range(99) if assign(DYNAMIC_VS_STATIC, f"u-{n}") == "dynamic")
STATIC_USER = next(f"u-{n}" for n in range(99) if assign(DYNAMIC_VS_STATIC, f"u-{n}") == "static")
VIEW_OF_A = {"item_id": "a", "source_event": "item_view", "target_event": "item_view", "share": 1.0}


def pairs() -> associations.AssociationStore:
    """Ten sessions in which a is followed by b, then c; d stands alone."""
    rows = [(s * 10**9 + at, item) for s in range(10) for at, item in ((0, 0), (1, 1), (2, 2))] + [(10**10, 3)]
    events = event_array(len(rows), occurred_at_us=[at for at, _ in rows], item=[item for _, item in rows], category=0)
    starts = np.array([item in (0, 3) for _, item in rows])
    return associations.build(events, starts, np.array(["a", "b", "c", "d"], dtype=object))


@pytest.fixture(scope="module")
def champions() -> ModelSet:
    return ModelSet(associations=pairs(), versions=MappingProxyType({"associations": 3}))


def ranker_of(*item_ids: str) -> Ranker:
    """A ranker without trees over ten sessions that go through the items in this order."""
    n = len(item_ids)
    events = event_array(10 * n, item=np.tile(np.arange(n), 10))
    starts = events["item"] == 0
    params = SourceParams(n_dims=2)
    return Ranker(build_sources(events, starts, np.array(item_ids, dtype=object), params), None, params, "too_few_questions")


def recommend(
    session: LiveSession, champions: ModelSet, known: Known = NOTHING_KNOWN, user: str = DYNAMIC_USER, **asked: Any
) -> Recommendation:
    return recommending.recommend(Asked(**asked), session, champions, known, Who(user, "d-1"), NOW_US)


def ids(answer: Recommendation) -> list[str]:
    return answer.ranking.item_ids


def test_items_that_went_with_the_sessions_items_come_first(champions: ModelSet) -> None:
    answer = recommend(visit(("item_view", "a")), champions)
    assert ids(answer)[:2] == ["b", "c"]
    assert "unknown_item" not in answer.degraded
    assert answer.p_intent.shape == (len(INTENTS),)
    assert answer.p_intent.sum() == pytest.approx(1)
    assert answer.weights.shape == (N_EVENT_TYPES,)


def test_what_is_in_the_cart_bought_or_asked_about_is_left_out(champions: ModelSet) -> None:
    session = visit(("item_view", "a"), ("add_to_cart", "b"), ("purchase", "c"))
    assert not {"b", "c"} & set(ids(recommend(session, champions)))
    taken_out = visit(("add_to_cart", "b"), ("remove_from_cart", "b"), ("item_view", "a"))
    assert "b" in ids(recommend(taken_out, champions))
    assert "a" not in ids(recommend(EMPTY, champions, item_id="a"))
    assert in_cart(visit(("add_to_cart", "a"), ("add_to_cart", "b"), ("purchase", "a"))) == ["b"]


def test_seen_items_come_back_unless_they_are_unwanted(champions: ModelSet) -> None:
    session = visit(("item_view", "a"), ("item_view", "b"), ("item_view", "a"))
    assert "b" in ids(recommend(session, champions))
    assert ids(recommend(session, champions, exclude_seen=True)) == ["c", "d"]


@pytest.mark.parametrize("ranker", [False, True])
def test_the_item_on_screen_is_never_recommended(champions: ModelSet, ranker: bool) -> None:
    both, session = replace(champions, ranker=ranker_of("a", "b", "c", "d")), visit(("item_view", "b"), ("item_view", "a"))
    assert set(ids(recommend(session, both, ranker=ranker))) == {"b", "c", "d"}  # the session's last item is taken for it
    assert set(ids(recommend(session, both, ranker=ranker, item_id="c"))) == {"a", "b", "d"}  # unless the request names another
    searching = visit(("item_view", "b"), ("item_view", "a"), ("search", None))
    assert "a" not in ids(recommend(searching, both, ranker=ranker))


def test_explained_items_say_which_item_and_events_they_come_from(champions: ModelSet) -> None:
    plain = replace(champions, weights=HEURISTIC)
    assert recommend(visit(("item_view", "a")), plain, explain=True, limit=1).ranking.because == [[VIEW_OF_A]]
    because = recommend(visit(("item_view", "a")), champions, explain=True, limit=1).ranking.because
    assert because is not None
    assert [(one["item_id"], one["via"]) for one in because[0]] == [("a", "session"), ("a", "category")]
    assert recommend(visit(("item_view", "a")), champions, limit=1).ranking.because is None


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
    answer = recommend(visit(("item_view", "a")), NO_MODELS)
    assert ids(answer) == []
    assert answer.degraded == ["intent_by_rules", "weights_heuristic", "associations_missing"]


@pytest.mark.parametrize("ranker", [False, True])
def test_a_shop_of_which_nothing_was_learned_yet_gets_no_items_and_is_told_so(champions: ModelSet, ranker: bool) -> None:
    models = replace(champions, ranker=ranker_of("a", "b"))
    nothing = associations.build(NO_EVENTS, NO_STARTS, item_ids(0))
    new = replace(models, associations=nothing, ranker=ranker_of())
    answer = recommend(visit(("item_view", "a")), new, ranker=ranker)
    assert answer.ranking.item_ids == []
    assert "no_items_yet" in answer.degraded
    assert "no_items_yet" not in recommend(visit(("item_view", "a")), models, ranker=ranker).degraded


def test_the_ranker_answers_where_it_is_asked_for(champions: ModelSet) -> None:
    both = replace(
        champions, weights=HEURISTIC, ranker=ranker_of("c", "a", "new")
    )  # codes of its own, and an item the associations do not know
    session = visit(("item_view", "a"))
    assert "new" not in ids(recommend(session, both))
    answer = recommend(session, both, ranker=True, explain=True, exclude_seen=True)
    assert ids(answer) == ["new", "c"]
    assert answer.ranking.because == [[], [VIEW_OF_A]]
    assert answer.ranking.scores[0] >= answer.ranking.scores[1]
    assert not {"ranker_missing", "unknown_item"} & set(answer.degraded)
    assert recommend(session, both, ranker=True).ranking.because is None


def test_the_ranker_leaves_out_what_the_associations_leave_out(champions: ModelSet) -> None:
    both = replace(champions, ranker=ranker_of("a", "b", "c", "d"))
    session = visit(("item_view", "a"), ("add_to_cart", "b"), ("purchase", "c"))
    assert not {"b", "c"} & set(ids(recommend(session, both, ranker=True)))
    assert "a" not in ids(recommend(EMPTY, both, ranker=True, item_id="a"))
    assert ids(recommend(session, both, ranker=True, exclude_seen=True)) == ["d"]
    assert len(ids(recommend(session, both, ranker=True, limit=1))) == 1


def test_a_ranker_that_is_not_there_is_named_and_the_associations_answer(champions: ModelSet) -> None:
    session = visit(("item_view", "a"))
    answer = recommend(session, champions, ranker=True)
    assert "ranker_missing" in answer.degraded
    assert ids(answer) == ids(recommend(session, champions))
    assert "ranker_missing" not in recommend(session, champions).degraded


def test_interleaved_lists_come_from_both_and_the_record_says_whose_item_is_whose(champions: ModelSet) -> None:
    both = replace(champions, ranker=ranker_of("c", "d", "e", "f"))
    session = visit(("item_view", "c"))
    found = recommend(session, both, interleave=True, exclude_seen=True, explain=True)
    assert found.assignment == Assignment("associations_vs_ranker", "interleaved")
    teams = found.context["teams"]
    alone = {team: ids(recommend(session, both, ranker=team == "b", exclude_seen=True)) for team in "ab"}
    assert len(teams) == len(ids(found)) == len(set(ids(found))) > 1
    assert all(item in alone[team] for item, team in zip(ids(found), teams, strict=True) if team in alone)
    assert set(teams) >= {"a", "b"}
    assert len(set(found.degraded)) == len(found.degraded)
    again = recommend(session, both, interleave=True, exclude_seen=True, explain=True)
    assert (again.ranking, again.context) == (found.ranking, found.context)


def test_without_a_ranker_nothing_is_interleaved(champions: ModelSet) -> None:
    answer = recommend(visit(("item_view", "a")), champions, interleave=True)
    assert answer.assignment.name == "dynamic_vs_static"
    assert "ranker_missing" in answer.degraded
    assert ids(answer) == ids(recommend(visit(("item_view", "a")), champions))


def test_the_ranker_answers_without_associations_and_says_that_reasons_are_missing() -> None:
    alone = ModelSet(ranker=ranker_of("a", "b"))
    session = visit(("item_view", "a"))
    assert ids(recommend(session, alone, ranker=True, exclude_seen=True)) == ["b"]
    assert "associations_missing" not in recommend(session, alone, ranker=True).degraded
    explained = recommend(session, alone, ranker=True, explain=True)
    assert "associations_missing" in explained.degraded
    assert explained.ranking.because == [[] for _ in ids(explained)]


def test_the_ranker_fills_up_with_popular_items_and_says_so(champions: ModelSet) -> None:
    both = replace(champions, ranker=ranker_of("a", "b", "c", "d"))
    answer = recommend(EMPTY, both, ranker=True, item_id="never seen")
    assert set(ids(answer)) == {"a", "b", "c", "d"}
    assert {"unknown_item", "filled_with_popular"} <= set(answer.degraded)
    recent = recommend(EMPTY, both, Known(recent=RecentItems(["a"], NOW_US - 60_000_000)), ranker=True)
    assert "recent_items" in recent.degraded
    assert "b" in ids(recent)


def test_the_static_variant_gets_the_static_weights(champions: ModelSet) -> None:
    session = visit(("item_view", "a"), ("spec_compare", "b"))
    static = recommend(session, champions, user=STATIC_USER)
    assert static.assignment.variant == "static"
    assert static.weights == pytest.approx(STATIC.base)
    assert recommend(session, champions).weights != pytest.approx(static.weights)


def test_intent_alone_says_what_the_session_is_about(champions: ModelSet) -> None:
    told: list[str] = []
    assert recommending.situate(EMPTY, champions, told).p_intent.sum() == pytest.approx(1)
    assert told == ["session_empty", "intent_by_rules"]


def test_scores_and_shares_of_a_long_session_are_numbers(champions: ModelSet) -> None:
    ranking = recommend(visit(*[("item_view", item) for item in "abcd" * 10]), champions, explain=True).ranking
    assert np.isfinite(ranking.scores).all()
    assert all(0 < one["share"] <= 1 for reasons in ranking.because or [] for one in reasons)
