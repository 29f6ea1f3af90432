"""Spill: the valid log into files, read from its archive as far as that reaches and from the store behind it."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from feature_repo.parts import written
from flows import shuffle
from infra import archive, object_store
from infra.object_store import ObjectStore
from infra.store.protocol import Store
from infra.store.statements.archive import HELD_BACK
from infra.store.statements.materialization import EVENTS_BEHIND, EVENTS_UNTIL, FOLDED_COLUMNS

if TYPE_CHECKING:
    from pyarrow import Table

ARCHIVED: Final = "archived"
BEHIND: Final = "behind"
TRIES: Final = 5  # where files are written anew meanwhile, without somebody who was erased


def spill(log: Store, span: tuple[int, int], folder: Path) -> list[Path]:
    """Write the valid events up to a position and an instant to files, with the columns `FOLDED_COLUMNS`.

    Parameters
    ----------
    span
        The position and the instant, microseconds.
    folder
        Is made.

    Raises
    ------
    OSError
        If the object store cannot be used.
    """
    objects = object_store.opened()
    until = log.tail(archive.CURSOR).position() if objects else None
    if objects is None or not until:
        return shuffle.spill(log.stream(EVENTS_UNTIL, span), FOLDED_COLUMNS, folder)
    for left in reversed(range(TRIES)):
        try:
            files = _archived(log, objects, until, span, folder / ARCHIVED)
            break
        except FileNotFoundError:
            if not left:
                raise
            shutil.rmtree(folder / ARCHIVED)
    return files + shuffle.spill(log.stream(EVENTS_BEHIND, (until, *span)), FOLDED_COLUMNS, folder / BEHIND)


def _archived(log: Store, objects: ObjectStore, until: int, span: tuple[int, int], folder: Path) -> list[Path]:
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    kept = [file for file in archive.files(log) if file.last_seq <= until]  # what came since is behind it
    since, held_back = archive.changed(log), [seq for (seq,) in log.read(HELD_BACK)]
    found = list[Path]()
    for file in kept:
        rows = _valid(archive.rows_of(objects, file, since), span, held_back)
        if rows.num_rows:
            found.append(folder / f"{len(found):05d}.parquet")
            pq.write_table(rows, found[-1], **written(rows.schema))
    return found


def _valid(rows: "Table", span: tuple[int, int], held_back: list[int]) -> "Table":
    """Rows that count, as the store's statement has them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    until_seq, until_us = span
    is_valid = pc.and_(pc.less_equal(rows["seq"], until_seq), pc.less_equal(rows["occurred_at_us"], until_us))
    is_held = pc.is_in(rows["seq"], value_set=pa.array(held_back, pa.int64()))
    return rows.filter(pc.and_not(is_valid, is_held)).select(FOLDED_COLUMNS).cast(shuffle.schema_of(FOLDED_COLUMNS))
