"""Servers of a benchmark's own, which may be killed and restarted: a synchronous pair of PostgreSQL servers, and a Redis.

PostgreSQL does not run as root: where the benchmark does, its servers are the user's of the name ``postgres``.
"""

import os
import shutil
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.serve import free_port

STANDBY: Final = "standby"
PATIENCE_S: Final = 60.0
CONFIGURATION: Final = """
port = {port}
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 64MB
synchronous_commit = on
"""


def folder_of_programs() -> Path | None:
    """Where PostgreSQL's own programs are; None where there are none, or nobody who may run them."""
    found = shutil.which("initdb")
    folders = [
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
        *([Path(found).resolve().parent] if found else []),
    ]
    whole = [one for one in folders if all((one / name).exists() for name in ("initdb", "pg_ctl", "pg_basebackup"))]
    return whole[0] if whole and (os.geteuid() != 0 or _is_user("postgres")) else None


def _is_user(name: str) -> bool:
    return subprocess.run(["id", name], capture_output=True, check=False).returncode == 0


def _await(condition: str, url: str) -> None:
    """Wait until a server says yes to a statement."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            with closing(psycopg.connect(url, connect_timeout=3)) as connection:
                if connection.execute(condition.encode()).fetchone() == (True,):
                    return
        except psycopg.OperationalError:
            pass
        if time.monotonic() > until:
            raise TimeoutError(condition)
        time.sleep(0.1)


class Pair:
    """A primary, and a standby that has all that the primary has acknowledged.

    Attributes
    ----------
    port
        Of the server that takes writes, on loopback.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        self._programs = programs
        self._who = "postgres" if os.geteuid() == 0 else None
        self._primary, self._standby = folder / "primary", folder / "standby"
        self._running: list[Path] = []
        self.port, self._other_port = free_port(), free_port()
        folder.mkdir()
        if self._who:
            shutil.chown(folder, self._who)
        self._run("initdb", "-D", self._primary, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C")
        self._configure(self._primary, self.port)
        self._start(self._primary)
        copied = ("pg_basebackup", "-D", self._standby, "-R", "-X", "stream", "-c", "fast", "-d")
        self._run(*copied, f"host=127.0.0.1 port={self.port} user=postgres application_name={STANDBY}")
        self._configure(self._standby, self._other_port)
        self._start(self._standby)
        with closing(psycopg.connect(self.url, autocommit=True)) as connection:
            connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'".encode())
            connection.execute("SELECT pg_reload_conf()")
        _await("SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'", self.url)

    @property
    def url(self) -> str:
        """Address of the server that takes writes."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def restart(self) -> None:
        """End the primary without a word to its clients, and start it again."""
        self._run("pg_ctl", "-D", self._primary, "-m", "immediate", "-w", "-l", self._log(self._primary), "restart")

    def fail_over(self) -> None:
        """Kill the primary, and promote the standby, which `port` is from then on."""
        os.kill(int((self._primary / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        self._running.remove(self._primary)
        self._run("pg_ctl", "-D", self._standby, "-w", "promote")
        self.port = self._other_port
        _await("SELECT NOT pg_is_in_recovery()", self.url)

    def close(self) -> None:
        """End both."""
        for data in self._running:
            self._run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop", must=False)

    def _configure(self, data: Path, port: int) -> None:
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.write(CONFIGURATION.format(port=port))

    def _start(self, data: Path) -> None:
        self._run("pg_ctl", "-D", data, "-w", "-l", self._log(data), "start")
        self._running.append(data)

    @staticmethod
    def _log(data: Path) -> Path:
        return data.with_suffix(".log")

    def _run(self, program: str, *words: object, must: bool = True) -> None:
        command = [str(self._programs / program), *map(str, words)]
        subprocess.run(command, user=self._who, cwd=self._primary.parent, stdout=subprocess.DEVNULL, check=must)


class Redis:
    """A Redis that keeps nothing."""

    def __init__(self) -> None:
        self.port = free_port()
        self._start()

    def _start(self) -> None:
        words = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL)

    def restart(self) -> None:
        """Kill it, and start it again, empty."""
        self.close()
        self._start()

    def close(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
