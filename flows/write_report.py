"""Write report: a validation on one page that needs no network; Great Expectations' own pages ask a CDN for their looks."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Final

from flows.expect import Outcome

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #1d2733 }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #dde3ea }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums }}
tr.failed td {{ background: #fdecea }}
small {{ color: #5b6b7c }}
</style></head><body>
<h1>{title}</h1>
<p>{summary}</p>
<table><thead><tr><th>Expectation</th><th>Kind</th><th>Failed</th><th>First failures</th></tr></thead><tbody>
{rows}
</tbody></table>
<p><small>{at}. Details: {pages}</small></p>
</body></html>
"""


def write_report(path: Path, subject: str, outcomes: Sequence[Outcome], n_rows: int, pages: Path) -> Path:
    """Write the page; names of expectations and of rows only, no values.

    Parameters
    ----------
    n_rows
        How many rows were checked.
    pages
        First page of the Data Docs.
    """
    failed = [one for one in outcomes if one.n_failed]
    page = _PAGE.format(
        title=escape(f"{subject}: {'passed' if not failed else 'failures'}"),
        summary=f"{n_rows:,} rows checked against {len(outcomes)} expectations; {len(failed)} of these failed.",
        rows="\n".join(map(_row, sorted(outcomes, key=lambda one: -one.n_failed))),
        at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        pages=escape(str(pages)),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(page, encoding="utf-8")
    return draft.replace(path)


def _row(one: Outcome) -> str:
    first = ", ".join(map(str, (one.rows or [])[:5]))
    look = ' class="failed"' if one.n_failed else ""
    cells = f'<td>{escape(one.name)}</td><td>{escape(one.kind)}</td><td class="n">{one.n_failed:,}</td><td>{escape(first)}</td>'
    return f"<tr{look}>{cells}</tr>"
