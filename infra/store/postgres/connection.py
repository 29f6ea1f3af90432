"""PostgreSQL connections: how they are opened, what values they take and give, and what their errors mean to callers."""

from contextlib import closing, suppress
from typing import Any, Final

import msgspec
import psycopg
from psycopg import errors, sql
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import FloatDumper, Int8Dumper

from infra.store.errors import ConflictingWrite, StoreBusy, StoreFull, StoreUnavailable

Connection = psycopg.Connection[tuple[Any, ...]]
OLDEST_SERVER: Final = 15
# A server whose machine is silent is away: said within seconds, while a client still waits for its answer.
PATIENCE: Final = {
    "connect_timeout": "3",
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "2",
    "tcp_user_timeout": "4000",
    "application_name": "attune",
}
# An acknowledged commit is on disk; who forgets an open transaction must not hold back all readers of the log for ever.
# What is held back is compared with by its hash, which must fit.
OPTIONS: Final = " ".join(
    (
        *("-c synchronous_commit=on", "-c lock_timeout=10000", "-c idle_in_transaction_session_timeout=60000"),
        *("-c work_mem=64MB", "-c timezone=UTC"),
    )
)
READ_ONLY: Final = "-c default_transaction_read_only=on"
AGAIN: Final = (errors.SerializationFailure, errors.DeadlockDetected)
_BUSY: Final = (*AGAIN, errors.LockNotAvailable, errors.QueryCanceled, errors.TooManyConnections)
_FULL: Final = (errors.DiskFull, errors.OutOfMemory)


class ArrayText(bytes):
    """Text of a PostgreSQL array, as it is sent."""


class _ArrayDumper(Dumper):
    def dump(self, obj: ArrayText) -> Buffer:
        return obj


class _FlagDumper(Dumper):
    """Truth as 1 and 0: the tables have no truth values, as in SQLite."""

    oid = Int8Dumper.oid

    def dump(self, obj: bool) -> Buffer:
        return b"1" if obj else b"0"


class _FiniteDumper(FloatDumper):
    """What is no number is missing, as in SQLite."""

    def dump(self, obj: float) -> Buffer | None:
        return None if obj != obj else super().dump(obj)


class _FlagLoader(Loader):
    def load(self, data: Buffer) -> int:
        return int(bytes(data) == b"t")


class _NumericLoader(Loader):
    """Sums of integers as integers, means as floats, as in SQLite."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data)
        return int(text) if text.lstrip(b"-").isdigit() else float(text)


class _JsonLoader(Loader):
    """A scalar as itself, all else as its text, as `json_extract` gives it in SQLite."""

    def load(self, data: Buffer) -> Any:
        value = msgspec.json.decode(bytes(data))
        return msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value


def adapt(connection: Connection) -> Connection:
    """Let a connection take and give values as the embedded store does."""
    adapters = connection.adapters
    adapters.register_dumper(int, Int8Dumper)
    adapters.register_dumper(bool, _FlagDumper)
    adapters.register_dumper(float, _FiniteDumper)
    adapters.register_dumper(ArrayText, _ArrayDumper)
    for name, loader in (("bool", _FlagLoader), ("numeric", _NumericLoader), ("jsonb", _JsonLoader)):
        adapters.register_loader(name, loader)
    return connection


def connect_server(url: str, *, only_read: bool = False) -> Connection:
    """Open a connection to a server.

    Raises
    ------
    StoreUnavailable
        If it is away, refuses us, or cannot hold the store; the message has no password.
    """
    try:
        given = conninfo_to_dict(url)
        options = " ".join((str(given.pop("options", "")), OPTIONS, *((READ_ONLY,) if only_read else ()))).strip()
        said = make_conninfo("", **{**PATIENCE, **given, "options": options})
        try:
            opened = psycopg.connect(said, autocommit=True, cursor_factory=psycopg.RawCursor)
        except psycopg.OperationalError as error:
            if "does not exist" not in str(error) or not _make_database(given):
                raise
            opened = psycopg.connect(said, autocommit=True, cursor_factory=psycopg.RawCursor)
    except psycopg.Error as error:
        raise translated(error, url) from error
    opened.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    if fault := _fault(opened):
        opened.close()
        raise StoreUnavailable(f"{shown(url)} {fault}")
    return adapt(opened)


def _make_database(given: dict[str, Any]) -> bool:
    """Make the database of an address where it is missing, and the user may."""
    named = sql.Identifier(str(given["dbname"]))
    others = make_conninfo("", **{**PATIENCE, **given, "dbname": "postgres"})
    with suppress(psycopg.Error), closing(psycopg.connect(others, autocommit=True)) as connection:
        with suppress(errors.DuplicateDatabase, errors.UniqueViolation):  # somebody else was faster
            connection.execute(sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(named))
        return True
    return False


def _fault(connection: Connection) -> str | None:
    if connection.info.server_version < OLDEST_SERVER * 10_000:
        return f"is PostgreSQL {connection.info.server_version // 10_000}, expected {OLDEST_SERVER} or newer"
    if (encoding := connection.info.parameter_status("server_encoding")) != "UTF8":
        return f"keeps texts as {encoding}, expected UTF8: create the database with ENCODING 'UTF8'"
    return None


def shown(url: str) -> str:
    """An address as it may be printed: without user and password.

    Examples
    --------
    >>> shown("postgresql://attune:secret@db.internal:5433/shop?sslmode=require")
    'postgresql://db.internal:5433/shop'
    >>> shown("no address")
    'postgresql://'
    """
    try:
        found = conninfo_to_dict(url)
    except psycopg.Error:
        return "postgresql://"
    host, port = str(found.get("host") or "localhost"), found.get("port")
    return f"postgresql://{host}{f':{port}' if port else ''}/{found.get('dbname') or ''}"


def translated(error: psycopg.Error, url: str) -> StoreUnavailable | ConflictingWrite:
    """An error of the driver's, as the one that callers catch; no value of a row is in it."""
    if isinstance(error, psycopg.IntegrityError):
        return ConflictingWrite(f"{type(error).__name__}: {error.diag.constraint_name or error.diag.message_primary}")
    if isinstance(error, psycopg.DataError):
        return ConflictingWrite(f"{type(error).__name__}: a value that PostgreSQL does not take")
    said = str(error).splitlines()[:1] if isinstance(error, psycopg.ProgrammingError) or error.sqlstate is None else []
    what = ": ".join((type(error).__name__, *said))
    kind = StoreBusy if isinstance(error, _BUSY) else StoreFull if isinstance(error, _FULL) else StoreUnavailable
    return kind(f"cannot use the store at {shown(url)} ({what}); what is wrong, tells: attune doctor")
