"""P(trouble): what visitors do again and again, what the shop tells, and the signal that follows."""

import numpy as np
import pytest

from models.assess import assess
from models.engagement.policy import NEWCOMER, Moment, SignalPolicy, Standing, nudge
from models.engagement.signals import Shelf, SignalThresholds, choose
from models.engagement.trouble import CALM, Trouble, trouble_of
from models.known import NOTHING_KNOWN
from models.live_session import LiveSession
from models.model_set import NO_MODELS
from models.schema import SESSION_FEATURES, EventType
from tests.builders import event_array

QUIET = np.zeros(len(SESSION_FEATURES), dtype=np.float32)


def session(*told, pace_s=10):
    """Events of (type, item, errors), so many seconds apart."""
    kinds, items, errors = [EventType[kind.upper()] for kind, *_ in told], [item for _, item, _ in told], [n for *_, n in told]
    at_us = 1_790_000_000_000_000 + np.arange(len(told)) * pace_s * 1_000_000
    return event_array(len(told), event_type=kinds, item=items, n_errors=errors, occurred_at_us=at_us)


def p(*told, **pace):
    return trouble_of(session(*told, **pace)).p


VIEW, REFINE, BUY = ("item_view", 0, np.nan), ("search_refine", -1, np.nan), ("purchase", 0, np.nan)
CHECKOUT = ("checkout_view", -1, np.nan)
ADD, ERROR, OTHER = ("add_to_cart", 0, np.nan), ("checkout_view", -1, 1.0), ("item_view", 1, np.nan)


@pytest.mark.parametrize(
    ("again", "reason"), [(REFINE, "search"), (CHECKOUT, "checkout"), (ERROR, "errors")], ids=["search", "checkout", "errors"]
)
def test_it_rises_with_every_repetition_and_names_the_reason(again, reason):
    told = [p(VIEW, *[again] * n) for n in range(1, 7)]
    assert told == sorted(told)
    assert told[0] < 0.5 < 0.7 < told[-1]
    assert trouble_of(session(VIEW, *[again] * 6)).reason == reason


def test_going_back_and_forth_counts_and_going_on_does_not():
    on = [("item_view", item, np.nan) for item in range(12)]
    back = [VIEW, OTHER] * 6
    assert trouble_of(session(*on)) == CALM
    found = trouble_of(session(*back))
    assert found.reason == "back_and_forth"
    assert CALM.p < found.p < SignalThresholds().min_p_trouble  # who compares is not stuck yet
    assert p(*back, REFINE, REFINE) > SignalThresholds().min_p_trouble > p(REFINE, REFINE)


def test_a_cart_a_purchase_and_time_end_it():
    stuck = [REFINE] * 6
    assert p(*stuck) > 0.7
    assert p(*stuck, ADD) < 0.1
    assert p(ERROR, ERROR, ERROR, BUY) == CALM.p
    assert trouble_of(session(*stuck), silent_s=3_600).p == pytest.approx(CALM.p, abs=1e-3)
    assert trouble_of(session()) == CALM


def test_from_the_threshold_on_support_is_offered_and_no_sooner():
    def kind(trouble, **t):
        return choose(0.2, None, QUIET, SignalThresholds(**t), Shelf(), trouble=trouble)

    offered = kind(Trouble(0.7, "errors"))
    assert offered["type"] == "proactive_support"
    assert offered["payload"]["reason"] == "errors"
    assert "errors" in offered["payload"]["prompt"]
    assert kind(Trouble(0.69, "errors"))["type"] == "no_action"
    assert kind(Trouble(0.69, "errors"), min_p_trouble=0.5)["type"] == "proactive_support"
    assert kind(CALM, min_p_trouble=0.0)["type"] == "no_action"  # nothing that anybody could help with
    assert kind(Trouble(0.99, "errors"), min_score_support=0.3)["type"] == "no_action"


def test_noise_around_the_threshold_does_not_flip_it():
    policy, moment = SignalPolicy(cool_down_s=0, holdout_share=0.0), Moment("shop", "p", 60_000_000, 0)
    called = Standing(chosen="proactive_support", chosen_at_us=0)

    def kind(value, standing):
        return nudge(0.2, None, QUIET, Shelf(), policy, standing, moment, trouble=Trouble(value, "errors")).signal["type"]

    assert [kind(0.6, standing) for standing in (NEWCOMER, called)] == ["no_action", "proactive_support"]
    assert kind(0.55, called) == "no_action"  # a fifth below it is the end of the band


def test_an_assessment_tells_it():
    found = assess(LiveSession(session(CHECKOUT, ERROR, ERROR), [], []), NO_MODELS, NOTHING_KNOWN, None, 0)
    assert found.trouble.reason == "errors"
    assert found.trouble.p > 0.7
