"""Child processes of `attune up`: started together, stopped together, never left behind."""

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from infra import layout, lock

STOP_S: Final = 15.0
PR_SET_PDEATHSIG: Final = 1


def _with_parent() -> Callable[[], None] | None:
    """On Linux a child gets SIGTERM when its parent dies, however that happened; elsewhere nothing can be asked for."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def end_with_parent() -> None:
    """Let this process get SIGTERM when its parent dies, where the system offers that."""
    if (ask := _with_parent()) is not None:
        ask()


def command(*words: str) -> list[str]:
    """The words of an `attune` command, run by this very interpreter."""
    return [sys.executable, "-m", "services.cli", *words]


def spawn(words: Sequence[str], env: Mapping[str, str], log: Path | None = None) -> subprocess.Popen[bytes]:
    """Start an `attune` command in a session of its own, so that Ctrl-C reaches it through us only.

    Parameters
    ----------
    log
        File that gets its output, appended; None lets it write where we write.
    """
    out = log.open("ab") if log else None
    try:
        return subprocess.Popen(
            command(*words),
            env={**os.environ, **env},
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=_with_parent(),
        )
    finally:
        if out:
            out.close()


def put_behind(child: subprocess.Popen[bytes], niceness: int) -> None:
    """Let a process that was just started yield to others where the processor is short, as far as the system admits it.

    Parameters
    ----------
    niceness
        From 0, as everybody, to 19; threads that it starts from now on have it too.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, child.pid, niceness)


def stop(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask all children to end, wait up to `STOP_S` seconds, then end them and what they started."""
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def port_to_listen_on(host: str, port: int) -> int:
    """The port itself, if nobody listens there; a free one for 0.

    Raises
    ------
    OSError
        If the address cannot be listened on.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(f"cannot listen on {host}:{port} ({error.strerror}); choose another with --host or --port") from None
        return int(probe.getsockname()[1])


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold the home for one `attune up`.

    Raises
    ------
    OSError
        If another process holds it; the message names its process id.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / layout.LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise OSError(
                f"another `attune up` (process {lock.read().strip() or 'unknown'}) runs on {home}; "
                "stop it, or set ATTUNE_HOME to another folder"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def hold_service(home: Path, beside: bool = False) -> bool:
    """Hold the home for one service, until this process and its workers have ended.

    Parameters
    ----------
    beside
        Whether another service may hold it.

    Returns
    -------
    Whether this process holds it.

    Raises
    ------
    OSError
        If another service does, and may not; in one line that says how to stop it.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if lock.kept(home / layout.SERVE_LOCK, str(os.getpid())) is not None:
        return True
    if not beside:
        raise OSError(_serving(home))
    return False


def require_no_service(home: Path) -> None:
    """Refuse to go on where a service serves the home already.

    Raises
    ------
    OSError
        As `hold_service`.
    """
    if not lock.is_free(home / layout.SERVE_LOCK):
        raise OSError(_serving(home))


def _serving(home: Path) -> str:
    process = lock.noted(home / layout.SERVE_LOCK)
    with suppress(OSError):
        url = (home / layout.SERVICE_URL).read_text().strip()
        return f"{home} is served already at {url}; stop that with: kill {process} (or start beside it: attune serve --beside)"
    return f"{home} is served already; stop that with: kill {process} (or start beside it: attune serve --beside)"


def tell_address(home: Path, url: str) -> None:
    """Leave the service's address in the home. A disk that is full is no reason not to serve."""
    path = home / layout.SERVICE_URL
    draft = path.with_suffix(".draft")
    with suppress(OSError):
        draft.write_text(f"{url}\n")
        draft.replace(path)
