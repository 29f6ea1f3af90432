"""What a calibrated model shows by chance is told apart from what a wrong one shows."""

import numpy as np
import pytest

from benchmarks.horizons import area_shares, blocks, ece_if_calibrated, measure
from models.arrays import Flags, Floats
from models.simulator import ShopConfig, simulate
from models.statistics import bootstrap, metrics

N_SESSIONS, N_ROWS = 400, 10


def alike(rng: np.random.Generator) -> tuple[Floats, Flags, bootstrap.Draws]:
    """Rows that are said what is true of their session, and all come to one end."""
    of_session = rng.uniform(0.1, 0.9, N_SESSIONS)
    session = np.repeat(np.arange(N_SESSIONS), N_ROWS)
    came = rng.random(N_SESSIONS) < of_session
    return of_session[session], came[session], bootstrap.draw(session, rng, 300)


def test_a_calibrated_model_shows_what_chance_makes_of_so_few_sessions() -> None:
    inside = 0
    for seed in range(20):
        p, came, draws = alike(np.random.default_rng(seed))
        found = ece_if_calibrated(p, came, draws)
        inside += found.low <= metrics.ece(p, came) <= found.high
    assert inside >= 17
    assert found.low > 0.03  # 400 sessions in 15 bins; as many rows that are apart would show .02


def test_a_model_that_is_off_shows_more() -> None:
    p, came, draws = alike(np.random.default_rng(1))
    assert metrics.ece(p * 0.6, came) > ece_if_calibrated(p * 0.6, came, draws).high


def test_blocks_lie_one_behind_the_other_and_logs_are_judged_together() -> None:
    frames = [simulate(ShopConfig(n_users=150, n_days=3, seed=seed)).events for seed in (1, 2)]
    found = measure(frames, 0.6, 2, is_apart=True)
    assert found["monotone_prefixes"]["n"] == found["monotone_prefixes"]["monotone"] > 0
    assert found["curve"]["leaves_sooner_than_at_all"] == 0.0
    assert found["curve"]["short_term"]["n_rows"] == found["apart"]["short_term"]["n_rows"] > 0


def test_no_block_is_judged_by_what_came_with_it() -> None:
    class Rows:
        started_us = np.repeat(np.arange(100), 3)

    periods = list(blocks(Rows, 0.5, 5))  # type: ignore[arg-type]
    assert [int(before.sum()) for before, _, _ in periods] == [150, 180, 210, 240, 270]
    assert sum(int(own.sum()) for _, own, _ in periods) == 150


def test_the_shares_of_an_area_are_those_of_its_interval() -> None:
    rng = np.random.default_rng(2)
    p, came, draws = alike(rng)
    worse = np.clip(p + rng.normal(0, 0.3, len(p)), 0.0, 1.0)
    ours, theirs = (area_shares(np.column_stack((1.0 - one, one)), came.astype(np.int64)) for one in (p, worse))
    assert ours.mean() == pytest.approx(metrics.roc_auc(p, came))
    drawn, _ = bootstrap.area_intervals(p, worse, came, draws)
    assert bootstrap.mean_intervals((ours - theirs)[:, None], draws)[0] == pytest.approx(drawn, abs=0.01)


def test_areas_of_actions_weigh_as_often_as_they_come() -> None:
    action = np.array([0, 0, 0, 1, 2, 2])
    p = np.random.default_rng(3).dirichlet(np.ones(4), len(action))
    each = [metrics.roc_auc(p[:, one], action == one) for one in range(3)]
    assert area_shares(p, action).mean() == pytest.approx(np.dot(each, [3, 1, 2]) / 6)
