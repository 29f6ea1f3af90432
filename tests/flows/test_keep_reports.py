"""Reports of a run stay when the next one writes its own."""

from pathlib import Path

from flows.keep_reports import RUNS, keep_reports
from infra import layout

SECOND_US = 1_000_000


def test_each_run_has_its_reports_and_latest_leads_to_the_last(tmp_path: Path) -> None:
    reports = tmp_path / layout.REPORTS
    reports.mkdir()
    (reports / "drift.html").write_text("of no run")
    for run in range(RUNS + 2):
        (reports / "promotion.html").write_text(f"run {run}")
        (reports / "evaluation.json").write_text(f"run {run}")
        kept = keep_reports(tmp_path, run * SECOND_US)
    assert sorted(path.name for path in kept.iterdir()) == ["evaluation.json", "promotion.html"]
    assert (reports / "latest" / "promotion.html").read_text() == f"run {RUNS + 1}"
    runs = sorted(path for path in reports.iterdir() if path.is_dir() and path.name != "latest")
    assert [(path / "promotion.html").read_text() for path in runs] == [f"run {n}" for n in range(2, RUNS + 2)]
    assert runs[0].name == "19700101T000002.000000Z"
    assert (reports / "promotion.html").exists()
