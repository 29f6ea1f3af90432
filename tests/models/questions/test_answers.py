import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.events.encode import NO_CODE
from models.live_session import cart_and_bought
from models.questions import answers
from tests.builders import encoded
from tests.strategies import typed

KINDS = ("item_view", "add_to_cart", "remove_from_cart", "purchase")


def test_ranks_count_from_one_and_what_is_not_there_has_none() -> None:
    lists = np.full((3, answers.LIMIT), NO_CODE)
    lists[:, :2] = [8, 9]
    assert answers.ranks(lists, np.array([9, 4, NO_CODE])).tolist() == [2, 0, 0]


@given(st.lists(typed(KINDS, st.integers(0, 3)), min_size=1, max_size=8))
def test_an_item_may_be_answered_where_it_is_neither_in_the_cart_nor_bought(session: list[tuple[str, int]]) -> None:
    events = encoded(*zip(*session, strict=True))
    last = np.arange(len(events))
    prefix, item = np.repeat(last, 4), np.tile(np.arange(4), len(last))
    found = answers.answerable(events, np.zeros_like(last), last, prefix, item)
    for k, one, may in zip(prefix, item, found, strict=True):
        cart, bought = cart_and_bought(events[: k + 1])
        assert may == (one not in cart and one not in bought)
