"""Reports: what each retraining left, by run; the newest first."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from infra import layout
from services.console.page import NONE, Cell, Column, Link, Moment, Page, Table
from services.console.sources import Ask, Sources

LATEST: Final = "latest"
N_RUNS: Final = 60
N_DOCS: Final = 40
UNNAMED: Final = "__none__"  # a run of Great Expectations' that nobody named


def view(sources: Sources, ask: Ask) -> Page:
    """The page."""
    folder = sources.home / layout.REPORTS
    newest: list[list[Cell]] = [
        [
            Link(_title(path), f"/reports/file/{path.name}"),
            Moment(int(path.stat().st_mtime * 1e6)),
            f"{path.stat().st_size / 1024:.0f} KiB",
        ]
        for path in sorted(folder.glob("*.html"))
    ]
    runs = sorted((path for path in folder.glob("*T*Z") if path.is_dir() and not path.is_symlink()), reverse=True)[:N_RUNS]
    kept: list[list[Cell]] = [
        [Moment(at_us), Link(_title(page), f"/reports/file/{run.name}/{page.name}"), run.name]
        for run in runs
        if (at_us := instant_us(run.name)) is not None
        for page in sorted(run.glob("*.html"))
    ]
    docs: list[list[Cell]] = [
        [
            Link(
                " / ".join(part for part in path.relative_to(sources.home / layout.DATA_DOCS).parts[-4:-1] if part != UNNAMED),
                f"/reports/docs/{path.relative_to(sources.home / layout.DATA_DOCS)}",
            ),
            Moment(int(path.stat().st_mtime * 1e6)),
        ]
        for path in sorted((sources.home / layout.DATA_DOCS).rglob("*.html"), key=lambda path: -path.stat().st_mtime)[:N_DOCS]
    ]
    lead = f"{_counted(len(newest), 'report')}, and those of {_counted(len(runs), 'retraining')}."
    return Page(
        "Reports",
        lead if newest else "No report has been written yet.",
        [
            Table(
                "newest",
                "Newest of each kind",
                [Column("report"), Column("written"), Column("size", True)],
                newest,
                empty="No report has been written yet.",
                mend="attune retrain",
            ),
            Table(
                "runs",
                "By run",
                [Column("run"), Column("report"), Column("folder")],
                kept,
                empty="No retraining has ended yet.",
                mend="attune retrain",
            ),
            Table(
                "docs",
                "Great Expectations' own pages",
                [Column("page"), Column("written")],
                docs,
                "Without their scripts.",
                "Nothing has been validated yet.",
                "attune retrain",
            ),
        ],
        NONE,
        False,
        sources.now_us(),
    )


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _title(path: Path) -> str:
    return path.stem.replace("_", " ").capitalize()


def instant_us(name: str) -> int | None:
    """When a run ended, by its folder's name; None for another folder.

    Examples
    --------
    >>> instant_us("19700101T000001.500000Z"), instant_us("latest")
    (1500000, None)
    """
    try:
        return int(datetime.strptime(name, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC).timestamp() * 1e6)
    except ValueError:
        return None
