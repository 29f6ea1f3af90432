"""Engagement formulas: right now, as predicted, and both in one score."""

from typing import Final

import numpy as np

from models.arrays import Floats, Floats32
from models.schema import EVENT_TYPES, N_EVENT_TYPES, SESSION_FEATURES

IMMEDIATE_SHARE: Final = 0.5  # of what the prediction leaves open, how much the visitor's present activity may add
_RECENT: Final = np.array([SESSION_FEATURES.index(f"recent_{name}") for name in EVENT_TYPES])


def immediate(features: Floats32, weights: Floats) -> float:
    """Present activity of a session: its decayed event counts, weighted, squashed.

    1 - exp(-sum over event types e of weights[e] * recent_e)

    A purchase just now gives 0.63, an add to cart 0.39, one view 0.18; all fade with the fold's half-life of two minutes.

    Parameters
    ----------
    features
        Session features after the last event, shape (n_session_features,), in the order of `SESSION_FEATURES`.
        A missing (NaN) or negative count is taken as 0.
    weights
        Weight of each event type, shape (n_event_types,), >= 0, usually scaled by intent.

    Returns
    -------
    In [0, 1]; 0 for a session without events.

    Raises
    ------
    ValueError
        If a shape is not as above.

    Examples
    --------
    >>> features = np.zeros(len(SESSION_FEATURES), dtype=np.float32)
    >>> features[SESSION_FEATURES.index("recent_add_to_cart")] = 1
    >>> weights = np.zeros(N_EVENT_TYPES)
    >>> weights[EVENT_TYPES.index("add_to_cart")] = 0.5
    >>> round(immediate(features, weights), 2)
    0.39
    """
    if features.shape != (len(SESSION_FEATURES),) or weights.shape != (N_EVENT_TYPES,):
        expected = f"({len(SESSION_FEATURES)},) and ({N_EVENT_TYPES},)"
        raise ValueError(f"features and weights must have the shapes {expected}, got {features.shape} and {weights.shape}")
    counts = np.fmax(features[_RECENT].astype(np.float64), 0.0)
    return float(-np.expm1(-(counts @ weights)))


def score(immediate: float, p_purchase_1h: float) -> float:
    """Engagement of a user: the predicted purchase, lifted by present activity.

    p + (1 - p) * IMMEDIATE_SHARE * immediate

    Never below the prediction, and rising in both.

    Parameters
    ----------
    immediate
        As `immediate` returns it, in [0, 1].
    p_purchase_1h
        Calibrated probability of a purchase within the hour, in [0, 1]; 0 where no model answers.

    Returns
    -------
    In [0, 1].

    Raises
    ------
    ValueError
        If an argument is outside [0, 1].

    Examples
    --------
    >>> score(0.4, 0.0), score(0.0, 0.3), score(1.0, 1.0)
    (0.2, 0.3, 1.0)
    """
    for name, value in (("immediate", immediate), ("p_purchase_1h", p_purchase_1h)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} must be in [0, 1], got {value}")
    return p_purchase_1h + (1.0 - p_purchase_1h) * IMMEDIATE_SHARE * immediate
