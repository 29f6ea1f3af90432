"""The bandit learns within minutes of simulated traffic, follows a flip, and finds out who wants what."""

import numpy as np

from benchmarks.bandit_worlds import AT_ONCE, WAITS, WHOLE, World, by_factors, flat, flipped, minute_shares, of_oracle, play
from models.bandit.thompson import BanditParams

ALIKE = BanditParams(context=())


def test_the_winner_is_dealt_within_two_minutes_and_waiting_for_the_window_learns_nothing() -> None:
    world = World(flat(0.1, 0.4, 0.1), rate=10.0, seconds=180)
    assert minute_shares(play(world, 0, ALIKE, WHOLE), 1)[2] > 0.9
    assert minute_shares(play(world, 0, ALIKE, WAITS), 1)[2] < 0.5
    assert minute_shares(play(world, 0, ALIKE, AT_ONCE), 1)[2] < 0.9


def test_a_flip_is_followed_within_three_minutes() -> None:
    found = play(World(flipped(180, (0.1, 0.4, 0.1), (0.1, 0.1, 0.4)), rate=10.0, seconds=420), 0, ALIKE)
    assert minute_shares(found, 1)[2] > 0.8
    assert minute_shares(found, 2)[6] > 0.8


def test_different_visitors_get_different_winners() -> None:
    found = play(World(by_factors((0,), 0.1, 0.4), rate=10.0, seconds=240), 0, BanditParams(context=("device", "intent")))
    assert of_oracle(found, 150) > 0.9
    assert len(np.unique(found.arm)) == 3
