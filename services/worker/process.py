"""Worker process: one process that does every duty of `services.worker.runner` until it is told to stop."""

import signal
import threading
from pathlib import Path

from infra.settings import Settings
from infra.store.errors import WrongRevision
from services.worker.runner import REST_S, duties, follow_all, log, store_failures


def run(home: Path, stopped: threading.Event | None = None) -> None:
    """Do all duties until SIGTERM, SIGINT or `stopped`.

    Parameters
    ----------
    home
        ``ATTUNE_HOME``.

    Raises
    ------
    WrongRevision
        If the store is of a revision that is not known here.
    """
    stopped = stopped or _until_signal()
    settings = Settings(home=home)
    failures = store_failures()
    while not stopped.is_set():
        try:
            all_duties = duties(settings)
        except WrongRevision:  # waiting would not mend it
            raise
        except failures as error:
            log.warning("the stores are opened again in %g s: %s", REST_S, type(error).__name__)
            stopped.wait(REST_S)
            continue
        follow_all(all_duties, stopped, failures)


def _until_signal() -> threading.Event:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return stopped
