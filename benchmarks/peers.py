"""Two models of others, to stand beside ours in the same run on the same sessions.

`VmisKnn` follows the description of VMIS-kNN in Kersbergen, Sprangers and Schelter, "Serenade – Low-Latency Session-Based
Recommendations in e-Commerce at Scale" (SIGMOD 2022): the m most recent sessions that share an item with the visitor's, the k
most similar of them, linear decay by the item's place in the session, linear decay by the newest match, and inverse document
frequency. One thing differs, in its favour: the item at hand may be answered, because it often comes next in these data.
`ItemItem` is the item-item model of the library `implicit`; its answer sums over the items of the session.
"""

import heapq
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from models.arrays import Floats, Ints
from models.kernels import kernel

N_MATCH_DECAY = 10  # lambda(x) = 1 - x / 10 for a match x places from the end, 0 beyond


@dataclass(frozen=True)
class VmisParams:
    """The three hyper-parameters of the paper's search."""

    m: int = 1000  # most recent sessions
    k: int = 500  # neighbours
    n_last: int = 9  # items of the visitor's session that are looked at


class VmisIndex(NamedTuple):
    """Sessions of each item, newest first and at most m; distinct items of each session; inverse document frequency."""

    offsets: Ints
    sessions: Ints
    starts: Ints
    items: Ints
    idf: Floats


@kernel
def _distinct(items: Ints, offsets: Ints, n_items: int) -> tuple[Ints, Ints]:
    last, kept, starts = np.full(n_items, -1), np.empty(len(items), np.int64), np.zeros(len(offsets), np.int64)
    n = 0
    for s in range(len(offsets) - 1):
        for p in range(offsets[s], offsets[s + 1]):
            if last[items[p]] != s:
                last[items[p]] = s
                kept[n] = items[p]
                n += 1
        starts[s + 1] = n
    return kept[:n], starts


@kernel
def _postings(items: Ints, starts: Ints, n_with: Ints, m: int) -> tuple[Ints, Ints]:
    offsets = np.zeros(len(n_with) + 1, np.int64)
    offsets[1:] = np.cumsum(np.minimum(n_with, m))
    filled, sessions = offsets[:-1].copy(), np.empty(offsets[-1], np.int64)
    for s in range(len(starts) - 2, -1, -1):
        for p in range(starts[s], starts[s + 1]):
            if filled[items[p]] < offsets[items[p] + 1]:
                sessions[filled[items[p]]] = s
                filled[items[p]] += 1
    return offsets, sessions


@kernel
def _similar(index: VmisIndex, session: Ints, m: int, likeness: Floats, match: Ints) -> Ints:
    """The at most m most recent sessions that share an item, with their likeness and newest match written in place."""
    heap = [np.int64(0) for _ in range(0)]
    n_items, length = len(index.offsets) - 1, len(session)
    for place in range(length, 0, -1):
        code = session[place - 1]
        if code < 0 or code >= n_items:
            continue
        again = False
        for later in range(place, length):
            again |= session[later] == code
        if again:
            continue
        decay = place / length
        for p in range(index.offsets[code], index.offsets[code + 1]):
            s = index.sessions[p]
            if likeness[s] > 0.0:
                likeness[s] += decay
            elif len(heap) < m:
                heapq.heappush(heap, s)
                likeness[s], match[s] = decay, length - place + 1
            elif s > heap[0]:
                likeness[heapq.heapreplace(heap, s)] = 0.0
                likeness[s], match[s] = decay, length - place + 1
            else:
                break  # the rest is older still
    return np.array(heap, np.int64) if len(heap) else np.empty(0, np.int64)


@kernel
def _vmis(
    index: VmisIndex, session: Ints, m: int, k: int, limit: int, likeness: Floats, match: Ints, sums: Floats
) -> tuple[Ints, Floats]:
    found = np.sort(_similar(index, session, m, likeness, match))[::-1]  # newest first, so that ties go to the newest
    alike = np.empty(len(found))
    for n in range(len(found)):
        alike[n] = likeness[found[n]]
    order = np.argsort(-alike, kind="mergesort")[:k]
    touched = [np.int64(0) for _ in range(0)]
    for n in order:
        s = found[n]
        weight = alike[n] * (1.0 - match[s] / N_MATCH_DECAY) if match[s] < N_MATCH_DECAY else 0.0
        for p in range(index.starts[s], index.starts[s + 1]):
            if weight > 0.0:
                if sums[index.items[p]] == 0.0:
                    touched.append(index.items[p])
                sums[index.items[p]] += weight * index.idf[index.items[p]]
    for s in found:
        likeness[s] = 0.0
    items = np.array(touched, np.int64) if len(touched) else np.empty(0, np.int64)
    scores = sums[items]
    sums[items] = 0.0
    best = np.argsort(-scores, kind="mergesort")[:limit]
    return items[best], scores[best]


class VmisKnn:
    """VMIS-kNN over whole sessions, oldest first.

    Parameters
    ----------
    items, offsets
        Item codes of all sessions, and where each begins, shapes (n_touches,) and (n_sessions + 1,).
    """

    def __init__(self, items: Ints, offsets: Ints, n_items: int, params: VmisParams) -> None:
        kept, starts = _distinct(items, offsets, n_items)
        n_with = np.bincount(kept, minlength=n_items)
        idf = np.log(max(len(offsets) - 1, 1) / np.maximum(n_with, 1))
        self.params = params
        self._index = VmisIndex(*_postings(kept, starts, n_with, params.m), starts, kept, np.maximum(idf, 1e-9))
        self._scratch = np.zeros(len(offsets)), np.zeros(len(offsets), np.int64), np.zeros(n_items)

    def recommend(self, session: Ints, limit: int) -> Ints:
        """Item codes, best first; `session` oldest first."""
        p = self.params
        return _vmis(self._index, np.ascontiguousarray(session[-p.n_last :]), p.m, p.k, limit, *self._scratch)[0]


@dataclass(frozen=True)
class ItemItemParams:
    """Which weighting, and how many neighbours of each item are kept."""

    kind: str = "cosine"  # cosine, tfidf, bm25 or plain
    n_kept: int = 100


class ItemItem:
    """The item-item model of `implicit`: item co-occurrence over sessions; an answer sums over the session's items."""

    def __init__(self, items: Ints, offsets: Ints, n_items: int, params: ItemItemParams) -> None:
        import implicit.nearest_neighbours as library  # type: ignore[import-untyped]  # a development dependency, heavy to load

        kinds = {
            "cosine": library.CosineRecommender,
            "tfidf": library.TFIDFRecommender,
            "bm25": library.BM25Recommender,
            "plain": library.ItemItemRecommender,
        }
        rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        matrix = csr_matrix((np.ones(len(items)), (rows, items)), shape=(len(offsets) - 1, n_items))
        matrix.sum_duplicates()  # an item counts once per session
        matrix.data[:] = 1.0
        self._model: Any = kinds[params.kind](K=params.n_kept + 1, num_threads=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it converts a matrix of its own, and says so
            self._model.fit(matrix, show_progress=False)
        self._n_items = n_items

    def recommend(self, session: Ints, limit: int) -> Ints:
        """Item codes, best first."""
        known = np.unique(session[(session >= 0) & (session < self._n_items)]).astype(np.int32)
        row = csr_matrix((np.ones(len(known)), known, np.array([0, len(known)], np.int32)), shape=(1, self._n_items))
        codes, scores = self._model.recommend(0, row, N=limit, filter_already_liked_items=False)
        return np.asarray(codes[scores > 0], dtype=np.int64)
