"""For all tests: the same cases each time, the longest files first, or the last one would run alone, and a slow lane.

Tests that are marked `slow` run whole retrainings whose parts other tests look at; ``make slow`` runs them, ``make test`` names
how many it left out.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

# The same examples everywhere, however slow the machine is.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")

# Files that take longest, longest first; only an order, no test depends on it.
LONGEST = (
    "tests/flows/test_retrain.py",
    "tests/journey/test_shop.py",
    "tests/journey/test_trivago.py",
    "tests/journey/test_taobao.py",
    "tests/journey/test_rees46.py",
    "tests/homes/test_old_home.py",
    "tests/flows/test_schedule.py",
    "tests/services/test_service.py",
    "tests/services/test_torture.py",
    "tests/flows/test_approve.py",
    "tests/flows/test_ingest.py",
)


LEFT_OUT = pytest.mark.skip(reason="slow: make slow")


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the mark."""
    config.addinivalue_line("markers", "slow: a whole retraining, or longer; run by make slow")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort files, and leave the tests within each as they are; pytest-xdist is told to keep this order (see the Makefile)."""
    if os.environ.get("ATTUNE_TEST_SLOW") != "1":
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(LEFT_OUT)
    place = {name: k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(LONGEST)))


def is_of_xdist() -> bool:
    """Whether this is one of several processes of a run: the first one makes and ends what all use."""
    return "PYTEST_XDIST_WORKER" in os.environ


def pytest_sessionstart() -> None:
    """With ``ATTUNE_TEST_STORE=postgresql``, every home of a test has its store in a database of its own on the test server."""
    if os.environ.get("ATTUNE_TEST_STORE") == "postgresql" and not is_of_xdist():
        from tests import postgres  # not before it is needed: most runs have no server

        os.environ["ATTUNE_STORE_URL"] = postgres.home_databases()


def pytest_unconfigure() -> None:
    """Drop these databases, when all processes have ended."""
    if os.environ.get("ATTUNE_TEST_STORE") == "postgresql" and not is_of_xdist():
        from tests import postgres

        postgres.drop_home_databases(os.environ.pop("ATTUNE_STORE_URL"))
