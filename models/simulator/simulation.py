"""A simulated period: the events a shop would have seen, and beside them the truth that no shop ever sees."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.arrays import Ints, Records
from models.schema import (
    DEVICES,
    EVENT_COLUMNS,
    EVENT_TYPES,
    GROUPS,
    INTENTS,
    MEASURES,
    REFERRERS,
    SIGNAL_TYPES,
    VISITOR_GROUPS,
)
from models.simulator import behaviour, catalogue, visitors, walk
from models.simulator.config import ShopConfig, parameters
from models.simulator.records import blank_steps, new_state
from models.visitor_groups import packed, unpacked

_ROWS_AT_ONCE: Final = 200_000


class Shop(NamedTuple):
    """The world of one configuration: what is sold, who visits, how visitors behave."""

    catalogue: catalogue.Catalogue
    visitors: visitors.Visitors
    behaviour: behaviour.Behaviour


class Simulation(NamedTuple):
    """Events and truth, row by row.

    Attributes
    ----------
    events
        Event frame in time order, columns `EVENT_COLUMNS`, and `GROUPS` where the shop has segments.
    truth
        Same index; columns `event_id`, `intent` (latent, at the event), `p_purchase` (probability that the visitor decides to
        buy right after the event; 1 once decided, 0 after the purchase), `signal` in force, `price_sensitivity` of the visitor.
    parameters
        What caused it all, see `config.parameters`.
    timezones
        Time zone of each row's visitor, shape (n_events,), dtype object: the event frame itself only has the offset.
    """

    events: pd.DataFrame
    truth: pd.DataFrame
    parameters: dict[str, Any]
    timezones: npt.NDArray[np.object_]


def open_shop(config: ShopConfig, rng: np.random.Generator) -> Shop:
    """Build the world of a configuration; the catalogue depends on `catalogue_seed` and its sizes only."""
    items = catalogue.build(
        config.n_items, config.n_categories, config.causes.sd_appeal, np.random.default_rng([config.catalogue_seed, 1])
    )
    return Shop(items, visitors.draw(config, rng), behaviour.tables(config))


def simulate(config: ShopConfig) -> Simulation:
    """Simulate a period.

    Examples
    --------
    >>> shop = simulate(ShopConfig(n_users=20, n_days=2, seed=7))
    >>> shop.events["event_id"].equals(shop.truth["event_id"]), shop.events["occurred_at_us"].is_monotonic_increasing
    (True, True)
    """
    rng = np.random.default_rng([config.seed, 2])
    shop = open_shop(config, rng)
    plan = visitors.plan(config, shop.visitors, rng)
    rows, referrer = _walk(config, shop, plan, rng)
    rows = rows[np.lexsort((rows["session"], rows["at_us"]))]
    key = blake2b(repr(config).encode(), digest_size=4).hexdigest()
    events = _event_frame(config, plan, rows, referrer, key)
    truth = pd.DataFrame(
        {
            "event_id": events["event_id"],
            "intent": _names(INTENTS, rows["intent"]),
            "p_purchase": rows["p_purchase"],
            "signal": _names(SIGNAL_TYPES, rows["signal"]),
            "price_sensitivity": shop.visitors.sensitivity[plan.user[rows["session"]]],
        }
    )
    zones = _names(visitors.TIMEZONES, shop.visitors.timezone[plan.user[rows["session"]]])
    return Simulation(events, truth, parameters(config), zones)


def _walk(config: ShopConfig, shop: Shop, plan: visitors.Plan, rng: np.random.Generator) -> tuple[Records, Ints]:
    """Run the kernel over all planned sessions, in buffers of bounded size; rows, and each session's referrer."""
    state = new_state()
    referrer = np.zeros(len(plan.user), dtype=np.int64)
    buffer = blank_steps(_ROWS_AT_ONCE + config.max_session_events)
    parts, session = [], 0
    while session < len(plan.user):
        n, session = walk.walk(
            *shop, plan.user, plan.start_us, plan.device, config.end_us, session, *state, referrer, buffer, rng
        )
        parts.append(buffer[:n].copy())
    return np.concatenate(parts), referrer


def _event_frame(config: ShopConfig, plan: visitors.Plan, rows: Records, referrer: Ints, key: str) -> pd.DataFrame:
    session = rows["session"]
    user_ids = np.array([f"u{config.seed}-{u}" for u in range(config.n_users)], dtype=object)
    session_ids = np.array([f"s{key}-{s}" for s in range(len(plan.user))], dtype=object)
    columns = {
        "event_id": np.array([f"e{key}-{i}" for i in range(len(rows))], dtype=object),
        "user_id": user_ids[plan.user[session]],
        "session_id": session_ids[session],
        "event_type": _names(EVENT_TYPES, rows["event_type"]),
        "occurred_at_us": rows["at_us"].copy(),
        "item_id": _names(catalogue.item_ids(config.n_items), rows["item"]),
        "category": _names(catalogue.category_names(config.n_categories), rows["category"]),
        **{name: rows[name].copy() for name in MEASURES},
        "device": _names(DEVICES, plan.device[session]),
        "referrer": _names(REFERRERS, referrer[session]),
        "utc_offset_min": plan.offset_min[session].astype(np.int16),
    }
    frame = pd.DataFrame(columns, columns=list(EVENT_COLUMNS))
    if config.segments:
        texts = np.array([packed((one.name, None, None)) for one in config.segments], dtype=object)
        frame[GROUPS] = texts[visitors.segments_of(config)[plan.user[session]]]
    return frame


def _names(vocabulary: tuple[str, ...] | npt.NDArray[np.object_], codes: Ints) -> npt.NDArray[np.object_]:
    """Texts of codes; `NO_CODE` is None."""
    table = np.array([*vocabulary, None], dtype=object)
    names: npt.NDArray[np.object_] = table[codes]
    return names


def public_columns(events: pd.DataFrame, timezones: npt.NDArray[np.object_]) -> dict[str, list[Any]]:
    """The fields of the public event form, column by column; None where an event does not have the field.

    Parameters
    ----------
    timezones
        Name of each row's time zone, shape (n_events,).

    Examples
    --------
    >>> shop = simulate(ShopConfig(n_users=1, n_days=1, seed=3))
    >>> columns = public_columns(shop.events, shop.timezones)
    >>> list(columns)[:5], columns["ts"][0][-1]
    (['event_id', 'user_id', 'session_id', 'type', 'ts'], 'Z')
    """
    instants = events["occurred_at_us"].to_numpy().astype("datetime64[us]").astype("datetime64[ms]")
    groups = events[GROUPS].tolist() if GROUPS in events else [None] * len(events)
    told = list(zip(events["device"].tolist(), timezones.tolist(), events["referrer"].tolist(), groups, strict=True))
    contexts = {one: _context(*one) for one in set(told)}
    return {
        **{name: events[name].tolist() for name in ("event_id", "user_id", "session_id")},
        "type": events["event_type"].tolist(),
        "ts": [f"{instant}Z" for instant in np.datetime_as_string(instants).tolist()],
        **{name: events[name].tolist() for name in ("item_id", "category")},
        **{name: _without_nan(events[name].to_numpy()) for name in MEASURES},
        "context": [contexts[one] for one in told],  # few different ones: shared, not copied
    }


def _context(device: str, timezone: str, referrer: str, groups: str | None) -> dict[str, str]:
    named = zip(VISITOR_GROUPS, unpacked(groups), strict=True)
    told = {"device": device, "timezone": timezone, "referrer": referrer}
    return told | {kind: name for kind, name in named if name is not None}


def _without_nan(values: npt.NDArray[np.float64]) -> list[float | None]:
    texts = values.astype(object)
    texts[np.isnan(values)] = None
    return list(texts)


def to_public(events: pd.DataFrame, timezones: npt.NDArray[np.object_]) -> Iterator[dict[str, Any]]:
    """Turn an event frame into the events of ``POST /v1/events``: fields only where there is something to say.

    Examples
    --------
    >>> shop = simulate(ShopConfig(n_users=1, n_days=1, seed=3))
    >>> sorted(next(to_public(shop.events, shop.timezones)))[:4]
    ['category', 'context', 'event_id', 'item_id']
    """
    columns = public_columns(events, timezones)
    for row in zip(*columns.values(), strict=True):
        yield {name: value for name, value in zip(columns, row, strict=True) if value is not None}
