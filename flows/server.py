"""A Prefect server for one home: in a child process that ends with its parent, whatever ends the parent.

Prefect's own ephemeral server starts only when the first flow does, and outlives a parent that is killed. This one starts
before anything heavy is imported, so that its migrations run beside our imports, and watches a pipe that closes when the
parent is gone.
"""

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from flows import access
from infra import layout
from infra.settings import prepare

START_TIMEOUT_S: Final = 300.0  # three seconds; on a machine with much else to do, a minute and more
HEALTH_S: Final = 10.0  # a server that is busy is well; where there is none, the refusal comes at once
POLL_S: Final = 0.05
DRAIN_TIMEOUT_S: Final = 5.0


def main() -> None:
    """Serve Prefect's API until standard input closes; arguments: a bound socket, 1 if pages and schedules are wanted."""
    bound, full = socket.socket(fileno=int(sys.argv[1])), sys.argv[2] == "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import uvicorn
    from prefect.server.api.server import create_app

    app: Any = access.OwnPages(create_app(ephemeral=not full), int(bound.getsockname()[1]))
    uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on")).run(sockets=[bound])


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def healthy(url: str) -> bool:
    """Whether a Prefect API answers at this address."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=HEALTH_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def running(home: Path) -> str | None:
    """Address of the API that `attune schedule` serves for this home, if it does."""
    try:
        url = (home / layout.PREFECT_URL).read_text().strip()
    except FileNotFoundError:
        return None
    return url if url and healthy(url) else None


def bound(port: int) -> socket.socket:
    """A socket that holds a loopback port, any free one for 0; nobody else gets it while the server is starting."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind(("127.0.0.1", port))
    except OSError:
        holder.close()
        raise OSError(f"port {port} is taken; choose another with --port") from None
    return holder


class Server:
    """A started child process with Prefect's API, for those who have its `secret`; `wait` before use, `stop` at the end.

    Parameters
    ----------
    home
        Whose runs are kept, below ``ATTUNE_HOME/prefect``.
    port
        Loopback port, a free one by default.
    full
        With pages, schedules and automations; without, only what a run needs.

    Raises
    ------
    OSError
        If the port is taken.
    """

    def __init__(self, home: Path, port: int = 0, *, full: bool = False) -> None:
        self.home = prepare(home)
        held = bound(port)
        self.port = int(held.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.secret = access.new_secret()
        self.log = self.home / layout.PREFECT / "server.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        environment = {
            **{name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"},
            "PREFECT_UI_ENABLED": "1" if full else "0",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_UI_API_URL": self.url,
            "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
            **({} if full else {"PREFECT__SERVER_EPHEMERAL": "1"}),
            "PREFECT__SERVER_FINAL": "1",
            **access.server_environment(self.secret, self.port),
        }
        with held, self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.server", str(held.fileno()), "1" if full else "0"],
                pass_fds=(held.fileno(),),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the parent first, which closes the runs and then this server
            )

    def wait(self) -> str:
        """Wait until the API answers.

        Raises
        ------
        OSError
            If the process ends, or does not answer in time.
        """
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            if healthy(self.url):
                return self.url
            time.sleep(POLL_S)
        self.stop()
        raise OSError(f"Prefect's server did not start on port {self.port}; its last words are in {self.log}")

    def stop(self) -> None:
        """End the process; safe to call twice."""
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def connected(home: Path, server: Server | None) -> Iterator[None]:
    """Let flows in this block report to a server: the given one, or the one at ``PREFECT_API_URL``."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, PREFECT_HOME, temporary_settings

    # Heartbeats are for runs of hours; their thread costs every short run a second.
    settings: dict[Any, Any] = {PREFECT_HOME: home / layout.PREFECT, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    if server:
        settings |= {PREFECT_API_URL: server.wait(), **_signed_in(server.secret)}
    elif url := running(home):
        settings |= {PREFECT_API_URL: url, **_signed_in(access.kept(home / layout.PREFECT_AUTH))}
    else:  # somebody else's, with what the environment says about it
        settings |= {PREFECT_API_URL: os.environ["PREFECT_API_URL"]}
    with temporary_settings(settings):
        try:
            yield
        finally:
            # What they still hold must reach the server before it stops: they would wait a minute for it at exit.
            APILogWorker.drain_all(timeout=DRAIN_TIMEOUT_S)
            EventsWorker.drain_all(timeout=DRAIN_TIMEOUT_S)


def _signed_in(secret: str | None) -> dict[Any, Any]:
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED

    return {PREFECT_API_AUTH_STRING: secret, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: True}


if __name__ == "__main__":
    main()
