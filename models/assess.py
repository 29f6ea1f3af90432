"""Assess: the one function that says how engaged a visitor is, what comes next, and what could be shown.

As in `models.recommend`, no clock, no network and no store is touched here, and `degraded` names what was replaced. Requests,
the worker, the shadow and the evaluation all call it.
"""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Final, NamedTuple

import numpy as np

from models import degraded
from models.arrays import Floats, Floats32
from models.engagement import formula
from models.engagement.articles import Reader
from models.engagement.silence import PRESENT, Silence, left_lying
from models.engagement.trouble import CALM, Trouble, trouble_of
from models.events.encode import EventArray
from models.features import items, sessions, users
from models.inference.next_action import Outlook
from models.item_ranking import Asked, weigh
from models.known import Known
from models.live_session import LiveSession, in_cart
from models.model_set import ModelSet, required
from models.one_pass import listed
from models.recommend import profile_of, situate
from models.schema import DAY_US, EventType
from models.weight_profile import STATIC
from models.weights.contextual import applied, code_at, codes_at

N_CANDIDATES: Final = 50  # of which some may be out of stock
_NOTHING_TOLD: Final = np.zeros(0, dtype=np.float32)
JUST_BOUGHT_US: Final = 7 * DAY_US  # who has bought something a moment ago needs no other one


class Products:
    """Products that go with a moment, looked for when somebody first asks: most moments call for none."""

    def __init__(self, find: Callable[[], list[str]]) -> None:
        self._find = find

    @cached_property
    def ids(self) -> list[str]:
        """Their ids, best first."""
        return self._find()


class Assessment(NamedTuple):
    """Assessment of a visitor at a moment; the nudge follows from it.

    Attributes
    ----------
    score, immediate, predicted
        P(purchase within the hour) in all, by what the visitor does, and by the next-action model; without a learned engagement
        score the formulas of `models.engagement.formula`.
    features
        Of the session at the moment, shape (n_session_features,).
    outlook
        Per horizon, or None where no model answers.
    products
        What goes with the session.
    cart_ids
        What lies in the cart, newest first.
    silence
        Of the visitor, and what she left lying.
    reader
        What is known of what readers go on to; None without associations.
    p_intent
        Probability of each intent, shape (n_intents,).
    trouble
        Probability that something is in the visitor's way.
    """

    score: float
    immediate: float
    predicted: float
    features: Floats32
    outlook: dict[str, Outlook] | None
    products: Products
    cart_ids: list[str]
    degraded: list[str]
    silence: Silence = PRESENT
    reader: Reader | None = None
    p_intent: Floats | None = None
    trouble: Trouble = CALM

    @property
    def product_ids(self) -> list[str]:
        """Products that go with the session, best first, at most `N_CANDIDATES`."""
        return self.products.ids

    @property
    def p_next(self) -> Floats | None:
        """Probability of each next action within minutes, in the order of `NEXT_ACTIONS`."""
        return self.outlook["short_term"].p_action if self.outlook else None


def assess(
    session: LiveSession, models: ModelSet, known: Known, item_id: str | None, now_us: int, silent_s: float = 0.0
) -> Assessment:
    """Assess a visitor.

    Parameters
    ----------
    item_id
        The item the visitor looks at, if any.
    now_us
        Instant to which the user's features age where the session is empty, microseconds since 1970.
    silent_s
        Seconds since the session's last event in which nothing has happened: the moment is then at their end. What comes next
        is asked of the event's features, as it was learned, given that nothing came until then.
    """
    told = list(known.missing)
    folded, p_intent = situate(session, models, told)
    features = sessions.as_of(folded, silent_s) if silent_s > 0 else folded
    profile = profile_of(models, told)
    at_us = int(session.events["occurred_at_us"][-1]) if len(session.events) else now_us
    outlook = None
    if models.next_action is None:
        told.append(degraded.NEXT_ACTION_MODEL_MISSING)
    else:
        row = next_action_row(folded, known, at_us, models.next_action.groups.row(session.groups))
        outlook = models.next_action.predict_one(row, silent_s)
    predicted = float(outlook["medium_term"].p_purchase) if outlook else None
    if models.engagement is None:
        told.append(degraded.ENGAGEMENT_BY_FORMULA)
        weights = weigh(profile, models.actions, session.events, p_intent, now_us).weights
        immediate = formula.immediate(features, weights)
        score = formula.score(immediate, predicted or 0.0)
    else:
        effects = models.engagement.groups.row(session.groups)[None, :]
        immediate = float(immediates(models, session.events[-1:], features[None, :], p_intent[None, :], now_us, effects)[0])
        score = models.engagement.score(immediate, predicted)
    products = Products(partial(products_for, session, models, known, p_intent, at_us, item_id))
    reads = None if models.associations is None else Reader(models.associations, session)
    silence = Silence(silent_s, left_lying(session)) if silent_s > 0 else PRESENT
    return Assessment(
        score, immediate, predicted or 0.0, features, outlook, products, in_cart(session), told, silence, reads, p_intent,
        trouble_of(session.events, silent_s),
    )  # fmt: skip


def products_for(
    session: LiveSession, models: ModelSet, known: Known, p_intent: Floats, at_us: int, item_id: str | None = None
) -> list[str]:  # fmt: skip
    """Products that go with a session and were not bought within `JUST_BOUGHT_US`, best first; none without associations.

    Parameters
    ----------
    at_us
        Of the session's last event, or where it is empty, now.
    """
    if models.associations is None:
        return []
    known, asked = known.with_history(), Asked(item_id, N_CANDIDATES)
    bought = just_bought(known, at_us)
    found = listed(asked, session, models, known, profile_of(models, []), p_intent, at_us).item_ids
    return [product for product in found if product not in bought]


def just_bought(known: Known, at_us: int) -> set[str]:
    """Items that the visitor has bought within `JUST_BOUGHT_US` before an instant, in whatever session."""
    if known.history is None:
        return set()
    told = zip(known.history.item_ids, known.history.types.tolist(), known.history.at_us.tolist(), strict=True)
    return {item for item, kind, then in told if kind == EventType.PURCHASE and at_us - then <= JUST_BOUGHT_US}


def immediates(
    models: ModelSet, newest: EventArray, features: Floats32, p_intent: Floats, now_us: int = 0, effects: Floats32 | None = None
) -> Floats:
    """P(purchase within the hour) by what visitors do, by the learned score and one Thompson sample of the action weights.

    Parameters
    ----------
    newest
        The last event of each session, shape (n_rows,); none where the one session is empty.
    features, p_intent
        Of the sessions, shapes (n_rows, n_session_features) and (n_rows, n_intents).
    now_us
        Tells the hour, in UTC, where the session is empty.
    effects
        Of the visitors' groups, shape (n_rows, n_kinds); None where nothing is known of them.

    Returns
    -------
    Shape (n_rows,); that of a row does not depend on the others.

    Raises
    ------
    ValueError
        If the set has no engagement score.
    """
    model, weights = required(models.engagement, "an engagement score"), STATIC.base
    if models.actions is not None:
        context = codes_at(newest, p_intent) if len(newest) else np.array([code_at(newest, p_intent[0], now_us)])
        weights = applied(STATIC, models.actions.sampled[context]).base
    return model.immediate(features, weights, effects)


def next_action_row(features: Floats32, known: Known, at_us: int, effects: Floats32 = _NOTHING_TOLD) -> Floats32:
    """Features of the next-action model: the session's, then the user's as of an instant, the item's, the groups' effects.

    Returns
    -------
    In the order of `NEXT_ACTION_FEATURES`, then of the kinds of groups that the model tells apart, shape (n_features,).
    """
    user = users.NOTHING_YET if known.user is None else users.as_of(known.user.row, known.user.last_event_at_us, at_us)
    return np.concatenate((features, user, items.NOTHING_YET if known.item is None else known.item, effects))
