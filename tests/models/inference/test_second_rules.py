import numpy as np
import pytest

from models.inference import second_rules
from models.inference.second_rules import NO_LABEL
from models.schema import EventType, Intent
from tests.builders import NO_EVENTS, NO_STARTS, sessions_of

VIEW, SEARCH = EventType.ITEM_VIEW, EventType.SEARCH


def labels(*rows, starts=(0,)):
    events, _ = sessions_of(rows)
    return second_rules.label(events, np.isin(np.arange(len(rows)), starts)).tolist()


@pytest.mark.parametrize(
    ("following", "intent"),
    [
        (EventType.CART_VIEW, Intent.INTENT_TO_PURCHASE),
        (EventType.SPEC_COMPARE, Intent.COMPARATIVE),
        (EventType.REVIEW_READ, Intent.RESEARCH),
        (VIEW, Intent.EXPLORATORY),
        (SEARCH, NO_LABEL),
    ],
)
def test_prefix_is_named_by_what_follows(following, intent):
    assert labels((VIEW, 1), (following, 2)) == [intent, NO_LABEL]


def test_coming_back_to_an_item_is_comparing_but_staying_is_not():
    assert labels((VIEW, 1), (VIEW, 2), (VIEW, 1))[0] == Intent.COMPARATIVE
    assert labels((VIEW, 1), (VIEW, 1), (VIEW, 1))[0] == Intent.EXPLORATORY


def test_next_session_says_nothing_about_this_one():
    assert labels((VIEW, 1), (EventType.PURCHASE, 1), starts=(0, 1)) == [NO_LABEL, NO_LABEL]


def test_no_events_no_labels():
    assert second_rules.label(NO_EVENTS, NO_STARTS).tolist() == []
