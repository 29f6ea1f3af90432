"""Processes of a benchmark, which are forked, stopped and killed: services, workers, and who moves the champion to and fro.

The clocks of one service and one worker are ahead. A service tells what its associations are when it is sent SIGUSR1
(`benchmarks.replicas`).
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.serve import free_port

N_SERVICES: Final = 3
N_WORKERS: Final = 2
CLOCK_APART_S: Final = 10  # by which the clocks of one service and one worker are ahead
# Imports everything once, then forks what it is told to: a fork is there at once, a process that imports takes seconds.
NURSERY: Final = """
import gc, os, signal, sys, time
import uvicorn
from benchmarks.replicas import tell
from feature_repo import store
from models import warm_up as warm
from infra import registry
from infra.settings import Settings
from services.api import app
from services.serving.associations import LiveChampions
from services.serving.features import open_features, store_failures
from services.serving.model_watch import ChampionWatcher
from services.worker import action_weights, cleanup, delivery, erasure, features, process, retention, rewards, signals

settings = Settings()
for rehearse in warm.PARTS.values():
    rehearse()
store_failures(), open_features(settings)
gc.collect()
gc.freeze()
print("ready", flush=True)
for line in sys.stdin:
    kind, port, ahead_s = line.split()
    child = os.fork()
    if child == 0:
        now, now_ns = time.time, time.time_ns
        time.time, time.time_ns = lambda: now() + int(ahead_s), lambda: now_ns() + int(ahead_s) * 1_000_000_000
        if kind == "service":
            own = settings.model_copy(update={"home": settings.home.with_name(f"of {port}")})  # without models
            champions = LiveChampions(own.home, ChampionWatcher(own.home))
            view = settings.home.with_name(f"view of {os.getpid()}")
            signal.signal(signal.SIGUSR1, lambda *_: tell(champions, view))
            service = app.build_app(own, champions=champions)
            uvicorn.run(service, host=sys.argv[1], port=int(port), log_level="critical")
        elif kind == "worker":
            process.run(settings.home)
        while True:  # who moves the champion to and fro
            for version in (2, 1):
                crown = registry.CHAMPION, {"weights": version}
                registry.set_alias(settings.home, *crown, action="promote", actor=f"benchmark {port}", reason="")
                time.sleep(0.2)
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
        self._ahead = f"service {self.ports[0]}", "worker 1"
        self.children: dict[str, int] = {}
        assert self._read() == "ready"
        for name in (*(f"service {port}" for port in self.ports), *(f"worker {k}" for k in range(N_WORKERS))):
            self.fork(name)

    def _read(self) -> str:
        assert self._parent.stdout is not None
        return self._parent.stdout.readline().strip()

    def fork(self, name: str) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.write(f"{name} {CLOCK_APART_S if name in self._ahead else 0}\n")
        self._parent.stdin.flush()
        self.children[name] = int(self._read())

    def send(self, name: str, signal_number: int) -> None:
        os.kill(self.children[name], signal_number)

    def kill(self, name: str) -> None:
        self.send(name, 9)

    def end(self, name: str) -> None:
        """Kill a process that nobody starts again."""
        self.kill(name)
        del self.children[name]

    def close(self) -> None:
        for name in self.children:
            self.kill(name)
        self._parent.terminate()
        self._parent.wait()
