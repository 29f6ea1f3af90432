"""Replay: which items would have been shown at many moments of later sessions, by the functions that answer a request.

A moment is cut out of its session and put into the codes of the model that is asked once; any number of weight profiles then
rank from there, through `models.item_ranking`. What is known about the visitor is what the log held at the moment: the history
that the online store would have told. What the partner could not deliver, no log holds. Each session is asked in the models of
its partner's shop. Learners of weights, evaluation and gate all ask here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Flags, Floats, Ints
from models.associations import goals as by_goals
from models.associations.model import AssociationStore
from models.events.encode import NO_CODE, EventArray
from models.events.touches import History
from models.experiments.assignment import DYNAMIC
from models.features import histories
from models.features.histories import Histories
from models.inference.examples import Log
from models.item_ranking import AUTO, Asked, Inquiry, Weighing, by_associations, by_ranker, inquire, weigh
from models.known import Known, item_codes
from models.live_session import cut
from models.model_set import ModelSet, required
from models.questions.answers import LIMIT
from models.questions.later import Later
from models.questions.rest_of_session import Prefixes
from models.ranker.model import Ranker
from models.recommend import actions_of
from models.weight_profile import WeightProfile


class Side(NamedTuple):
    """The model that answers a partner.

    Attributes
    ----------
    items
        Item of the log behind each of its codes, the last for none.
    """

    model: AssociationStore | Ranker
    items: Ints


class Views(NamedTuple):
    """Associations that followed a log (`models.associations.live`), as they stood one after the other.

    Attributes
    ----------
    until_us
        Instant of the newest event that each knows, ascending, shape (n,).
    stores
        As many.
    """

    until_us: Ints
    stores: Sequence[AssociationStore]


class Moment(NamedTuple):
    """A prefix of a session as it is answered.

    Attributes
    ----------
    events
        Of the session so far, in the log's codes, shape (n_events,).
    p_intent
        Shape (n_intents,).
    guests
        Item of the log behind each of the inquiry's guests.
    side
        Who answers.
    """

    events: EventArray
    p_intent: Floats
    inquiry: Inquiry
    guests: Ints
    side: Side


@dataclass(frozen=True)
class Replay:
    """Moments at which a model is asked, whatever weighs the events.

    Attributes
    ----------
    models
        Their weight profile is not asked: each call brings the one under test.
    asked
        Which model answers, and how many items at most.
    """

    models: ModelSet
    asked: Asked
    moments: Sequence[Moment]

    def answers(
        self, weights: WeightProfile, variant: str = DYNAMIC, rows: npt.NDArray[np.bool_] | None = None, goal: str = AUTO
    ) -> Ints:
        """Items shown under a profile, in the log's item codes, best first, `NO_CODE` where there are fewer.

        Parameters
        ----------
        variant
            The static one is moved by no action weights.
        goal
            What the items shall lead to.
        rows
            Which moments are asked, shape (n_moments,); all if None.

        Returns
        -------
        Shape (n, limit).
        """
        asked = self.moments if rows is None else [self.moments[k] for k in np.flatnonzero(rows).tolist()]
        actions, limit = actions_of(self.models, variant), self.asked.limit
        weighed = ((one, weigh(weights, actions, one.events, one.p_intent, 0, goal)) for one in asked)
        return self._in_log((_answer(one.side.model, one.inquiry, weighing, limit) for one, weighing in weighed), asked)

    def popular(self) -> Ints:
        """Items by popularity alone, with the same ones left out; as `answers`."""
        limit = self.asked.limit
        popular = (_counts(one.side.model).popular(limit, exclude=one.inquiry.left_out).items for one in self.moments)
        return self._in_log(popular, self.moments)

    def reachable(self, asked: Prefixes) -> Flags:
        """Targets for which anything speaks: an association, an own event, popularity in a category; shape (n_targets,).

        Parameters
        ----------
        asked
            Of the same moments.
        """
        return self._among(asked, _spoken_for)

    def met_earlier(self, asked: Prefixes) -> Flags:
        """Targets with which the visitor did something in an earlier session, as far as is known; shape (n_targets,)."""
        return self._among(asked, lambda one: one.inquiry.past.item[one.inquiry.past.item >= 0])

    def _among(self, asked: Prefixes, codes_of: Callable[[Moment], Ints]) -> Flags:
        """Whether each target is among some items of its moment."""
        found = np.zeros(len(asked.item), np.bool_)
        ends = np.searchsorted(asked.prefix, np.arange(len(self.moments) + 1))
        for place, one in enumerate(self.moments):
            codes, targets, n = codes_of(one), slice(ends[place], ends[place + 1]), len(one.side.items) - 1
            items = one.side.items[np.minimum(codes, n)]
            items[codes >= n] = one.guests[codes[codes >= n] - n]
            found[targets] = np.isin(asked.item[targets], items)
        return found

    def _in_log(self, answers: Iterable[Ints], moments: Sequence[Moment]) -> Ints:
        found = np.full((len(moments), self.asked.limit), NO_CODE, dtype=np.int64)
        for place, (items, one) in enumerate(zip(answers, moments, strict=True)):
            known, n = one.side.items, len(one.side.items) - 1
            if len(one.guests) and (items >= n).any():
                found[place, : len(items)] = [known[k] if k < n else one.guests[k - n] for k in items.tolist()]
            else:
                found[place, : len(items)] = known[items]
        return found


def replay(
    models: ModelSet, later: Later, first: Ints, last: Ints, asked: Asked | None = None, views: Views | None = None
) -> Replay:  # fmt: skip
    """Make ready to ask a set of models at moments of later sessions.

    Parameters
    ----------
    first, last
        Rows of each moment's session's first event and of its newest, shape (n_moments,).
    asked
        The associations for `LIMIT` items, if not given.
    views
        Associations that answer instead: at each moment the newest that know nothing of it yet, of all shops together.

    Raises
    ------
    ValueError
        If the model that is asked is missing.
    """
    asked = asked or Asked(limit=LIMIT)
    log, sides = later.log, _Sides(models, asked, later.log)
    whole = later.log if later.whole is None else later.whole
    known, code_of = histories.of(whole.events, whole.user_codes), {item: k for k, item in enumerate(log.item_ids)}
    moments = []
    for begin, end in zip(first.tolist(), (last + 1).tolist(), strict=True):
        session = cut(log.events[begin:end], log.item_ids, log.categories or None)
        history = _history(known, log, begin, end)
        side = sides.of(begin) if views is None else sides.at(views, int(log.events["occurred_at_us"][end - 1]))
        inquiry = inquire(asked, session, side.model, Known(history=history), [])
        guests = np.array([code_of[item] for item in inquiry.guests], np.int64)
        moments.append(Moment(log.events[begin:end], later.p_intent[end - 1], inquiry, guests, side))
    return Replay(models, asked, moments)


def _spoken_for(one: Moment) -> Ints:
    return by_goals.evidence(_counts(one.side.model), one.inquiry.told, one.inquiry.left_out).items


class _Sides:
    """Who answers at an event of a log: the models of its sender's shop, each put beside the log once."""

    def __init__(self, models: ModelSet, asked: Asked, log: Log) -> None:
        self._models, self._asked, self._log = models, asked, log
        self._base = _model(models, asked)  # says so at once where there is none
        self._known: dict[str, Side] = {}
        self._at: dict[int, Side] = {}

    def at(self, views: Views, at_us: int) -> Side:
        """Side that answers at an instant."""
        newest = int(np.searchsorted(views.until_us, at_us)) - 1
        if newest not in self._at:
            store = self._base if newest < 0 else views.stores[newest]
            self._at[newest] = Side(store, _items_behind(store, self._log))
        return self._at[newest]

    def of(self, row: int) -> Side:
        """Side that answers the sender of an event."""
        senders = self._log.senders
        partner = senders.partners[senders.codes[row]] if senders is not None and self._base.shops else ""
        if partner not in self._known:
            model = _model(self._models.of(partner), self._asked)
            self._known[partner] = Side(model, _items_behind(model, self._log))
        return self._known[partner]


def _items_behind(model: AssociationStore | Ranker, log: Log) -> Ints:
    """Item of a log behind each code of a model, the last for none, shape (n_items + 1,)."""
    items = np.full(model.n_items + 1, NO_CODE, dtype=np.int64)
    codes = item_codes(model, log.item_ids)[:-1]
    items[codes[codes != NO_CODE]] = np.flatnonzero(codes != NO_CODE)
    return items


def _answer(model: AssociationStore | Ranker, inquiry: Inquiry, weighing: Weighing, limit: int) -> Ints:
    if isinstance(model, Ranker):
        return by_ranker(model, inquiry, weighing, limit).items
    return by_associations(model, inquiry, weighing, limit).items


def _counts(model: AssociationStore | Ranker) -> AssociationStore:
    return model.sources.wide if isinstance(model, Ranker) else model


def _history(known: Histories, log: Log, begin: int, end: int) -> History:
    """What the user of a session did before it, as it was known at one of its events."""
    at_us = log.events["occurred_at_us"]
    places = histories.until(known, int(log.user_codes[begin]), int(at_us[end - 1]), int(at_us[begin]))
    items = [log.item_ids[code] for code in known.item[places].tolist()]
    return History(items, known.kind[places], known.at_us[places])


def _model(models: ModelSet, asked: Asked) -> AssociationStore | Ranker:
    return required(models.ranker, "ranker") if asked.ranker else required(models.associations, "associations")
