"""What the bandit may deal: every profile once, whatever it is called, and the champion weights always."""

from models.bandit import rewards
from models.bandit.arms import Arms, arm_id, bandit_of
from models.bandit.arms import arms_of as arms_of_sets
from models.bandit.profiles import ProfileSet, profile_set
from models.bandit.thompson import Outcomes, snapshot
from models.goal_prior import FLAT_GOALS, HEURISTIC_GOALS
from models.model_set import ModelSet
from models.weight_profile import HEURISTIC, STATIC, WeightProfile, profile

OTHER = profile(HEURISTIC.base, HEURISTIC.factors * 1.5)


def arms_of(weights: WeightProfile | None, profiles: ProfileSet | None, challenger: ModelSet | None = None) -> Arms:
    return arms_of_sets(ModelSet(weights=weights, profiles=profiles), challenger)


def test_the_champion_weights_are_an_arm_of_their_own_where_the_set_has_none_like_them() -> None:
    found = arms_of(OTHER, None)
    by_goal = arm_id("static", FLAT_GOALS), arm_id("heuristic", HEURISTIC_GOALS)
    assert tuple(found.profiles) == (*by_goal, arm_id("learned", OTHER))
    assert found.served == arm_id("learned", OTHER)
    assert arms_of(FLAT_GOALS, None).served == by_goal[0]


def test_the_same_weights_under_two_names_are_one_arm() -> None:
    twice = profile_set(("heuristic", "tuned", "static"), (HEURISTIC, HEURISTIC._replace(), STATIC))
    own = arm_id("heuristic", HEURISTIC_GOALS)
    assert tuple(arms_of(None, twice).profiles) == (arm_id("heuristic", HEURISTIC), arm_id("static", STATIC), own)


def test_only_what_no_champion_has_is_on_trial_and_it_keeps_its_id_when_it_is_promoted() -> None:
    tuned = profile_set(("static", "tuned"), (FLAT_GOALS, profile(HEURISTIC.base, HEURISTIC.factors * 2)))
    found = arms_of(HEURISTIC_GOALS, None, ModelSet(weights=OTHER, profiles=tuned))
    tried = arm_id("tuned", tuned.profiles[1])
    assert found.on_trial == {arm_id("learned", OTHER), tried}
    assert tuple(found.profiles)[:2] == tuple(arms_of(HEURISTIC_GOALS, None).profiles)
    assert arms_of(OTHER, tuned).profiles.keys() >= found.on_trial
    assert arms_of(OTHER, tuned, ModelSet(weights=OTHER, profiles=tuned)).on_trial == frozenset()


def test_a_snapshot_is_used_while_it_has_every_champion_and_nothing_that_is_gone() -> None:
    def about(*names: str) -> Outcomes:
        return rewards.outcomes([], names)

    alone, tried = arms_of(None, None), arms_of(None, None, ModelSet(weights=OTHER))
    before, after = snapshot(1, about(*alone.profiles)), snapshot(2, about(*tried.profiles), on_trial=tried.on_trial)
    assert bandit_of(alone, before).snapshot is before
    assert bandit_of(tried, before).snapshot is before
    assert bandit_of(tried, after).snapshot is after
    assert bandit_of(alone, after).snapshot is None
    assert bandit_of(arms_of(OTHER, None), before).snapshot is None
