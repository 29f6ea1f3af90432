"""Prometheus metrics of all worker processes together.

Labels are route templates, never paths: an id in a URL must not become a label. The files of the multi-process mode lie below
``ATTUNE_HOME/metrics``; `prepare` names that folder before `prometheus_client` is imported, because the library asks only then.
"""

import os
import shutil
from pathlib import Path
from typing import Final

from infra import layout

MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"
SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


def prepare(home: Path, fresh: bool) -> None:
    """Name the folder of the metric files for this process and its children.

    Parameters
    ----------
    fresh
        Whether to empty it: true in the one process that starts the workers.
    """
    folder = home / layout.METRICS
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[MULTIPROCESS] = str(folder)


class Metrics:
    """Counters and histograms of a process; an `Observer`. Build one per process, after `prepare`."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        own = CollectorRegistry()  # the process's own numbers go to the files; `text` reads everybody's
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
        self.shadow = Counter("attune_shadow", "Requests that a challenger answered too, by how.", ("outcome",), registry=own)
        self._found: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer.

        Parameters
        ----------
        route
            Template of the route, such as ``/v1/recommendations``, or ``unknown``.
        """
        found = self._found.get((route, status))
        if found is None:  # looking a label up costs more than counting
            found = self._found[route, status] = self.requests.labels(route, str(status)), self.seconds.labels(route)
        count, duration = found
        count.inc()
        duration.observe(seconds)

    def judged(self, status: str, n: int) -> None:
        """Count events by their verdict."""
        self.events.labels(status).inc(n)

    def decided(self, status: str, n: int) -> None:
        """Count decisions and failures that were put on record, or could not be."""
        self.decisions.labels(status).inc(n)

    def shadowed(self, outcome: str) -> None:
        """Count a request that a challenger answered too."""
        self.shadow.labels(outcome).inc()

    @staticmethod
    def text() -> bytes:
        """All processes' numbers in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
        return bytes(generate_latest(everybody))
