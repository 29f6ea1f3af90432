"""Groups of visitors: who is told apart, what models take of them, and that what is judged is served."""

import numpy as np
import pytest

from models.artifact import Parts
from models.assess import assess
from models.engagement import model as engagement_model
from models.evaluation.held_out import held_out
from models.evaluation.predictions import predict
from models.inference import examples, next_action
from models.item_ranking import Asked
from models.live_session import CurrentState, LiveSession, cut, looking_at
from models.model_set import required
from models.recommend import Who, recommend
from models.simulator import ShopConfig
from models.simulator.config import Segment
from models.visitor_groups import (
    LEAST_USERS,
    MOST_GROUPS,
    NO_GROUPS,
    GroupEffects,
    Named,
    groups_at,
    learned,
    named,
    packed,
)
from tests.fitted import Fitted, fit
from tests.models.evaluation.test_served import known_at

SEGMENTS = (Segment("members", 0.4, 1.5), Segment("guests", 0.55, -1.5), Segment("staff", 0.05))


@pytest.fixture(scope="module")
def shop() -> Fitted:
    return fit(ShopConfig(n_users=500, n_days=5, seed=3, segments=SEGMENTS))


def log_of(sizes: dict[str, int], buyers: dict[str, int]) -> GroupEffects:
    """Effects of a log with one event for each visitor, purchases first."""
    names = [name for name, n in sizes.items() for _ in range(n)]
    bought = np.array([k < buyers.get(name, 0) for name, n in sizes.items() for k in range(n)])
    said = named([packed((name, None, None)) for name in names], np.ones(len(names), dtype=np.bool_))
    return learned(said, np.arange(len(names)), bought)


def test_a_group_below_fifty_visitors_is_told_apart_nowhere() -> None:
    effects = log_of({"a": 400, "b": 200, "c": LEAST_USERS - 1}, {"a": 40, "b": 60, "c": 49})
    assert list(effects.by_kind["segment"]) == ["a", "b"]
    assert np.isnan(effects.row(("c", None, None))).all()


def test_many_events_of_few_visitors_are_no_group() -> None:
    said = named([packed(("a", None, None))] * 300 + [packed(("b", None, None))] * 300, np.ones(600, dtype=np.bool_))
    users = np.concatenate((np.arange(300), 300 + np.arange(300) % 49))
    assert learned(said, users, np.zeros(600, dtype=np.bool_)).kinds == ()


def test_names_as_many_as_visitors_make_at_most_a_dozen_groups() -> None:
    sizes = {f"g{k}": 60 + k for k in range(40)} | {f"u{k}": 1 for k in range(500)}
    effects = log_of(sizes, {name: n // 4 for name, n in sizes.items()})
    assert list(effects.by_kind["segment"]) == [f"g{k}" for k in range(39, 39 - MOST_GROUPS, -1)]


def test_effects_follow_the_purchases_and_are_shrunk() -> None:
    effects = log_of({"many": 2_000, "few": 60, "rest": 2_000}, {"many": 400, "few": 30, "rest": 100})
    of = effects.by_kind["segment"]
    assert of["many"] > 0 > of["rest"]
    share = 530 / 4_060
    assert 0 < of["few"] < np.log(0.5 / 0.5) - np.log(share / (1 - share))  # half of them bought, of whom there are few


def test_where_groups_differ_by_chance_alone_there_is_next_to_no_effect() -> None:
    rng = np.random.default_rng(0)
    effects = log_of({"a": 500, "b": 500, "c": 500}, {name: int(rng.binomial(500, 0.1)) for name in "abc"})
    assert max(abs(effect) for effect in effects.by_kind["segment"].values()) < 0.1


def test_groups_are_those_told_last_in_the_session() -> None:
    told = ["a\x1f\x1f", None, "b\x1fnorth\x1f", None, "c\x1f\x1f"]
    said = named(told, np.array([True, False, False, True, False]))
    assert [groups_at(said, row)[0] for row in range(5)] == ["a", "a", "b", None, "c"]
    assert groups_at(said, 2)[1] == "north"
    assert named([None, None], np.array([True, False])) is None
    assert groups_at(None, 0) == NO_GROUPS


def test_what_is_judged_of_a_visitor_with_a_group_is_what_is_served(shop: Fitted) -> None:
    period = held_out(shop.found, shop.log, shop.split, np.random.default_rng(0), at_most=50)
    said, rows = predict(shop.models, period), np.flatnonzero(shop.split.test)
    assert said.p_engagement is not None
    assert required(shop.models.next_action, "one").groups.kinds == ("segment",)
    for place in np.linspace(0, len(rows) - 1, 60).astype(int):
        found = assess(session_at(shop, rows[place]), shop.models, known_at(shop.known, rows[place]), None, 0)
        assert found.outlook is not None
        assert said.p_purchase["medium_term"][place] == found.outlook["medium_term"].p_purchase
        assert said.p_engagement[place] == found.score


def session_at(shop: Fitted, row: int) -> LiveSession:
    begin = int(np.flatnonzero(shop.log.starts[: row + 1])[-1])
    return cut(
        shop.log.events[begin : row + 1], shop.log.item_ids, shop.log.categories, groups_at(shop.log.groups, row)
    )  # fmt: skip


def test_a_group_changes_the_answer_and_one_too_small_or_unheard_of_is_as_if_none_were_told(shop: Fitted) -> None:
    row = int(np.flatnonzero(shop.split.test)[10])
    bare, known = session_at(shop, row), known_at(shop.known, row)
    scores = {
        name: assess(bare._replace(groups=(name, None, None)), shop.models, known, None, 0).score
        for name in ("members", "guests", "staff", "unheard of", None)
    }
    assert scores["members"] > scores[None] > scores["guests"]
    assert scores["staff"] == scores["unheard of"] == scores[None]


def test_models_with_groups_are_the_same_after_a_file_and_examples_too(shop: Fitted) -> None:
    model, score = required(shop.models.next_action, "one"), required(shop.models.engagement, "one")
    assert next_action.from_parts(next_action.to_parts(model)).groups == model.groups
    back = engagement_model.from_parts(engagement_model.to_parts(score))
    assert back is not None
    assert back.groups == score.groups
    again = examples.from_parts(examples.to_parts(shop.found))
    np.testing.assert_array_equal(again.next_action_features(model.groups), shop.found.next_action_features(model.groups))
    assert examples.log_from_parts(examples.log_to_parts(shop.log)).groups is not None


def test_a_model_of_before_knows_of_no_groups(fitted: Fitted) -> None:
    parts = next_action.to_parts(required(fitted.models.next_action, "one"))
    old = Parts({name: value for name, value in parts.meta.items() if name != "groups"}, parts.arrays)
    assert next_action.from_parts(old).groups.kinds == ()


def test_the_state_of_the_visitor_does_not_change_the_group(shop: Fitted) -> None:
    session = session_at(shop, int(np.flatnonzero(shop.split.test)[10]))
    assert looking_at(session, CurrentState(category="new", query_length=4), 0).groups == session.groups


def test_the_bandits_context_names_a_group_only_if_it_may_be_told_apart(shop: Fitted) -> None:
    session = session_at(shop, int(np.flatnonzero(shop.split.test)[10]))

    def context(name: str | None) -> object:
        asked = session._replace(groups=(name, None, None) if name else NO_GROUPS)
        return recommend(Asked(), asked, shop.models, known_at(shop.known, 0), Who("u", "d"), 0).context.get("group")

    assert [context(name) for name in ("members", "staff", "u-17", None)] == ["members", "", "", None]


def test_rows_without_groups_are_missing_values() -> None:
    effects = GroupEffects({"segment": {"a": 0.5, "b": -0.5}})
    assert np.isnan(effects.rows(None, 2)).all()
    assert effects.rows(Named(np.array([0]), (NO_GROUPS,)), 1).shape == (1, 1)
