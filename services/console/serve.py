"""Process of the console: its server, and what it goes by."""

import os
import time
from pathlib import Path
from typing import Final

import uvicorn

from infra.modes import OWNER_ONLY
from infra.store.engines import closed_store, open_store
from services.console.access import Doorkeeper
from services.console.app import SignIn, build
from services.console.guard import Guard
from services.console.sources import Sources

COOKIE: Final = "attune_console"
GRACE_S: Final = 2
LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


def names_of(host: str, port: int, more: tuple[str, ...] = ()) -> frozenset[str]:
    """Names of a console: its address, loopback's names, and those that the operator adds.

    Examples
    --------
    >>> sorted(names_of("127.0.0.1", 3001, ("attune.example",)))
    ['127.0.0.1:3001', '[::1]:3001', 'attune.example', 'localhost:3001']
    """
    return frozenset({f"{host}:{port}", *(f"{name}:{port}" for name in LOOPBACK), *more})


def serve(
    home: Path,
    *,
    host: str,
    port: int,
    names: tuple[str, ...] = (),
    tls: tuple[str, str] | None = None,
    user_header: str | None = None,
) -> None:
    """Serve the console until Ctrl-C.

    Parameters
    ----------
    names
        Further names it goes by, with their port where it is not the usual one.
    tls
        Certificate and key.
    user_header
        In which a proxy in front names the operator whom it has made sure of.
    """
    os.umask(OWNER_ONLY)
    open_store(home).close()
    sources = Sources(home)
    sign_in = SignIn(f"__Host-{COOKIE}" if tls else COOKIE, tls is not None, user_header)
    app, console = build(sources, Doorkeeper(closed_store(home), lambda: time.time_ns() // 1000), sign_in)
    config = uvicorn.Config(
        Guard(app, names_of(host, port, names)),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
    )
    try:
        uvicorn.Server(config).run()
    finally:
        console.close()
        sources.close()
