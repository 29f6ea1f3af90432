"""Team drafts are fair, and the sign test finds who is better where somebody is."""

from itertools import takewhile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.experiments import preference
from models.experiments.interleaving import BOTH, Draft, team_draft
from models.experiments.preference import Preference
from models.simulator import ShopConfig, open_shop, p_click, p_next_item

LISTS = st.lists(st.integers(0, 30), unique=True, max_size=20)


@given(LISTS, LISTS, st.integers(0, 40), st.integers(0, 2**32))
def test_a_draft_is_a_fair_list_of_both(first: list[int], second: list[int], limit: int, seed: int) -> None:
    draft = team_draft(first, second, limit, np.random.default_rng(seed))
    assert len(draft.items) == len(draft.teams) == min(limit, len({*first, *second}))
    assert len(set(draft.items)) == len(draft.items)
    by_team = {team: [i for i, t in zip(draft.items, draft.teams, strict=True) if t == team] for team in "ab="}
    for own, team in ((first, "a"), (second, "b")):
        assert by_team[team] == [item for item in own if item in by_team[team]]  # in the ranker's own order
    n = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))))
    assert draft.items[:n] == first[: min(n, limit)]
    assert "=" not in draft.teams[n:].rstrip("=")  # whoever is left alone, fills the end
    assert draft == team_draft(first, second, limit, np.random.default_rng(seed))


def test_the_teams_are_as_long_as_each_other_while_both_have_something_left() -> None:
    for seed in range(20):
        draft = team_draft(range(0, 20), range(20, 40), 11, np.random.default_rng(seed))
        assert abs(draft.teams.count("a") - draft.teams.count("b")) == 1


def test_who_fills_the_list_alone_is_not_credited_for_it() -> None:
    draft = team_draft([1, 2], range(10, 20), 10, np.random.default_rng(1))
    assert sorted(draft.teams[:4]) == ["a", "a", "b", "b"]
    assert draft.teams[4:] == "=" * 6
    assert team_draft([], [1, 2], 3, np.random.default_rng(1)) == Draft([1, 2], "==")


def test_each_ranker_begins_as_often() -> None:
    rng = np.random.default_rng(1)
    begins = [team_draft("ab", "cd", 2, rng).teams[0] for _ in range(2_000)]
    assert abs(begins.count("a") - 1_000) < 3 * 23


def test_where_both_say_the_same_nobody_is_credited() -> None:
    assert team_draft("abc", "abc", 3, np.random.default_rng(1)) == Draft(["a", "b", "c"], BOTH * 3)


def shown(better: bool, n_visitors: int = 400) -> Preference:
    """Visitors of the simulated shop click what they would have looked at next anyway, less the further down it stands."""
    rng = np.random.default_rng(7)
    config = ShopConfig(n_items=60, n_categories=3)
    shop = open_shop(config, rng)
    clicks: list[tuple[int, str]] = []
    for visitor in range(n_visitors):
        truth = p_next_item(config, shop.catalogue, int(rng.integers(60)), visitor % 4, np.array([0, 1, 2]))
        best = np.argsort(-truth)
        one, other = (best[:10], best[10:20]) if better else (rng.permutation(best[:10]), rng.permutation(best[:10]))
        draft = team_draft(one.tolist(), other.tolist(), 10, rng)
        hit = np.flatnonzero(rng.random(10) < p_click(truth, np.array(draft.items)))
        clicks += [(visitor, draft.teams[place]) for place in hit]
    return preference.preferred(clicks)


def test_the_better_ranker_is_preferred_and_of_two_alike_neither_is() -> None:
    assert preference.report(shown(better=True), ("true order", "the next ten"))["verdict"] == "true order preferred"
    assert preference.report(shown(better=False), ("one", "other"))["verdict"] == "no preference yet"


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (Preference(0, 0, 9), "not enough data"),
        (Preference(24, 0, 0), "not enough data"),
        (Preference(2, 48, 0), "y preferred"),
        (Preference(25, 25, 0), "no preference yet"),
    ],
)
def test_the_verdict_follows_the_visitors(found: Preference, verdict: str) -> None:
    told = preference.report(found, ("x", "y"))
    assert told["verdict"] == verdict
    assert told["sentence"].startswith(verdict)
    assert 0 < told["p_value_fixed_horizon"] <= 1
