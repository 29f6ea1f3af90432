"""Validate: are the log's new events believable?

Rows that fail are held back in quarantine by their sequence number, with the names of the expectations they failed; a visitor
who is a machine is held back as a whole. The rest goes on. Only when most of what servers and files told fails, of most
visitors, is something upstream broken: then the batch waits until a person has typed ``attune quarantine accept`` or ``drop``.
What browser keys sent is held back as well, but raises no alarm: strangers cannot stop a training.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TaskRunContext

from flows import expect
from flows.expect import Checker, Outcome, ValidationStopped
from flows.write_report import write_report
from infra.layout import DATA_DOCS, REPORTS
from infra.store.engines import open_store
from infra.store.events import event_chunks, quarantine_events
from infra.store.protocol import LogTail, Store
from infra.store.statements import quarantine as sql
from models.events import quality
from models.events.quality import ALARM_SHARE

CURSOR: Final = "validate"
ROWS_AT_ONCE: Final = 200_000


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
        The same: who fails is held back. An event that a person has accepted counts in neither.
    n_visitors_held
        Visitors of whom an event is held back.
    failed_by
        Expectation name to number of events held back; only those with failures.
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
    n_visitors_held: int = 0
    failed_by: dict[str, int] = field(default_factory=dict)
    n_expectations: int = 0
    passed: bool = True
    pages: str | None = None
    report: str | None = None
    seconds: float = 0.0


class _Batch(NamedTuple):
    """What was checked: outcomes of the suites; the reasons of rows that fail, by sequence number; where the batch lies."""

    checker: Checker | None
    outcomes: list[Outcome]
    reasons: dict[int, str]
    n_rows: int
    position: int
    until: int


class _Held(NamedTuple):
    """An event that validation holds back and that nobody has decided about."""

    seq: int
    reason: str
    user_id: str
    browser: int


def validate(home: Path, as_of_us: int | None = None, *, tolerance: float = ALARM_SHARE) -> ValidationResult:
    """Check the events that arrived or were released since the last validation, and hold back those that fail.

    Inside a Prefect run the result also becomes a table among its artifacts.

    Parameters
    ----------
    as_of_us
        Taken so that all steps of a retraining look alike; an event is believable or not whenever it is looked at.
    tolerance
        Share of the rows, and of the visitors, that may fail before a person is asked, 0 to 1.

    Raises
    ------
    ValidationStopped
        If more fails, until a person has decided (see `models.events.quality.is_alarming`); it is held back all the same.
    """
    started = time.monotonic()
    with closing(open_store(home)) as store:
        tail = store.tail(CURSOR)
        batch = _checked(home, store, tail)
        store.write(lambda transaction: quarantine_events(transaction, batch.reasons.items()))
        held = [_Held(*row) for row in store.read(sql.HELD_SINCE, (batch.position,))]
        if batch.checker is None and not held:
            return ValidationResult(seconds=time.monotonic() - started)
        stopped = _is_alarming(store, batch, held, tolerance)
        result = _concluded(home, batch, held, stopped)
        if stopped:
            raise ValidationStopped(_what_to_do(result))
        store.write(lambda transaction: tail.move(transaction, batch.until, time.time_ns() // 1_000))
    return replace(result, seconds=time.monotonic() - started)


def _checked(home: Path, store: Store, tail: LogTail) -> _Batch:
    """Run the suites over the events that were never seen, or were held back and released since."""
    position = tail.position() or 0
    after, until = min([position, *(seq - 1 for seq in tail.released()[:1])]), tail.end()
    checker: Checker | None = None
    outcomes: list[Outcome] = []
    n_events: Counter[str] = Counter()
    for frame in event_chunks(store, after_seq=after, n_rows=ROWS_AT_ONCE):
        checker = checker or Checker(home / DATA_DOCS / "events")
        outcomes += checker.check("events", quality.with_checks(frame.set_index("seq")), expect.of_events)
        n_events.update({str(user): n for user, n in frame["user_id"].value_counts().items()})
        until = max(until, int(frame["seq"].iloc[-1]))
    if checker is not None:
        outcomes.append(_of_visitors(store, checker, n_events, (after, until)))
    accepted = {seq for (seq,) in store.read(sql.ACCEPTED_SINCE, (after,))}
    reasons = {seq: reason for seq, reason in _reasons(outcomes).items() if seq not in accepted}
    return _Batch(checker, expect.merged(outcomes), reasons, n_events.total(), position, until)


def _of_visitors(store: Store, checker: Checker, n_events: Counter[str], span: tuple[int, int]) -> Outcome:
    """Check the visitors of a batch; an outcome that names the events of those who fail."""
    busy = [user for user, n in n_events.items() if n > quality.MAX_SESSION_EVENTS]
    longest = quality.longest_sessions(store.read(sql.SESSION_SIZES, (_json(busy), *span)))
    (said,) = checker.check("visitors", quality.of_visitors(n_events, longest), expect.of_visitors)
    rows = [seq for (seq,) in store.read(sql.EVENTS_OF, (_json(said.rows), *span))]
    return said._replace(n_failed=len(rows), rows=rows)


def _json(values: Sequence[Any]) -> str:
    return msgspec.json.encode(list(values)).decode()


def _reasons(outcomes: Iterable[Outcome]) -> dict[int, str]:
    names: defaultdict[int, list[str]] = defaultdict(list)
    for one in outcomes:
        for seq in one.rows:
            names[int(seq)].append(one.name)
    return {seq: ", ".join(failed) for seq, failed in sorted(names.items())}


def _is_alarming(store: Store, batch: _Batch, held: Sequence[_Held], tolerance: float) -> bool:
    theirs = [one for one in held if not one.browser]
    if len(theirs) < quality.LEAST_ALARM_ROWS:  # the usual case: nothing has to be counted
        return False
    told = store.read(sql.TOLD_BY_SERVERS, (batch.position, batch.until))[0]
    return quality.is_alarming((len(theirs), len({one.user_id for one in theirs})), (told[0], told[1]), tolerance)


def _concluded(home: Path, batch: _Batch, held: Sequence[_Held], stopped: bool) -> ValidationResult:
    """Write the pages and the artifact of what was found, and of what an alarm before holds back."""
    reasons = {one.seq: one.reason for one in held} | batch.reasons
    failed_by = Counter(name for reason in reasons.values() for name in reason.split(", "))
    n_rows = batch.n_rows + len(reasons.keys() - batch.reasons.keys())
    n_visitors = len({one.user_id for one in held})
    result = ValidationResult(
        n_rows, len(reasons), len(reasons), n_visitors, dict(failed_by), len(batch.outcomes), not failed_by
    )
    if batch.checker is not None:
        pages = batch.checker.write_pages()
        outcomes = [one._replace(n_failed=failed_by[one.name]) for one in batch.outcomes]
        report = write_report(home / REPORTS / "validation.html", "Events", outcomes, n_rows, pages)
        result = replace(result, pages=str(pages), report=str(report))
    if FlowRunContext.get() or TaskRunContext.get():
        _publish(result, stopped)
    return result


def _what_to_do(result: ValidationResult) -> str:
    worst = ", ".join(sorted(result.failed_by, key=lambda name: -result.failed_by[name])[:3])
    return (
        f"{result.n_failed} of {result.n_rows} new events failed validation ({worst}), of most of the visitors: "
        "they are held back, and nothing is folded until somebody has decided. Look: attune quarantine list; "
        "go on without them: attune quarantine drop --all; believe them: attune quarantine accept --all --reason TEXT"
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
def check_events(home: str, as_of_us: int | None = None, tolerance: float = ALARM_SHARE) -> ValidationResult:
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
def validate_events(home: str, as_of_us: int | None = None, tolerance: float = ALARM_SHARE) -> dict[str, Any]:
    """Check the new events of a home; what was found, JSON-able."""
    return asdict(check_events(home, as_of_us, tolerance))
