"""Hypothesis strategies of events, sessions and logs, for the invariants of all that folds them."""

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from hypothesis import strategies as st

from models.events.encode import NO_CODE, EventArray
from models.schema import DEVICES, EVENT_TYPES, MEASURES, N_EVENT_TYPES, REFERRERS
from tests.builders import BEGAN_US, event_array

Kind = TypeVar("Kind")
Thing = TypeVar("Thing")


def lists_of(
    things: st.SearchStrategy[Thing], most: int, most_sessions: int, least: int = 0
) -> st.SearchStrategy[list[list[Thing]]]:
    """Sessions of `least` to `most` things each; as few sessions at least."""
    return st.lists(st.lists(things, min_size=least, max_size=most), min_size=least, max_size=most_sessions)


def typed(kinds: Sequence[Kind], items: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[Kind, int]]:
    """Events as (type, item code)."""
    return st.tuples(st.sampled_from(kinds), items)


def priced_rows(n_items: int, until_us: int) -> st.SearchStrategy[tuple[str, int, int, float]]:
    """Events as (type, instant, item code or none, price or none), in no order."""
    price = st.one_of(st.just(math.nan), st.floats(0, 1e6))
    return st.tuples(st.sampled_from(EVENT_TYPES), st.integers(0, until_us), st.integers(NO_CODE, n_items - 1), price)


def measured(low: float, high: float) -> st.SearchStrategy[float]:
    """A measure in its range, or none."""
    return st.one_of(st.just(math.nan), st.floats(low, high, width=32))


@st.composite
def visits(draw: st.DrawFn, n_items: int = 6, n_categories: int = 4, most: int = 12) -> EventArray:
    """Sessions in which every field of an event may have every value, and time now and then goes back."""
    n = draw(st.integers(1, most))
    fields: dict[str, st.SearchStrategy[float] | st.SearchStrategy[int]] = {
        "event_type": st.integers(0, N_EVENT_TYPES - 1),
        "item": st.integers(NO_CODE, n_items - 1),
        "category": st.integers(NO_CODE, n_categories - 1),
        **{name: measured(*limits) for name, limits in MEASURES.items()},
        "utc_offset_min": st.integers(-720, 840),
        "device": st.integers(0, len(DEVICES) - 1),
        "referrer": st.integers(0, len(REFERRERS) - 1),
    }
    columns = {name: draw(st.lists(values, min_size=n, max_size=n)) for name, values in fields.items()}
    gaps_us = draw(st.lists(st.one_of(st.just(0), st.integers(-(10**7), 10**10)), min_size=n, max_size=n))
    return event_array(n, **columns, occurred_at_us=BEGAN_US + np.cumsum(gaps_us))
