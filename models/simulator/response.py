"""True response at one moment: how a signal changes the chance of a purchase, which items go with the one in mind."""

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from models.arrays import Floats, Ints
from models.schema import INTENTS, SIGNAL_TYPES
from models.simulator.behaviour import RELATIONS, relation_shares
from models.simulator.catalogue import Catalogue
from models.simulator.config import Causes, ShopConfig

_DISCOUNT = SIGNAL_TYPES.index("offer_discount")


def p_purchase_with_signal(
    p_purchase: npt.ArrayLike, intent: npt.ArrayLike, signal: npt.ArrayLike, causes: Causes, sensitivity: npt.ArrayLike = 1.0
) -> Floats:
    """Probability of a purchase once a signal stands, from the probability without.

    logit p' = logit p + causes.signal[signal, intent], where ``offer_discount`` is multiplied by the visitor's price
    sensitivity. This is exact for one decision of the walk; closed-loop tests may also use it for a session as a whole.

    Parameters
    ----------
    p_purchase
        Without a signal, in [0, 1], any shape that broadcasts with the others.
    intent, signal
        `Intent` codes, and places in `SIGNAL_TYPES`.
    causes
        In force: `config.effective_causes` of a configuration.
    sensitivity
        Price sensitivity of the visitor, mean 1.

    Raises
    ------
    ValueError
        If a code is out of range.

    Examples
    --------
    >>> p_purchase_with_signal(0.05, [0, 1], 3, Causes()).round(3).tolist()
    [0.058, 0.115]
    >>> float(p_purchase_with_signal(0.05, 1, 0, Causes()).round(3))
    0.05
    """
    intents, signals = np.asarray(intent), np.asarray(signal)
    for name, codes, n in (("intent", intents, len(INTENTS)), ("signal", signals, len(SIGNAL_TYPES))):
        if codes.size and not (codes.min() >= 0 and codes.max() < n):
            raise ValueError(f"{name} codes must be in 0 to {n - 1}, got {codes.min()} to {codes.max()}")
    effect = np.array(causes.signal)[signals, intents] * np.where(signals == _DISCOUNT, np.asarray(sensitivity), 1.0)
    p: Floats = expit(logit(np.asarray(p_purchase, dtype=np.float64)) + effect)
    return p


def respond(p_purchase: Floats, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Draw who buys, same shape as the probabilities."""
    return rng.random(np.shape(p_purchase)) < p_purchase


def p_next_item(config: ShopConfig, items: Catalogue, item: int, intent: int, favourites: Ints) -> Floats:
    """Probability of each item to be looked at next, given the one in mind: the true association.

    The relations of `behaviour.RELATIONS` are mixed as the intent does; "met before" is taken as the item itself.

    Parameters
    ----------
    favourites
        The visitor's categories, best first, shape (3,).

    Returns
    -------
    Shape (n_items,), sums to 1.

    Examples
    --------
    >>> from models.simulator.catalogue import build
    >>> p = p_next_item(ShopConfig(), build(50, 5, 0.5, np.random.default_rng(1)), 7, 1, np.array([0, 1, 2]))
    >>> p.shape, round(float(p.sum()), 6)
    ((50,), 1.0)
    """
    popularity = np.diff(items.cumulated)
    share = dict(zip(RELATIONS, relation_shares(config)[intent], strict=True))

    def among(category: int) -> Floats:
        inside = np.where(items.category == category, popularity, 0.0)
        chances: Floats = inside / inside.sum()
        return chances

    p = share["anything"] * popularity / popularity.sum() + share["same_category"] * among(int(items.category[item]))
    for category, part in zip(favourites, (0.6, 0.3, 0.1), strict=True):
        p += share["favourite_category"] * part * among(int(category))
    p[item] += share["met_before"]
    for relation, related in (("substitute", items.substitutes[item]), ("complement", items.complements[item])):
        np.add.at(p, related, share[relation] / len(related))
    chances: Floats = p
    return chances


def p_click(p_next: Floats, shown: Ints) -> Floats:
    """Probability that a visitor clicks each place of a list of recommendations.

    p_click[k] = p_next[shown[k]] / log2(k + 2): what the visitor would have looked at next anyway, seen less the further down.

    Parameters
    ----------
    p_next
        From `p_next_item`, shape (n_items,).
    shown
        Items without repetition, best first, shape (n_shown,).

    Returns
    -------
    Shape (n_shown,); what is left to 1 is "no click".

    Raises
    ------
    ValueError
        If an item is shown twice.

    Examples
    --------
    >>> p_click(np.array([0.1, 0.2, 0.7]), np.array([2, 0])).round(3).tolist()
    [0.7, 0.063]
    """
    if len(np.unique(shown)) != len(shown):
        raise ValueError(f"an item is shown twice among the {len(shown)}")
    clicks: Floats = p_next[shown] / np.log2(np.arange(len(shown)) + 2.0)
    return clicks
