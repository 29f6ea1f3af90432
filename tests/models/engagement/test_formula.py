import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.engagement import formula as engagement
from models.schema import EVENT_TYPES, SESSION_FEATURES
from models.weight_profile import STATIC

EMPTY = np.zeros(len(SESSION_FEATURES), dtype=np.float32)


def session(**recent: float) -> np.ndarray:
    features = EMPTY.copy()
    for name, count in recent.items():
        features[SESSION_FEATURES.index(f"recent_{name}")] = count
    return features


@pytest.mark.parametrize(
    ("recent", "expected"),
    [
        ({}, 0.0),
        ({"purchase": 1}, 0.6321),
        ({"add_to_cart": 1}, 0.3935),
        ({"item_view": 1}, 0.1813),
        ({"item_view": 5}, 0.6321),
    ],
)
def test_immediate_follows_its_formula(recent, expected):
    assert engagement.immediate(session(**recent), STATIC.base) == pytest.approx(expected, abs=1e-4)


def test_missing_or_negative_counts_count_nothing():
    assert engagement.immediate(session(purchase=np.nan, item_view=-3), STATIC.base) == 0.0


@given(st.lists(st.floats(0, 2.0**100, width=32), min_size=len(EVENT_TYPES), max_size=len(EVENT_TYPES)))
def test_immediate_is_a_share_and_grows_with_every_event(counts):
    features = session(**dict(zip(EVENT_TYPES, counts, strict=True)))
    value = engagement.immediate(features, STATIC.base)
    more = engagement.immediate(features + session(purchase=1), STATIC.base)
    assert 0.0 <= value <= more <= 1.0


@given(st.floats(0, 1), st.floats(0, 1))
def test_score_is_a_share_and_never_below_the_prediction(immediate, p):
    assert p <= engagement.score(immediate, p) + 1e-12
    assert engagement.score(immediate, p) <= 1.0


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"p_purchase_1h must be in \[0, 1\], got 1.2"):
        engagement.score(0.5, 1.2)
    with pytest.raises(ValueError, match="immediate"):
        engagement.score(float("nan"), 0.2)
    with pytest.raises(ValueError, match="shapes"):
        engagement.immediate(np.zeros(3, dtype=np.float32), STATIC.base)
