"""Write report: a validation on one page that needs no network; Great Expectations' own pages ask a CDN for their looks."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from flows.expect import Outcome
from flows.reports.page import about, document, section, table, verdict


def write_report(path: Path, subject: str, outcomes: Sequence[Outcome], n_rows: int, pages: Path) -> Path:
    """Write the page; names of expectations and of rows only, no values.

    Parameters
    ----------
    n_rows
        How many rows were checked.
    pages
        First page of the Data Docs.
    """
    n_failed = sum(one.n_failed > 0 for one in outcomes)
    said = f"{n_rows:,} rows checked against {len(outcomes)} expectations; {n_failed} of these failed."
    rows = [
        [one.name, one.kind, one.n_failed, ", ".join(map(str, (one.rows or [])[:5]))]
        for one in sorted(outcomes, key=lambda one: -one.n_failed)
    ]
    title = f"{subject}: {'failures' if n_failed else 'passed'}"
    parts = [
        f"<h1>Validation of {escape(subject.lower())}</h1>",
        verdict(title, [said]),
        about(f"{datetime.now(UTC).strftime('%Y-%m-%d %H:%M UTC')}. Details: {pages}"),
        section("Expectations", table(["expectation", "kind", "rows that failed", "the first of them"], rows)),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(document(title, parts), encoding="utf-8")
    return draft.replace(path)
