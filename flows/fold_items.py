"""Fold items: the item table hour by hour, from where the fold stood on a day before whatever is new.

The fold over items runs over all visitors, in the order of time. Where it stood at the end of each of the latest days is kept,
so that a later fold starts from there: from the last of them before the earliest event that is new, held back or released.
"""

from collections.abc import Callable, Mapping, MutableMapping
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from feature_repo.parts import Tables, item_state
from infra.artifacts import read_parts, write_parts
from infra.store.events import READ_ROWS, collector_off, frame_of
from infra.store.protocol import Store
from infra.store.statements.materialization import ITEM_COLUMNS, ITEM_EVENTS
from models.arrays import Objects
from models.artifact import Parts
from models.events.encode import EventArray
from models.features import items
from models.features import tables as feature_tables
from models.features.items import Carry
from models.schema import DAY_US, ITEMS_VIEW

KEPT_DAYS: Final = 8  # a late event is hardly ever later

ItemsOf = Callable[[Carry, EventArray, Objects, int], tuple[Carry, pd.DataFrame]]
Write = Callable[[str, pd.DataFrame, int], list[str]]


class ItemEvents:
    """Events as the item fold needs them, gathered bit by bit.

    Parameters
    ----------
    item_ids
        Items that have a code already, in the order of their codes.
    """

    def __init__(self, item_ids: list[str] | None = None) -> None:
        self._codes = {item_id: code for code, item_id in enumerate(item_ids or ())}
        self._rows: list[pd.DataFrame] = []

    def add(self, frame: pd.DataFrame) -> None:
        """Take the believed events of a frame that name an item; the columns `ITEM_COLUMNS`."""
        rows = frame.loc[frame["item_id"].notna(), list(ITEM_COLUMNS)]
        self._rows.append(feature_tables.item_touches(rows, self._codes))

    def in_order(self) -> pd.DataFrame:
        """All of them in the order in which they happened."""
        rows = (
            pd.concat(self._rows, ignore_index=True)
            if self._rows
            else feature_tables.item_touches(frame_of([], ITEM_COLUMNS), {})
        )
        self._rows = [rows.sort_values(["occurred_at_us", "seq"], ignore_index=True)]
        return self._rows[0]

    def item_ids(self) -> list[str]:
        """Text of each code."""
        return list(self._codes)


def everything(events: ItemEvents, drafts: Path, write: Write, generation: int, as_of_us: int, fold: ItemsOf) -> dict[str, int]:
    """Fold all events; the parts of the table with the instants from which their rows are."""
    return _run(events, drafts, write, generation, (0, as_of_us), {0: items.new_carry()}, fold)


def changes(
    log: Store,
    folder: Path,
    drafts: Path,
    write: Write,
    before: Tables,
    span: tuple[int, int],
    earliest_us: int,
    fold: ItemsOf,
) -> dict[str, int]:
    """Fold what may have changed since a fold; as `everything`, with the parts of before that stand."""
    item_ids, days = _read(item_state(folder, before.generation))
    from_us = max(at_us for at_us in days if at_us <= max(earliest_us, 0))
    events = ItemEvents(item_ids)
    rows = log.stream(ITEM_EVENTS, (from_us, *span))
    with collector_off():
        while chunk := list(islice(rows, READ_ROWS)):
            events.add(frame_of(chunk, ITEM_COLUMNS))
    standing = {name: at_us for name, at_us in before.item_parts_us.items() if at_us < from_us}
    days = {at_us: carry for at_us, carry in days.items() if at_us <= from_us}
    return standing | _run(events, drafts, write, before.generation + 1, (from_us, span[1]), days, fold)


def _run(
    events: ItemEvents,
    drafts: Path,
    write: Write,
    generation: int,
    span_us: tuple[int, int],
    days: MutableMapping[int, Carry],
    fold: ItemsOf,
) -> dict[str, int]:
    """Fold from an instant on, a stop at the end of each of the latest days; where it stood then is kept."""
    (from_us, as_of_us), found, rows = span_us, dict[str, int](), events.in_order()
    item_ids = np.array([*events.item_ids(), None], dtype=object)[:-1]
    carry, ends = days[from_us], range((from_us // DAY_US + 1) * DAY_US, as_of_us, DAY_US)[-KEPT_DAYS:]
    for until_us in (*ends, as_of_us):
        last = until_us == as_of_us
        some = feature_tables.item_events(rows, from_us, until_us + last)
        carry, table = fold(carry, some, item_ids, until_us)
        nothing = last and not found and span_us[0] == 0  # where no event names an item, the table is there, and empty
        found |= dict.fromkeys(write(ITEMS_VIEW, table, int(nothing)), from_us)
        if not last:
            days[until_us] = carry
        from_us = until_us
    newest = {at_us: days[at_us] for at_us in sorted(days)[-KEPT_DAYS:]}
    _keep(item_state(drafts, generation), events.item_ids(), newest)
    return found


def _keep(folder: Path, item_ids: list[str], days: Mapping[int, Carry]) -> None:
    arrays = {f"{name}_{at_us}": array for at_us, carry in days.items() for name, array in carry._asdict().items()}
    write_parts(folder, Parts({"item_ids": item_ids, "days": list(days)}, arrays))


def _read(folder: Path) -> tuple[list[str], dict[int, Carry]]:
    """Items by code, and where the fold stood at which instants; at the beginning, it stood at nothing."""
    nothing = {0: items.new_carry()}
    if not folder.exists():
        return [], nothing
    meta, arrays = read_parts(folder)
    days = {at_us: Carry(*(arrays[f"{name}_{at_us}"] for name in Carry._fields)) for at_us in meta["days"]}  # type: ignore[arg-type]
    return list(meta["item_ids"]), nothing | days
