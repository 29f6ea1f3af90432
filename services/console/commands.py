"""Commands that the console starts: what needs Prefect or Great Expectations runs in a process of its own, as if typed."""

import os
import subprocess
from pathlib import Path
from typing import Final

from infra import layout
from services.console.acts import Doing
from services.processes import command, spawn

WAIT_S: Final = 120.0
LONGEST: Final = 400  # characters of what a command said


def told_by(doing: Doing, *words: str) -> str:
    """Run a command to its end; the last line that it printed.

    Raises
    ------
    ValueError
        With what it said, where it failed or takes too long.
    """
    environment = {**os.environ, "ATTUNE_HOME": str(doing.home)}
    try:
        done = subprocess.run(
            command(*words),
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_S,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"attune {' '.join(words)} takes longer than {WAIT_S:.0f} s; look later") from None
    said = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    last = said[-1][:LONGEST] if said else "done"
    if done.returncode:
        raise ValueError(last.removeprefix("attune: "))
    return last


def log_of(home: Path, name: str) -> Path:
    """File that holds what a command said that was started here."""
    return home / layout.LOGS / f"console_{name}.log"


def start(doing: Doing, name: str, *words: str) -> str:
    """Start a command that takes long, and do not wait for it."""
    log = log_of(doing.home, name)
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    spawn(words, {"ATTUNE_HOME": str(doing.home)}, log)
    return f"attune {' '.join(words)} has been started; what it says stands on this page."


def said(home: Path, name: str) -> str:
    """Output so far of a command that was started here; nothing if none was."""
    try:
        return log_of(home, name).read_text(encoding="utf-8", errors="replace")[-3_000:]
    except OSError:
        return ""
