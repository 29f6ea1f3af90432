"""Write report: a validation on one page that needs no network; Great Expectations' own pages ask a CDN for their looks."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from flows.expect import Outcome
from flows.reports.page import render


def write_report(path: Path, subject: str, outcomes: Sequence[Outcome], n_rows: int, pages: Path) -> Path:
    """Write the page; names of expectations and of rows only, no values.

    Parameters
    ----------
    n_rows
        How many rows were checked.
    pages
        First page of the Data Docs.
    """
    worst = sorted(outcomes, key=lambda one: -one.n_failed)
    rows = [[one.name, one.kind, one.n_failed, ", ".join(map(str, one.rows[:5]))] for one in worst]
    page = render(
        "validation.html.j2",
        subject=subject,
        rows=rows,
        n_rows=n_rows,
        n_failed=sum(one.n_failed > 0 for one in outcomes),
        checked_at=datetime.now(UTC),
        pages=os.path.relpath(pages, path.parent),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(page, encoding="utf-8")
    return draft.replace(path)
