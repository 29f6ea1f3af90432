"""Steps of a run as a person sees them: one line each on stderr, a bar while it lasts, and where the seconds went."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Steps:
    """Timed steps of one run.

    Attributes
    ----------
    seconds
        Duration of each finished step.
    told
        Is told each finished step in one line, too: the log of a run.
    """

    def __init__(self, *names: str, told: Callable[[str], None] | None = None) -> None:
        self.names = names
        self.told = told
        self.seconds: dict[str, float] = {}
        self.console = Console(stderr=True, highlight=False)

    def skip(self, name: str) -> None:
        """Leave a step to someone else; the others keep their numbers."""
        self.names = tuple(other for other in self.names if other != name)

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """Time a step; what is put into the yielded dictionary stands on its line."""
        said: dict[str, Any] = {}
        started = time.monotonic()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not sys.stderr.isatty()) as bar:
            bar.add_task(
                f"{name} ({len(self.seconds) + 1} of {len(self.names)})", total=len(self.names), completed=len(self.seconds)
            )
            yield said
        self.seconds[name] = round(time.monotonic() - started, 2)
        about = ", ".join(f"{value:,} {key}" if isinstance(value, int) else f"{key} {value}" for key, value in said.items())
        self.console.print(f"  {name:<12}{self.seconds[name]:>6.1f} s  {about}", soft_wrap=True)
        if self.told is not None:
            self.told(f"{name}: {about or 'done'} ({self.seconds[name]:.1f} s)")
