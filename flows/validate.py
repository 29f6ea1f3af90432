"""Validate: are the log's new events believable, and are the feature tables?

Single rows that fail are held back in quarantine by their sequence number, with the names of the expectations they failed. When
more than the tolerated share fails, something upstream is broken: the batch stops, nothing is held back, nothing is folded.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TaskRunContext

from flows import expect
from flows.expect import Checker, Outcome
from flows.write_report import write_report
from infra.layout import DATA_DOCS, REPORTS
from infra.store.engines import open_store
from infra.store.events import event_chunks, quarantine_events
from infra.store.protocol import LogTail, Transaction
from infra.store.statements.offline import SUMMARY
from models.events.quality import TOLERANCE, feature_bounds, summary, with_checks
from models.schema import VIEW_FEATURES, VIEW_KEY

CURSOR: Final = "validate"
ROWS_AT_ONCE: Final = 200_000
TABLES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {v: (VIEW_KEY[v], VIEW_FEATURES[v]) for v in VIEW_KEY}
_COLUMN_SUMMARY: Final = ["n_missing", "n_not_finite", "lowest", "highest", "lowest_allowed", "highest_allowed"]


class ValidationStopped(ValueError):  # noqa: N818 - a decision about data
    """Data that must not be folded; one line that says what failed and what to do."""


@dataclass(frozen=True)
class ValidationResult:
    """Result of the validation of a batch of events.

    Attributes
    ----------
    n_rows
        Events checked: those that arrived since the last validation.
    n_failed
        Events that failed at least one expectation.
    n_quarantined
        Those newly held back.
    failed_by
        Expectation name to number of events; only those with failures.
    n_expectations
        Expectations evaluated.
    passed
        Whether no row failed.
    pages, report
        Great Expectations' Data Docs, and our page that needs no network; None where there was nothing to check.
    seconds
        How long it took.
    """

    n_rows: int = 0
    n_failed: int = 0
    n_quarantined: int = 0
    failed_by: dict[str, int] = field(default_factory=dict)
    n_expectations: int = 0
    passed: bool = True
    pages: str | None = None
    report: str | None = None
    seconds: float = 0.0


def validate(home: Path, as_of_us: int | None = None, *, tolerance: float = TOLERANCE) -> ValidationResult:
    """Check the events that arrived or were released since the last validation, and hold back those that fail.

    Inside a Prefect run the result also becomes a table among its artifacts.

    Parameters
    ----------
    as_of_us
        Taken so that all steps of a retraining look alike; an event is believable or not whenever it is looked at.
    tolerance
        Share of the batch that may fail, 0 to 1.

    Raises
    ------
    ValidationStopped
        If more than the tolerated share of the rows fails, or an expectation about the whole batch does.
    """
    started = time.monotonic()
    checker: Checker | None = None
    outcomes: list[Outcome] = []
    n_rows = last_seq = 0
    with closing(open_store(home)) as store:
        tail = store.tail(CURSOR)
        for frame in event_chunks(store, after_seq=_unseen_after(tail), n_rows=ROWS_AT_ONCE):
            checker = checker or Checker(home / DATA_DOCS / "events")
            outcomes += checker.check("events", with_checks(frame.set_index("seq")), expect.of_events)
            n_rows, last_seq = n_rows + len(frame), int(frame["seq"].iloc[-1])
        if checker is None:
            return ValidationResult(seconds=time.monotonic() - started)
        result = _concluded(home, checker, expect.merged(outcomes), n_rows, tolerance)

        def work(transaction: Transaction) -> int:
            tail.move(transaction, last_seq, time.time_ns() // 1_000)
            return quarantine_events(transaction, _reasons(outcomes).items())

        n_quarantined = store.write(work)
    return replace(result, n_quarantined=n_quarantined, seconds=time.monotonic() - started)


def _unseen_after(tail: LogTail) -> int:
    """The sequence number after which events were never seen, or were held back and released since."""
    return min([tail.position() or 0, *(seq - 1 for seq in tail.released()[:1])])


def _reasons(outcomes: Iterable[Outcome]) -> dict[int, str]:
    names: defaultdict[int, list[str]] = defaultdict(list)
    for one in outcomes:
        for seq in one.rows or ():
            names[int(seq)].append(one.name)
    return {seq: ", ".join(failed) for seq, failed in sorted(names.items())}


def _concluded(home: Path, checker: Checker, outcomes: list[Outcome], n_rows: int, tolerance: float) -> ValidationResult:
    """Write the pages and the artifact, then stop the batch or let it pass."""
    n_failed = len(_reasons(outcomes))
    failed_by = {one.name: one.n_failed for one in outcomes if one.n_failed}
    whole = [one.name for one in outcomes if one.n_failed and one.rows is None]
    pages = checker.write_pages()
    report = write_report(home / REPORTS / "validation.html", "Events", outcomes, n_rows, pages)
    result = ValidationResult(n_rows, n_failed, 0, failed_by, len(outcomes), not failed_by, str(pages), str(report))
    stopped = bool(whole) or n_failed > tolerance * n_rows
    if FlowRunContext.get() or TaskRunContext.get():
        _publish(result, stopped)
    if stopped:
        worst = ", ".join(sorted(failed_by, key=lambda name: -failed_by[name])[:3])
        raise ValidationStopped(
            f"{n_failed} of {n_rows} new events failed validation ({worst}); at most {tolerance:.0%} may: "
            f"nothing was held back or folded, see {report}"
        )
    return result


def check_tables(home: Path, folder: Path, as_of_us: int) -> list[Outcome]:
    """Check the feature tables that lie in a folder: nothing missing, all finite and in range, unique keys, not empty.

    The tables are summed up first, so that their size does not matter; the suites run over the summaries.

    Raises
    ------
    ValidationStopped
        With the tables and columns that failed.
    """
    tables, columns = _summaries(folder)
    checker = Checker(home / DATA_DOCS / "features")
    outcomes = checker.check("tables", tables, lambda: expect.of_tables(as_of_us)) + checker.check(
        "columns", columns, expect.of_columns
    )
    pages = checker.write_pages()
    write_report(home / REPORTS / "feature_validation.html", "Feature tables", outcomes, len(columns), pages)
    failures = [f"{one.name}: {', '.join(map(str, one.rows or ['?']))}" for one in outcomes if one.n_failed]
    if failures:
        raise ValidationStopped(f"the new feature tables were not taken into use: {'; '.join(failures)}; see {pages}")
    return outcomes


def _summaries(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per table, and one per feature column, both indexed by name; a column at a time is in memory."""
    import duckdb
    from pyarrow.parquet import ParquetFile

    tables, columns = {}, {}
    for name, (key, features) in TABLES.items():
        path = folder / f"{name}.parquet"
        with duckdb.connect(config={"memory_limit": "1GB"}) as connection:
            tables[name] = connection.execute(SUMMARY[key], [str(path)]).fetchall()[0]
        with ParquetFile(path) as file:
            for feature in features:
                values = file.read([feature]).column(0).to_numpy()
                columns[f"{name}.{feature}"] = (*summary(values), *feature_bounds(feature))
    return (
        pd.DataFrame.from_dict(tables, orient="index", columns=["n_rows", "n_keys", "latest_us"]),
        pd.DataFrame.from_dict(columns, orient="index", columns=_COLUMN_SUMMARY).replace(np.inf, np.finfo(np.float64).max),
    )


def may_pass(_task: Any, _run: Any, state: Any) -> bool:
    """Whether a failed task is worth another try: a busy store or disk is, a refusal of the data is not."""
    return not isinstance(state.result(raise_on_failure=False), ValueError | BlockingIOError)


RETRIES: Final[dict[str, Any]] = {
    "retries": 2,
    "retry_delay_seconds": [1, 5],
    "retry_condition_fn": may_pass,
    "cache_policy": NO_CACHE,
}


@task(name="check new events", **RETRIES)
def check_events(home: str, as_of_us: int | None = None, tolerance: float = TOLERANCE) -> ValidationResult:
    """Task around `validate`."""
    return validate(Path(home), as_of_us, tolerance=tolerance)


def _publish(result: ValidationResult, stopped: bool) -> None:
    from prefect.artifacts import create_table_artifact

    rows = [{"expectation": name, "failed rows": n} for name, n in result.failed_by.items()]
    create_table_artifact(
        key="event-validation",
        table=rows or [{"expectation": f"all {result.n_expectations}", "failed rows": 0}],
        description=f"{result.n_rows} new events, {result.n_failed} failed: {'stopped' if stopped else 'held back'}",
    )


@flow(name="validate")
def validate_events(home: str, as_of_us: int | None = None, tolerance: float = TOLERANCE) -> dict[str, Any]:
    """Check the new events of a home; what was found, JSON-able."""
    return asdict(check_events(home, as_of_us, tolerance))
