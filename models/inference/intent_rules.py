"""The rules behind the weak intent labels: what votes how much for which intent, and how the votes are counted.

Nobody tells what a session is about. Every event votes, in nats of log-likelihood, by the meaning of the four intents, and
nothing else decides:

=====================  ====================================================================================================
intent                 what speaks for it (the whole tables: `KIND_VOTES`, `RELATION_VOTES`, `MEASURE_VOTES`)
=====================  ====================================================================================================
exploratory            category_browse 1.2; an item of another category than the item before 0.8; a short look 0.5; hardly
                       scrolled 0.3; a short query 0.3; hardly zoomed 0.2; a quick next event 0.2; search 0.2
comparative            spec_compare 1.8; back to an item met before, another one in between 0.9; search_refine 0.7; another
                       item of the same category 0.5; remove_from_cart 0.4; wishlist_add 0.3; detail_view 0.3
intent_to_purchase     purchase 2.2; checkout_view 2.2; cart_view 1.6; add_to_cart 1.4; wishlist_add 1.0; remove_from_cart
                       0.4; on the same item again 0.3; a long query 0.3
research               content_view 1.6; review_read 1.4; detail_view 0.8; a long look 0.7; scrolled far 0.4; a long query
                       0.3; a late next event 0.2
=====================  ====================================================================================================

"Short", "long", "far" are the lowest and the highest third of the shop's own values for that type of event. A vote becomes

    P(level | intent) proportional to share of the level * exp(vote),

so that an intent also loses when what it expects stays away. A measure that a source does not have (trivago's dwell) is silent.
A hidden Markov chain with a sticky intent joins the votes of a session from both sides. Then the shares are estimated once
more from the result, pulled towards the rules, which lets a signal count as much as the others confirm it; more rounds would
drift away from what the four names mean. A label may change within a session. Labels see what comes later in the session,
features never do.

Sources: Ratner et al., "Snorkel", 2017 (rules as weak supervision, weighted by agreement); Rabiner, "A tutorial on hidden
Markov models", 1989; Dempster et al., "Maximum likelihood from incomplete data via the EM algorithm", 1977.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.arrays import Floats
from models.inference import label_kernels as kernels
from models.schema import N_EVENT_TYPES, N_INTENTS, EventType

Votes = tuple[float, float, float, float]  # exploratory, comparative, intent_to_purchase, research


def _table(size: int, votes: Mapping[int, Votes]) -> Floats:
    table = np.zeros((size, N_INTENTS))
    for row, values in votes.items():
        table[row] = values
    table.setflags(write=False)
    return table


KIND_VOTES: Final = _table(
    N_EVENT_TYPES,
    {
        EventType.DETAIL_VIEW: (0.0, 0.3, 0.2, 0.8),
        EventType.REVIEW_READ: (0.0, 0.2, 0.0, 1.4),
        EventType.SPEC_COMPARE: (0.0, 1.8, 0.0, 0.3),
        EventType.CATEGORY_BROWSE: (1.2, 0.2, 0.0, 0.0),
        EventType.SEARCH: (0.2, 0.2, 0.2, 0.2),
        EventType.SEARCH_REFINE: (0.0, 0.7, 0.2, 0.2),
        EventType.CONTENT_VIEW: (0.2, 0.0, 0.0, 1.6),
        EventType.WISHLIST_ADD: (0.2, 0.3, 1.0, 0.0),
        EventType.ADD_TO_CART: (0.0, 0.0, 1.4, 0.0),
        EventType.REMOVE_FROM_CART: (0.0, 0.4, 0.4, 0.0),
        EventType.CART_VIEW: (0.0, 0.0, 1.6, 0.0),
        EventType.CHECKOUT_VIEW: (0.0, 0.0, 2.2, 0.0),
        EventType.PURCHASE: (0.0, 0.0, 2.2, 0.0),
    },
)
RELATION_VOTES: Final = _table(
    5,
    {
        kernels.OTHER_CATEGORY: (0.8, 0.0, 0.0, 0.0),
        kernels.SAME_CATEGORY: (0.0, 0.5, 0.1, 0.1),
        kernels.BACK_TO_ITEM: (0.0, 0.9, 0.4, 0.0),
        kernels.AGAIN: (0.0, 0.0, 0.3, 0.2),
    },
)
# Lowest and highest third of a measure. The cursor has no vote of its own: only what the other signals teach about it.
MEASURE_VOTES: Final[Mapping[str, tuple[Votes, Votes]]] = {
    "dwell_ms": ((0.5, 0.1, 0.1, 0.0), (0.0, 0.1, 0.0, 0.7)),
    "scroll_depth": ((0.3, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.4)),
    "zoom_level": ((0.2, 0.0, 0.0, 0.0), (0.0, 0.2, 0.2, 0.0)),
    "cursor_distance_px": ((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
    "query_length": ((0.3, 0.0, 0.0, 0.0), (0.0, 0.1, 0.3, 0.3)),
    "pause_us": ((0.2, 0.0, 0.1, 0.0), (0.0, 0.0, 0.0, 0.2)),  # until the session's next event
}


@dataclass(frozen=True)
class LabelRules:
    """The numbers behind the votes.

    Attributes
    ----------
    stay
        Probability, before re-estimation, that an event's intent is still that of the event before.
    n_refits
        Rounds of re-estimation.
    pull
        Weight of the rules in a re-estimate, as a share of the events.
    usual_events
        Events of an imagined shop, spread evenly over types and relations, that steady the shares of a small log.
    min_measured
        A measure with fewer values for a type of event is silent there: thirds of nothing say nothing.
    """

    stay: float = 0.95
    n_refits: int = 1
    pull: float = 0.5
    usual_events: float = 150.0
    min_measured: int = 50


RULES: Final = LabelRules()
