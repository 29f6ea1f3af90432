"""Attacks on an instance of our own, on loopback and bounded, each with what it must not be able to do.

``python -m benchmarks.attack [--long] [NAME …]`` (`make attack`) starts a service of its own, attacks it and prints a line per
attack and one JSON object; 1 if anything gave way. Every figure is a ratio, or a count, of one run. `docs/trust.md` has the
rules that are tried here; the suite tries each of them in small. ``--long`` uses the numbers that the rules were made for.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks import (
    attack_batch,
    attack_delivery,
    attack_disk,
    attack_front,
    attack_poison,
    attack_prefect,
    attack_shops,
    attack_store,
)
from benchmarks.attack_target import Outcome


def _poison(home: Path, long: bool) -> Iterator[Outcome]:
    yield from attack_poison.run(home / "pages", long)
    yield from attack_shops.run(home / "shops", long)


KINDS: Final[dict[str, Callable[[Path, bool], Iterator[Outcome]]]] = {
    "front": attack_front.run,
    "poison": _poison,
    "batch": attack_batch.run,
    "prefect": attack_prefect.run,
    "delivery": attack_delivery.run,
    "disk": attack_disk.run,
    "store": attack_store.run,
}


def main(words: list[str]) -> int:
    """Try what is named, or everything; 1 if anything gave way."""
    long, names = "--long" in words, [word for word in words if word != "--long"] or list(KINDS)
    if unknown := set(names) - KINDS.keys():
        sys.stderr.write(f"there is no attack {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}\n")
        return 2
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for one in KINDS[name](Path(folder) / name, long):
                sys.stderr.write(
                    f"{'held' if one.held else 'GAVE WAY'}: {one.attack}: {one.seen} (must show: {one.must_show})\n"
                )
                found[one.attack] = one._asdict()
    print(json.dumps(found))
    return int(not all(one["held"] for one in found.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
