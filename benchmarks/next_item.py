"""The next item of a session, ours beside two peers: hit rate, reciprocal rank, speed and memory.

    python -m benchmarks.next_item TRAIN.jsonl.gz TEST.jsonl.gz

TRAIN holds one list of item ids a line, oldest session first; TEST holds ``{"prefix": [ids], "next": id}``. Full ranking, items
already seen allowed, so HR@20 is the share of cases whose next item is among the first 20. Every parameter, of ours and of the
peers, is chosen on the newest 4 % of the training sessions with models fitted to the rest; then each model is fitted to all
training sessions and the test cases are looked at once. Without arguments the RetailRocket sequences are used.
"""

import ctypes
import gc
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from benchmarks import peers
from benchmarks.sequences import Case, Log, cases_of, read_test, read_train
from models.associations import model as associations
from models.associations.model import AssociationParams
from models.ranker import model as ranker
from models.ranker import neighbours
from models.ranker import training as ranker_training
from models.ranker.model import Ranker, SourceParams
from models.ranker.neighbours import NeighbourParams
from models.ranker.training import GrowParams, always
from models.schema import N_EVENT_TYPES, EventType

LIMIT = 20
VALID_SHARE = 0.04
MOST_CASES = 4000  # of the validation slice
Answer = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]
P = TypeVar("P")

WEIGHTS = np.zeros(N_EVENT_TYPES)
WEIGHTS[EventType.ITEM_VIEW] = 1.0

ASSOCIATION_GRID: dict[str, tuple[Any, ...]] = {
    "self_factor": (4.0, 16.0),
    "step_power": (0.3, 0.8),
    "anchor_power": (0.4, 0.8),
    "popularity_power": (0.0, 0.3),
    "backward": (0.3, 0.8),
    "rank_decay": (0.4, 0.8),
}
NEIGHBOUR_GRID: dict[str, tuple[Any, ...]] = {
    "length_power": (0.0, 1.0),
    "position_decay": (0.7, 0.9),
    "match_decay": (0.7, 0.9),
    "idf_power": (0.5, 1.5),
    "n_neighbours": (200, 1000),
}
BLENDS = tuple((a, b, 1.0) for a in (0.0, 0.25, 0.5, 1.0, 2.0) for b in (0.0, 0.3))
N_TREES = (100, 150, 200)
VMIS_GRID = [peers.VmisParams(m, k) for m, k in itertools.product((500, 1000, 2500), (100, 500, 1000))]
VMIS_LAST = (2, 3, 5)
ITEM_GRID = [peers.ItemItemParams(kind, n) for kind in ("cosine", "tfidf", "bm25", "plain") for n in (100, 500)]


class Quality(NamedTuple):
    """Share of hits and mean reciprocal rank among the first 20, and of each query microseconds and reciprocal rank."""

    hr_at_20: float
    mrr_at_20: float
    spent_us: npt.NDArray[np.float64]
    reciprocal: npt.NDArray[np.float64]

    @property
    def worth(self) -> float:
        """What parameters are chosen by."""
        return self.hr_at_20 + self.mrr_at_20


def quality(answer: Answer, cases: list[Case]) -> Quality:
    """Ask every case once."""
    reciprocal, spent_us = np.zeros(len(cases)), np.zeros(len(cases))
    if cases:
        answer(cases[0].prefix)  # scratch is made at the first call
    for n, (prefix, following) in enumerate(cases):
        began = time.perf_counter_ns()
        items = answer(prefix)
        spent_us[n] = (time.perf_counter_ns() - began) / 1e3
        hit = np.flatnonzero((items[:LIMIT] == following) & (following >= 0))
        reciprocal[n] = 1.0 / (hit[0] + 1) if len(hit) else 0.0
    return Quality(
        float(np.mean(reciprocal > 0)) if cases else 0.0, float(reciprocal.mean()) if cases else 0.0, spent_us, reciprocal
    )


def association_answers(log: Log, params: AssociationParams) -> Answer:
    """The pair store alone."""
    store = associations.build(log.events, log.starts, log.item_ids, params)
    return lambda items: store.recommend(
        items, np.zeros(len(items), np.int8), np.zeros(len(items)), WEIGHTS, LIMIT
    ).items  # fmt: skip


def ranker_answers(model: Ranker) -> Answer:
    """A ranker; without trees, the blend of pairs and neighbours."""
    return lambda items: model.rank(items, np.zeros(len(items), np.int8), WEIGHTS, LIMIT).items


def blend_answers(log: Log, params: SourceParams) -> Answer:
    """Pairs and neighbours, blended."""
    return ranker_answers(Ranker(ranker.build_sources(log.events, log.starts, log.item_ids, params), None, params))


def neighbour_answers(log: Log, params: NeighbourParams) -> Answer:
    """The neighbours alone."""
    items, offsets = ranker.sequences(log.events, log.starts)
    model = neighbours.build(items, offsets, len(log.item_ids), params)
    return lambda session: model.recommend(session, LIMIT)[0]


def vmis_answers(log: Log, params: peers.VmisParams) -> Answer:
    """VMIS-kNN."""
    model = peers.VmisKnn(*ranker.sequences(log.events, log.starts), len(log.item_ids), params)
    return lambda items: model.recommend(items, LIMIT)


def item_answers(log: Log, params: peers.ItemItemParams) -> Answer:
    """The item-item model of `implicit`."""
    model = peers.ItemItem(*ranker.sequences(log.events, log.starts), len(log.item_ids), params)
    return lambda items: model.recommend(items, LIMIT)


@dataclass
class Chooser:
    """Picks parameters by the validation cases."""

    log: Log
    cases: list[Case]

    def best(self, make: Callable[[Log, P], Answer], options: Iterable[P]) -> P:
        """The option with the largest HR@20 + MRR@20; the first where there is nothing to choose by."""
        options = list(options)
        if not self.cases:
            return options[0]
        return max(options, key=lambda option: quality(make(self.log, option), self.cases).worth)

    def climb(self, make: Callable[[Log, P], Answer], start: P, grid: dict[str, tuple[Any, ...]]) -> P:
        """Coordinate search: one parameter after the other."""
        if not self.cases:
            return start
        best, most = start, quality(make(self.log, start), self.cases).worth
        for name, values in grid.items():
            for value in values:
                tried: P = replace(best, **{name: value})  # type: ignore[type-var]
                found = quality(make(self.log, tried), self.cases).worth
                best, most = (tried, found) if found > most else (best, most)
        return best


class Chosen(NamedTuple):
    """Parameters of every model."""

    association: AssociationParams
    sources: SourceParams
    grow: GrowParams
    vmis: peers.VmisParams
    item: peers.ItemItemParams


def choose(log: Log) -> tuple[Chosen, int]:
    """Everything that is chosen, and by how many cases."""
    n_sessions = len(log.begins) - 1
    cut = n_sessions - int(n_sessions * VALID_SHARE)
    chooser = Chooser(log.first(cut), cases_of(log, cut, MOST_CASES, np.random.default_rng(0)))
    vmis = chooser.best(vmis_answers, VMIS_GRID)
    vmis = chooser.best(vmis_answers, [vmis, *(replace(vmis, n_last=n) for n in VMIS_LAST)])
    item = chooser.best(item_answers, ITEM_GRID)
    _say("peers chosen")
    association = chooser.climb(association_answers, ranker.WIDE, ASSOCIATION_GRID)
    near = chooser.climb(neighbour_answers, SourceParams().neighbours, NEIGHBOUR_GRID)
    _say("associations and neighbours chosen")
    sources = replace(SourceParams(), neighbours=near, wide=association)
    sources = replace(sources, blend=_blend(chooser, sources))
    grow = _trees(chooser, sources)
    _say("ranker chosen")
    return Chosen(association, sources, grow, vmis, item), len(chooser.cases)


def _blend(chooser: Chooser, sources: SourceParams) -> tuple[float, float, float]:
    log = chooser.log
    built = ranker.build_sources(log.events, log.starts, log.item_ids, sources)
    return chooser.best(lambda _, blend: ranker_answers(Ranker(built, None, replace(sources, blend=blend))), BLENDS)


def _trees(chooser: Chooser, sources: SourceParams) -> GrowParams:
    """How many trees: those of one long training, cut short."""
    log, grow = chooser.log, GrowParams(n_trees=max(N_TREES))
    if not chooser.cases:
        return grow
    model = ranker_training.fit(log.events, log.starts, log.item_ids, always(WEIGHTS), sources, grow)
    if model.trees is None:
        return grow
    trees = model.trees

    def shortened(_: Log, n: int) -> Answer:
        cut = trees._replace(roots=trees.roots[:n], depths=trees.depths[:n])
        return ranker_answers(Ranker(model.sources, cut, sources))

    return replace(grow, n_trees=chooser.best(shortened, N_TREES))


def judged(make: Callable[[], Answer], cases: list[Case]) -> tuple[dict[str, Any], Answer, Quality]:
    """Fit to all training sessions and ask the test cases: the figures of one model."""
    before = _start_of_memory()
    began = time.perf_counter()
    answer = make()
    fit_s = time.perf_counter() - began
    found = quality(answer, cases)
    p50, p99 = np.percentile(found.spent_us, (50, 99))
    figures = {
        "hr_at_20": round(found.hr_at_20, 4), "mrr_at_20": round(found.mrr_at_20, 4), "fit_s": round(fit_s, 2),
        "query_p50_us": round(float(p50), 1), "query_p99_us": round(float(p99), 1),
        "peak_mb": None if before is None else round(_memory_mb("VmHWM") - before, 1),
    }  # fmt: skip
    return figures, answer, found


def gain(ours: Quality, other: Quality) -> dict[str, list[float]]:
    """What one model gains on another, case by case, with the 95 % interval of the mean."""
    found = {}
    for name, difference in (
        ("hr_at_20", (ours.reciprocal > 0) * 1.0 - (other.reciprocal > 0)),
        ("mrr_at_20", ours.reciprocal - other.reciprocal),
    ):
        mean, half = float(difference.mean()), 1.96 * float(difference.std()) / max(len(difference), 1) ** 0.5
        found[name] = [round(value, 4) for value in (mean, mean - half, mean + half)]
    return found


def long_sessions(answer: Answer, known: npt.NDArray[np.int64]) -> dict[str, float]:
    """Microseconds of a query by a session of 15 events about 15 items, if there are so many."""
    rng, n = np.random.default_rng(1), min(15, len(known))
    sessions = [rng.choice(known, n, replace=False) for _ in range(2000)]
    found = quality(answer, [Case(session, -1) for session in sessions])
    p50, p99 = np.percentile(found.spent_us, (50, 99))
    return {"query_15_items_p50_us": round(float(p50), 1), "query_15_items_p99_us": round(float(p99), 1)}


def _start_of_memory() -> float | None:
    """Megabytes in use now, from where the peak counts; None where Linux is not."""
    gc.collect()
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)  # what was freed must not hide what is taken
    reset.write_text("5")
    return _memory_mb("VmRSS")


def _memory_mb(name: str) -> float:
    return float(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) / 1e3


def _compile(log: Log) -> None:
    """Run every kernel once, so that no model's figures hold the time of its compilation."""
    sources = SourceParams()
    for answer in (
        association_answers(log, sources.wide), neighbour_answers(log, sources.neighbours), blend_answers(log, sources),
        vmis_answers(log, peers.VmisParams()), item_answers(log, peers.ItemItemParams()),
    ):  # fmt: skip
        answer(np.ascontiguousarray(log.events["item"][:9]))


def _say(text: str) -> None:
    """Where a run of minutes stands, for whoever watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{text}\n")


def run(train: Path, test: Path) -> dict[str, Any]:
    """The whole report."""
    log = read_train(train)
    cases = read_test(test, log.item_ids)
    _compile(log.first(1))
    began = time.perf_counter()
    chosen, n_valid = choose(log)
    choose_s = time.perf_counter() - began
    whole = (log.events, log.starts, log.item_ids)
    fallback = ""

    def ranked(sources: SourceParams = chosen.sources) -> Answer:
        nonlocal fallback
        model = ranker_training.fit(*whole, always(WEIGHTS), sources, chosen.grow)
        fallback = model.fallback
        return ranker_answers(model)

    unembedded = replace(chosen.sources, embeddings=replace(chosen.sources.embeddings, n_rounds=0), n_reached=0)

    ours: dict[str, Callable[[], Answer]] = {
        "associations": lambda: association_answers(log, chosen.association),
        "with_neighbours": lambda: blend_answers(log, chosen.sources),
        "with_ranker": ranked,
        "ranker_without_embeddings": lambda: ranked(unembedded),
    }
    theirs: dict[str, Callable[[], Answer]] = {
        "vmis_knn": lambda: vmis_answers(log, chosen.vmis),
        "implicit_item_item": lambda: item_answers(log, chosen.item),
    }
    known = np.unique(log.events["item"])
    methods: dict[str, dict[str, Any]] = {}
    asked: dict[str, Quality] = {}
    for name, make in {**ours, **theirs}.items():
        methods[name], answer, asked[name] = judged(make, cases)
        if name in ours:
            methods[name] |= long_sessions(answer, known)
        del answer
        _say(f"{name}: {methods[name]}")
    methods["with_ranker"]["fallback"] = fallback
    return {
        "n_sessions": len(log.begins) - 1, "n_items": len(log.item_ids), "n_test_cases": len(cases),
        "n_next_unknown": sum(case.following < 0 for case in cases), "n_validation_cases": n_valid,
        "methods": methods, "embeddings_gain": gain(asked["with_ranker"], asked["ranker_without_embeddings"]),
        "choose_s": round(choose_s, 1), "total_s": round(time.perf_counter() - began, 1),
        "chosen": {name: asdict(value) for name, value in chosen._asdict().items()},
    }  # fmt: skip


def main(arguments: list[str]) -> int:
    """Print the report as one JSON object; 2 and one line on stderr if a file cannot be used."""
    folder = Path(os.environ.get("ATTUNE_TEST_DATA", "../shared/data")) / "retailrocket_sequences"
    files = [Path(text) for text in arguments] or [folder / "train_sessions.jsonl.gz", folder / "test_prefixes.jsonl.gz"]
    if len(files) != 2:
        sys.stderr.write("usage: python -m benchmarks.next_item TRAIN.jsonl.gz TEST.jsonl.gz\n")
        return 2
    try:
        print(json.dumps(run(*files)))
    except (OSError, ValueError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
