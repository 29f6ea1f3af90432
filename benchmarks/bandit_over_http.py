"""A bandit learns over HTTP: the service and the worker that `attune up` starts, asked by visitors who like one profile better.

Which profile an answer was dealt is read from the home's log of decisions; the visitor then buys a shown item, or does not,
and the shop's server tells so after a delay, under the decision's id. Half-way the best profile and the worst change places.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np

from benchmarks.regret import PROFILES
from benchmarks.serve import HOST, bodies, free_port, stop, wait_until_ready
from benchmarks.simulated_home import make_champions
from infra import registry
from infra.store.engines import open_store
from models.bandit import profiles
from models.bandit.profiles import profile_set
from models.simulator.config import ShopConfig
from services.http import partners

CONFIG: Final = ShopConfig(n_users=300, n_days=3, n_items=300)
ARMS: Final = ("static", "heuristic", "carts")
BEFORE: Final = {"static": 0.1, "heuristic": 0.4, "carts": 0.1}
AFTER: Final = {"static": 0.1, "heuristic": 0.1, "carts": 0.4}
DEALT: Final = (
    "SELECT seq, decision_id, decided_at_us, profile, context FROM decisions WHERE seq > ? AND variant = 'dynamic' ORDER BY seq"
)
WANTED: Final = 0.8
READY_S: Final = 600.0


def run(minutes: float, rate: float, median_s: float, seed: int = 0) -> dict[str, Any]:
    """Traffic for so many minutes before the world flips and as many after it.

    Parameters
    ----------
    rate
        Requests a second; about half of the visitors are in the dynamic variant.
    median_s
        Of the delays between an answer and what is bought, lognormal with a spread of e on either side.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        make_champions(home, CONFIG, n_rounds=10)
        compete = profile_set(ARMS, tuple(PROFILES[name] for name in ARMS))
        version = registry.save(home, "profiles", profiles.to_parts(compete), {})
        registry.set_alias(
            home, registry.CHAMPION, {"profiles": version}, action="promote", actor="benchmark", reason="compete"
        )
        key, port = partners.add(home, "shop", time.time_ns() // 1000), free_port()
        worker, server = (_command(home, *words) for words in (("worker",), ("serve", "--port", str(port))))
        try:
            wait_until_ready(port, "/readyz", server, seconds=READY_S)
            return told(Traffic(home, port, key, rate, median_s, seed).send(60 * minutes), minutes)
        finally:
            stop(server)
            stop(worker)


def _command(home: Path, *words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "services.cli", *words], env={**os.environ, "ATTUNE_HOME": str(home)}, stdout=sys.stderr
    )


class Traffic:
    """Visitors who ask, and buy."""

    def __init__(self, home: Path, port: int, key: str, rate: float, median_s: float, seed: int) -> None:
        self.home, self.port, self.key, self.rate, self.median_s = home, port, key, rate, median_s
        self.rng = np.random.default_rng(seed)
        self.waiting: list[tuple[float, str, str, str]] = []  # when, decision, user, item
        self.asked: dict[str, tuple[str, str]] = {}
        self.found: list[tuple[float, str, bool]] = []  # seconds since the start, profile, whether it will be bought
        self.seq = 0

    def send(self, seconds: float) -> list[tuple[float, str, bool]]:
        """Ask at the given rate, twice as long; the world flips half-way."""
        began, wall = time.monotonic(), time.time()
        sessions = deque(bodies(CONFIG, 200))
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        with (
            closing(open_store(self.home)) as store,
            httpx.Client(base_url=f"http://{HOST}:{self.port}", headers=headers, timeout=60) as client,
        ):
            n = 0
            while (at := time.monotonic() - began) < 2 * seconds:
                while n < at * self.rate:
                    self._ask(client, n, sessions)
                    n += 1
                self._decide(store.read(DEALT, (self.seq,)), wall, seconds)
                self._buy(client, time.monotonic() - began)
                time.sleep(0.1)
        return self.found

    def _ask(self, client: httpx.Client, n: int, sessions: "deque[bytes]") -> None:
        sessions.rotate(-1)
        user = f"visitor-{n}"
        asked = httpx.Response(200, content=sessions[0]).json() | {"user_id": user, "limit": 5}
        answer = client.post("/v1/recommendations", json=asked)
        answer.raise_for_status()
        found = answer.json()
        if found["items"]:
            self.asked[found["decision_id"]] = (user, found["items"][0]["item_id"])

    def _decide(self, rows: list[tuple[Any, ...]], wall: float, seconds: float) -> None:
        for seq, decision, decided_at_us, profile, _ in rows:
            self.seq = max(self.seq, int(seq))
            at, name = decided_at_us / 1e6 - wall, str(profile).partition("@")[0]
            chance = (BEFORE if at < seconds else AFTER)[name]
            buys = decision in self.asked and bool(self.rng.random() < chance)
            self.found.append((at, name, buys))
            if buys:
                delay_s = self.median_s * float(np.exp(self.rng.standard_normal()))
                self.waiting.append((at + delay_s, decision, *self.asked[decision]))

    def _buy(self, client: httpx.Client, at: float) -> None:
        due = [one for one in self.waiting if one[0] <= at][:500]
        if not due:
            return
        self.waiting = [one for one in self.waiting if one not in due]
        ts = datetime.now(UTC).isoformat()
        events = [
            {"event_id": f"buy-{decision}", "user_id": user, "type": "purchase", "item_id": item, "ts": ts, "price": 10.0,
             "decision_id": decision}
            for _, decision, user, item in due
        ]  # fmt: skip
        client.post("/v1/events", json={"events": events}).raise_for_status()


def told(found: list[tuple[float, str, bool]], minutes: float) -> dict[str, Any]:
    """Shares of the winner, minute by minute, and when it first had `WANTED` of a minute's traffic."""
    at = np.array([one[0] for one in found])
    name = np.array([one[1] for one in found])
    flip = 60 * minutes
    phases = {"before_the_flip": (0.0, "heuristic"), "after_the_flip": (flip, "carts")}
    parts: dict[str, Any] = {}
    for phase, (since, winner) in phases.items():
        mine = (at >= since) & (at < since + flip)
        seconds, won = at[mine] - since, name[mine] == winner
        reached = [s for s in range(5, int(flip) + 1, 5) if won[(seconds > s - 30) & (seconds <= s)].mean() >= WANTED]
        parts[phase] = {
            "winner_by_minute": [round(float(won[seconds // 60 == m].mean()), 3) for m in range(int(minutes))],
            "seconds_until_80_percent_of_30_s": reached[0] if reached else None,
            "held_in_the_last_minute": bool(won[seconds > flip - 60].mean() >= WANTED),
        }
    bought = {str(one): round(float(np.mean([b for _, n, b in found if n == one])), 3) for one in np.unique(name)}
    return {**parts, "n_dynamic": len(found), "conversion": bought}
