"""Worlds in which it is known what every profile earns for whom: the bandit as the worker runs it, by a clock of its own.

Visitors arrive as often as told, are dealt a profile by the newest snapshot and convert with the world's probability, after a
delay. Every `REFRESH_S` seconds a snapshot is made of what was seen by then, from the memory and by the functions that
`services.worker.rewards` calls; what the last `GRACE_S` seconds brought is not seen yet, as there.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from models.arrays import Floats, Ints
from models.bandit import thompson
from models.bandit.memory import Decided, Memory, Rewarded
from models.bandit.rewards import RewardParams
from models.bandit.thompson import BanditParams, Outcomes
from models.schema import DEVICES, INTENTS

Chances = Callable[[Floats, Ints], Floats]
REFRESH_S: Final = 5.0
GRACE_S: Final = float(RewardParams().grace_s)
STRETCH: Final = 200
ARMS: Final = ("static@0", "heuristic@0", "learned@0")
SEGMENTS: Final = ("unknown", "looker", "carter", "buyer")


class World(NamedTuple):
    """What happens.

    Attributes
    ----------
    chance
        P(conversion) of every profile for visitors who arrive at instants with contexts: takes seconds, shape (n,), and
        codes of device, part of the day, intent and segment, shape (n, 4); gives shape (n, n_arms).
    median_s
        Median of the delays, which are lognormal with a spread of e on either side.
    rate
        Visitors a second.
    seconds
        How long it goes on.
    """

    chance: Chances
    median_s: float = 30.0
    rate: float = 20.0
    seconds: float = 600.0


class Run(NamedTuple):
    """What was dealt and earned, shape (n_visitors,) each."""

    at_s: Floats
    arm: Ints
    chance: Floats
    best: Floats


def flat(*chances: float) -> Chances:
    """A world in which everybody is alike and nothing changes."""
    return lambda at_s, who: np.broadcast_to(np.array(chances), (len(at_s), len(chances)))


def flipped(after_s: float, before: tuple[float, ...], after: tuple[float, ...]) -> Chances:
    """A world that changes at an instant."""
    return lambda at_s, who: np.where(at_s[:, None] < after_s, np.array(before), np.array(after))


def by_factors(factors: tuple[int, ...], low: float, high: float, base: tuple[float, ...] = ()) -> Chances:
    """A world in which the winner depends on the sum of some factors' codes (0 device, 1 hour, 2 intent, 3 segment)."""

    def chance(at_s: Floats, who: Ints) -> Floats:
        winner = who[:, list(factors)].sum(axis=1) % len(ARMS)
        found = np.full((len(at_s), len(ARMS)), low)
        found[np.arange(len(at_s)), winner] = high
        if base:  # who converts more, whatever they are shown
            found = found * np.array(base)[who[:, 3]][:, None]
        return found

    return chance


WHOLE: Final = "as served"
WAITS: Final = "waits for the window"
AT_ONCE: Final = "counts young decisions as failures"


def judged(kept: Memory, seen_us: int, window_s: float, how: str) -> Outcomes:
    """What decisions led to: as the worker counts them, or one of the two simpler ways."""
    if how == WHOLE:
        return kept.outcomes(ARMS, seen_us, window_s)
    if how == AT_ONCE:
        found = kept.outcomes(ARMS, seen_us, window_s)
        return found._replace(n=np.ones_like(found.n))
    found = kept.outcomes(ARMS, seen_us, window_s)
    over = found.n >= 1.0
    return found._replace(
        stretch=found.stretch[over],
        context=found.context[over],
        profile=found.profile[over],
        n=found.n[over],
        total=found.total[over],
    )


def play(world: World, seed: int, params: BanditParams, how: str = WHOLE, window_s: float = 3600.0) -> Run:
    """One seed of a world."""
    rng = np.random.default_rng(seed)
    n = int(world.rate * world.seconds)
    at_s = np.sort(rng.random(n) * world.seconds)
    who = np.stack([rng.integers(high, size=n) for high in (len(DEVICES), 4, len(INTENTS), len(SEGMENTS))], axis=1)
    chances, luck = world.chance(at_s, who), rng.random(n)
    delay_s = world.median_s * np.exp(rng.standard_normal(n))
    contexts = [{"device": DEVICES[d], "hour": 6 * int(h), "intent": INTENTS[i], "segment": SEGMENTS[s]} for d, h, i, s in who]
    names = ",".join(params.context)
    values = [thompson.value_of(names, one) for one in contexts]
    arm, dealt, kept = np.zeros(n, dtype=np.int64), 0, Memory()
    rewarded: dict[int, list[Rewarded]] = {}
    decided: dict[int, list[Decided]] = {}
    waiting: list[tuple[float, int]] = []
    now = thompson.snapshot(1, kept.outcomes(ARMS, 0, window_s), params)
    for until in np.arange(REFRESH_S, world.seconds + REFRESH_S, REFRESH_S):
        changed = set()
        while dealt < n and at_s[dealt] < until:
            choice = thompson.choose(now, values[dealt], f"{seed} {dealt}")
            arm[dealt] = ARMS.index(choice.profile)
            decided.setdefault(dealt // STRETCH, []).append(
                Decided(dealt, int(at_s[dealt] * 1e6), choice.profile, values[dealt])
            )
            changed.add(dealt // STRETCH)
            if luck[dealt] < chances[dealt, arm[dealt]] and delay_s[dealt] < window_s:
                waiting.append((at_s[dealt] + delay_s[dealt], dealt))
            dealt += 1
        for seen_s, one in waiting:
            if seen_s <= until - GRACE_S:
                rewarded.setdefault(one // STRETCH, []).append(Rewarded(one, int(seen_s * 1e6), 1.0))
                changed.add(one // STRETCH)
        waiting = [(seen_s, one) for seen_s, one in waiting if seen_s > until - GRACE_S]
        for stretch in changed:
            kept.keep(stretch, decided[stretch], rewarded.get(stretch, ()))
        seen = judged(kept, int((until - GRACE_S) * 1e6), window_s, how)
        now = thompson.snapshot(1, seen, params)
    return Run(at_s, arm, chances[np.arange(n), arm], chances.max(axis=1))


def minute_shares(run: Run, arm: int) -> list[float]:
    """Share of the visitors that were dealt a profile, minute by minute."""
    minute = (run.at_s // 60).astype(np.int64)
    return [round(float((run.arm[minute == m] == arm).mean()), 3) for m in range(int(minute.max()) + 1)]


def of_oracle(run: Run, from_s: float = 0.0) -> float:
    """Expected reward as a share of what dealing everybody's best profile would have earned."""
    late = run.at_s >= from_s
    return float(run.chance[late].sum() / run.best[late].sum())


def summary(values: list[Any]) -> dict[str, float]:
    """Mean and worst over the seeds."""
    return {"mean": round(float(np.mean(values)), 3), "worst": round(float(np.min(values)), 3)}
