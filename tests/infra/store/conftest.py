"""Stores for the tests of this folder, one engine after the other."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.store.engines import URL, open_store
from infra.store.protocol import Store
from tests import postgres

Opener = Callable[[], Store]


@pytest.fixture(scope="session")
def all_tables() -> Iterator[str]:
    """Name of a database on the test server that has all tables."""
    with postgres.template() as name:
        yield name


@pytest.fixture
def server_url(all_tables: str) -> Iterator[str]:
    """Address of a database of the test's own."""
    with postgres.database(all_tables) as url:
        yield url


@pytest.fixture(params=["embedded", pytest.param("postgresql", marks=postgres.needs_postgres)])
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opener:
    """What opens a store, always the same one: of each engine."""
    if request.param == "postgresql":
        monkeypatch.setenv(URL, request.getfixturevalue("server_url"))
    else:
        monkeypatch.delenv(URL, raising=False)
    return lambda: open_store(tmp_path)
