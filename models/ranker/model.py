"""The ranker: candidates of the pair store and of the session neighbours, put in order by LambdaMART (Burges 2010).

A candidate is what the pairs of any distance ("wide"), the steps from one item to the next ("following") or the neighbours
offer for a session, an item of the session itself or of the visitor's earlier ones, or one to which item embeddings lead, where
such are learned (`SourceParams.embeddings`). Its features say how much each source speaks for it, where it stood in the
session, what was done on it before and how long ago, how popular it is and was lately, how readily it is visited again, and
what the session looks like; one kernel computes them for training and for requests. The trees were grown on later sessions than
those its sources were built from (`models.ranker.training`), and run as plain arrays, which a service can map; no call into
LightGBM is made per request.

A ranker without trees is a named fallback (`Ranker.fallback`): the sources' shares, blended.

Among the features are the probabilities of the intents and the weights of the request, the associations that lead to carts and
to purchases one by one, and of an item its price, its conversion rate and whether it is of the category at hand. A log of bare
sequences has none of these: their columns are constant there, and no tree asks for them.

A ranker is a snapshot: what happens after its fit (a new item, another pair) is known to the next one, while the associations
follow the log live. Whoever needs an item of the last minutes asks the associations, which are the default.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, NamedTuple

import numpy as np

from models.arrays import Bytes, Flags, Floats, Floats32, Ints, Objects, frozen, read_only, writeable
from models.artifact import Parts
from models.associations import model as associations
from models.associations.arguments import flags_of
from models.associations.arrays import Pairs
from models.associations.goal_query import Past
from models.associations.goals import NO_PAST
from models.associations.model import AssociationParams, AssociationStore
from models.bound import Bound, bind
from models.events.encode import EventArray
from models.learners.tree_walk import Trees
from models.ranker import embeddings, item_traits, item_vectors, kernels, neighbours, query
from models.ranker.arrays import Catalogue, Embeddings, Mix, Scratch
from models.ranker.embeddings import EmbeddingParams
from models.ranker.neighbours import NeighbourParams, Neighbours
from models.schema import N_EVENT_TYPES, N_INTENTS
from models.shops import ByShop

_NOTHING: Final[Ints] = np.zeros(0, dtype=np.int64)
_UNKNOWN_INTENT: Final[Floats] = np.zeros(N_INTENTS)

WIDE: Final = AssociationParams(
    window=15, step_power=0.5, backward=0.5, self_factor=8.0, repeats=0.0, anchor_power=0.6, max_targets=200
)
FOLLOWING: Final = AssociationParams(
    window=1, backward=0.0, self_factor=1.0, repeats=0.0, anchor_power=1.0, popularity_power=0.0, min_llr=0.0, max_targets=100
)


@dataclass(frozen=True)
class SourceParams:
    """Parameters of the candidates: their sources, and how many; stored with the ranker.

    Raises
    ------
    ValueError
        If a count is below 1, or a share or factor is negative.
    """

    wide: AssociationParams = WIDE
    following: AssociationParams = FOLLOWING
    neighbours: NeighbourParams = field(default_factory=lambda: NeighbourParams(length_power=0.5))
    embeddings: EmbeddingParams = field(default_factory=EmbeddingParams)
    n_candidates: int = 100
    n_reached: int = 40  # candidates that embeddings alone lead to
    n_dims: int = 64  # of the items as points
    max_anchors: int = 15  # distinct items of the session whose pairs are added up
    longest: int = 50  # events of a session that are looked at, its last ones
    blend: tuple[float, float, float] = (1.0, 0.3, 1.0)  # of wide, following and neighbours, when candidates are chosen
    decays: tuple[float, float] = (0.6, 0.6)  # of wide and following, from one distinct item to the one before
    unmatched: float = 0.5  # of pairs whose source type the visitor has not done
    recent: float = 20_000.0  # half-lives of popularity, in sessions
    latest: float = 3_000.0
    history: bool = True  # whether items of earlier sessions are candidates

    def __post_init__(self) -> None:
        counts = (self.n_candidates, self.n_dims, self.max_anchors, self.longest)
        factors = (*self.blend, *self.decays, self.unmatched)
        if min(counts) < 1 or min(*factors, self.n_reached) < 0 or min(self.recent, self.latest) <= 0:
            raise ValueError(f"counts must be at least 1, factors not negative and half-lives positive, got {self}")


# of files that do not say so
BEFORE: Final = {"history": False, "n_reached": 0, "embeddings": asdict(EmbeddingParams(n_rounds=0))}


class Sources(NamedTuple):
    """Everything learned by counting, over one catalogue."""

    wide: AssociationStore
    following: AssociationStore
    neighbours: Neighbours
    traits: Floats32  # (n_items, ranker_kernels.N_ITEM)
    vectors: Floats32  # (n_items, n_dims)
    embeddings: Embeddings


class Ranked(NamedTuple):
    """An answer, best first.

    Attributes
    ----------
    items
        Item codes, shape (n,), n <= limit.
    scores
        Falling, shape (n,); comparable within one answer only, may be negative.
    n_ranked
        The first so many were ranked, the rest are popular items.
    """

    items: Ints
    scores: Floats
    n_ranked: int


@dataclass(frozen=True, eq=False)
class Ranker(ByShop):
    """Sources and trees; safe to share between threads.

    Attributes
    ----------
    trees
        None in the fallback.
    fallback
        Why there are no trees: "" or "too_few_questions".
    """

    sources: Sources
    trees: Trees | None
    params: SourceParams
    fallback: str = ""
    _local: threading.local = field(init=False, repr=False, default_factory=threading.local)
    _bound: Bound = field(init=False, repr=False)

    def __post_init__(self) -> None:
        s, p = self.sources, self.params
        category = read_only(np.asarray(s.wide.index.category, dtype=np.int32))
        catalogue = Catalogue(
            _pairs(s.wide), _pairs(s.following), read_only(s.traits), read_only(s.vectors), category, s.embeddings
        )
        nearness = (p.embeddings.decay ** np.arange(p.embeddings.n_last)).astype(np.float32)
        mix = Mix(
            np.array(p.decays), np.array(p.blend), float(p.unmatched), p.max_anchors, p.n_candidates, p.n_reached, nearness
        )
        own = query.bound(catalogue, mix, s.neighbours.index, s.neighbours.rules, self.trees)
        object.__setattr__(self, "_bound", own)

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return self.sources.wide.n_items

    @property
    def item_ids(self) -> Sequence[str]:
        """Text of each item code."""
        return self.sources.wide.item_ids

    def code(self, item_id: str | None) -> int:
        """Code of an item, `NO_CODE` if unknown."""
        return self.sources.wide.code(item_id)

    def codes(self, item_ids: Iterable[str]) -> dict[str, int]:
        """Codes of some items by their ids, in order of first appearance, `NO_CODE` for the unknown."""
        return self.sources.wide.codes(item_ids)

    def rank(
        self, item_codes: Ints, event_types: Bytes, weights: Floats, limit: int, exclude: Ints | None = None,
        p_intent: Floats | None = None, allowed: Flags | None = None, past: Past = NO_PAST,
    ) -> Ranked:  # fmt: skip
        """Rank what goes with a session, filled up with popular items.

        Parameters
        ----------
        item_codes, event_types
            The session's events, oldest first, shape (n_events,); unknown items are passed over.
        weights
            Weight of each event type, shape (n_event_types,), finite and >= 0.
        limit
            At most so many items, >= 0.
        exclude
            Codes that must not come back.
        p_intent
            Probability of each intent, shape (n_intents,), as the ranker saw them when it learned; None if it saw none.
        allowed
            As `AssociationStore.recommend` has it.
        past
            What the visitor did in earlier sessions.

        Raises
        ------
        ValueError
            If shapes disagree or the limit is negative.
        """
        if limit < 0:
            raise ValueError(f"limit must not be negative, got {limit}")
        shut = _NOTHING if exclude is None else writeable(np.asarray(exclude), np.int64)
        open_to, asked = flags_of(allowed), self._question(item_codes, event_types, weights, p_intent, past)
        items, scores = query.best(*asked, self._bound.table, self._scratch().bound.table, shut, open_to, limit)
        if len(items) == limit:
            return Ranked(items, scores, limit)
        return self._filled(items, scores, weights, limit, shut, open_to)

    def candidates(
        self, item_codes: Ints, event_types: Bytes, weights: Floats, p_intent: Floats | None = None, past: Past = NO_PAST
    ) -> tuple[Ints, Floats32, int]:
        """Candidates of a session, their features, and how many: views of scratch, valid until this thread asks again.

        Codes of shape (n_candidates,) and features of shape (n_candidates, n_features), of which the first so many count.
        """
        scratch, asked = self._scratch(), self._question(item_codes, event_types, weights, p_intent, past)
        n = query.collect(*asked, self._bound.table, scratch.bound.table)
        return scratch.own.codes, scratch.own.features, n

    def _question(
        self, item_codes: Ints, event_types: Bytes, weights: Floats, p_intent: Floats | None, past: Past
    ) -> query.Question:  # fmt: skip
        if item_codes.shape != event_types.shape or item_codes.ndim != 1:
            raise ValueError(f"item_codes and event_types must be as long, got {item_codes.shape, event_types.shape}")
        if weights.shape != (N_EVENT_TYPES,):
            raise ValueError(f"weights must have the shape {(N_EVENT_TYPES,)}, got {weights.shape}")
        known = _UNKNOWN_INTENT if p_intent is None else p_intent
        if known.shape != (N_INTENTS,):
            raise ValueError(f"p_intent must have the shape {(N_INTENTS,)}, got {known.shape}")
        longest = self.params.longest
        return query.Question(
            writeable(item_codes[-longest:], np.int64), writeable(event_types[-longest:], np.int8),
            writeable(weights, np.float64), writeable(known, np.float64), *(past if self.params.history else NO_PAST),
        )  # fmt: skip

    def _filled(self, items: Ints, scores: Floats, weights: Floats, limit: int, shut: Ints, open_to: Flags) -> Ranked:
        more = self.sources.wide.popular(limit - len(items), weights, np.concatenate((items, shut)), open_to)
        least = scores[-1] if len(scores) else 0.0
        return Ranked(
            np.concatenate((items, more.items)), np.concatenate((scores, least - 1.0 + 0.5 * more.scores)), len(items)
        )

    def _scratch(self) -> "_Memory":
        found: _Memory | None = getattr(self._local, "scratch", None)
        if found is None:
            own = _new_scratch(self.n_items, self.params.n_candidates + self.params.n_reached)
            found = self._local.scratch = _Memory(own, bind(*own, *self.sources.neighbours.scratch()))
        return found


class _Memory(NamedTuple):
    """Working memory of a thread; the neighbours' is bound behind the ranker's own."""

    own: Scratch
    bound: Bound


def _pairs(store: AssociationStore) -> Pairs:
    return Pairs(store.index.offsets, store.index.target, store.index.types, store.index.strength)


def _new_scratch(n: int, n_candidates: int) -> Scratch:
    return Scratch(
        np.zeros(1, np.int64), np.zeros((n, 2), np.int64), np.zeros(n, np.int64), np.zeros((n, kernels.N_SUMS), np.float32),
        np.zeros(n, np.float32), np.zeros((n, 4), np.int32), np.zeros(n_candidates, np.int64),
        np.zeros((n_candidates, kernels.N_FEATURES), np.float32),
    )  # fmt: skip


def build_sources(events: EventArray, starts: Flags, item_ids: Objects, params: SourceParams | None = None) -> Sources:
    """Count everything that candidates and features are made from.

    Parameters
    ----------
    events
        Whole sessions one after the other, oldest session first, shape (n_events,). Events without an item are passed over.
    starts
        True at the first event of each session, shape (n_events,).
    item_ids
        Text of each item code, shape (n_items,).

    Raises
    ------
    ValueError
        As `associations.build`.
    """
    params = params or SourceParams()
    items, offsets = sequences(events, starts)
    n_items = len(item_ids)
    wide = associations.build(events, starts, item_ids, params.wide)
    vectors = item_vectors.fit(items, offsets, n_items, params.n_dims)
    return Sources(
        wide,
        associations.build(events, starts, item_ids, params.following),
        neighbours.build(items, offsets, n_items, params.neighbours),
        np.hstack(
            (
                item_traits.traits(items, offsets, n_items, float(params.recent), float(params.latest)),
                item_traits.offers(events, n_items),
            )
        ),
        vectors,
        embeddings.fit(items, offsets, vectors, _pairs(wide), params.embeddings),
    )


def sequences(events: EventArray, starts: Flags) -> tuple[Ints, Ints]:
    """Items of all sessions one after the other, and where each session begins; events without an item are left out.

    Examples
    --------
    >>> from models.events.encode import EVENT_DTYPE
    >>> events = np.zeros(4, EVENT_DTYPE)
    >>> events["item"] = [5, -1, 6, 7]
    >>> items, offsets = sequences(events, np.array([True, False, False, True]))
    >>> items.tolist(), offsets.tolist()
    ([5, 6, 7], [0, 2, 3])
    """
    kept = events["item"] >= 0
    n_kept = np.concatenate(([0], np.cumsum(kept)))
    offsets = n_kept[np.append(np.flatnonzero(starts), len(events))]
    return np.ascontiguousarray(events["item"][kept]), offsets.astype(np.int64)


def to_parts(ranker: Ranker) -> Parts:
    """The ranker as a model file holds it, sources and all."""
    s = ranker.sources
    inner = {"wide": associations.to_parts(s.wide), "following": associations.to_parts(s.following),
             "neighbours": neighbours.to_parts(s.neighbours)}  # fmt: skip
    arrays = {f"{name}_{key}": array for name, parts in inner.items() for key, array in parts.arrays.items()}
    if ranker.trees is not None:
        arrays |= {f"tree_{key}": array for key, array in ranker.trees._asdict().items()}
    meta = {
        "features": list(kernels.FEATURES),
        "fallback": ranker.fallback,
        "params": asdict(ranker.params),
        **{name: dict(parts.meta) for name, parts in inner.items()},
    }
    arrays |= {f"embedding_{key}": array for key, array in s.embeddings._asdict().items()}
    return Parts(meta, {**arrays, "traits": s.traits, "vectors": s.vectors})


def from_parts(parts: Parts) -> Ranker:
    """The ranker of a model file.

    Raises
    ------
    ValueError
        If the file's features are not those of this program.
    """
    meta: dict[str, Any] = dict(parts.meta)
    if not set(meta["features"]) <= set(kernels.FEATURES):
        raise ValueError(f"the ranker was trained on other features: {meta['features']}")
    arrays: dict[str, Any] = dict(parts.arrays)

    def inner(name: str) -> Parts:
        found = {key.removeprefix(f"{name}_"): array for key, array in arrays.items() if key.startswith(f"{name}_")}
        return Parts(meta[name], found)

    sources = Sources(
        associations.from_parts(inner("wide")), associations.from_parts(inner("following")),
        neighbours.from_parts(inner("neighbours")), read_only(arrays["traits"]), read_only(arrays["vectors"]),
        _embeddings(arrays),
    )  # fmt: skip
    return Ranker(sources, _trees(arrays, meta["features"]), source_params(meta["params"]), meta["fallback"])


def _embeddings(arrays: Mapping[str, Any]) -> Embeddings:
    if "embedding_context" not in arrays:
        return embeddings.none(len(arrays["traits"]))
    return frozen(Embeddings(*(arrays[f"embedding_{name}"] for name in Embeddings._fields)))


def _trees(arrays: Mapping[str, Any], features: Sequence[str]) -> Trees | None:
    """The trees of a model file, asking for its features by this program's numbers; None where there are none."""
    if "tree_roots" not in arrays:
        return None
    trees = Trees(*(arrays[f"tree_{name}"] for name in Trees._fields))
    if list(features) != list(kernels.FEATURES):
        numbers = np.array([kernels.FEATURES.index(feature) for feature in features], np.int32)
        trees = trees._replace(feature=numbers[trees.feature])
    return frozen(trees)


def source_params(meta: Mapping[str, Any]) -> SourceParams:
    """The parameters that a ranker's file holds."""
    meta = {**BEFORE, **meta}
    inner = {"wide": AssociationParams, "following": AssociationParams, "neighbours": NeighbourParams,
             "embeddings": EmbeddingParams}  # fmt: skip
    kept = {each.name: meta[each.name] for each in fields(SourceParams)}
    kept |= {name: kind(**meta[name]) for name, kind in inner.items()}
    return SourceParams(**{**kept, "blend": tuple(meta["blend"]), "decays": tuple(meta["decays"])})
