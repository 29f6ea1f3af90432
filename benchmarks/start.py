"""From nothing to the first answer: ``attune up --once`` on a fresh home, again on the same home, and on a typed log if given.

``python -m benchmarks.start [FILE FORMAT]``; without a file, the trivago log of ``ATTUNE_TEST_DATA`` where there is one. Prints
seconds, and the peak memory of the largest process of each start.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

POLL_S = 0.1
DATA = Path(os.environ.get("ATTUNE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
TRIVAGO = DATA / "trivago_actions.csv.gz"


def start(home: Path, *words: str) -> dict[str, float]:
    """Run ``attune up --once``: seconds until it ended, and the peak resident memory of its largest process in MiB."""
    child = subprocess.Popen(
        [sys.executable, "-m", "services.cli", "up", "--once", "--no-open", "--port", "3999", *words],
        env={**os.environ, "ATTUNE_HOME": str(home)},
        stdout=subprocess.DEVNULL,
    )
    started = time.monotonic()
    family = psutil.Process(child.pid)
    peak = 0
    while child.poll() is None:
        for process in [family, *family.children(recursive=True)]:
            try:
                peak = max(peak, process.memory_info().rss)
            except psutil.Error:
                continue
        time.sleep(POLL_S)
    if child.returncode:
        raise SystemExit(f"attune up ended with {child.returncode}")
    return {"seconds": round(time.monotonic() - started, 1), "peak_process_mib": round(peak / 2**20)}


def main(words: list[str]) -> None:
    """Measure the starts and print them."""
    found = {}
    words = words or ([str(TRIVAGO), "trivago"] if TRIVAGO.exists() else [])
    with tempfile.TemporaryDirectory() as folder:
        found["simulated_shop_first"] = start(Path(folder) / "shop")
        found["simulated_shop_second"] = start(Path(folder) / "shop")
        if words:
            file, format = words
            found[f"{format}_first"] = start(Path(folder) / format, "--events", file, "--format", format)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
