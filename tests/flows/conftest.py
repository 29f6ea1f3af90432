"""A Prefect server for the tests of this folder that only need one: it takes seconds to start."""

from collections.abc import Iterator

import pytest

from flows.server import Server


@pytest.fixture(scope="package")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("prefect"))
    try:
        server.wait()
        yield server
    finally:
        server.stop()
