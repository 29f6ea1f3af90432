"""Experiments: starting a run with a split, stopping it, shipping what won; running services follow within a second."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from infra.store.engines import open_store
from infra.store.protocol import Read, Transaction
from infra.store.statements.experiment_runs import PUT_RUN, RUNS
from models.experiments.runs import FIRST, RUNNING, SHIPPED, STOPPED, Run


def runs(read: Read) -> list[Run]:
    """All runs, the newest first; the first one stands there even where nobody ever started one."""
    found = [Run(number, share, state, winner) for number, share, state, winner, *_ in read(RUNS, ())]
    return found if found and found[-1].number == FIRST.number else [*found, FIRST]


def start(home: Path, share: float, *, actor: str, reason: str) -> Run:
    """Begin a new run; one that runs ends with that.

    Raises
    ------
    ValueError
        If the share is not above 0 and below 1.
    """
    return _changed(home, lambda now: Run(now.number + 1, share), actor, reason)


def stop(home: Path, *, actor: str, reason: str) -> Run:
    """End the run: every visitor gets the control from now on.

    Raises
    ------
    ValueError
        If none runs.
    """
    return _changed(home, lambda now: replace(_running(now), state=STOPPED), actor, reason)


def ship(home: Path, winner: str, *, actor: str, reason: str) -> Run:
    """End the run, and give every visitor one of the variants from now on.

    Raises
    ------
    ValueError
        If there is no such variant, or it is shipped already.
    """

    def shipped(now: Run) -> Run:
        if now.winner == winner:
            raise ValueError(f"{winner} is shipped already")
        return replace(now, state=SHIPPED, winner=winner)

    return _changed(home, shipped, actor, reason)


def _running(now: Run) -> Run:
    if now.state != RUNNING:
        raise ValueError(f"run {now.number} is {now.state} already; a new one is started with: attune experiment start")
    return now


def _changed(home: Path, change: Callable[[Run], Run], actor: str, reason: str) -> Run:
    def work(transaction: Transaction) -> Run:
        now, at_us = runs(transaction.read)[0], time.time_ns() // 1000
        after = change(now)
        if after.number != now.number and now.state == RUNNING:
            transaction.execute(
                PUT_RUN, (now.number, now.share, STOPPED, None, at_us, at_us, actor, f"run {after.number} begins")
            )
        transaction.execute(PUT_RUN, (after.number, after.share, after.state, after.winner, at_us, at_us, actor, reason))
        return after

    with closing(open_store(home)) as store:
        return store.write(work)
