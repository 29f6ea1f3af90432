import numpy as np
import pytest

from models.schema import N_EVENT_TYPES, EventType
from models.weights import markov
from models.weights.markov import BUY, LEAVE, START

VIEW, SEARCH, CART = EventType.ITEM_VIEW, EventType.SEARCH, EventType.ADD_TO_CART


def chain_of(*sessions: tuple[int, ...], times: int = 1000) -> markov.Chain:
    types = np.array([kind for _ in range(times) for session in sessions for kind in session])
    starts = np.concatenate([[k == 0 for k in range(len(session))] for _ in range(times) for session in sessions])
    return markov.estimate(types, starts, smoothing=0.01)


def test_a_chain_that_can_be_computed_by_hand():
    """Of four sessions that begin with a view, two go to the cart and one of these buys."""
    chain = chain_of((VIEW,), (VIEW, SEARCH), (VIEW, CART), (VIEW, CART, BUY))
    p = markov.p_purchase(chain)
    assert p[[VIEW, SEARCH, CART, START]] == pytest.approx([0.25, 0.0, 0.5, 0.25], abs=1e-3)
    visits = markov.fundamental(chain)[START]
    assert visits[[VIEW, SEARCH, CART]] == pytest.approx([1.0, 0.25, 0.5], abs=1e-3)
    effects = markov.removal_effects(chain)
    assert effects[[VIEW, SEARCH, CART, BUY]] == pytest.approx([1.0, 0.0, 1.0, 1.0], abs=1e-3)


def test_the_same_action_is_worth_more_after_the_right_one():
    """A cart after a view buys, a cart after a search does not."""
    chain = chain_of((VIEW, CART, BUY), (SEARCH, CART), (VIEW,), (SEARCH,))
    values = markov.pair_values(chain)
    assert values[VIEW, CART] == pytest.approx(1.0, abs=1e-3)
    assert values[SEARCH, CART] == pytest.approx(0.0, abs=1e-3)
    assert values[START, VIEW] == pytest.approx(0.5, abs=1e-3)
    lift = markov.lifts(chain)
    assert lift[VIEW, CART] > max(lift[START, VIEW], lift[START, CART])
    first = markov.strongest(chain, 1)[0]
    assert (first.before, first.last, round(first.lift, 1)) == ("item_view", "add_to_cart", 4.0)


def test_rows_are_probabilities_and_nothing_is_impossible():
    rng = np.random.default_rng(0)
    chain = markov.estimate(rng.integers(0, N_EVENT_TYPES, 500), rng.random(500) < 0.2)
    for table in (chain.first, chain.second):
        assert table.min() > 0
        assert table.sum(axis=-1) == pytest.approx(np.ones(table.shape[:-1]))
    for values in (markov.p_purchase(chain), markov.pair_values(chain)):
        assert ((values > 0) & (values < 1)).all()
    assert chain.second.shape == (N_EVENT_TYPES + 1, N_EVENT_TYPES, LEAVE + 1)


def test_an_empty_log_is_a_chain_too_and_wrong_shapes_are_refused():
    chain = markov.estimate(np.zeros(0, int), np.zeros(0, bool))
    assert np.isfinite(markov.removal_effects(chain)).all()
    with pytest.raises(ValueError, match="one start flag for each of 2"):
        markov.estimate(np.zeros(2, int), np.zeros(1, bool))


@pytest.mark.parametrize(("remembers", "least", "most"), [(True, 0.0, 200.0), (False, 2_000.0, 1e6)])
def test_pairs_lean_on_their_last_action_unless_the_one_before_matters(remembers: bool, least: float, most: float) -> None:
    rng = np.random.default_rng(1)
    types = rng.integers(0, 4, 6_000)
    starts = rng.random(6_000) < 0.1
    if remembers:  # every third action is the one before the last again
        for k in range(2, 6_000):
            if not starts[k] and not starts[k - 1] and rng.random() < 0.6:
                types[k] = types[k - 2]
    assert least <= markov.learned(types, starts).leaning <= most
