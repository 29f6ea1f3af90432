"""Expect: the Great Expectations suites, derived from `models.schema`, and how they are run and documented.

Frames are checked in pandas with COMPLETE results: SQL sources name only the first twenty failing rows, and quarantine needs
them all. Great Expectations takes seconds to import, so everything that touches it is inside functions.
"""

import logging
import shutil
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pandas as pd

from flows.local_pages import make_local
from models.events.quality import MAX_PRICE_RATIO, MAX_SESSION_EVENTS
from models.schema import CLOCK_SKEW_S, DEVICES, EVENT_TYPES, MAX_ID_LENGTH, MEASURES, REFERRERS
from models.trust import RESERVED

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

UTC_OFFSET_MIN: Final = (-14 * 60, 14 * 60)
UNIQUE: Final = "key_and_instant_unique"
NOT_EMPTY: Final = "table_not_empty"
NOT_LATER: Final = "nothing_later_than_as_of"
_TEXTS: Final = {"event_id": True, "user_id": True, "session_id": False, "item_id": False, "category": False}  # -> required


class ValidationStopped(ValueError):  # noqa: N818 - a decision about data
    """Data that must not be folded before a person has looked; one line that says what failed and what to type."""


class Outcome(NamedTuple):
    """Outcome of one expectation about a frame.

    Attributes
    ----------
    name
        Ours, such as ``price_in_range``.
    kind
        Great Expectations' name of the expectation type.
    n_failed
        Rows that failed.
    rows
        Index labels of those rows.
    """

    name: str
    kind: str
    n_failed: int
    rows: list[Any]


def of_events() -> "list[Expectation]":
    """Expectations of raw events, for frames from `models.events.quality.with_checks`."""
    gxe: Any = import_module("great_expectations.expectations")

    found: list[Expectation] = []

    def expect(kind: Callable[..., Any], name: str, **arguments: Any) -> None:
        found.append(kind(meta={"name": name}, **arguments))

    for column, required in _TEXTS.items():
        if required:
            expect(gxe.ExpectColumnValuesToNotBeNull, f"{column}_present", column=column)
        most = MAX_ID_LENGTH + len(RESERVED)
        expect(gxe.ExpectColumnValueLengthsToBeBetween, f"{column}_length", column=column, min_value=1, max_value=most)
    expect(gxe.ExpectCompoundColumnsToBeUnique, "event_id_unique", column_list=["partner", "event_id"])
    for column, values in {"event_type": EVENT_TYPES, "device": DEVICES, "referrer": REFERRERS}.items():
        expect(gxe.ExpectColumnValuesToBeInSet, f"{column}_known", column=column, value_set=list(values))
    ranges: dict[str, tuple[float | None, float | None]] = {
        **MEASURES,
        "utc_offset_min": UTC_OFFSET_MIN,
        "occurred_at_us": (0, None),
        "ahead_s": (None, CLOCK_SKEW_S),
        "price_ratio": (1 / MAX_PRICE_RATIO, MAX_PRICE_RATIO),
    }
    for column, (low, high) in ranges.items():
        expect(gxe.ExpectColumnValuesToBeBetween, f"{column}_in_range", column=column, min_value=low, max_value=high)
    expect(gxe.ExpectColumnValuesToBeInSet, "item_id_where_required", column="item_is_missing", value_set=[False])
    return found


def of_visitors() -> "list[Expectation]":
    """Expectations of the visitors of a batch, for frames from `models.events.quality.of_visitors`."""
    gxe: Any = import_module("great_expectations.expectations")

    most = {"column": "session_events", "max_value": MAX_SESSION_EVENTS}
    return [gxe.ExpectColumnValuesToBeBetween(**most, meta={"name": "session_events_in_range"})]


def of_columns() -> "list[Expectation]":
    """Expectations of feature tables, over one row per column: what the table holds beside what it may hold."""
    gxe: Any = import_module("great_expectations.expectations")

    return [
        gxe.ExpectColumnValuesToBeInSet(column="n_missing", value_set=[0], meta={"name": "no_value_missing"}),
        gxe.ExpectColumnValuesToBeInSet(column="n_not_finite", value_set=[0], meta={"name": "all_values_finite"}),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="lowest", column_B="lowest_allowed", or_equal=True, meta={"name": "not_below_range"}
        ),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="highest_allowed", column_B="highest", or_equal=True, meta={"name": "not_above_range"}
        ),
    ]


def of_tables(as_of_us: int) -> "list[Expectation]":
    """Expectations of feature tables, over one row per table: size, keys, age."""
    gxe: Any = import_module("great_expectations.expectations")

    return [
        gxe.ExpectColumnValuesToBeBetween(column="n_rows", min_value=1, meta={"name": NOT_EMPTY}),
        gxe.ExpectColumnPairValuesToBeEqual(column_A="n_rows", column_B="n_keys", meta={"name": UNIQUE}),
        gxe.ExpectColumnValuesToBeBetween(column="latest_us", max_value=as_of_us, meta={"name": NOT_LATER}),
    ]


class Checker:
    """Runs suites over frames and writes their pages; one per validation.

    Parameters
    ----------
    pages
        Folder of the Data Docs; what an earlier validation left there is replaced.
    """

    def __init__(self, pages: Path) -> None:
        import great_expectations as gx

        logging.getLogger("great_expectations").setLevel(logging.ERROR)
        self.pages = pages
        self._context = gx.get_context(mode="ephemeral")
        self._context.enable_analytics(False)
        self._context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
        self._source = self._context.data_sources.add_pandas("frames")
        self._checkpoints: dict[str, Any] = {}

    def check(self, name: str, frame: pd.DataFrame, suite: "Callable[[], list[Expectation]]") -> list[Outcome]:
        """Run a suite over a frame with a unique index.

        Raises
        ------
        RuntimeError
            If an expectation could not be evaluated at all, or names no rows: a fault of ours, not of the data.
        """
        if name not in self._checkpoints:
            self._checkpoints[name] = self._checkpoint(name, suite())
        run = self._checkpoints[name].run(
            batch_parameters={"dataframe": frame.rename_axis(None)}
        )  # a named index is told as dictionaries
        return [_outcome(result) for result in next(iter(run.run_results.values())).results]

    def _checkpoint(self, name: str, expectations: "list[Expectation]") -> Any:
        import great_expectations as gx

        batch = self._source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        suite = self._context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
        definition = self._context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        checkpoint = gx.Checkpoint(name=name, validation_definitions=[definition], result_format={"result_format": "COMPLETE"})
        return self._context.checkpoints.add(checkpoint)

    def write_pages(self) -> Path:
        """Write the Data Docs of everything checked so far; the first page."""
        shutil.rmtree(self.pages, ignore_errors=True)
        backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(self.pages)}
        index = {"class_name": "DefaultSiteIndexBuilder"}
        site = {
            "class_name": "SiteBuilder",
            "store_backend": backend,
            "site_index_builder": index,
            "show_how_to_buttons": False,
        }
        for present in list(self._context.get_site_names()):
            self._context.delete_data_docs_site(present)
        self._context.add_data_docs_site(site_name="pages", site_config=site)  # type: ignore[arg-type]
        self._context.build_data_docs(site_names=["pages"])
        make_local(self.pages)
        return self.pages / "index.html"


def _outcome(result: Any) -> Outcome:
    config = result.expectation_config
    name = config.meta["name"]
    info = result.exception_info or {}
    failures = [info] if "raised_exception" in info else list(info.values())
    if any(one.get("raised_exception") for one in failures):
        messages = {str(one.get("exception_message")) for one in failures}
        raise RuntimeError(f"the expectation {name} could not be evaluated: {'; '.join(sorted(messages))}")
    rows = result.result.get("unexpected_index_list")
    if rows is None and not result.success:
        raise RuntimeError(f"the expectation {name} does not name the rows that fail it")
    return Outcome(name, config.type, len(rows or ()), list(rows or ()))


def merged(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Add up what the same expectation said about several frames."""
    sums: dict[str, Outcome] = {}
    for one in outcomes:
        before = sums.get(one.name, Outcome(one.name, one.kind, 0, []))
        sums[one.name] = Outcome(one.name, one.kind, before.n_failed + one.n_failed, before.rows + one.rows)
    return list(sums.values())
