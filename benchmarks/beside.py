"""What console, shop and visitors cost the service beside them: ``python -m benchmarks.beside [HOME]``.

One service answers recommendations under load, in short turns: with the companions at work (visitors come, somebody looks at
two live pages of the console), and with them stopped by a signal. Turns alternate, so that whatever else the machine does meets
both. Prints the ratio of the medians, and of each pair.
"""

import json
import os
import signal
import sys
import threading
import time
import urllib.request
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
CONNECTIONS: Final = 4
COMPANIONS: Final = frozenset({"shop", "console", "visitors"})
PAGES: Final = ("/", "/sessions")


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
    companions = [one for one in psutil.Process(demo.process.pid).children(recursive=True) if COMPANIONS & set(one.cmdline())]
    look_on(demo.told["console"])
    measure(host, port, sent, CONNECTIONS, TURN_S)
    found: dict[str, list[float]] = {"with": [], "without": []}
    for pair in range(N_PAIRS):
        for turn in ("with", "without") if pair % 2 else ("without", "with"):
            for one in companions:
                os.kill(one.pid, signal.SIGCONT if turn == "with" else signal.SIGSTOP)
            time.sleep(0.5)
            found[turn].append(measure(host, port, sent, CONNECTIONS, TURN_S).requests_per_s)
    for one in companions:
        os.kill(one.pid, signal.SIGCONT)
    pairs = np.array(found["with"]) / np.array(found["without"])
    return {
        "companions": len(companions),
        "per_second": {turn: round(float(np.median(rates)), 1) for turn, rates in found.items()},
        "ratio": round(float(np.median(pairs)), 3),
        "pairs": pairs.round(3).tolist(),
    }


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
