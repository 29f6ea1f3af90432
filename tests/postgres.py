"""PostgreSQL for tests: databases of their own on the server of ``ATTUNE_TEST_POSTGRES_URL``, else of the usual port.

Where no server answers, tests of it are left out by name.
"""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from infra.store.postgres.connection import connect_server
from infra.store.postgres.migrate import migrate
from infra.store.postgres.pools import forget_pools

TRIES = 50
LOCAL = "postgresql://postgres@127.0.0.1:5432/postgres"


@cache
def server() -> str | None:
    """Address of a server on which databases may be made; None where there is none."""
    url = os.environ.get("ATTUNE_TEST_POSTGRES_URL", LOCAL)
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.Error:
        return None
    return url


needs_postgres = pytest.mark.skipif(server() is None, reason="no PostgreSQL: ATTUNE_TEST_POSTGRES_URL names a server")


def _named(url: str, database: str) -> str:
    given = {key: str(value) for key, value in conninfo_to_dict(url).items()}
    user = given.get("user", "postgres") + (f":{given['password']}" if "password" in given else "")
    return f"postgresql://{user}@{given.get('host', '127.0.0.1')}:{given.get('port', '5432')}/{database}"


def _on_server(statement: str) -> None:
    with closing(psycopg.connect(make_conninfo(str(server())), autocommit=True)) as connection:
        connection.execute(statement.encode())


@contextmanager
def database(template: str | None = None) -> Iterator[str]:
    """A new database, dropped at the end; its address."""
    name = f"attune_test_{secrets.token_hex(6)}"
    _on_server(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE {template or 'template0'}")
    url = _named(str(server()), name)
    try:
        yield url
    finally:
        forget_pools(url)
        _on_server(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def template() -> Iterator[str]:
    """Name of a database that has all tables, for others to be made of."""
    with database() as url:
        with closing(connect_server(url)) as connection:
            migrate(connection)
        yield url.rpartition("/")[2]


def home_databases() -> str:
    """Address of databases that are made for each home when it is opened."""
    if server() is None:
        pytest.exit("ATTUNE_TEST_STORE=postgresql, but no server answers at ATTUNE_TEST_POSTGRES_URL")
    return _named(str(server()), f"attune_homes_{secrets.token_hex(4)}_{{home}}")


def drop_home_databases(url: str) -> None:
    """Drop all databases of homes that were made by an address."""
    prefix = url.rpartition("/")[2].removesuffix("{home}")
    with closing(psycopg.connect(make_conninfo(str(server())), autocommit=True)) as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (prefix,)).fetchall()
        for (name,) in found:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def copy(source: str, target: str) -> bool:
    """Make a database of another one, from which all are sent away for that; whether there is another one."""
    forget_pools(source)
    was, now = (url.rpartition("/")[2] for url in (source, target))
    for _ in range(TRIES):
        _on_server(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{was}'")
        try:
            _on_server(f"CREATE DATABASE {now} TEMPLATE {was}")
        except psycopg.errors.InvalidCatalogName:
            return False
        except psycopg.errors.ObjectInUse:  # who was sent away is not yet gone, or has come again
            time.sleep(0.1)
        else:
            return True
    raise AssertionError("a home is copied while others use it")
