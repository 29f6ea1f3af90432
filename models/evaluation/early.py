"""Early-purchase curve: how soon a session tells that it will end in a purchase. JSON values only.

Judged are all moments at which so many events of a session were seen, those before its first cart, and those before its first
purchase; what came is whether a purchase followed within the horizon. F1 is at a threshold that was best at the same moments of
earlier sessions, so that nothing of the judged ones is looked at.

Source: Requena et al., "Shopper intent prediction from clickstream e-commerce data with minimal browsing information",
Scientific Reports 10, 2020, for the early-prediction set-up.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from models.arrays import Features, Flags, Floats, Ints
from models.evaluation.classification import yes_no
from models.schema import EventType

AFTER: Final = (1, 2, 4, 6, 8, 10)  # events seen


class Moments(NamedTuple):
    """Moments of sessions, shape (n,) each.

    Attributes
    ----------
    position
        Events of the session seen.
    has_cart, has_bought
        Whether the session has put something into a cart, or bought, by then.
    bought
        Whether a purchase follows within the horizon.
    """

    position: Ints
    has_cart: Flags
    has_bought: Flags
    bought: Flags

    def parts(self) -> dict[str, Flags]:
        """Which moments each point of the curve is about."""
        found = {f"after {k} event{'s' if k > 1 else ''}": self.position == k for k in AFTER}
        return {
            **found,
            "before the first cart": ~(self.has_cart | self.has_bought),
            "before the first purchase": ~self.has_bought,
        }


def moments(position: Ints, counts: Features, bought: Flags) -> Moments:
    """Moments by what sessions had done.

    Parameters
    ----------
    counts
        Events of each type so far, shape (n, n_event_types).
    """
    return Moments(position, counts[:, EventType.ADD_TO_CART] > 0, counts[:, EventType.PURCHASE] > 0, bought)


def threshold(p: Floats, bought: Flags) -> float:
    """Probability from which on "will buy" has the highest F1; 0.5 where nobody bought.

    Examples
    --------
    >>> threshold(np.array([0.1, 0.2, 0.3, 0.9]), np.array([False, False, True, True]))
    0.3
    """
    if not bought.any():
        return 0.5
    order = np.argsort(-p, kind="stable")
    hits = np.cumsum(bought[order])
    f1 = 2 * hits / (np.arange(1, len(p) + 1) + bought.sum())
    ends = np.append(np.diff(p[order]) != 0, True)  # all of one probability are said together
    return float(p[order][np.argmax(np.where(ends, f1, -1.0))])


def f1_at(p: Floats, bought: Flags, least: float) -> float | None:
    """F1 of saying "will buy" from a probability on; None where nobody bought.

    Examples
    --------
    >>> f1_at(np.array([0.1, 0.4, 0.9]), np.array([False, False, True]), 0.3)
    0.6667
    """
    said = p >= least
    return round(float(2 * (said & bought).sum() / (said.sum() + bought.sum())), 4) if bought.any() else None


def curve(
    predictions: Mapping[str, tuple[Floats, Floats]], earlier: Moments, later: Moments
) -> dict[str, dict[str, dict[str, Any]]]:
    """The curve of each method.

    Parameters
    ----------
    predictions
        By method, P(purchase within the horizon) at the earlier and at the later moments.
    earlier, later
        Where thresholds are chosen, and where methods are judged.

    Returns
    -------
    ``{method: {"after 1 event": {"n_rows", "base_rate", "roc_auc", "f1", …}, …, "before the first cart", "before the first
    purchase"}}``; without measures where no moment is.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for method, (before, p) in predictions.items():
        found[method] = {}
        for (name, judged), chosen in zip(later.parts().items(), earlier.parts().values(), strict=True):
            least = threshold(before[chosen], earlier.bought[chosen])
            table = yes_no(p[judged], later.bought[judged])
            found[method][name] = {**table, "f1": f1_at(p[judged], later.bought[judged], least)}
    return found
