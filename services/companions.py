"""Companions of `attune up`: demo shop, console and simulated visitors, each a command of its own.

They listen on loopback only. Nothing depends on them: one that ends is missed by nobody but its own users.
"""

import os
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from services.local_keys import DEMO, local_key
from services.processes import spawn

SHOP, VISITORS = "shop", "visitors"
COMPANIONS: Final = (SHOP, VISITORS)
OF_SIMULATED: Final = frozenset({SHOP, VISITORS})  # in a shop of one's own they have nothing to do
HOST: Final = "127.0.0.1"
ABOVE: Final = {SHOP: 2}  # port, above that of the service
ANY_LONG_S: Final = 10.0 * 365 * 86_400


def start(
    home: Path, logs: Path, port: int, url: str, wanted: Iterable[str]
) -> tuple[list[subprocess.Popen[bytes]], dict[str, str]]:
    """Start companions of the service at an address; their processes, and their addresses by name."""
    wanted = frozenset(wanted)
    logs.mkdir(exist_ok=True)
    environment = {"ATTUNE_HOME": str(home), "SHOP_KEY": local_key(home, DEMO)} if wanted else {}
    addresses: dict[str, str] = {}
    words: dict[str, tuple[str, ...]] = {VISITORS: ("--rate", "1", "--seconds", str(ANY_LONG_S), "--url", url)}
    if SHOP in wanted:
        at = _port(port + ABOVE[SHOP])
        addresses[SHOP] = f"http://{HOST}:{at}"
        words[SHOP] = ("--port", str(at), "--url", url)
    children = [spawn((name, *words[name]), environment, logs / f"{name}.log") for name in COMPANIONS if name in wanted]
    return children, addresses


def _port(wanted: int) -> int:
    """A port if nobody listens there, else a free one."""
    for port in (wanted if wanted <= 65_535 else 0, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError(f"no port of {HOST} is free ({os.strerror(98)})")
