"""Worker process: one process that does every duty of `services.worker.runner` until it is told to stop.

One worker of a store works at a time: it holds a lease. Any other waits until the lease is free, and then takes over.
"""

import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from infra.modes import OWNER_ONLY, repair
from infra.settings import Settings
from infra.store.engines import closed_store
from infra.store.errors import StoreUnavailable, WrongRevision
from infra.store.protocol import Store
from services.serving.features import store_failures
from services.worker.runner import REST_S, duties, follow_all, log

LEASE: Final = "worker"
LEASE_S: Final = 5.0
ASK_S: Final = 1.0  # how often the lease is kept, or asked for
SWITCH_S: Final = 0.001  # a duty that makes many small calls to the store must not wait 5 ms after each for one that computes


def run(home: Path, stopped: threading.Event | None = None) -> None:
    """Do all duties until SIGTERM, SIGINT or `stopped`; wait for it while another worker does.

    Parameters
    ----------
    home
        ``ATTUNE_HOME``.

    Raises
    ------
    WrongRevision
        If the store is of a revision that is not known here.
    """
    os.umask(OWNER_ONLY)
    sys.setswitchinterval(SWITCH_S)
    stopped = stopped or _until_signal()
    settings = Settings(home=home)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    store, holder = closed_store(home), f"{socket.gethostname()} {os.getpid()}"
    failures = store_failures()
    while await_lease(store, holder, stopped):
        repair(home)
        try:
            all_duties = duties(settings)
        except WrongRevision:  # waiting would not mend it
            raise
        except failures as error:
            log.warning("the stores are opened again in %g s: %s", REST_S, type(error).__name__)
            stopped.wait(REST_S)
            continue
        ended = threading.Event()
        threading.Thread(target=keep_lease, args=(store, holder, stopped, ended), name="lease", daemon=True).start()
        follow_all(all_duties, ended, failures)
    with suppress(StoreUnavailable):
        store.lease(LEASE, holder, 0)
        store.scrub()  # what a stopped worker leaves is one file
    store.close()


def await_lease(store: Store, holder: str, stopped: threading.Event) -> bool:
    """Wait until this worker is the one that works; False if it is told to stop before."""
    said = False
    while not stopped.is_set():
        try:
            if store.lease(LEASE, holder, LEASE_S) is not None:
                return True
            if not said:
                sys.stderr.write(
                    "another worker works on this home; this one is in standby and takes over when that one ends\n"
                )
                sys.stderr.flush()
                said = True
        except WrongRevision:
            raise
        except StoreUnavailable as error:
            log.warning("the store is asked for its lease again: %s", error.kind)
        stopped.wait(ASK_S)
    return False


def keep_lease(store: Store, holder: str, stopped: threading.Event, ended: threading.Event) -> None:
    """Keep the lease until `stopped`, or until another has it; then say so by `ended`."""
    kept_at_s = time.monotonic()
    while not stopped.wait(ASK_S):
        try:
            is_kept = store.lease(LEASE, holder, LEASE_S) is not None
        except StoreUnavailable:
            is_kept = time.monotonic() - kept_at_s < LEASE_S - 2 * ASK_S
        else:
            kept_at_s = time.monotonic()
        if not is_kept:
            log.error("another worker has taken the lease; this one goes into standby")
            break
    ended.set()


def _until_signal() -> threading.Event:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return stopped
