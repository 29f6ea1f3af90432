"""What is answered about engagement: a session, models and features in, score, next action and nudge out.

As in `services.answering.answers`, no clock, no network and no store is touched here, and `degraded` names what was replaced.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.experimentation import experiments
from models.folds import items, sessions, users
from models.inference.next_action import Outlook
from models.nudging import engagement
from models.pairs.associations import AssociationStore, Ranked
from models.schema import NEXT_ACTIONS
from models.weighting.weights import STATIC
from services import wire
from services.answering.answers import Read, Weighing, in_cart, intent_of, items_left_out, profile_of, query_of
from services.answering.champion import Champions
from services.answering.live_weights import moved
from services.answering.online import RecentItems, UserFeatures
from services.answering.session_data import LiveSession

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
N_CANDIDATES: Final = 50  # of which some may be out of stock
_UNIFORM: Final = np.full(len(NEXT_ACTIONS), 1 / len(NEXT_ACTIONS))


class Assessment(NamedTuple):
    """What is known about a visitor at a moment; the nudge follows from it.

    Attributes
    ----------
    score, immediate, predicted
        P(purchase within the hour) in all, by what the visitor does, and by the next-action model; without a learned engagement
        score the formulas of `models.nudging.engagement`.
    features
        Of the session, shape (n_session_features,).
    outlook
        Per horizon, or None where no model answers.
    product_ids
        What goes with the session, best first, at most `N_CANDIDATES`.
    cart_ids
        What lies in the cart, newest first.
    """

    score: float
    immediate: float
    predicted: float
    features: Floats32
    outlook: dict[str, Outlook] | None
    product_ids: list[str]
    cart_ids: list[str]
    degraded: list[str]

    @property
    def p_next(self) -> Floats | None:
        """Probability of each next action within minutes, in the order of `NEXT_ACTIONS`."""
        return self.outlook["short_term"].p_action if self.outlook else None


def assess(session: LiveSession, champions: Champions, read: Read, item_id: str | None, now_us: int) -> Assessment:
    """Find out how engaged a visitor is, what comes next, and what could be shown.

    Parameters
    ----------
    item_id
        The item the visitor looks at, if any.
    now_us
        Instant to which the user's features age where the session is empty.
    """
    degraded = list(read.missing)
    features = sessions.features_of(session.events)
    p_intent = intent_of(features, session, champions, degraded)
    profile = moved(profile_of(experiments.DYNAMIC, champions, degraded), champions.actions, session.events, p_intent, now_us)
    weighing = Weighing(profile.scaled(p_intent), profile.related(p_intent))
    at_us = int(session.events["occurred_at_us"][-1]) if len(session.events) else now_us
    outlook = None
    if champions.next_action is None:
        degraded.append("next_action_model_missing")
    else:
        outlook = champions.next_action.predict_one(np.concatenate((features, _user(read.user, at_us), _item(read.item))))
    predicted = float(outlook["medium_term"].p_purchase) if outlook else None
    if champions.engagement is None:
        degraded.append("engagement_by_formula")
        immediate = engagement.immediate(features, weighing.weights)
        score = engagement.score(immediate, predicted or 0.0)
    else:
        sample = moved(STATIC, champions.actions, session.events, p_intent, now_us, sampled=True)
        immediate = float(champions.engagement.immediate(features[None, :], sample.base)[0])
        score = champions.engagement.score(immediate, predicted)
    products = _products(session, champions.associations, read.recent, weighing, item_id)
    return Assessment(score, immediate, predicted or 0.0, features, outlook, products, in_cart(session), degraded)


def answer(found: Assessment, champions: Champions, signal: wire.Signal) -> wire.EngagementAnswer:
    """Put an assessment and its nudge into words."""
    short, medium = (found.outlook[name].p_action if found.outlook else _UNIFORM for name in ("short_term", "medium_term"))
    return wire.EngagementAnswer(
        wire.EngagementScore(found.score, found.immediate, found.predicted),
        wire.NextAction(_actions(short), _actions(medium)),
        signal,
        dict(champions.versions),
        found.degraded,
    )


def _products(
    session: LiveSession, store: AssociationStore | None, recent: RecentItems | None, weighing: Weighing, item_id: str | None
) -> list[str]:
    if store is None:
        return []
    query = query_of(session, store, item_id, recent)
    left_out = items_left_out(session, store, item_id)
    ranked: Ranked = store.recommend(*query, weighing.weights, N_CANDIDATES, left_out, weighing.relation)
    return [store.item_ids[code] for code in ranked.items.tolist()]


def _user(user: UserFeatures | None, at_us: int) -> Floats32:
    return users.NOTHING_YET if user is None else users.as_of(user.row, user.last_event_at_us, at_us)


def _item(item: Floats32 | None) -> Floats32:
    return items.NOTHING_YET if item is None else item


def _actions(p: Floats) -> dict[str, float]:
    return dict(zip(NEXT_ACTIONS, p.tolist(), strict=True))
