"""Visitors of the simulated shop, and when they come."""

from typing import Final, NamedTuple

import numpy as np

from models.arrays import Floats, Ints
from models.events.encode import DEVICE_CODE
from models.events.rules import utc_offset_min
from models.schema import DAY_US
from models.simulator.config import ShopConfig

N_FAVOURITES: Final = 3
_TIMEZONES: Final = {
    "Europe/Berlin": 0.34,
    "Europe/London": 0.18,
    "Europe/Madrid": 0.12,
    "America/New_York": 0.14,
    "America/Los_Angeles": 0.08,
    "Asia/Kolkata": 0.08,
    "Asia/Tokyo": 0.06,
}
TIMEZONES: Final = tuple(_TIMEZONES)
_DEVICES: Final = {"desktop": 0.36, "mobile": 0.48, "tablet": 0.06, "app": 0.10}
_DEVICE_CHANGE_RATE: Final = 0.1
_WEEKEND_FACTOR: Final = 1.3


class Visitors(NamedTuple):
    """One row per visitor.

    Attributes
    ----------
    sensitivity
        Price sensitivity, mean 1, shape (n_users,).
    eagerness
        Log odds by which the visitor buys more readily than others, shape (n_users,).
    favourites
        Categories liked best first, shape (n_users, N_FAVOURITES).
    dwell_shift
        How slow a reader the visitor is, added to the log of dwell times, shape (n_users,).
    timezone
        Index into `TIMEZONES`, shape (n_users,).
    device
        Code of the device used most, shape (n_users,).
    """

    sensitivity: Floats
    eagerness: Floats
    favourites: Ints
    dwell_shift: Floats
    timezone: Ints
    device: Ints


class Plan(NamedTuple):
    """Sessions in order of (user, start): whose, when at the earliest, with which device, shape (n_sessions,) each."""

    user: Ints
    start_us: Ints
    device: Ints
    offset_min: Ints


def draw(config: ShopConfig, rng: np.random.Generator) -> Visitors:
    """Draw the visitors."""
    n = config.n_users
    effect = np.array([one.eagerness for one in config.segments] or [0.0])
    return Visitors(
        sensitivity=rng.gamma(2.0, 0.5, n),
        eagerness=rng.normal(0.0, config.causes.sd_eagerness, n) + effect[segments_of(config)],
        favourites=np.argsort(rng.random((n, max(config.n_categories, N_FAVOURITES))), axis=1)[:, :N_FAVOURITES]
        % config.n_categories,
        dwell_shift=rng.normal(0.0, 0.35, n),
        timezone=rng.choice(len(TIMEZONES), n, p=np.array(list(_TIMEZONES.values()))),
        device=_devices(n, rng),
    )


def segments_of(config: ShopConfig) -> Ints:
    """Segment of each visitor, place in `ShopConfig.segments`, shape (n_users,); 0 where there are none."""
    shares = np.array([one.share for one in config.segments] or [1.0])
    found: Ints = np.random.default_rng([config.seed, 7]).choice(len(shares), config.n_users, p=shares)
    return found


def _devices(n: int, rng: np.random.Generator) -> Ints:
    codes = np.array([DEVICE_CODE[name] for name in _DEVICES])
    return codes[rng.choice(len(codes), n, p=np.array(list(_DEVICES.values())))]


def plan(config: ShopConfig, visitors: Visitors, rng: np.random.Generator) -> Plan:
    """Draw when each visitor comes: busier visitors and weekends, and each at their own hours of the local day."""
    n_sessions = 1 + rng.poisson(rng.gamma(1.0, config.sessions_per_day, config.n_users) * config.n_days)
    user = np.repeat(np.arange(config.n_users), n_sessions)
    n = len(user)
    days = config.start_us // DAY_US + np.arange(config.n_days)
    weights = np.where((days + 3) % 7 >= 5, _WEEKEND_FACTOR, 1.0)  # 1970-01-01 was a Thursday
    day = rng.choice(config.n_days, n, p=weights / weights.sum())
    peak = rng.normal(19.0, 3.0, config.n_users)[user]
    hour = np.where(rng.random(n) < 0.7, rng.normal(peak, 2.0), rng.uniform(8.0, 23.0, n))
    offset = _offsets(visitors.timezone[user], config.start_us + day * DAY_US)
    of_day = ((hour * 60 - offset) * 60_000_000).astype(np.int64) - config.start_us % DAY_US
    start = config.start_us + day * DAY_US + of_day % DAY_US
    start += -start % 1000  # whole milliseconds, as the public form writes them
    device = np.where(rng.random(n) < _DEVICE_CHANGE_RATE, _devices(n, rng), visitors.device[user])
    order = np.lexsort((start, user))
    return Plan(user[order], start[order], device[order], _offsets(visitors.timezone[user], start)[order])


def _offsets(timezone: Ints, at_us: Ints) -> Ints:
    """Minutes ahead of UTC, shape (n,)."""
    pairs = zip(timezone.tolist(), at_us.tolist(), strict=True)
    return np.array([utc_offset_min(TIMEZONES[zone], us) for zone, us in pairs], dtype=np.int64)
