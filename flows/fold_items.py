"""Fold items: the item table hour by hour, from where the fold stood on a day before whatever is new.

The fold over items runs over all visitors, in the order of time. Where it stood at the end of each of the latest days is kept,
so that a later fold starts from there: from the last of them before the earliest event that is new, held back or released.
Events are sorted on disk and folded a stretch of hours at a time, so that memory hardly grows with the log.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from feature_repo.parts import Tables, item_state
from flows import shuffle
from infra.artifacts import read_parts, write_parts
from infra.store.events import frame_of
from infra.store.protocol import Store
from infra.store.statements.materialization import ITEM_COLUMNS, ITEM_EVENTS, TOUCHED_COLUMNS
from models.arrays import Objects
from models.artifact import Parts
from models.events.encode import EventArray
from models.features import items
from models.features import tables as feature_tables
from models.features.items import HOUR_US, Carry
from models.schema import DAY_US, ITEMS_VIEW

KEPT_DAYS: Final = 8  # a late event is hardly ever later
EVENTS_A_STRETCH: Final = 200_000  # in memory at a time, where an hour has no more
SPILLED: Final = "spilled"  # folder of drafts

ItemsOf = Callable[[Carry, EventArray, Objects, int], tuple[Carry, pd.DataFrame]]
Write = Callable[[str, pd.DataFrame, int], list[str]]


def everything(
    events: Iterable[pd.DataFrame], drafts: Path, write: Write, generation: int, as_of_us: int, fold: ItemsOf
) -> dict[str, int]:
    """Fold all events; the parts of the table with the instants from which their rows are.

    Parameters
    ----------
    events
        The columns `ITEM_COLUMNS` of believed events that name an item, in the order in which they happened, bit by bit.
    """
    return _run(Touches([], events), drafts, write, generation, (0, as_of_us), {0: items.new_carry()}, fold)


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
    spilled = shuffle.spill(log.stream(ITEM_EVENTS, (from_us, *span)), TOUCHED_COLUMNS, drafts / SPILLED)
    touches = Touches(item_ids, shuffle.in_time(spilled, drafts / SPILLED))
    standing = {name: at_us for name, at_us in before.item_parts_us.items() if at_us < from_us}
    days = {at_us: carry for at_us, carry in days.items() if at_us <= from_us}
    return standing | _run(touches, drafts, write, before.generation + 1, (from_us, span[1]), days, fold)


class Touches:
    """Events as the item fold reads them, in the order of time, a stretch of full hours at a time.

    Parameters
    ----------
    item_ids
        Items that have a code already, in the order of their codes.
    events
        As for `everything`.
    """

    def __init__(self, item_ids: Iterable[str], events: Iterable[pd.DataFrame]) -> None:
        self._codes = {item_id: code for code, item_id in enumerate(item_ids)}
        self._events = iter(events)
        self._waiting = feature_tables.item_touches(frame_of([], ITEM_COLUMNS), {})

    def stretches(self, ends: Sequence[int], n_events: int = EVENTS_A_STRETCH) -> Iterator[tuple[int, EventArray]]:
        """Events up to an instant, and that instant: each of `ends`, and full hours before it once so many events are there.

        An event that happens at an end comes after it; at the last of all, before it.
        """
        for until_us in ends:
            before_us = until_us + (until_us == ends[-1])
            while not self._reaches(before_us) and self._add():
                last_us = min(int(self._waiting["occurred_at_us"].iloc[-1]), until_us - 1)
                hour_us = last_us // HOUR_US * HOUR_US
                if len(self._waiting) >= n_events and self._waiting["occurred_at_us"].iloc[0] < hour_us:
                    yield hour_us, self._taken(hour_us)
            yield until_us, self._taken(before_us)

    def item_ids(self) -> list[str]:
        """Text of each code so far."""
        return list(self._codes)

    def _reaches(self, before_us: int) -> bool:
        return len(self._waiting) > 0 and self._waiting["occurred_at_us"].iloc[-1] >= before_us

    def _add(self) -> bool:
        """Take some more events; False if there are none."""
        more = next(self._events, None)
        if more is None:
            return False
        self._waiting = pd.concat([self._waiting, feature_tables.item_touches(more, self._codes)], ignore_index=True)
        return True

    def _taken(self, before_us: int) -> EventArray:
        n = int(np.searchsorted(self._waiting["occurred_at_us"].to_numpy(), before_us))
        taken, self._waiting = self._waiting.iloc[:n], self._waiting.iloc[n:]
        return feature_tables.item_events(taken)


def _run(
    touches: Touches,
    drafts: Path,
    write: Write,
    generation: int,
    span_us: tuple[int, int],
    days: MutableMapping[int, Carry],
    fold: ItemsOf,
) -> dict[str, int]:
    """Fold from an instant on, a stop at the end of each of the latest days; where it stood then is kept."""
    (from_us, as_of_us), found = span_us, dict[str, int]()
    carry, ends = days[from_us], range((from_us // DAY_US + 1) * DAY_US, as_of_us, DAY_US)[-KEPT_DAYS:]
    for until_us, events in touches.stretches([*ends, as_of_us]):
        last = until_us == as_of_us
        item_ids = np.array([*touches.item_ids(), None], dtype=object)[:-1]
        carry, table = fold(carry, events, item_ids, until_us)
        nothing = last and not found and span_us[0] == 0  # where no event names an item, the table is there, and empty
        found |= dict.fromkeys(write(ITEMS_VIEW, table, int(nothing)), from_us)
        if until_us in ends:
            days[until_us] = carry
        from_us = until_us
    newest = {at_us: days[at_us] for at_us in sorted(days)[-KEPT_DAYS:]}
    _keep(item_state(drafts, generation), touches.item_ids(), newest)
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
