"""Array bundles of the ranker's kernels."""

from typing import NamedTuple

from models.arrays import Bytes, Floats, Floats32, Ints, Ints32
from models.associations.arrays import Pairs
from models.associations.goal_query import Past


class Session(NamedTuple):
    """Session that is asked about: the visitor's events about items, oldest first, and what they count."""

    items: Ints  # (n_events,)
    kinds: Bytes  # (n_events,)
    weight: Floats  # (n_event_types,)
    p_intent: Floats  # (n_intents,), all 0 where nobody knows
    past: Past  # of earlier sessions, newest first


class Embeddings(NamedTuple):
    """Embeddings of the items, as `models.ranker.embeddings` learns them; every array may be a read-only memory map."""

    context: Floats32  # (n_items, n_dims), of what the session holds
    target: Floats32  # (n_items, n_dims), of what may come next
    bias: Floats32  # (n_items,)
    near: Ints32  # (n_items, n_near) items that each one leads to, the best first, -1 where there are fewer


class Catalogue(NamedTuple):
    """Catalogue: what is known of the items; every array may be a read-only memory map."""

    wide: Pairs  # at any distance
    following: Pairs  # steps from one item to the next
    traits: Floats32  # (n_items, N_ITEM)
    vectors: Floats32  # (n_items, n_dims)
    category: Ints32  # (n_items,), -1 = unknown; items beyond its end have none
    embeddings: Embeddings


class Mix(NamedTuple):
    """Mix of the sources: how they are added up."""

    decays: Floats  # of the rank of an anchor, for wide and following
    blend: Floats  # of wide, following and neighbours, when candidates are chosen
    unmatched: float  # for types that the visitor did not do
    max_anchors: int
    n_blended: int  # candidates by the blend
    n_reached: int  # candidates by the embeddings beside them
    nearness: Floats32  # (n_last,) what an item of the session counts for the embeddings, by its place


class Scratch(NamedTuple):
    """Scratch memory of one thread, reused by queries; a slot is valid only where it carries the number of the query."""

    query: Ints  # (1,)
    slot: Ints  # (n_items, 2) query that met the item, and its slot
    item: Ints  # (n_items,) item of each slot
    sums: Floats32  # (n_items, N_SUMS)
    blend: Floats32  # (n_items,)
    seen: Ints32  # (n_items, 4) place, first place, times seen, place before
    codes: Ints  # (n_blended + n_reached,)
    features: Floats32  # (n_blended + n_reached, N_FEATURES)
