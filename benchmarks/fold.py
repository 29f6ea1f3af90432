"""How fast events are folded: `python -m benchmarks.fold` prints one JSON object.

Floors measured in the same run: pandas computing the same session features with group-bys (as many as it can without a Python
loop, checked against the kernel's), and a kernel that only reads and writes the same bytes.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from models.events.encode import EVENT_DTYPE, EventArray
from models.features import items, sessions, users
from models.kernels import kernel
from models.schema import EVENT_TYPES, MEASURES, SESSION_FEATURES, EventType

N_EVENTS = 500_000
MEAN_SESSION = 10
# What group-bys cannot express without a Python loop or an approximation; pandas is spared these.
NOT_IN_PANDAS = {
    *(f"recent_{t}" for t in EVENT_TYPES),
    "recent_gap_s",
    "cart_size",
    "n_carts_abandoned",
    "since_cart_s",
    "n_events_since_cart",
}


def shop(rng: np.random.Generator, n: int) -> tuple[EventArray, np.ndarray]:
    """Events of sessions of geometric length, with about two in five measures present."""
    starts = rng.random(n) < 1 / MEAN_SESSION
    starts[0] = True
    events = np.zeros(n, dtype=EVENT_DTYPE)
    events["occurred_at_us"] = 1_700_000_000_000_000 + np.cumsum(rng.exponential(20e6, n)).astype(np.int64)
    events["event_type"] = rng.integers(0, len(EVENT_TYPES), n)
    events["item"] = np.where(rng.random(n) < 0.7, np.cumsum(starts) * 7 % 5000 + rng.integers(0, 8, n), -1)
    events["category"] = np.where(rng.random(n) < 0.8, rng.integers(0, 6, n), -1)
    for name in MEASURES:
        events[name] = np.where(rng.random(n) < 0.4, rng.random(n), np.nan)
    events["device"], events["referrer"] = rng.integers(0, 5, n), rng.integers(0, 7, n)
    return events, starts


def pandas_features(events: EventArray, starts: np.ndarray) -> dict[str, Any]:
    """The session features by group-by, after every event."""
    session = np.cumsum(starts)
    frame = pd.DataFrame({name: events[name] for name in EVENT_DTYPE.names or ()})
    return {
        **_tempo(frame, session),
        **_things(frame, session),
        **_measures(frame, session),
        **_moment(frame, session),
    }


def _tempo(frame: pd.DataFrame, session: np.ndarray) -> dict[str, Any]:
    kinds = pd.DataFrame({f"n_{t}": frame["event_type"] == code for code, t in enumerate(EVENT_TYPES)})
    counts = kinds.groupby(session).cumsum()
    at_s = frame["occurred_at_us"].groupby(session)
    n = at_s.cumcount() + 1
    age = (frame["occurred_at_us"] - at_s.transform("first")) / 1e6
    searches = counts["n_search"] + counts["n_search_refine"]
    return {
        **{str(name): counts[name] for name in counts},
        "n_events": n,
        "session_age_s": age,
        "gap_s": at_s.diff().fillna(0) / 1e6,
        "mean_gap_s": (age / (n - 1)).fillna(0),
        "search_refine_rate": (counts["n_search_refine"] / searches).fillna(0),
    }


def _things(frame: pd.DataFrame, session: np.ndarray) -> dict[str, Any]:
    out: dict[str, Any] = {}
    told: dict[str, pd.Series] = {}
    for name in ("item", "category"):
        keyed = pd.DataFrame({"session": session, "code": frame[name]})
        has = frame[name] >= 0
        new = has & ~keyed.duplicated()
        by_session = has.groupby(session)
        n_events = by_session.cumsum()
        count = (keyed.groupby(["session", "code"]).cumcount() + 1).where(has, 0)
        most = count.groupby(session).cummax()
        last = frame[name].where(has).groupby(session).ffill()
        before = last.groupby(session).shift()
        told[f"{name}_new"], told[f"{name}_events"], told[f"{name}_most"] = new, n_events, most
        told[f"{name}_switch"] = has & before.notna() & (frame[name] != before)
        out[f"{name}_focus_rate"] = (most / n_events).fillna(0)
    n_items, n_categories = (told[f"{name}_new"].groupby(session).cumsum() for name in ("item", "category"))
    return {
        **out,
        "n_items": n_items,
        "n_categories": n_categories,
        "n_item_repeats": told["item_events"] - n_items,
        "n_item_returns": (told["item_switch"] & ~told["item_new"]).groupby(session).cumsum(),
        "max_item_events": told["item_most"],
        "n_category_switches": told["category_switch"].groupby(session).cumsum(),
        "category_breadth_rate": (n_categories / told["category_events"]).fillna(0),
    }


def _measures(frame: pd.DataFrame, session: np.ndarray) -> dict[str, Any]:
    values = frame[list(MEASURES)]
    by_session = values.groupby(session)
    total = values.fillna(0).groupby(session).cumsum()
    mean = (total / values.notna().groupby(session).cumsum()).fillna(0)
    highest = by_session.cummax().groupby(session).ffill().fillna(0)
    last = by_session.ffill().fillna(0)
    lowest = values["price"].groupby(session).cummin().groupby(session).ffill().fillna(0)
    out = {f"mean_{name}": mean[name] for name in MEASURES}
    out |= {f"max_{name}": highest[name] for name in ("dwell_ms", "scroll_depth", "zoom_level")}
    out |= {f"sum_{name}": total[name] for name in ("dwell_ms", "cursor_distance_px")}
    out |= {f"last_{name}": last[name] for name in ("dwell_ms", "query_length", "price")}
    out["price_spread_rate"] = ((highest["price"] - lowest) / mean["price"]).fillna(0)
    out["last_price_rate"] = (last["price"] / mean["price"]).fillna(0)
    return out


def _moment(frame: pd.DataFrame, session: np.ndarray) -> dict[str, Any]:
    at_us, kind = frame["occurred_at_us"], frame["event_type"]
    searched = kind.isin([EventType.SEARCH, EventType.SEARCH_REFINE])
    out = {}
    for name, rows in (("since_item_s", frame["item"] >= 0), ("since_search_s", searched)):
        out[name] = ((at_us - at_us.where(rows).groupby(session).ffill()) / 1e6).fillna(-1)
    minute = at_us // 60_000_000 + frame["utc_offset_min"]
    angle = minute % 1440 * (2 * np.pi / 1440)
    for name in ("device", "referrer"):
        out[name] = frame[name].where(frame[name] > 0).groupby(session).ffill().fillna(0)
    return {
        **out,
        "last_event_type": kind,
        "previous_event_type": kind.groupby(session).shift().fillna(-1),
        "hour_sin": np.sin(angle),
        "hour_cos": np.cos(angle),
        "is_weekend": (minute // 1440 + 3) % 7 >= 5,
    }


@kernel
def copy(words: np.ndarray, out: np.ndarray) -> None:
    """Read every event, write as many bytes as its features have."""
    for i in range(len(words)):
        for column in range(out.shape[1]):
            out[i, column] = words[i, column & 7]


def best_s(work: Callable[[], object], times: int = 7) -> float:
    """Shortest of several runs, seconds."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


def floor_s(events: EventArray) -> float:
    words = events.view(np.float32).reshape(len(events), -1)
    return best_s(lambda: copy(words, np.empty((len(events), len(SESSION_FEATURES)), dtype=np.float32)))


def disagreements(ours: np.ndarray, theirs: dict[str, Any]) -> list[str]:
    """Features in which pandas and the kernel differ by more than rounding."""
    columns = {name: ours[:, SESSION_FEATURES.index(name)] for name in theirs}
    return [n for n, v in theirs.items() if not np.allclose(columns[n], np.asarray(v, dtype=float), rtol=1e-4, atol=1e-4)]


def measure() -> dict[str, Any]:
    """All figures of this benchmark."""
    events, starts = shop(np.random.default_rng(0), N_EVENTS)
    one, long = events[:15].copy(), np.resize(events, 10_000)
    sessions.features_of(one)
    began = time.perf_counter()
    ours = sessions.fold(events, starts)
    first_s = time.perf_counter() - began
    theirs = pandas_features(events, starts)
    left_out = set(SESSION_FEATURES) - theirs.keys()
    assert left_out == NOT_IN_PANDAS, left_out ^ NOT_IN_PANDAS
    differing = disagreements(ours, theirs)
    n_theirs = len(theirs)
    del ours, theirs
    pandas_s = best_s(lambda: pandas_features(events, starts), 2)
    fold_s, copy_s = best_s(lambda: sessions.fold(events, starts)), floor_s(events)
    user_codes = np.cumsum(starts) % 20_000
    users.fold(events[:10], user_codes[:10]), items.fold(events[:10])
    return {
        "events": N_EVENTS,
        "features": len(SESSION_FEATURES),
        "session_fold_events_per_s": round(N_EVENTS / fold_s),
        "session_fold_events_per_s_first_call": round(N_EVENTS / first_s),  # pays for fresh memory pages
        "pandas_events_per_s": round(N_EVENTS / pandas_s),
        "pandas_features": n_theirs,
        "pandas_disagrees_on": differing,
        "times_faster_than_pandas": round(pandas_s / fold_s, 1),
        "times_slower_than_copying_the_bytes": round(fold_s / copy_s, 2),
        "features_of_15_events_us": round(best_s(lambda: [sessions.features_of(one) for _ in range(1000)]) * 1e3, 2),
        "features_of_10000_events_ms": round(best_s(lambda: sessions.features_of(long)) * 1e3, 2),
        "user_fold_events_per_s": round(N_EVENTS / best_s(lambda: users.fold(events, user_codes), 3)),
        "item_fold_events_per_s": round(N_EVENTS / best_s(lambda: items.fold(events), 3)),
    }


if __name__ == "__main__":
    print(json.dumps(measure()))
