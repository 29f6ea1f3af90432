"""Companions of `attune up`: demo shop, console and simulated visitors, each a command of its own.

They listen on loopback only. Nothing depends on them: one that ends is missed by nobody but its own users.
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from services.console import access
from services.local_keys import DEMO, local_key
from services.processes import put_behind, spawn

SHOP, VISITORS, CONSOLE = "shop", "visitors", "console"
COMPANIONS: Final = (SHOP, CONSOLE, VISITORS)
OF_SIMULATED: Final = frozenset({SHOP, VISITORS})  # in a shop of one's own they have nothing to do
ADMINISTRATOR: Final = "local"  # who may enter by the link that is printed
HOST: Final = "127.0.0.1"
ABOVE: Final = {CONSOLE: 1, SHOP: 2}  # port, above that of the service
NICENESS: Final = 10
VISITORS_A_S: Final = 0.5  # enough to look at; at 1 service and worker spent a seventh of a core on them (`benchmarks.beside`)
READY_S: Final = 30.0
POLL_S: Final = 0.1
ANY_LONG_S: Final = 10.0 * 365 * 86_400


def start(
    home: Path, logs: Path, port: int, url: str, wanted: Iterable[str]
) -> tuple[list[subprocess.Popen[bytes]], dict[str, str]]:
    """Start companions of the service at an address; their processes, and their addresses by name."""
    wanted = frozenset(wanted)
    logs.mkdir(exist_ok=True)
    environment = {"ATTUNE_HOME": str(home), "SHOP_KEY": local_key(home, DEMO)} if wanted else {}
    addresses: dict[str, str] = {}
    words: dict[str, tuple[str, ...]] = {VISITORS: ("--rate", str(VISITORS_A_S), "--seconds", str(ANY_LONG_S), "--url", url)}
    for name in (one for one in (SHOP, CONSOLE) if one in wanted):
        at = _port(port + ABOVE[name])
        addresses[name], words[name] = f"http://{HOST}:{at}", ("--port", str(at))
    if SHOP in wanted:
        words[SHOP] += ("--url", url, *(("--console", addresses[CONSOLE]) if CONSOLE in wanted else ()))
    children = [spawn((name, *words[name]), environment, logs / f"{name}.log") for name in COMPANIONS if name in wanted]
    for child in children:  # where the processor is short, the service comes first
        put_behind(child, NICENESS)
    _listening([int(address.rpartition(":")[2]) for address in addresses.values()], children)
    if CONSOLE in wanted:
        addresses[CONSOLE] += f"/enter/{access.add(home, ADMINISTRATOR, access.ADMIN, time.time_ns() // 1000)}"
    return children, addresses


def _listening(ports: Sequence[int], children: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until they listen, for a while: an address that is told leads somewhere."""
    until = time.monotonic() + READY_S
    for port in ports:
        while time.monotonic() < until and all(child.poll() is None for child in children):
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    break
            time.sleep(POLL_S)


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
