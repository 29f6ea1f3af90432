"""Moments of many visitors, assessed column by column: what `models.assess.assess` says of each, bit for bit.

One visitor at a time, the same models are asked a million times over, and most of the time goes into asking. Here every session
is folded once, the features of all moments stand in one matrix, and each model is asked once. What is dear and seldom needed,
the session itself and the products that go with it, is made when somebody looks (`At`).
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from models import degraded
from models.arrays import Flags, Floats, Floats32, Ints
from models.assess import immediates, products_for
from models.engagement import formula
from models.engagement.articles import Reader
from models.engagement.silence import PRESENT, Silence, left_lying
from models.engagement.trouble import Trouble, Troubles, troubles
from models.events.encode import EncodedEvents
from models.features import sessions
from models.inference import intent
from models.item_ranking import weigh
from models.known import NOTHING_KNOWN
from models.live_session import LiveSession, cut, in_cart
from models.model_set import ModelSet
from models.recommend import profile_of
from models.schema import N_INTENTS
from models.visitor_groups import Groups, Named, groups_at


class Visits(NamedTuple):
    """Sessions of some visitors, one after the other.

    Attributes
    ----------
    first
        Of each event, the first one of its session, shape (n_events,).
    features
        Of its session after each event, shape (n_events, n_session_features).
    groups
        Of the visitors; None where nothing is told of any.
    """

    encoded: EncodedEvents
    first: Ints
    features: Floats32
    groups: Named | None

    def session(self, last: int) -> LiveSession:
        """The session of an event as far as it had come."""
        events, item_ids, categories = self.encoded
        return cut(events[self.first[last] : last + 1], item_ids, categories, groups_at(self.groups, last))


def visits(encoded: EncodedEvents, starts: Flags, groups: Named | None) -> Visits:
    """Fold sessions, each in the order it happened; see `models.features.sessions.fold`."""
    first = np.maximum.accumulate(np.where(starts, np.arange(len(starts)), 0))
    return Visits(encoded, first, sessions.fold(encoded.events, starts), groups)


class Moments(NamedTuple):
    """Moments, a row each.

    Attributes
    ----------
    last
        The newest event of each, a place in the events of the visits, shape (n_moments,).
    silent_s
        Seconds since then.
    users, items
        Features of the visitor and of the session's last item as they stood, shapes (n_moments, n_user_features) and
        (n_moments, n_item_features).
    """

    last: Ints
    silent_s: Floats
    users: Floats32
    items: Floats32


class Assessments(NamedTuple):
    """Assessments of moments, a row each; attributes as of `models.assess.Assessment`, `degraded` being of all of them.

    `last` and `silent_s` are those of the moments.
    """

    visits: Visits
    models: ModelSet
    last: Ints
    silent_s: Floats
    score: Floats
    immediate: Floats
    predicted: Floats
    p_next: Floats | None
    p_intent: Floats
    troubles: Troubles
    degraded: list[str]


class At:
    """One of many assessments; attributes as of `models.assess.Assessment`."""

    def __init__(self, found: Assessments, row: int) -> None:
        self._found, self._last = found, int(found.last[row])
        self.score = float(found.score[row])
        self.p_intent: Floats = found.p_intent[row]
        self.p_next: Floats | None = None if found.p_next is None else found.p_next[row]
        self.trouble = Trouble(float(found.troubles.p[row]), found.troubles.reasons[row])
        silent_s = float(found.silent_s[row])
        features: Floats32 = found.visits.features[self._last]
        self.features = sessions.as_of(features, silent_s) if silent_s > 0 else features
        self.silence = Silence(silent_s, left_lying(self.session)) if silent_s > 0 else PRESENT

    @property
    def utc_offset_min(self) -> int:
        """Of the visitor's clock, minutes east of UTC."""
        return int(self._found.visits.encoded.events["utc_offset_min"][self._last])

    @property
    def groups(self) -> Groups:
        """Whom the shop takes the visitor for."""
        return groups_at(self._found.visits.groups, self._last)

    @property
    def n_met(self) -> int:
        """Events of the session so far: at least as many as items that it has met."""
        return self._last + 1 - int(self._found.visits.first[self._last])

    @cached_property
    def session(self) -> LiveSession:
        """The session so far."""
        return self._found.visits.session(self._last)

    @cached_property
    def reader(self) -> Reader | None:
        """Reader of the session's items; None without associations."""
        store = self._found.models.associations
        return None if store is None else Reader(store, self.session)

    @cached_property
    def cart_ids(self) -> list[str]:
        """Items in the cart, newest first."""
        return in_cart(self.session)

    @cached_property
    def product_ids(self) -> list[str]:
        """Products that go with the session, best first."""
        models, session = self._found.models, self.session
        at_us = int(session.events["occurred_at_us"][-1])
        return products_for(session, models, NOTHING_KNOWN, self.p_intent, at_us)


def assess_all(seen: Visits, moments: Moments, models: ModelSet) -> Assessments:
    """Assess moments, each as `models.assess.assess` does; no one's history is known."""
    told: list[str] = []
    last, silent_s = moments.last, moments.silent_s
    folded = seen.features[last]
    if models.intent is None:
        told.append(degraded.INTENT_BY_RULES)
        p_intent = np.array([intent.by_rules(row[None, :])[0] for row in folded]).reshape(-1, N_INTENTS)
    else:
        p_intent = models.intent.predict(folded)
    groups = None if seen.groups is None else seen.groups.where(last)
    p_next, predicted = None, None
    if models.next_action is None:
        told.append(degraded.NEXT_ACTION_MODEL_MISSING)
    else:
        wide = np.column_stack((folded, moments.users, moments.items, models.next_action.groups.rows(groups, len(last))))
        outlook = models.next_action.predict(wide, silent_s)
        p_next, predicted = outlook["short_term"].p_action, outlook["medium_term"].p_purchase
    features = _aged(folded, silent_s)
    immediate, score = _scored(seen, last, features, p_intent, predicted, groups, models, told)
    trouble = troubles(seen.encoded.events, seen.first[last], last + 1, silent_s)
    if predicted is None:
        predicted = np.zeros(len(last))
    known = list(dict.fromkeys(told))
    return Assessments(seen, models, last, silent_s, score, immediate, predicted, p_next, p_intent, trouble, known)


def _aged(folded: Floats32, silent_s: Floats) -> Floats32:
    """Features of sessions after their silences: few lengths, many moments."""
    aged = folded.copy()
    for step_s in np.unique(silent_s[silent_s > 0]).tolist():
        rows = silent_s == step_s
        aged[rows] = sessions.as_of(folded[rows], step_s)
    return aged


def _scored(
    seen: Visits, last: Ints, features: Floats32, p_intent: Floats, predicted: Floats | None, groups: Named | None,
    models: ModelSet, told: list[str],
) -> tuple[Floats, Floats]:  # fmt: skip
    """Immediate engagement and score of each moment."""
    profile, newest = profile_of(models, told), seen.encoded.events[last]
    if models.engagement is not None:
        effects = models.engagement.groups.rows(groups, len(last))
        immediate = immediates(models, newest, features, p_intent, effects=effects)
        return immediate, np.asarray(models.engagement.score(immediate, predicted))
    told.append(degraded.ENGAGEMENT_BY_FORMULA)
    found = np.empty((2, len(last)))
    for k, (row, p) in enumerate(zip(features, p_intent, strict=True)):
        weights = weigh(profile, models.actions, newest[k : k + 1], p, 0).weights
        found[0, k] = formula.immediate(row, weights)
        found[1, k] = formula.score(float(found[0, k]), 0.0 if predicted is None else float(predicted[k]))
    return found[0], found[1]
