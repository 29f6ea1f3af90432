"""Many moments at once are assessed as each alone would be, to the last bit."""

from dataclasses import replace

import numpy as np
import pytest

from models.assess import N_CANDIDATES, assess
from models.events.encode import EncodedEvents
from models.features import items, users
from models.item_ranking import Asked, rank_items, surely_listed, weigh
from models.known import NOTHING_KNOWN, Known, UserFeatures
from models.model_set import NO_MODELS, ModelSet
from models.moments import At, Moments, Visits, assess_all, visits
from models.recommend import profile_of
from models.schema import ITEM_FEATURES, USER_FEATURES
from models.weights import actions as action_weights
from tests.fitted import Fitted

STEPS_S = (0, 60, 300, 3600)
ACTIONS = action_weights.ready(action_weights.posterior(action_weights.counts_from_lists([])), 3)


@pytest.fixture(scope="module")
def seen(fitted: Fitted) -> Visits:
    log = fitted.log
    texts = (np.array(each, dtype=object) for each in (log.item_ids, log.categories))
    return visits(EncodedEvents(log.events, *texts), log.starts, log.groups)


def moments_of(seen: Visits, seed: int, n: int = 60) -> tuple[Moments, list[Known]]:
    """Some moments, and what is known at each."""
    rng = np.random.default_rng(seed)
    last = np.sort(rng.integers(0, len(seen.encoded.events), n))
    at_us = seen.encoded.events["occurred_at_us"][last]
    user = rng.random((n, len(USER_FEATURES))).astype(np.float32) * 9
    item = rng.random((n, len(ITEM_FEATURES))).astype(np.float32) * 9
    is_new, before_us = rng.random((2, n)) < 0.3, at_us - rng.integers(0, 10**11, n)
    known = [
        Known(
            None if is_new[0, k] else UserFeatures(user[k], int(before_us[k])),
            None if is_new[1, k] else item[k],
        )
        for k in range(n)
    ]
    aged = users.as_of(user, before_us, at_us)
    aged[is_new[0]], item[is_new[1]] = users.NOTHING_YET, items.NOTHING_YET
    return Moments(last, rng.choice(STEPS_S, n).astype(np.float64), aged, item), known


def sets(fitted: Fitted) -> list[ModelSet]:
    learned = fitted.models
    return [
        learned,
        replace(learned, actions=ACTIONS),
        replace(learned, next_action=None),
        ModelSet(associations=learned.associations, next_action=learned.next_action, actions=ACTIONS),
        NO_MODELS,
    ]


@pytest.mark.parametrize("which", range(5))
@pytest.mark.parametrize("seed", range(3))
def test_all_at_once_is_one_by_one(fitted: Fitted, seen: Visits, which: int, seed: int) -> None:
    models = sets(fitted)[which]
    moments, known = moments_of(seen, seed)
    found = assess_all(seen, moments, models)
    for k, of_it in enumerate(known):
        one, last = At(found, k), int(moments.last[k])
        session, silent_s = seen.session(last), float(moments.silent_s[k])
        then_us = int(session.events["occurred_at_us"][-1]) + int(silent_s * 1e6)
        alone = assess(session, models, of_it, None, then_us, silent_s)
        assert (one.score, float(found.immediate[k]), float(found.predicted[k])) == alone[:3]
        np.testing.assert_array_equal(one.features, alone.features)
        np.testing.assert_array_equal(one.p_intent, alone.p_intent)
        assert (one.p_next is None) == (alone.p_next is None)
        if alone.p_next is not None:
            np.testing.assert_array_equal(one.p_next, alone.p_next)
        assert (one.silence, one.trouble, one.cart_ids) == (alone.silence, alone.trouble, alone.cart_ids)
        assert one.product_ids == alone.product_ids
        assert (one.reader is None) == (alone.reader is None)
        assert one.reader is None or one.reader.items == alone.reader.items  # type: ignore[union-attr]
        assert set(found.degraded) == set(alone.degraded)


def test_what_is_surely_listed_is_listed(fitted: Fitted, seen: Visits) -> None:
    models, store = fitted.models, fitted.models.associations
    assert store is not None
    sure = surely_listed(store, profile_of(models, []))
    assert sure > 0
    for last in np.linspace(0, len(seen.encoded.events) - 1, 100).astype(int).tolist():
        session = seen.session(last)
        p_intent = np.full(4, 0.25)
        weighing = weigh(profile_of(models, []), None, session.events, p_intent, 0)
        listed = rank_items(Asked(None, N_CANDIDATES), session, models, NOTHING_KNOWN, weighing, []).item_ids
        assert len(listed) >= min(N_CANDIDATES, sure - len(session.item_ids))
