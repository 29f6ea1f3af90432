"""The service against its own OpenAPI document: schemathesis asks, every answer is held against what the document promises.

``python -m benchmarks.conformance [CASES_PER_CALL [SEED]]``, or ``make conformance``: `attune serve` on a home with small
champions, a key with every scope, all of schemathesis's checks: statuses, media types, headers and schemas as documented, good
requests accepted and bad ones refused, nothing without a key, nothing to be had after its deletion. Exit code 1 if one fails.
The stream of signals has no end; tests ask it by themselves.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from benchmarks.serve import HOST, free_port, stop, wait_until_ready
from benchmarks.simulated_home import make_champions
from models.simulator.config import ShopConfig
from services.http import partners

CASES: Final = 200  # made up for each call, beside those that follow from the document itself
SEED: Final = 5
ENDLESS: Final = "stream"
NO_ANSWER: Final = "none"


class Found(NamedTuple):
    """What came of a run.

    Attributes
    ----------
    cases
        Requests that were answered.
    failures
        Answers that break the document, by call and check.
    faults
        Answers with a status of 500 or more.
    errors
        What could not be tried.
    by_status
        Requests by the status of their answer.
    examples
        What is wrong, and how to ask again, for each entry of `failures`.
    """

    cases: int
    failures: dict[str, int]
    faults: int
    errors: list[str]
    by_status: dict[str, int]
    examples: dict[str, str]

    @property
    def is_clean(self) -> bool:
        """Whether all was tried and nothing broke the document."""
        return bool(self.cases) and not (self.failures or self.faults or self.errors or NO_ANSWER in self.by_status)


def conformance(url: str, key: str, cases: int, seed: int, *, thorough: bool = True) -> Found:
    """Ask a running service.

    Parameters
    ----------
    cases
        Made up for each call.
    thorough
        Also the boundary values that follow from the schemas, and chains of calls, such as subscribe, delete, read.
    """
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=SchemathesisConfig(seed=seed))
    schema = schema.exclude(operation_id=ENDLESS)  # type: ignore[assignment]
    schema.config.update(headers={"Authorization": f"Bearer {key}"}, request_timeout=30)
    schema.config.generation.update(max_examples=cases, database="none", no_shrink=True)
    schema.config.phases.coverage.enabled = schema.config.phases.stateful.enabled = thorough
    return _gathered(from_schema(schema).execute())


def _gathered(stream: Iterable[events.EngineEvent]) -> Found:
    failures: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    errors: list[str] = []
    examples: dict[str, str] = {}
    for event in stream:
        if isinstance(event, events.NonFatalError):
            errors.append(f"{event.label}: {event.value}")
        elif isinstance(event, events.FatalError):
            errors.append(str(event.exception))
        elif isinstance(event, events.ScenarioFinished):
            answers = (interaction.response for interaction in event.recorder.interactions.values())
            statuses.update(str(answer.status_code) if answer else NO_ANSWER for answer in answers)
            for check in (check for checks in event.recorder.checks.values() for check in checks):
                if check.failure_info is not None:
                    name = f"{event.label} {check.name}"
                    failures[name] += 1
                    examples.setdefault(name, f"{check.failure_info.failure}\n{check.failure_info.code_sample}")
    answered = {status: n for status, n in statuses.items() if status != NO_ANSWER}
    faults = sum(n for status, n in answered.items() if int(status) >= 500)
    return Found(sum(answered.values()), dict(failures), faults, errors, dict(sorted(statuses.items())), examples)


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, str]]:
    """A service on a home with champions: its address, and a key for everything."""
    home = folder / "home"
    home.mkdir()
    make_champions(home, ShopConfig(n_users=150, n_days=3, n_items=100, n_categories=5), n_rounds=3)
    key = partners.add(home, "shop", time.time_ns() // 1000)
    port = free_port()
    command = [sys.executable, "-m", "services.cli", "serve", "--port", str(port)]
    env = {**os.environ, "ATTUNE_HOME": str(home), "ATTUNE_REQUESTS_PER_MINUTE": "100000000"}
    child = subprocess.Popen(command, env=env, stdout=sys.stderr)
    try:
        wait_until_ready(port, "/readyz", child)
        yield f"http://{HOST}:{port}", key
    finally:
        stop(child)


def main(cases: int = CASES, seed: int = SEED) -> None:
    """Print one JSON object, and what is wrong to stderr."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name, served(Path(name)) as (url, key):
        found = conformance(url, key, cases, seed)
    for check, example in found.examples.items():
        print(f"--- {check}\n{example}", file=sys.stderr)
    told = {name: value for name, value in found._asdict().items() if name != "examples"}
    print(json.dumps({"seed": seed, **told, "seconds": round(time.perf_counter() - began, 1)}))
    sys.exit(not found.is_clean)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
