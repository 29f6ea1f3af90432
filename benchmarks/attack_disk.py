"""A full disk under a service and a worker: a file system in memory, and ext4 in a file, where this process may mount.

Recommendations are asked for all the while, each as soon as the one before is answered. The disk is filled slowly first, which
the watermark sees; then at once, which it does not; then up to the last byte.
"""

import json
import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.attack_target import MIB, Outcome, Service, service
from benchmarks.serve import HOST
from benchmarks.simulated_home import make_champions
from infra.store.embedded.connection import connect
from models.simulator.config import ShopConfig
from services.processes import spawn, stop

CONFIG: Final = ShopConfig(n_users=150, n_days=3, n_items=100)
LEAST_MIB: Final = 8
ROOM_MIB: Final = 32
EVENTS: Final = 200  # of one request
PATIENCE_S: Final = 60.0
FULL_S: Final = 8.0
PACE_S: Final = 0.1  # between requests: as fast as a machine can, the log itself would take the room that is freed again
MUST: Final = "every recommendation answered, writes 503, no accepted event lost, no process ends, writes come back"


def run(home: Path, long: bool) -> Iterator[Outcome]:
    """One disk after the other."""
    make_champions(home, CONFIG, n_rounds=5)
    bytes_ = sum(path.stat().st_size for path in home.rglob("*") if path.is_file()) + ROOM_MIB * MIB
    for kind in ("tmpfs", "ext4"):
        with mounted(home.with_name(f"{home.name}-{kind}"), kind, bytes_) as disk:
            if disk is None:
                yield Outcome(f"a full disk ({kind})", MUST, "left out: this process may not mount here", True)
            else:
                shutil.copytree(home, disk / "home")
                yield filled(disk, kind)


@contextmanager
def mounted(disk: Path, kind: str, n_bytes: int) -> Iterator[Path | None]:
    """A disk of its own; None where that cannot be made here."""
    disk.mkdir()
    image = disk.with_suffix(".img")
    words = [["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(disk)]]
    if kind == "ext4":
        with image.open("wb") as file:
            file.truncate(n_bytes + 16 * MIB)  # its journal
        words = [["mkfs.ext4", "-q", "-m", "0", str(image)], ["mount", "-o", "loop", str(image), str(disk)]]
    try:
        for one in words:
            subprocess.run(one, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
        image.unlink(missing_ok=True)


def fill(path: Path, left: int) -> None:
    """Write until so many bytes are free, or nothing is."""
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while (free := shutil.disk_usage(path.parent).free) > left:
            file.write(bytes(min(1 << 16, max(1, free - left))))


class Sender:
    """Sends events; what was accepted, and what the answers were."""

    def __init__(self, served: Service) -> None:
        self._served = served
        self._numbers = count()
        self.accepted: set[str] = set()
        self.statuses: Counter[int] = Counter()

    def send(self) -> int:
        """One request of many events; its status, 0 where no answer came."""
        ts, n = datetime.now(UTC).isoformat(), next(self._numbers)
        ids = [f"disk-{n}-{k}" for k in range(EVENTS)]
        events = [{"event_id": one, "user_id": f"u-{n}", "type": "item_view", "item_id": "i" * 200, "ts": ts} for one in ids]
        status = ask(self._served, "/v1/events", {"events": events})
        self.accepted.update(ids if status == 202 else ())
        self.statuses[status] += 1
        return status

    def send_for(self, seconds: float) -> None:
        """Go on sending."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.send()
            time.sleep(PACE_S)


def ask(served: Service, path: str, body: Any) -> int:
    """Status of one answer, 0 where none came."""
    connection = HTTPConnection(HOST, served.port, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {served.server_key}", "Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        with connection.getresponse() as reply:
            reply.read()
            return reply.status
    except OSError:
        return 0
    finally:
        connection.close()


def filled(disk: Path, kind: str) -> Outcome:
    """Fill a disk in three ways, and free it again."""
    home, filler, answers, over = disk / "home", disk / "filler", Counter[int](), threading.Event()
    os.environ["ATTUNE_LEAST_FREE_MIB"] = str(LEAST_MIB)
    try:
        with service(home) as served:
            worker = spawn(("worker",), {"ATTUNE_HOME": str(home)}, disk.with_suffix(".log"))
            family = [served.process, *served.process.children(recursive=True), psutil.Process(worker.pid)]

            def ask_on() -> None:
                while not over.is_set():
                    answers[ask(served, "/v1/recommendations", {"user_id": "u", "item_id": "sku-00001"})] += 1

            asking, sender = threading.Thread(target=ask_on), Sender(served)
            asking.start()
            sender.send_for(FULL_S)  # the worker begins meanwhile
            fill(filler, (LEAST_MIB + 2) * MIB)
            while sender.send() == 202:
                pass
            filler.unlink()
            comes_back = [_comes_back(sender)]
            fill(filler, 0)
            sender.send_for(FULL_S)
            filler.unlink()
            comes_back.append(_comes_back(sender))
            over.set()
            asking.join()
            n_ended = sum(not one.is_running() or one.status() == psutil.STATUS_ZOMBIE for one in family)
            stop([worker])
    finally:
        over.set()
        del os.environ["ATTUNE_LEAST_FREE_MIB"]
    return _told(home, kind, sender, answers, n_ended, comes_back)


def _comes_back(sender: Sender) -> bool:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if sender.send() == 202:
            return True
        time.sleep(0.1)
    return False


def _told(home: Path, kind: str, sender: Sender, answers: Counter[int], n_ended: int, comes_back: list[bool]) -> Outcome:
    stored = {name for (name,) in connect(home).execute("SELECT event_id FROM events")}
    lost = len(sender.accepted - stored)
    is_sound = connect(home).execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
    seen = (
        f"{answers[200]} of {answers.total()} recommendations answered; writes {dict(sender.statuses)}; {lost} of "
        f"{len(sender.accepted)} accepted events lost; {n_ended} processes ended; writes came back "
        f"{sum(comes_back)} of {len(comes_back)} times; the store is {'whole' if is_sound else 'damaged'}"
    )
    held = answers[200] == answers.total() > 0 and set(sender.statuses) == {202, 503} and not lost and not n_ended
    return Outcome(f"a full disk ({kind})", MUST, seen, held and all(comes_back) and is_sound)
