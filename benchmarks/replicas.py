"""Live associations as several services have them, under traffic: a part of `benchmarks.scale`.

From an event to the answer that it changes, in every service; and their views, which must be the same to the bit and, since
nothing is dropped by a gate, those of a build over the whole log.
"""

import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import numpy as np

from benchmarks.live_associations import applied
from infra import registry
from infra.store.events import read_events
from infra.store.protocol import Store
from models.artifact import Parts
from models.associations import model as associations
from models.associations.arrays import TYPE_BITS, TYPE_MASK
from models.associations.from_log import built
from models.associations.model import AssociationParams, AssociationStore
from models.events.encode import EVENT_DTYPE
from models.inference.examples import read_log
from services.serving.association_tail import SETTLE_S
from services.serving.model_watch import ChampionSource

UNGATED: Final[Mapping[str, Any]] = {"min_llr": 0.0, "max_targets": 10_000, "n_popular": 10_000}  # nothing is dropped
N_PROBES: Final = 100
PATIENCE_S: Final = 120.0
ASK_AGAIN_S: Final = 0.02
Entry = tuple[str, int, str, int]  # anchor, its type, target, its type


class Told(NamedTuple):
    """View of a process: a hash of all that its answers are made of, and the strength of each of its pairs."""

    bits: str
    strengths: Mapping[Entry, float]


# ---- in a service ----------------------------------------------------------------------------------------------------


def tell(champions: ChampionSource, path: Path) -> None:
    """Write a process's view to a file, which is there whole or not at all."""
    store = champions.current().associations
    assert store is not None
    new = path.with_suffix(".new")
    new.write_bytes(pickle.dumps(Told(_bits(store), strengths(store))))
    new.replace(path)


def _bits(store: AssociationStore) -> str:
    arrays = *store.overlay, store.index.popular_item, store.index.popular_count
    found = blake2b(repr(list(store.item_ids[: store.n_items])).encode())
    for value in arrays:
        found.update(np.asarray(value).tobytes())
    return found.hexdigest()


def strengths(store: AssociationStore) -> dict[Entry, float]:
    """Strength of each pair, wherever it stands."""
    found, index, overlay = {}, store.index, store.overlay
    for anchor in range(store.n_items):
        slot = overlay.slot[anchor] if len(overlay.slot) else 0
        arrays, factor = (overlay, overlay.overlay_factor) if slot else (index, overlay.index_factor)
        if not slot and anchor + 1 >= len(index.offsets):
            continue
        first, last = overlay.span[slot] if slot else index.offsets[anchor : anchor + 2]
        for entry in range(first, last):
            target, types = int(arrays.target[entry]), int(arrays.types[entry])
            ratio = overlay.ratio[overlay.slot[target], types & TYPE_MASK] if len(overlay.slot) else 1.0
            key = store.item_ids[anchor], types >> TYPE_BITS, store.item_ids[target], types & TYPE_MASK
            found[key] = float(factor * ratio * arrays.strength[entry])
    return found


# ---- in the benchmark ------------------------------------------------------------------------------------------------


def begin(home: Path) -> None:
    """Let associations serve that were built of no event and drop nothing: all that they have is counted live."""
    nothing = associations.build(
        np.zeros(0, EVENT_DTYPE), np.zeros(0, np.bool_), np.zeros(0, object), AssociationParams(**UNGATED)
    )
    parts: Parts = associations.to_parts(replace(nothing, built_to_seq=0))
    version = registry.save(home, "associations", parts, {})
    registry.set_alias(home, registry.CHAMPION, {"associations": version}, action="promote", actor="benchmark", reason="")


def event_to_answer(doors: Sequence[str], key: str) -> dict[str, float]:
    """Milliseconds from two views, sent to one service, until services answer the first by the second; the slowest's."""
    spent: list[list[float]] = [[] for _ in doors]
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=60) as client, ThreadPoolExecutor(len(doors)) as pool:
        for n in range(N_PROBES + 1):
            began = time.perf_counter()
            pair = [_view(n, which) for which in "ab"]
            client.post(f"{doors[n % len(doors)]}/v1/events", json={"events": pair}).raise_for_status()

            def wait(door: str, n: int = n, began: float = began) -> float:
                until = time.monotonic() + PATIENCE_S
                while not _answers(client, door, n):
                    if time.monotonic() > until:
                        raise TimeoutError(f"an event does not change the answers of {door}")
                    time.sleep(ASK_AGAIN_S)
                return (time.perf_counter() - began) * 1e3

            for k, took_ms in enumerate(pool.map(wait, doors)):
                spent[k].append(took_ms)
    p50, p99 = (max(np.percentile(each[1:], q) for each in spent) for q in (50, 99))  # the first waits for the champion
    return {"event_to_answer_p50_ms": round(p50, 1), "event_to_answer_p99_ms": round(p99, 1)}


def _view(n: int, which: str) -> dict[str, object]:
    now = {"type": "item_view", "ts": datetime.now(UTC).isoformat()}
    return {
        **now,
        "event_id": f"probe-{n}-{which}",
        "user_id": f"probe {n}",
        "session_id": "s",
        "item_id": f"probe {n} {which}",
    }


def _answers(client: httpx.Client, door: str, n: int) -> bool:
    seen = {"type": "item_view", "item_id": f"probe {n} a", "ts": datetime.now(UTC).isoformat()}
    asked = {"user_id": "asker", "session_data": {"session_id": "s", "events": [seen]}, "limit": 5}
    reply = client.post(f"{door}/v1/recommendations", json=asked)
    reply.raise_for_status()
    return any(item["item_id"] == f"probe {n} b" for item in reply.json()["items"])


def views(ask: Callable[[], Sequence[Told]], store: Store) -> dict[str, Any]:
    """How many views services have when all has settled, and how they differ from a build over the log."""
    told, until = ask(), time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        time.sleep(2 * SETTLE_S)
        before, told = told, ask()
        if len({one.bits for one in (*before, *told)}) == 1:
            break
    log, _ = read_log(read_events(store, believed=True))
    anew, live = strengths(built(log, UNGATED)), told[0].strengths
    shared = anew.keys() & live.keys()
    return {
        "views": len({one.bits for one in told}),
        "pairs_of_rebuild": len(anew),
        "pairs_not_in_both": len(anew.keys() ^ live.keys()),
        "most_off_rebuild": max((abs(live[key] / anew[key] - 1) for key in shared), default=1.0),
        **{name: round(a_second) for name, a_second in applied(built(log, {})).items() if name.startswith("added")},
    }


def ask_all(pids: Sequence[int], folder: Path, send: Callable[[int], None], patience_s: float = PATIENCE_S) -> list[Told]:
    """Views of some processes, each of which writes its own to a file when it is told to."""
    paths = [folder / f"view of {pid}" for pid in pids]
    for path, pid in zip(paths, pids, strict=True):
        path.unlink(missing_ok=True)
        send(pid)
    until = time.monotonic() + patience_s
    while not all(path.exists() for path in paths):
        if time.monotonic() > until:
            raise TimeoutError("a service does not tell its view")
        time.sleep(0.05)
    return [pickle.loads(path.read_bytes()) for path in paths]
