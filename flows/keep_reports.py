"""Keep reports: those of one retraining in a folder of their own, so that the next one overwrites nothing."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from infra import layout

RUNS: Final = 30  # kept, the newest; older ones go
LATEST: Final = "latest"
OF_A_RUN: Final = ("evaluation.*", "promotion.*", "validation.html", "feature_validation.html")


def keep_reports(home: Path, now_us: int) -> Path:
    """Copy the reports of the run that ends into ``reports/RUN`` and let ``reports/latest`` lead there; the folder.

    Parameters
    ----------
    now_us
        When the run ended, microseconds since 1970; it names the folder, in UTC.
    """
    reports = home / layout.REPORTS
    run = reports / datetime.fromtimestamp(now_us / 1e6, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    run.mkdir(parents=True)
    for pattern in OF_A_RUN:
        for path in reports.glob(pattern):
            shutil.copy2(path, run / path.name)
    draft = reports / f".{LATEST}"
    draft.unlink(missing_ok=True)
    draft.symlink_to(run.name, target_is_directory=True)
    draft.replace(reports / LATEST)
    runs = sorted(path for path in reports.glob("*T*Z") if path.is_dir() and not path.is_symlink())
    for old in runs[:-RUNS]:
        shutil.rmtree(old)
    return run
