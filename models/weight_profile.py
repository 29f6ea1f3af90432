"""Weight profile: how much each event type counts, and how the visitor's intent changes that.

`BASE_WEIGHTS` and `INTENT_FACTORS` are the heuristic start; what is learned later has the same shape (`WeightProfile`).
"""

from typing import Final, NamedTuple

import numpy as np

from models import goal_weights
from models.arrays import Floats
from models.artifact import Parts
from models.goal_weights import GoalWeights
from models.kernels import kernel
from models.schema import EVENT_TYPES, INTENTS, N_EVENT_TYPES, N_INTENTS

BASE_WEIGHTS: Final = {
    "item_view": 0.2,  # fixed by the design: the visitor looked
    "item_engagement": 0.25,  # a view that lasted: dwell, zoom or scroll was worth reporting
    "detail_view": 0.3,  # opened the details: a view by choice, not by passing
    "review_read": 0.3,  # checks what others say, as deliberate as the details
    "spec_compare": 0.35,  # has a shortlist, and this item is on it
    "category_browse": 0.05,  # says where, not what
    "search": 0.1,  # a wish in words, about no item yet
    "search_refine": 0.1,  # the same wish, sharper
    "content_view": 0.1,  # interest in the subject more than in an item
    "wishlist_add": 0.4,  # wants it, later: just below the cart
    "add_to_cart": 0.5,  # fixed by the design: half a purchase
    "remove_from_cart": 0.05,  # was wanted, is not any more; still about this item
    "cart_view": 0.4,  # looks again at what is about to be bought
    "checkout_view": 0.7,  # one step from the purchase
    "purchase": 1.0,  # fixed by the design: the unit
}

# Factor by which an intent multiplies a type's base weight; a type left out keeps 1. Heuristic, to be learned.
INTENT_FACTORS: Final[dict[str, dict[str, float]]] = {
    # Wanders: what is looked at together matters more than what is bought together.
    "exploratory": {
        "item_view": 1.6, "item_engagement": 1.4, "detail_view": 1.1, "spec_compare": 0.8, "category_browse": 1.5,
        "content_view": 1.3, "wishlist_add": 1.2, "add_to_cart": 0.8, "cart_view": 0.7, "checkout_view": 0.6, "purchase": 0.7,
    },
    # Chooses among a few: what others compared, and read about, in the same session.
    "comparative": {
        "item_view": 1.2, "item_engagement": 1.3, "detail_view": 1.5, "review_read": 1.5, "spec_compare": 2.0,
        "search_refine": 1.3, "wishlist_add": 1.2, "add_to_cart": 1.1, "checkout_view": 0.8, "purchase": 0.9,
    },
    # About to buy: what goes into the same cart; looking around counts less.
    "intent_to_purchase": {
        "item_view": 0.6, "item_engagement": 0.7, "detail_view": 0.9, "spec_compare": 0.9, "category_browse": 0.5,
        "search": 0.7, "search_refine": 0.8, "content_view": 0.5, "add_to_cart": 1.5, "cart_view": 1.5, "checkout_view": 1.5,
        "purchase": 1.4,
    },
    # Reads up, buys another day: details, reviews and articles say what the visitor wants to know.
    "research": {
        "item_view": 1.1, "item_engagement": 1.2, "detail_view": 1.6, "review_read": 1.8, "spec_compare": 1.4,
        "search": 1.2, "search_refine": 1.2, "content_view": 1.8, "add_to_cart": 0.7, "cart_view": 0.6, "checkout_view": 0.5,
        "purchase": 0.6,
    },
}  # fmt: skip


def intent_scaled(base: Floats, factors: Floats, p_intent: Floats) -> Floats:
    """Scale event weights by what the visitor seems to be doing.

    w_e = base_e * sum over intents z of p(z) * factor[z, e]

    Parameters
    ----------
    base
        Weight of each event type, shape (n_event_types,), purchase = 1.
    factors
        Intent scaling factors, shape (n_intents, n_event_types), unitless, 1 = unchanged.
    p_intent
        Probability of each intent, shape (n_intents,), sums to 1; or one row per session, shape (n_rows, n_intents). Learners
        ask for rows; what serves or is judged asks one by one, because a row may be rounded differently among others.

    Raises
    ------
    ValueError
        If the probabilities do not sum to 1, or shapes do not fit.

    Examples
    --------
    >>> intent_scaled(np.array([0.2, 1.0]), np.array([[2.0, 0.5], [1.0, 1.0]]), np.array([0.5, 0.5]))
    array([0.3 , 0.75])
    """
    if p_intent.shape[-1:] + base.shape != factors.shape:
        raise ValueError(f"factors must have the shape {p_intent.shape[-1:] + base.shape}, got {factors.shape}")
    if p_intent.ndim == 1:
        found, total = scaled(base, factors, p_intent)
        if not abs(total - 1.0) <= 1e-6:
            raise ValueError(f"the intent probabilities must sum to 1, got {total:.6g}")
        return found
    totals = p_intent.sum(axis=-1)
    if not (abs(totals - 1.0) <= 1e-6).all():
        raise ValueError(f"the intent probabilities must sum to 1, got {np.min(totals):.6g} to {np.max(totals):.6g}")
    rows: Floats = base * (p_intent @ factors)
    return rows


@kernel
def scaled(base: Floats, factors: Floats, p_intent: Floats) -> tuple[Floats, float]:
    """`intent_scaled` of one session, and the sum of the probabilities."""
    found, total = np.zeros(len(base)), 0.0
    for intent in range(len(p_intent)):
        total += p_intent[intent]
        for kind in range(len(base)):
            found[kind] += p_intent[intent] * factors[intent, kind]
    return base * found, total


@kernel
def related(relations: Floats, p_intent: Floats) -> Floats:
    """Relations, shape (n_intents, 2), mixed by the intents of one session, shape (n_intents,)."""
    found = np.zeros(2)
    for intent in range(len(p_intent)):
        for k in range(2):
            found[k] += p_intent[intent] * relations[intent, k]
    return found


class WeightProfile(NamedTuple):
    """One choice of weights, immutable: its arrays are read-only when made by `profile` or `from_parts`.

    Attributes
    ----------
    base
        Weight of each event type, shape (n_event_types,), >= 0, purchase = 1.
    factors
        Intent scaling factors, shape (n_intents, n_event_types), >= 0.
    relations
        By intent, how much an association counts that leads to another item of the same category, and one that leads to another
        category, shape (n_intents, 2), >= 0; 1 = intent changes nothing. Learned, see `models.weights.relations`.
    goals
        Where they were learned, these answer in place of the others: by what is wanted next, with the visitor's own history.
    """

    base: Floats
    factors: Floats
    relations: Floats
    goals: GoalWeights | None = None

    def scaled(self, p_intent: Floats) -> Floats:
        """The weights under these intent probabilities, shape (n_event_types,) or one row per session; see `intent_scaled`."""
        return intent_scaled(self.base, self.factors, p_intent)

    def related(self, p_intent: Floats) -> Floats:
        """The relations under these intent probabilities, shape (2,)."""
        return related(self.relations, p_intent)


def profile(base: Floats, factors: Floats, relations: Floats | None = None, goals: GoalWeights | None = None) -> WeightProfile:
    """Check and freeze a choice of weights; the relations are all 1 if none are given.

    Raises
    ------
    ValueError
        If a shape differs from the schema's, or a number is negative or not finite.
    """
    relations = np.ones((N_INTENTS, 2)) if relations is None else relations
    for name, array, shape in (
        ("base", base, (N_EVENT_TYPES,)),
        ("factors", factors, (N_INTENTS, N_EVENT_TYPES)),
        ("relations", relations, (N_INTENTS, 2)),
    ):
        if array.shape != shape:
            raise ValueError(f"{name} must have the shape {shape}, got {array.shape}")
        if not (np.isfinite(array).all() and (array >= 0).all()):
            raise ValueError(f"{name} must be finite and not negative, got {array.min()} to {array.max()}")
    own_base, own_factors, own_relations = (np.array(array, dtype=np.float64) for array in (base, factors, relations))
    for array in (own_base, own_factors, own_relations):
        array.flags.writeable = False
    return WeightProfile(own_base, own_factors, own_relations, goals)


def arrays_of(weights: WeightProfile) -> dict[str, Floats]:
    """All arrays of a profile by name, those of its goal weights among them."""
    own = {name: getattr(weights, name) for name in ("base", "factors", "relations")}
    goals = {} if weights.goals is None else weights.goals._asdict()
    return own | {f"goal_{name}": array for name, array in goals.items()}


def base_weights() -> Floats:
    """`BASE_WEIGHTS` in the order of the event types, shape (n_event_types,)."""
    return np.array([BASE_WEIGHTS[name] for name in EVENT_TYPES])


def heuristic_factors() -> Floats:
    """`INTENT_FACTORS` in schema order, shape (n_intents, n_event_types)."""
    return np.array([[INTENT_FACTORS[intent].get(name, 1.0) for name in EVENT_TYPES] for intent in INTENTS])


STATIC: Final = profile(base_weights(), np.ones((N_INTENTS, N_EVENT_TYPES)))
HEURISTIC: Final = profile(base_weights(), heuristic_factors())


def to_parts(weights: WeightProfile) -> Parts:
    """The profile as a model file holds it."""
    meta = {"event_types": list(EVENT_TYPES), "intents": list(INTENTS)}
    return Parts(meta, {**arrays_of(weights)})


def from_parts(parts: Parts) -> WeightProfile:
    """The profile of a model file; event types that were added since keep their base weight and the factor 1.

    Raises
    ------
    ValueError
        If the file's event types or intents are not those of the schema, in order.
    """
    known = list(parts.meta["event_types"])
    if known != list(EVENT_TYPES[: len(known)]) or list(parts.meta["intents"]) != list(INTENTS):
        raise ValueError(f"weights were made for the event types {known} and intents {parts.meta['intents']}")
    base, factors = base_weights(), np.ones((N_INTENTS, N_EVENT_TYPES))
    base[: len(known)] = parts.arrays["base"]
    factors[:, : len(known)] = parts.arrays["factors"]
    relations = np.ones((N_INTENTS, 2))
    if "relations" in parts.arrays:  # files of before have none
        relations[:] = parts.arrays["relations"]
    return profile(base, factors, relations, goal_weights.from_arrays(parts.arrays, len(known)))
