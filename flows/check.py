"""Check: are the feature tables sound? Great Expectations judges summaries, so that the tables' size does not matter.

A table that fails is told by key: from there on it is known which events are behind it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from flows import expect
from flows.expect import Checker
from flows.write_report import write_report
from infra.layout import DATA_DOCS, REPORTS
from infra.store.statements import offline as sql
from models.events.quality import feature_bounds, summary
from models.schema import VIEW_FEATURES, VIEW_KEY

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


def check_tables(home: Path, folder: Path, as_of_us: int) -> list[Fault]:
    """Check the feature tables that lie in a folder: nothing missing, all finite and in range, unique keys, not empty.

    Returns
    -------
    What fails; nothing, if the tables are sound.
    """
    tables, columns = _summaries(folder)
    checker = Checker(home / DATA_DOCS / "features")
    of_tables = checker.check("tables", tables, lambda: expect.of_tables(as_of_us))
    of_columns = checker.check("columns", columns, expect.of_columns)
    pages = checker.write_pages()
    write_report(home / REPORTS / REPORT, "Feature tables", of_tables + of_columns, len(columns), pages)
    named = [(one.name, *str(label).partition(".")[::2]) for one in of_tables + of_columns for label in one.rows]
    return [_fault(folder, check, view, column or None, as_of_us) for check, view, column in named]


def _fault(folder: Path, check: str, view: str, column: str | None, as_of_us: int) -> Fault:
    import duckdb

    key, path = VIEW_KEY[view], str(folder / f"{view}.parquet")
    asked: tuple[str, tuple[object, ...]] | None = None
    if column is not None:
        asked = sql.OUT_OF_RANGE[view, column], (path, *feature_bounds(column))
    elif check == expect.UNIQUE:
        asked = sql.REPEATED[key], (path,)
    elif check == expect.NOT_LATER:
        asked = sql.LATER[key], (path, as_of_us)
    if asked is None:
        return Fault(check, view, column, {})
    with duckdb.connect(config={"memory_limit": "1GB"}) as connection:
        return Fault(check, view, column, dict(connection.execute(*asked).fetchall()))


def _summaries(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per table, and one per feature column, both indexed by name; a column at a time is in memory."""
    import duckdb
    from pyarrow.parquet import ParquetFile

    tables, columns = {}, {}
    for name, (key, features) in TABLES.items():
        path = folder / f"{name}.parquet"
        with duckdb.connect(config={"memory_limit": "1GB"}) as connection:
            tables[name] = connection.execute(sql.SUMMARY[key], [str(path)]).fetchall()[0]
        with ParquetFile(path) as file:
            for feature in features:
                values = file.read([feature]).column(0).to_numpy()
                columns[f"{name}.{feature}"] = (*summary(values), *feature_bounds(feature))
    return (
        pd.DataFrame.from_dict(tables, orient="index", columns=["n_rows", "n_keys", "latest_us"]),
        pd.DataFrame.from_dict(columns, orient="index", columns=_COLUMN_SUMMARY).replace(np.inf, np.finfo(np.float64).max),
    )
