"""What console, shop and visitors cost the service beside them: ``python -m benchmarks.beside [HOME]``.

One service answers recommendations under load, in short turns: with the companions at work (visitors come, somebody looks at
two live pages of the console), and with them stopped by a signal. Turns alternate, so that whatever else the machine does meets
both. Prints the ratio of the medians, and of each pair; and, which other work on the machine hardly touches, the processor's
time of each process and of the service for one answer.
"""

import json
import os
import signal
import sys
import threading
import time
import urllib.request
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import psutil

from benchmarks.demo import Demo, running
from benchmarks.load import measure, post
from benchmarks.serve import bodies
from models.simulator.config import ShopConfig

N_PAIRS: Final = 7
TURN_S: Final = 4.0
SETTLE_S: Final = 0.5
CONNECTIONS: Final = 4
COMPANIONS: Final = ("shop", "console", "visitors")
ROLES: Final = (*COMPANIONS, "worker", "serve")
LOAD, SERVICE, OTHER = "load", "service", "other"
PAGES: Final = ("/", "/sessions")

Shares = dict[str, float]  # percent of one core, by role


def main(words: list[str]) -> None:
    """Measure and print one JSON object."""
    with running(Path(words[0]) if words else None) as demo:
        print(json.dumps(measured(demo)))


def measured(demo: Demo) -> dict[str, Any]:
    """Answers a second with and without the companions, turn by turn."""
    url = urlsplit(demo.told["docs"])
    host, port = str(url.hostname), int(url.port or 80)
    sent = [
        post("/v1/recommendations", body, demo.told["key"], host) for body in bodies(ShopConfig(n_users=100, n_days=2), 500)
    ]
    crew = psutil.Process(demo.process.pid).children(recursive=True)
    companions = [one for one in crew if role(one) in COMPANIONS]
    look_on(demo.told["console"])
    measure(host, port, sent, CONNECTIONS, TURN_S)
    rates: dict[str, list[float]] = {"with": [], "without": []}
    shares: dict[str, list[Shares]] = {"with": [], "without": []}
    for pair in range(N_PAIRS):
        for turn in ("with", "without") if pair % 2 else ("without", "with"):
            for one in companions:
                os.kill(one.pid, signal.SIGCONT if turn == "with" else signal.SIGSTOP)
            time.sleep(SETTLE_S)
            before, began = spent(crew), time.monotonic()
            rates[turn].append(measure(host, port, sent, CONNECTIONS, TURN_S).requests_per_s)
            taken = spent(crew) - before
            shares[turn].append({name: 100 * s / (time.monotonic() - began) for name, s in taken.items()})
    for one in companions:
        os.kill(one.pid, signal.SIGCONT)
    pairs = np.array(rates["with"]) / np.array(rates["without"])
    usual = {turn: _usual(found) for turn, found in shares.items()}
    return {
        "companions": len(companions),
        "per_second": {turn: round(float(np.median(found)), 1) for turn, found in rates.items()},
        "ratio": round(float(np.median(pairs)), 3),
        "pairs": pairs.round(3).tolist(),
        "percent_of_a_core": usual,
        "beside_to_service_and_load": {turn: round(_beside(told), 3) for turn, told in usual.items()},
        "service_us_per_answer": {
            turn: round(float(np.median([1e4 * one[SERVICE] / rate for one, rate in zip(shares[turn], found, strict=True)])))
            for turn, found in rates.items()
        },
    }


def role(process: psutil.Process) -> str:
    """What a process of `attune up` is there for."""
    words = process.cmdline()
    if any("worker.service" in word for word in words):
        return SERVICE
    return next((name for name in ROLES if name in words), OTHER)


def spent(crew: list[psutil.Process]) -> Counter[str]:
    """Seconds of the processor until now, by role; of this process, too."""
    found: Counter[str] = Counter()
    for process, name in [(psutil.Process(), LOAD), *((one, role(one)) for one in crew if one.is_running())]:
        times = process.cpu_times()
        found[name] += times.user + times.system
    return found


def _usual(found: list[Shares]) -> Shares:
    names = sorted({name for one in found for name in one})
    return {name: round(float(np.median([one.get(name, 0.0) for one in found])), 1) for name in names}


def _beside(told: Shares) -> float:
    """Work of all others as a part of what service and load generator take."""
    return sum(share for name, share in told.items() if name not in (SERVICE, LOAD)) / (told[SERVICE] + told[LOAD])


def look_on(link: str) -> None:
    """Enter the console and keep two of its pages open, as a person would."""
    parts = urlsplit(link)
    base = f"{parts.scheme}://{parts.netloc}"
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    opener.open(urllib.request.Request(link, data=b"password=", headers={"Origin": base})).read()

    def follow(page: str) -> None:
        with suppress(OSError), opener.open(f"{base}/live?page={page}") as stream:
            for _ in stream:
                pass

    for page in PAGES:
        threading.Thread(target=follow, args=(page,), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1:])
