"""Promotion and rollback as several services see them that fetch models from an object store: a part of `benchmarks.scale`."""

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.object_storage import Storage
from infra import registry

PATIENCE_S: Final = 60.0
Ask = Callable[[int], httpx.Response]


def promote(home: Path, objects: Storage, ports: Collection[int], ask: Ask) -> dict[str, Any]:
    """Move the champion of the weights to a new version and back, while all services are asked; figures by name."""
    version = registry.save(home, "weights", registry.load(home, "weights"), {})
    asked = objects.asked
    registry.set_alias(home, "champion", {"weights": version}, action="promote", actor="benchmark", reason="")
    promoted_s, failed = seen(version, ports, ask)
    fetched = objects.asked - asked
    registry.set_alias(home, "champion", {"weights": version - 1}, action="rollback", actor="benchmark", reason="")
    rolled_back_s, failed_back = seen(version - 1, ports, ask)
    told = {"promoted_s": promoted_s, "rolled_back_s": rolled_back_s, "failed_while_promoted": failed + failed_back}
    return {**told, "asked_of_objects": fetched}


def seen(version: int, ports: Collection[int], ask: Ask) -> tuple[float, int]:
    """Seconds until all services have answered with a version of the weights, and how many answers failed meanwhile."""
    began, n_failed, behind = time.monotonic(), 0, set(ports)
    while behind:
        for port in list(behind):
            reply = ask(port)
            n_failed += reply.status_code != 200
            if reply.status_code == 200 and reply.json()["models"].get("weights") == version:
                behind.discard(port)
        if time.monotonic() - began > PATIENCE_S:
            raise TimeoutError(f"{len(behind)} services do not answer with version {version}")
    return round(time.monotonic() - began, 2), n_failed
