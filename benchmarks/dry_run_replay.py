"""Do the counts of a dry run hold when its days are then lived through, event by event, by the duty that sends signals?

    python -m benchmarks.dry_run_replay [--users 2000] [--days 2] [--seed 603]

A simulated shop's events are appended to a home one after the other, each at its own instant, and after each of them, and after
every step of a silence that falls due in between, `services.worker.signals.SignalDuty` decides: its caps, pauses, hold-outs,
timers and outbox are the real ones, on the home's store. Then the dry run of the same policy reads the same log. What differs
is said by kind of signal; 5 % are allowed. Models are fitted to another log of the shop. Prints one JSON object, and exits 1
where a kind of which the worker sent at least 100 is off by more.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import pandas as pd

from benchmarks.closed_loop import fitted
from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.events import append_events, await_readable
from infra.store.protocol import Store
from infra.store.statements.signals import PUT_POLICY
from models.engagement.silence import STEPS_S
from models.events.encode import encode
from models.features import users
from models.features.users import UserState
from models.known import UserFeatures
from models.model_set import ModelSet
from models.simulator import ShopConfig, simulate
from services.serving.features import OnlineSource
from services.signals.policies import PolicyBody, Thresholds, WorkflowBody, to_policy
from services.signals.rehearsal import rehearse
from services.signals.shelf import NoCatalogs
from services.worker.signals import SignalDuty

FITTED_USERS: Final = 3_000
MOST_OFF: Final = 0.05
PATIENCE_S: Final = 60.0
LEAST_SENT: Final = 100  # below, one signal is more than a percent
POLICY: Final = PolicyBody(
    Thresholds(min_score_product=0.05, min_score_content=0.03, min_p_leave=0.05, n_reading_events_content=1),
    cool_down_s=300,
    max_per_day=4,
    holdout_share=0.1,
    workflows=[WorkflowBody("browse_help", "n_events >= 6 and score < 0.1 and silence_s < 60")],
)


class Folded:
    """Online features as a worker keeps them that folds every event in after it was decided about."""

    def __init__(self) -> None:
        self._states: dict[str, UserState] = {}

    def user(self, user_id: str, now_us: int) -> UserFeatures | None:
        """Features of a visitor; None before the first event."""
        state = self._states.get(user_id)
        return None if state is None else UserFeatures(state.features, state.last_event_at_us)

    def item(self, item_id: str, now_us: int) -> None:
        """No features of items: the log is no older than the replay."""

    def history(self, user_id: str, now_us: int) -> None:
        """No history."""

    def recent_items(self, user_id: str, now_us: int) -> None:
        """No recent items."""

    def follow(self, row: pd.DataFrame) -> None:
        """Fold one event in."""
        user = str(row["user_id"].iloc[0])
        self._states[user] = users.advance(self._states.get(user, users.new_state()), encode(row))


class Champions:
    """Champions that never change."""

    def __init__(self, models: ModelSet) -> None:
        self._models = models

    def current(self) -> ModelSet:
        """Models that decide."""
        return self._models

    def problems(self) -> dict[str, str]:
        """None."""
        return {}

    def start(self) -> None:
        """Nothing is to be followed."""

    def stop(self) -> None:
        """Nothing follows anything."""


def lived(home: Path, store: Store, frame: pd.DataFrame, models: ModelSet) -> dict[str, Counter[str]]:
    """Let the worker live through the events; signals by kind, sent and held out."""
    online, given = Folded(), OnlineSource(Settings(home=home), Folded())
    given._online = online
    worker = SignalDuty(open_store(home), Champions(models), given, NoCatalogs(), random.Random(0), STEPS_S)
    at = frame["occurred_at_us"].to_numpy()
    for k, at_us in enumerate(at.tolist()):
        while (due := store.read("SELECT min(due_at_us) FROM silences", ())[0][0]) is not None and due < at_us:
            worker.step(due)
        row = frame.iloc[k : k + 1]
        store.write(partial(append_events, frame=row, partner="shop", received_at_us=at_us))
        await_readable(store, PATIENCE_S)
        worker.step(at_us)
        online.follow(row)
        if sys.stderr.isatty() and k % 500 == 0:
            print(f"\r{k} of {len(at)} events", end="", file=sys.stderr)
    worker.close()
    tables = {"sent": "signals", "held_out": "holdout"}
    return {
        arm: Counter({str(kind): int(n) for kind, n in store.read(f"SELECT type, count(*) FROM {table} GROUP BY type", ())})
        for arm, table in tables.items()
    }


def measure(n_users: int, n_days: int, seed: int) -> dict[str, Any]:
    """Counts of both by kind."""
    models = fitted(ShopConfig(n_users=FITTED_USERS, seed=seed - 2))
    frame = simulate(ShopConfig(n_users=n_users, n_days=n_days, seed=seed)).events
    began = time.monotonic()
    with TemporaryDirectory() as folder, closing(open_store(home := Path(folder))) as store:
        store.write(lambda to: to.execute(PUT_POLICY, ("shop", msgspec.json.encode(POLICY).decode(), 1)))
        then = lived(home, store, frame, models)
        until_us = int(frame["occurred_at_us"].max())
        dry = rehearse(store.read, to_policy(POLICY), "shop", models, lambda _: None, NoCatalogs(), until_us, within_s=1e9)
    told = {}
    for kind, one in dry.signals.items():
        sent, said = then["sent"][kind], int(one.count)
        told[kind] = {
            "dry_run": said, "replayed": sent, "off": round(said / sent - 1, 4) if sent else None,
            "held_out": {"dry_run": int(one.held_out), "replayed": then["held_out"][kind]},
        }  # fmt: skip
    return {
        "events": len(frame), "visitors": dry.visitors, "looked_at": dry.sampled_visitors,
        "seconds": round(time.monotonic() - began), "signals": told,
    }  # fmt: skip


def main() -> int:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--days", type=int, default=2)
    parser.add_argument("--seed", type=int, default=603)
    given = parser.parse_args()
    found = measure(given.users, given.days, given.seed)
    off = [one["off"] for one in found["signals"].values() if one["replayed"] >= LEAST_SENT]
    holds = bool(off) and all(abs(each) <= MOST_OFF for each in off)
    print(json.dumps({"benchmark": "dry_run_replay", "holds": holds, **found}, indent=1))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
