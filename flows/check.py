"""Check: are the feature tables sound? Great Expectations judges summaries, so that the tables' size does not matter.

A table that fails is told by key: from there on it is known which events are behind it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pandas as pd

from flows import expect
from flows.expect import Checker
from flows.write_report import write_report
from infra.layout import DATA_DOCS, REPORTS
from infra.store.statements import offline as sql
from models.events.quality import Summary, feature_bounds, joined, summary
from models.schema import VIEW_FEATURES, VIEW_KEY

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TABLES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {v: (VIEW_KEY[v], VIEW_FEATURES[v]) for v in VIEW_KEY}
REPORT: Final = "feature_validation.html"
_COLUMN_SUMMARY: Final = ["n_missing", "n_not_finite", "lowest", "highest", "lowest_allowed", "highest_allowed"]


class Fault(NamedTuple):
    """One check that a table fails.

    Attributes
    ----------
    check
        Name of the expectation.
    view, column
        The table, and its column where it is about one.
    first_us
        Key of each row that fails, with the first instant at which it does; empty where no row is to blame.
    """

    check: str
    view: str
    column: str | None
    first_us: Mapping[str, int]

    def __str__(self) -> str:
        return f"{self.check} of {self.view if self.column is None else f'{self.view}.{self.column}'}"


Files = Mapping[str, Sequence[Path]]


def check_tables(home: Path, new: Files, as_of_us: int, standing: Files | None = None) -> list[Fault]:
    """Check what is new of the feature tables: nothing missing, all finite and in range, unique keys, not empty.

    Parameters
    ----------
    new
        Parquet files by table.
    standing
        Files of the same tables that were checked before.

    Returns
    -------
    What fails; nothing, if the tables are sound.
    """
    tables, columns = _summaries(new, standing or {})
    checker = Checker(home / DATA_DOCS / "features")
    of_tables = checker.check("tables", tables, lambda: expect.of_tables(as_of_us))
    of_columns = checker.check("columns", columns, expect.of_columns)
    pages = checker.write_pages()
    write_report(home / REPORTS / REPORT, "Feature tables", of_tables + of_columns, len(columns), pages)
    named = [(one.name, *str(label).partition(".")[::2]) for one in of_tables + of_columns for label in one.rows]
    files = {view: [*new.get(view, ()), *(standing or {}).get(view, ())] for view in TABLES}
    return [_fault(list(map(str, files[view])), check, view, column or None, as_of_us) for check, view, column in named]


def _fault(files: list[str], check: str, view: str, column: str | None, as_of_us: int) -> Fault:
    import duckdb

    key = VIEW_KEY[view]
    asked: tuple[str, tuple[object, ...]] | None = None
    if column is not None:
        asked = sql.OUT_OF_RANGE[view, column], (files, *feature_bounds(column))
    elif check == expect.UNIQUE:
        asked = sql.REPEATED[key], (files,)
    elif check == expect.NOT_LATER:
        asked = sql.LATER[key], (files, as_of_us)
    if asked is None:
        return Fault(check, view, column, {})
    with duckdb.connect(config={"memory_limit": "1GB"}) as connection:
        return Fault(check, view, column, dict(connection.execute(*asked).fetchall()))


def _summaries(new: Files, standing: Files) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per table, and one per feature column, both indexed by name; a file at a time is in memory."""
    import duckdb
    from pyarrow.parquet import read_table

    tables: dict[str, Table] = {}
    columns: dict[str, tuple[float, ...]] = {}
    with duckdb.connect(config={"memory_limit": "1GB"}) as connection:
        for name, (key, features) in TABLES.items():
            sums = [Table(*connection.execute(sql.SUMMARY[key], [str(file)]).fetchall()[0]) for file in new.get(name, ())]
            sums += [_standing(connection, key, new.get(name, ()), standing.get(name, ()))]
            n_rows, n_keys, latest_us = zip(*sums, strict=True)
            tables[name] = Table(sum(n_rows), sum(n_keys), max(latest_us))
            found: dict[str, list[Summary]] = {feature: [] for feature in features}
            for file in new.get(name, ()):
                rows = read_table(file, columns=list(features))
                for feature in features:
                    found[feature].append(summary(rows[feature].to_numpy()))
            columns |= {f"{name}.{feature}": (*joined(one), *feature_bounds(feature)) for feature, one in found.items()}
    return (
        pd.DataFrame.from_dict(tables, orient="index", columns=list(Table._fields)),
        pd.DataFrame.from_dict(columns, orient="index", columns=_COLUMN_SUMMARY).replace(np.inf, np.finfo(np.float64).max),
    )


class Table(NamedTuple):
    """A table in three numbers."""

    n_rows: int
    n_keys: int
    latest_us: int


def _standing(connection: "DuckDBPyConnection", key: str, new: Sequence[Path], standing: Sequence[Path]) -> Table:
    """What stands already: each row has its key, but for those that come once more."""
    if not standing:
        return Table(0, 0, 0)
    from pyarrow.parquet import read_metadata

    n_rows = sum(read_metadata(file).num_rows for file in standing)
    both = list(map(str, standing)), list(map(str, new))
    n_again = connection.execute(sql.CLASHES[key], both).fetchall()[0][0] if new else 0
    return Table(n_rows, n_rows - n_again, 0)
