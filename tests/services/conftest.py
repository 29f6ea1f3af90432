"""A home with small champions, trained once per test session."""

import fcntl
import os
from pathlib import Path

import pytest

from benchmarks.simulated_home import make_champions
from models.simulator.config import ShopConfig
from tests.stores import copied


@pytest.fixture(scope="module")
def crowned(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home with champions of version 1, for the tests of one file."""
    return copied(trained, tmp_path_factory.mktemp("crowned") / "home")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, trained once for all processes of a test run and never touched again."""
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    home = folder / "trained"
    with (folder / "trained.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            make_champions(folder / "training", ShopConfig(n_users=150, n_days=3, n_items=100, n_categories=5), n_rounds=3)
            copied(folder / "training", home)
    return home
