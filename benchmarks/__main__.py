"""Run the benchmarks by name, or the usual ones: ``python -m benchmarks [NAME …]``. Prints one JSON object."""

import json
import subprocess
import sys
import time

USUAL = (
    "fold", "simulate", "ingest", "features", "intent", "associations", "live_associations", "serve", "start",
    "decision", "events", "event_to_feature", "delivery", "champions",
)  # fmt: skip


def main(names: list[str]) -> int:
    """Run each benchmark in a process of its own, so that none warms another's caches; 1 if one failed."""
    found: dict[str, object] = {}
    for name in names or USUAL:
        sys.stderr.write(f"{name} …\n")
        started = time.monotonic()
        run = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True, check=False)
        lines = run.stdout.strip().splitlines()
        found[name] = json.loads(lines[-1]) if not run.returncode and lines else {"failed": run.returncode}
        sys.stderr.write(f"{name}: {time.monotonic() - started:.1f} s\n")
    print(json.dumps(found, indent=2))
    return int(any(isinstance(value, dict) and "failed" in value for value in found.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
