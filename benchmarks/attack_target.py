"""Target of attacks and of the soak: a service of our own on loopback, and what is told of each attack."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from benchmarks.serve import free_port, stop, wait_until_ready
from services.http import partners

MIB: Final = 1024 * 1024


class Outcome(NamedTuple):
    """Outcome of an attack: what must show, what was seen, and whether that is the same."""

    attack: str
    must_show: str
    seen: str
    held: bool


class Service(NamedTuple):
    """A service that was started for this, with its keys."""

    home: Path
    port: int
    process: psutil.Process
    server_key: str
    browser_key: str

    def memory_mib(self) -> float:
        """What the workers hold now."""
        return float(sum(one.memory_info().rss for one in self.process.children(recursive=True)) / MIB)


@contextmanager
def service(home: Path) -> Iterator[Service]:
    """Serve a home whose champions can answer; stopped at the end."""
    now_us = time.time_ns() // 1000
    keys = partners.add(home, "shop", now_us), partners.add(home, "shop", now_us, kind="pk")
    port = free_port()
    command = [sys.executable, "-m", "services.cli", "serve", "--port", str(port)]
    child = subprocess.Popen(command, env={**os.environ, "ATTUNE_HOME": str(home)}, stdout=sys.stderr)
    try:
        wait_until_ready(port, "/readyz", child)
        yield Service(home, port, psutil.Process(child.pid), *keys)
    finally:
        stop(child)
