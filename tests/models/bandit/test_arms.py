"""What the bandit may deal: every profile once, whatever it is called, and the champion weights always."""

from models.bandit.arms import arm_id, arms_of
from models.bandit.profiles import profile_set
from models.weighting.weights import HEURISTIC, STATIC, profile

OTHER = profile(HEURISTIC.base, HEURISTIC.factors * 1.5)


def test_the_champion_weights_are_an_arm_of_their_own_where_the_set_has_none_like_them() -> None:
    found = arms_of(OTHER, None)
    assert tuple(found.profiles) == (arm_id("static", STATIC), arm_id("heuristic", HEURISTIC), arm_id("learned", OTHER))
    assert found.served == arm_id("learned", OTHER)
    assert arms_of(STATIC, None).served == arm_id("static", STATIC)


def test_the_same_weights_under_two_names_are_one_arm() -> None:
    twice = profile_set(("heuristic", "tuned", "static"), (HEURISTIC, HEURISTIC._replace(), STATIC))
    assert tuple(arms_of(None, twice).profiles) == (arm_id("heuristic", HEURISTIC), arm_id("static", STATIC))
