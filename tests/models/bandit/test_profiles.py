import numpy as np
import pytest

from models.artifact import Parts
from models.bandit import profiles
from models.schema import EVENT_TYPES
from models.weight_profile import HEURISTIC, STATIC, profile

LEARNED = profile(STATIC.base * 2, HEURISTIC.factors, np.full((4, 2), 1.5))
THREE = profiles.profile_set(("static", "heuristic", "learned"), (STATIC, HEURISTIC, LEARNED))


def test_a_set_comes_back_from_its_file():
    back = profiles.from_parts(profiles.to_parts(THREE))
    assert back.names == THREE.names
    for ours, theirs in zip(back.profiles, THREE.profiles, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(ours[:3], theirs[:3], strict=True))
        assert (ours.goals, theirs.goals) == (None, None)


def test_a_file_from_before_an_event_type_was_added_is_completed():
    parts = profiles.to_parts(THREE)
    fewer = {"base": parts.arrays["base"][:, :-1], "factors": parts.arrays["factors"][:, :, :-1]}
    back = profiles.from_parts(Parts({**parts.meta, "event_types": list(EVENT_TYPES[:-1])}, fewer))
    assert back.named("learned").base.tolist() == [*LEARNED.base[:-1], 1.0]
    assert back.named("learned").relations.tolist() == [[1.0, 1.0]] * 4


@pytest.mark.parametrize(
    ("names", "chosen"),
    [((), ()), (("a", "a"), (STATIC, STATIC)), (("a",), (STATIC, HEURISTIC)), (("a",) * 17, (STATIC,) * 17)],
)
def test_a_set_that_is_none_is_refused(names, chosen):
    with pytest.raises(ValueError, match="expected 1 to 16 profiles"):
        profiles.profile_set(names, chosen)


def test_an_unknown_name_says_which_there_are():
    with pytest.raises(KeyError, match=r"no profile is named 'best'; there are static, heuristic"):
        profiles.DEFAULT.named("best")
