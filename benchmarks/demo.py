"""Demonstration as people start it: `attune up` in a home of its own, with shop, console and visitors; and its addresses."""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.chromium import until
from benchmarks.serve import free_port

READY_S: Final = 900.0  # a fresh home trains first


class Demo:
    """Running demonstration.

    Attributes
    ----------
    told
        What it printed as ``name  value``: `shop`, `console`, `key`, `docs` and so on.
    """

    def __init__(self, home: Path, *words: str, env: dict[str, str] | None = None) -> None:
        self.home = home
        self.told: dict[str, str] = {}
        command = [sys.executable, "-m", "services.cli", "up", "--no-open", "--port", str(free_port()), *words]
        environment = {**os.environ, **(env or {}), "ATTUNE_HOME": str(home)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        threading.Thread(target=self._listen, daemon=True).start()
        until(lambda: "ready" in self.told or self.process.poll() is not None, "attune up does not become ready", READY_S)
        if self.process.poll() is not None:
            raise RuntimeError(f"attune up ended with exit code {self.process.returncode}")

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            name, _, value = line.strip().partition(" ")
            if name.isalpha() and value.strip():
                self.told[name] = value.strip()

    def stop(self) -> None:
        """Stop all of it."""
        self.process.terminate()
        self.process.wait(60)


@contextmanager
def running(home: Path | None = None, *words: str, env: dict[str, str] | None = None) -> Iterator[Demo]:
    """A demonstration of a home that is there, or of a new one that goes with it."""
    with tempfile.TemporaryDirectory() as folder:
        demo = Demo(home or Path(folder) / "home", *words, env=env)
        try:
            yield demo
        finally:
            demo.stop()
