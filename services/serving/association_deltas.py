"""Deltas of live associations in the store: one process counts and writes them, all add them.

A run begins where the champion's build ends, and anew after an erasure. For each partner that is followed it holds deltas with
numbers that count up; now and then their sum takes their place, so that who begins late reads little.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from infra.packed import packed, unpacked
from infra.store.protocol import Store, Transaction
from infra.store.statements import association_deltas as sql
from models.artifact import Parts
from models.associations.deltas import Delta, from_parts, to_parts

ROWS_A_READ: Final = 200
_ARRAYLESS: Final[Mapping[str, np.ndarray[Any, Any]]] = {}


class Run(NamedTuple):
    """Run of counting.

    Attributes
    ----------
    version
        Of the associations that it began with.
    erased
        What had been erased then.
    joined
        Number of the newest join of visitors then; those that were split since wait for the next run.
    n_split
        How many had been split then.
    """

    name: str
    version: int
    erased: list[int]
    joined: int
    n_split: int


class Written(NamedTuple):
    """A row: a delta, or the sum of all up to its number."""

    id: int
    run: str
    partner: str
    number: int
    is_whole: bool
    until_seq: int
    parts: Parts

    @property
    def delta(self) -> Delta:
        """The delta itself."""
        meta = {name: value for name, value in self.parts.meta.items() if name != UNBUILT_FROM}
        return from_parts(Parts(meta, self.parts.arrays))


UNBUILT_FROM: Final = "unbuilt_from"  # of a partner that was not built, where its tail began


def run_of(store: Store) -> Run | None:
    """The run that is under way; None if nobody has counted yet."""
    found = store.read(sql.RUN)
    return Run(found[0][0], **unpacked(found[0][1]).meta) if found else None


def begin(store: Store, version: int, erased: list[int], joined: int, n_split: int) -> Run:
    """Begin a run; what the one before has counted is gone."""
    run = Run(secrets.token_hex(8), version, erased, joined, n_split)
    told = run._asdict()
    row = (told.pop("name"), "", 0, 0, 0, packed(Parts(told, _ARRAYLESS)))

    def anew(transaction: Transaction) -> None:
        transaction.execute(sql.END_RUN)
        transaction.read(sql.ADD, row)

    store.write(anew)
    return run


def since(store: Store, after: int) -> list[Written]:
    """Rows behind a row, at most `ROWS_A_READ`."""
    rows = store.read(sql.SINCE, (after, ROWS_A_READ))
    return [
        Written(row_id, run, partner, number, bool(is_whole), until_seq, unpacked(parts))
        for row_id, run, partner, number, is_whole, until_seq, parts in rows
    ]


def add(store: Store, place: tuple[str, str, int, int], delta: Delta, unbuilt_from: int, *, is_whole: bool) -> tuple[int, int]:
    """Write a delta, or the sum of all so far in place of them.

    Parameters
    ----------
    place
        Run, partner, number, and the last event that was counted.

    Returns
    -------
    Number of its row, and its bytes.
    """
    run, partner, number, until_seq = place
    parts = to_parts(delta)
    body = packed(Parts({**parts.meta, UNBUILT_FROM: unbuilt_from}, parts.arrays))

    def write(transaction: Transaction) -> int:
        ((row_id,),) = transaction.read(sql.ADD, (run, partner, number, int(is_whole), until_seq, body))
        if is_whole:
            transaction.execute(sql.PASSED, (partner, row_id))
        return int(row_id)

    return store.write(write), len(body)
