import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.experiments.assignment import DYNAMIC_VS_STATIC, Experiment, assign, position, variant_at

# Kept for good: whoever changes the hash deals every running experiment anew.
GOLDEN = [
    ("u-0", 0.1195808159329026, "dynamic"),
    ("u-1", 0.9780880403119419, "static"),
    ("u-2", 0.462928087181926, "dynamic"),
    ("", 0.5128532964432067, "static"),
    ("Zoë", 0.11889275922999765, "dynamic"),
]


@pytest.mark.parametrize(("user_id", "at", "variant"), GOLDEN)
def test_the_assignment_of_known_users_never_changes(user_id: str, at: float, variant: str) -> None:
    assert position(DYNAMIC_VS_STATIC, user_id) == at
    assert assign(DYNAMIC_VS_STATIC, user_id) == variant


@given(st.text())
def test_every_text_has_a_place_and_a_variant(user_id: str) -> None:
    assert 0 <= position(DYNAMIC_VS_STATIC, user_id) < 1
    assert assign(DYNAMIC_VS_STATIC, user_id) in DYNAMIC_VS_STATIC.variants


def test_variants_get_their_share_of_users() -> None:
    third = Experiment("third", "salt", ("a", "b"), (1 / 3, 2 / 3))
    n_first = sum(assign(third, f"user-{n}") == "a" for n in range(10_000))
    assert abs(n_first - 3333) < 3 * 47  # three standard deviations of the binomial


def test_another_salt_or_name_deals_anew() -> None:
    users = [f"user-{n}" for n in range(2_000)]
    for other in (
        Experiment("x", "2026-11", ("a", "b"), (0.5, 0.5)),
        Experiment("dynamic_vs_static", "y", ("a", "b"), (0.5, 0.5)),
    ):
        same = sum((assign(DYNAMIC_VS_STATIC, u) == "dynamic") == (assign(other, u) == "a") for u in users)
        assert 900 < same < 1100


@pytest.mark.parametrize(
    ("variants", "shares"),
    [((), ()), (("a",), (0.5, 0.5)), (("a", "a"), (0.5, 0.5)), (("a", "b"), (1.0, 0.0)), (("a",), (0.9,))],
)
def test_an_experiment_that_does_not_add_up_is_refused(variants: tuple[str, ...], shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="share"):
        Experiment("e", "s", variants, shares)


def test_a_sum_just_under_one_leaves_nobody_out() -> None:
    assert variant_at(("a", "b", "c"), (0.1, 0.2, 0.7 - 1e-16), 1 - 2**-53) == "c"
