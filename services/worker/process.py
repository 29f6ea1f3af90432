"""Worker process: does the duties of `services.worker.runner` until it is told to stop.

Of a home with a file one worker works at a time and does them all: it holds a lease. Any other waits until the lease is free,
and then takes over. On a server several share the duties (`services.worker.shares`), and all of them deliver.
"""

import os
import random
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
from infra.store.engines import closed_store, is_shared
from infra.store.errors import StoreUnavailable, WrongRevision
from infra.store.protocol import Store
from services.serving.features import store_failures
from services.worker.runner import PATIENCE_S, REST_S, duties, follow_all, log, open_and_follow, openers
from services.worker.shares import ALONE, ASK_S, LEASE_S, Shares

DELIVERY: Final = "delivery"  # the duty that each worker of a server does
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
    if is_shared(home):
        run_share(settings, store, holder, failures, stopped)
        return
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
        store.lease(ALONE, holder, 0)
        store.scrub()  # what a stopped worker leaves is one file
    store.close()


def run_share(
    settings: Settings, store: Store, holder: str, failures: tuple[type[Exception], ...], stopped: threading.Event
) -> None:
    """Deliver, and do a share of the other duties, until `stopped`.

    Raises
    ------
    WrongRevision
        If the store is of a revision that is not known here.
    """
    repair(settings.home)
    opened = openers(settings, in_parts=True)
    delivery = opened.pop(DELIVERY)
    delivering = threading.Thread(
        target=open_and_follow, args=(DELIVERY, delivery, stopped, failures), name=DELIVERY, daemon=True
    )
    delivering.start()
    try:
        Shares(store, holder, opened, failures, random.Random(holder)).run(stopped)
    finally:
        stopped.set()
        delivering.join(PATIENCE_S)
        store.close()


def await_lease(store: Store, holder: str, stopped: threading.Event) -> bool:
    """Wait until this worker is the one that works; False if it is told to stop before."""
    said = False
    while not stopped.is_set():
        try:
            if store.lease(ALONE, holder, LEASE_S) is not None:
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
            is_kept = store.lease(ALONE, holder, LEASE_S) is not None
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
