"""Services and workers of a benchmark, each in a process of its own, which are forked, stopped and killed."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.serve import free_port

N_SERVICES: Final = 3
N_WORKERS: Final = 2
# Imports everything once, then forks what it is told to: a fork is there at once, a process that imports takes seconds.
NURSERY: Final = """
import gc, os, signal, sys
from pathlib import Path
import uvicorn
from feature_repo import store
from models import warm_up as warm
from infra.settings import Settings
from services.api import app
from services.serving.features import open_features, store_failures
from services.worker import action_weights, cleanup, delivery, erasure, features, process, retention, rewards, signals

settings = Settings()
for rehearse in warm.PARTS.values():
    rehearse()
store_failures(), open_features(settings)
gc.collect()
gc.freeze()
print("ready", flush=True)
for line in sys.stdin:
    kind, port = line.split()
    child = os.fork()
    if child == 0:
        if kind == "service":
            own = settings.model_copy(update={"home": settings.home.with_name(f"of {port}")})  # without models
            uvicorn.run(app.build_app(own), host=sys.argv[1], port=int(port), log_level="critical")
        else:
            process.run(settings.home)
        os._exit(1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print(child, flush=True)
"""


class Nursery:
    """The processes.

    Parameters
    ----------
    log
        Where they tell what is away.
    address
        At which services listen.
    enter
        Words before the command: of a namespace.
    """

    def __init__(self, log: Path, address: str, enter: Sequence[str]) -> None:
        words, env = [*enter, sys.executable, "-c", NURSERY, address], {**os.environ, "OMP_NUM_THREADS": "1"}
        with log.open("w") as said:  # what is away is told by each of them, again and again
            self._parent = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, env=env
            )
        self.ports = [free_port() for _ in range(N_SERVICES)]
        self.children: dict[str, int] = {}
        assert self._read() == "ready"
        for name in (*(f"service {port}" for port in self.ports), *(f"worker {k}" for k in range(N_WORKERS))):
            self.fork(name)

    def _read(self) -> str:
        assert self._parent.stdout is not None
        return self._parent.stdout.readline().strip()

    def fork(self, name: str) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.write(name + "\n")
        self._parent.stdin.flush()
        self.children[name] = int(self._read())

    def send(self, name: str, signal_number: int) -> None:
        os.kill(self.children[name], signal_number)

    def kill(self, name: str) -> None:
        self.send(name, 9)

    def close(self) -> None:
        for name in self.children:
            self.kill(name)
        self._parent.terminate()
        self._parent.wait()
