"""Judged is served: what the evaluation says of a row of the log is, bit for bit, what its session would have been answered."""

import numpy as np
import pandas as pd
import pytest

from models.assess import assess
from models.evaluation.held_out import HeldOut, held_out
from models.evaluation.predictions import Predictions, predict
from models.events.touches import History
from models.features import histories
from models.inference.examples import Log
from models.item_ranking import Asked, inquire
from models.known import NOTHING_KNOWN, Known, UserFeatures
from models.live_session import LiveSession, cut
from models.questions import next_item, rest_of_session
from models.recommend import Who, recommend, situate
from models.schema import HORIZONS_S, ITEM_FEATURES, LAST_EVENT_AT, USER_FEATURES
from tests.fitted import Fitted

WHO = Who("u", "d")


@pytest.fixture(scope="module")
def period(fitted: Fitted) -> HeldOut:
    return held_out(fitted.found, fitted.log, fitted.split, np.random.default_rng(0), at_most=200)


@pytest.fixture(scope="module")
def said(fitted: Fitted, period: HeldOut) -> Predictions:
    return predict(fitted.models, period)


def session_at(fitted: Fitted, row: int) -> LiveSession:
    """The session of a row as far as it had come."""
    begin = int(np.flatnonzero(fitted.log.starts[: row + 1])[-1])
    return cut(fitted.log.events[begin : row + 1], fitted.log.item_ids, fitted.log.categories)


def history_at(whole: Log, part: Log, row: int) -> History:
    """What the online store would have told of a visitor's earlier sessions."""
    at_us = part.events["occurred_at_us"]
    began = np.flatnonzero(part.starts[: row + 1])[-1]
    known = histories.of(whole.events, whole.user_codes)
    places = histories.until(known, int(part.user_codes[row]), int(at_us[row]), int(at_us[began]))
    return History([whole.item_ids[k] for k in known.item[places]], known.kind[places], known.at_us[places])


def known_at(known: pd.DataFrame, row: int) -> Known:
    """What the service would have read."""
    one = known.loc[row]
    user, item = (one[list(columns)].to_numpy(dtype=np.float32) for columns in (USER_FEATURES, ITEM_FEATURES))
    read = None if np.isnan(user).any() else UserFeatures(user, int(one[LAST_EVENT_AT]))
    return Known(read, None if np.isnan(item).any() else item)


def test_intent_next_action_and_engagement_of_held_out_rows_are_those_of_an_assessment(
    fitted: Fitted, said: Predictions
) -> None:
    rows = np.flatnonzero(fitted.split.test)
    at = np.linspace(0, len(rows) - 1, 150).astype(int)
    assert said.p_engagement is not None
    for place, row in zip(at, rows[at], strict=True):
        session = session_at(fitted, row)
        found = assess(session, fitted.models, known_at(fitted.known, row), None, 0)
        np.testing.assert_array_equal(said.p_intent[place], situate(session, fitted.models, []).p_intent)
        assert found.outlook is not None
        for horizon in HORIZONS_S:
            np.testing.assert_array_equal(said.p_action[horizon][place], found.outlook[horizon].p_action)
            assert said.p_purchase[horizon][place] == found.outlook[horizon].p_purchase
        assert said.p_engagement[place] == found.score


@pytest.mark.parametrize(("method", "variant"), [("dynamic", "dynamic"), ("static", "static"), ("ranker", "dynamic")])
def test_ranks_are_those_in_recommended_lists(
    fitted: Fitted, period: HeldOut, said: Predictions, method: str, variant: str
) -> None:
    log = fitted.log.since(fitted.split.test_from_us)
    later, found = fitted._replace(log=log), []
    for last, target in zip(period.asked.last, period.asked.target, strict=True):
        known = Known(history=history_at(fitted.log, log, last))
        answer = recommend(
            Asked(ranker=method == "ranker"), session_at(later, last), fitted.models, known, WHO, 0, variant=variant
        )
        items = answer.ranking.item_ids
        wanted = log.item_ids[log.events["item"][target]]
        found.append(items.index(wanted) + 1 if wanted in items else 0)
    np.testing.assert_array_equal(said.ranks[method], found)
    assert 0 < np.count_nonzero(found) < len(found)


def test_nothing_is_asked_that_may_not_be_answered(fitted: Fitted) -> None:
    """Items on screen, in the cart, or bought."""
    log, store = fitted.log, fitted.models.associations
    assert store is not None
    asked = next_item.questions(log.events, log.starts, 500, np.random.default_rng(0))
    rest = rest_of_session.prefixes(log.events, log.starts, 500, np.random.default_rng(0))
    wanted = [
        *zip(asked.last, log.events["item"][asked.target], strict=True),
        *zip(rest.last[rest.prefix], rest.item, strict=True),
    ]
    for last, item in wanted:
        assert (
            store.code(log.item_ids[item]) not in inquire(Asked(), session_at(fitted, last), store, NOTHING_KNOWN, []).left_out
        )
