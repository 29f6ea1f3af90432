"""Prometheus metrics of all worker processes together.

Labels are route templates, never paths: an id in a URL must not become a label.

The library maps a file of each process into memory, and a page that the disk has no room for ends the process. So the files lie
in shared memory where the machine has it, all their pages are made before the first number, and where neither can be done a
process counts for itself. `prepare` and `join` come before `prometheus_client` is imported, because the library asks only then.
"""

import atexit
import os
import shutil
import tempfile
import threading
import time
from collections import Counter as Counts
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

from infra import layout, lock

MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"
SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
SHARED_MEMORY: Final = Path("/dev/shm")
PREFIX: Final = "attune-"
OWNER: Final = "owner.lock"  # held by the supervisor of the processes that count here; names its process id
KINDS: Final = ("counter", "histogram")  # the library keeps a file of each, per process
COUNTED_S: Final = 0.25  # from an answer until it is counted, at most
FILE_BYTES: Final = 1 << 19  # has room for every route with every status


def prepare(home: Path, memory: Path = SHARED_MEMORY) -> None:
    """Make the folder of the metric files for the workers that this process will start; what killed ones left goes.

    Parameters
    ----------
    memory
        Folder that needs no disk; if it cannot be used, the files lie in the home.
    """
    prefix = f"{PREFIX}{blake2b(str(home.absolute()).encode(), digest_size=8).hexdigest()}-"
    os.environ.pop(MULTIPROCESS, None)
    for base in (memory, home / layout.METRICS):
        with suppress(OSError):
            if base != memory:
                base.mkdir(mode=0o700, exist_ok=True)
            for folder in _left_over(base):
                shutil.rmtree(folder, ignore_errors=True)
            os.environ[MULTIPROCESS] = str(_made(base, prefix))
            return


def _left_over(base: Path) -> Iterator[Path]:
    """Folders of ours, of any home, whose owner has ended, however that happened."""
    for folder in base.glob(f"{PREFIX}*"):
        is_ours = not folder.is_symlink() and folder.lstat().st_uid == os.geteuid() and (folder / OWNER).exists()
        if is_ours and lock.is_free(folder / OWNER):
            yield folder


def _made(base: Path, prefix: str) -> Path:
    # Under another name until it is held: nobody takes it for a left-over.
    draft = Path(tempfile.mkdtemp(prefix=f".{prefix}", dir=base))
    lock.kept(draft / OWNER, str(os.getpid()))
    return draft.rename(base / draft.name.removeprefix("."))


def remove_at_exit() -> None:
    """Remove the folder when this process ends, if it is the one that made it."""
    folder = os.environ.get(MULTIPROCESS)
    if folder and lock.noted(Path(folder) / OWNER) == str(os.getpid()):
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def join(home: Path) -> None:
    """Take this process's place among those that count, in the folder of its supervisor, or in the home's without one."""
    folder = Path(os.environ.get(MULTIPROCESS) or home / layout.METRICS)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for kind in KINDS:
            _take_file(folder, kind)
    except OSError:
        os.environ.pop(MULTIPROCESS, None)  # this process counts for itself
    else:
        os.environ[MULTIPROCESS] = str(folder)


def _take_file(folder: Path, kind: str) -> None:
    """Make this process's file with all its pages, or go on in that of one that has ended: a worker that is started again and
    again needs no more room than one."""
    own = folder / f"{kind}_{os.getpid()}.db"
    if own.exists():  # of an earlier process of this number
        return
    for other in folder.glob(f"{kind}_*.db"):
        if not Path(f"/proc/{other.stem.partition('_')[2]}").exists() and Path("/proc/self").exists():
            with suppress(FileNotFoundError):  # another one was faster
                other.rename(own)
                return
    draft = own.with_name(f".{own.name}")
    with draft.open("wb") as file:
        file.write(bytes(FILE_BYTES))  # written, not reserved: not every file system keeps a reservation
        file.flush()
        os.fsync(file.fileno())
    draft.rename(own)


class Metrics:
    """Counters and histograms of a process; an `Observer`. Build one per process, after `join`."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self._own = own = CollectorRegistry()  # where the numbers go to files, `text` reads everybody's
        self.requests = Counter("attune_requests", "Requests answered.", ("route", "status"), registry=own)
        self.seconds = Histogram(
            "attune_request_seconds", "Time to answer, in seconds.", ("route",), registry=own, buckets=SECONDS
        )
        self.events = Counter("attune_events", "Events by the verdict.", ("status",), registry=own)
        self.decisions = Counter(
            "attune_decisions",
            "Decisions logged, or dropped by a log that was full; and requests that failed instead.",
            ("status",),
            registry=own,
        )
        self.degraded = Counter("attune_degraded", "Fallbacks that decisions on record admit.", ("name",), registry=own)
        self.shadow = Counter("attune_shadow", "Requests that a challenger answered too, by how.", ("outcome",), registry=own)
        self._answered: deque[tuple[str, int, float]] = deque()
        self._counting = threading.Lock()
        threading.Thread(target=self._count_again, name="metrics", daemon=True).start()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer, within `COUNTED_S`: a request hands over what a thread counts.

        Parameters
        ----------
        route
            Template of the route, such as ``/v1/recommendations``, or ``unknown``.
        """
        self._answered.append((route, status, seconds))

    def _count_again(self) -> None:
        while True:
            time.sleep(COUNTED_S)
            self._count()

    def _count(self) -> None:
        """Count the answers that were handed over."""
        waiting = self._answered
        with self._counting:
            statuses, seconds = Counts[tuple[str, int]](), defaultdict[str, list[float]](list)
            while waiting:
                route, status, took_s = waiting.popleft()
                statuses[route, status] += 1
                seconds[route].append(took_s)
            for (route, status), n in statuses.items():
                self.requests.labels(route, str(status)).inc(n)
            for route, all_of in seconds.items():
                observe = self.seconds.labels(route).observe
                for took_s in all_of:
                    observe(took_s)

    def judged(self, status: str, n: int) -> None:
        """Count events by their verdict."""
        self.events.labels(status).inc(n)

    def decided(self, status: str, n: int) -> None:
        """Count decisions and failures that were put on record, or could not be."""
        self.decisions.labels(status).inc(n)

    def admitted(self, fallbacks: Mapping[str, int]) -> None:
        """Count fallbacks that answers admit, by name."""
        for name, n in fallbacks.items():
            self.degraded.labels(name).inc(n)

    def shadowed(self, outcome: str) -> None:
        """Count a request that a challenger answered too."""
        self.shadow.labels(outcome).inc()

    def text(self) -> bytes:
        """All processes' numbers in Prometheus' text format; this one's alone where it counts for itself."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        self._count()
        if MULTIPROCESS not in os.environ:
            return bytes(generate_latest(self._own))
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
        return bytes(generate_latest(everybody))
