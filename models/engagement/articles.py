"""Articles for a session: by what their readers went on to, and where nobody has read them, by category and words.

An article is an anchor among the associations: what its readers view, put into the cart or buy hangs on it, live. An article
fits a session as far as its associations lead to the items of the session. Before there is a log, the category of the session
and the words that the article's title shares with those of its items decide.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from models.arrays import Floats
from models.associations.model import AssociationStore
from models.events.encode import NO_CODE
from models.live_session import LiveSession
from models.schema import EventType
from models.weight_profile import base_weights

MOST_ITEMS: Final = 10  # of a session, the newest
MOST_ARTICLES: Final = 200  # that are looked at for one moment
SHORTEST_WORD: Final = 4  # characters; shorter ones are articles of the language
_VIEWED: Final = np.array([EventType.CONTENT_VIEW], dtype=np.int8)
_NOW: Final = np.zeros(1)
_words: Final = re.compile(rf"\w{{{SHORTEST_WORD},}}").findall


class Reader(NamedTuple):
    """Somebody whose session is at hand, and what the associations know."""

    store: AssociationStore
    session: LiveSession

    @property
    def items(self) -> list[int]:
        """Codes of the session's items that the associations know, newest first, at most `MOST_ITEMS`."""
        items = self.session.events["item"].tolist()
        codes = [self.store.code(self.session.item_ids[item]) for item in reversed(items) if item >= 0]
        return [code for code in dict.fromkeys(codes) if code != NO_CODE][:MOST_ITEMS]

    def affinity(self, article_ids: Sequence[str]) -> Floats:
        """Share of each article's associations that leads to the session's items, the newest counting most; 0 where none does.

        Shape (n_articles,).
        """
        found, items = np.zeros(len(article_ids)), self.items
        if not items:
            return found
        wanted = np.zeros(self.store.n_items, dtype=np.bool_)
        wanted[items] = True
        worth = {item: 0.8**place for place, item in reversed(list(enumerate(items)))}
        for place, article_id in enumerate(article_ids):
            code = self.store.code(article_id)
            if code != NO_CODE:
                ranked = self.store.recommend(
                    np.array([code], np.int64), _VIEWED, _NOW, base_weights(), len(worth), allowed=wanted
                )
                told = zip(ranked.items[: ranked.n_associated].tolist(), ranked.scores.tolist(), strict=False)
                found[place] = sum(score * worth.get(item, 0.0) for item, score in told)
        return found


def words(texts: Iterable[str | None]) -> frozenset[str]:
    """Words of some texts, in small letters.

    Examples
    --------
    >>> sorted(words(["How to care for Leather Boots", None]))
    ['boots', 'care', 'leather']
    """
    return frozenset(word for text in texts if text for word in _words(text.casefold()))


def ranked(
    article_ids: Sequence[str], affinity: Floats, fits_category: Sequence[bool], titles: Mapping[str, str | None],
    about: frozenset[str],
) -> list[str]:  # fmt: skip
    """Articles, best first: by what readers went on to, then by category, then by shared words, then as they came.

    Examples
    --------
    >>> about = words(["boots"])
    >>> ranked(["a", "b", "c", "d"], np.array([0, 0, 0.2, 0]), [False, True, False, False], {"d": "Red boots"}, about)
    ['c', 'b', 'd', 'a']
    """
    shared = [len(words([titles.get(article_id)]) & about) for article_id in article_ids]
    order = sorted(range(len(article_ids)), key=lambda k: (-affinity[k], not fits_category[k], -shared[k]))
    return [article_ids[k] for k in order]
