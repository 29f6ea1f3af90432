"""Aim: learn for whom signals earn more than they cost, from what chance decided about visitors; the worker goes by it."""

import time
from contextlib import closing
from functools import partial
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from infra import aims
from infra.store.engines import open_store
from models.engagement.aims import AIM_CODES
from models.experiments.targeting import targeting


@task(name="aim signals", cache_policy=NO_CACHE)
def aim_signals(home: str, as_of_us: int | None = None) -> dict[str, str]:
    """Learn of every partner and kind of signal; a backfill for a past date changes nothing.

    Returns
    -------
    Verdicts, by ``PARTNER/KIND``.
    """
    return {} if as_of_us is not None else bring_up(Path(home), time.time_ns() // 1000)


def bring_up(home: Path, now_us: int, window_us: int = aims.WINDOW_US) -> dict[str, str]:
    """Learn from the decisions whose window is over, and keep what was learned."""
    verdicts = {}
    with closing(open_store(home)) as store:
        for partner, kind in aims.dealt(store.read):
            found = targeting(aims.trial_of(store.read, partner, kind, now_us, window_us), AIM_CODES)
            verdicts[f"{partner}/{kind}"] = found.verdict
            store.write(partial(aims.keep, partner=partner, kind=kind, found=found, now_us=now_us))
    return verdicts
