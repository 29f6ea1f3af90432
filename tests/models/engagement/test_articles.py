"""Articles are ranked by what their readers went on to, else by category and words."""

import numpy as np

from models.associations.from_log import built
from models.engagement.articles import Reader, ranked, words
from models.inference.examples import Log
from models.live_session import EMPTY, LiveSession
from models.schema import EventType
from tests.builders import event_array

IDS = ["on-hats", "on-shoes", "hat", "shoe", "sock"]


def log(n: int) -> Log:
    """Sessions in which who read about hats looked at a hat, and who read about shoes at a shoe; and socks, with either."""
    told = [(("on-hats", "hat"), ("on-shoes", "shoe"))[k % 2] for k in range(n)]
    items = [IDS.index(one) for article, item in told for one in (article, item, "sock")]
    kinds = [EventType.CONTENT_VIEW, EventType.ITEM_VIEW, EventType.ITEM_VIEW] * n
    events = event_array(3 * n, event_type=kinds, item=items, occurred_at_us=np.arange(3 * n) * 10_000_000)
    starts = np.tile([True, False, False], n)
    session = np.repeat(np.arange(n), 3)
    return Log(events, starts, events["occurred_at_us"][session * 3], session.astype(np.int64), IDS)


def at_hand(*items: str) -> LiveSession:
    return LiveSession(event_array(len(items), item=np.arange(len(items))), list(items), [])


def test_an_article_fits_as_far_as_its_readers_went_on_to_the_sessions_items() -> None:
    store = built(log(200), {})
    hats, shoes = Reader(store, at_hand("hat")).affinity(["on-hats", "on-shoes"])
    assert hats > shoes
    assert ranked(["on-shoes", "on-hats"], np.array([shoes, hats]), [True, False], {}, frozenset())[0] == "on-hats"
    hats, shoes = Reader(store, at_hand("hat", "shoe")).affinity(["on-hats", "on-shoes"])
    assert shoes > hats > 0  # the shoe is newer


def test_what_nobody_has_read_is_told_apart_by_category_and_words() -> None:
    store = built(log(20), {})
    assert Reader(store, at_hand("hat")).affinity(["nobody", "read-this"]).tolist() == [0, 0]
    assert Reader(store, EMPTY).affinity(["on-hats"]).tolist() == [0]
    titles = {"a": "Caring for suede", "b": "Gift ideas"}
    assert ranked(["b", "a"], np.zeros(2), [False, False], titles, words(["Suede boots"])) == ["a", "b"]
    assert ranked(["b", "a"], np.zeros(2), [True, False], titles, words(["Suede boots"])) == ["b", "a"]
