"""Launch of the service: this process makes the home ready and turns into BentoML's supervisor.

Apart from the service itself, because BentoML's import, which the supervisor repeats, costs nearly a second.
"""

import os
import sys
from pathlib import Path
from typing import Final

from infra import layout
from infra.modes import repair
from infra.secret import secret
from infra.settings import PREFIX
from infra.store.engines import open_store
from services import metrics
from services.processes import hold_service, port_to_listen_on, tell_address

GRACE_S: Final = 10  # for answers that are on their way when the service is told to stop; streams would go on for ever
TARGET: Final = "services.service:Attune"
QUIET: Final = {"DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "True"}


def serve(home: Path, *, host: str, port: int, workers: int, beside: bool = False) -> None:
    """Become the service: this process turns into BentoML's supervisor and ends with it, on SIGTERM or Ctrl-C.

    Parameters
    ----------
    port
        0 takes a free one.
    beside
        Whether to serve beside another service of this home, which keeps its address and its metrics.

    Raises
    ------
    OSError
        If the address cannot be listened on, or another service serves the home already.
    """
    home = home.expanduser().absolute()
    is_first = hold_service(home, beside)
    port = port_to_listen_on(host, port)
    # What cannot be opened is said once, here, and not by every worker that is started again.
    open_store(home).close()
    secret(home)
    repair(home)
    metrics.prepare(home)
    if is_first:
        tell_address(home, f"http://{host}:{port}")
    os.environ.update(
        {
            f"{PREFIX}HOME": str(home),
            f"{PREFIX}WORKERS": str(workers),
            "BENTOML_HOME": str(home / layout.BENTOML),
            **{name: os.environ.get(name, value) for name, value in QUIET.items()},
        }
    )
    sys.stdout.flush()
    command = [sys.executable, "-m", "bentoml", "serve", TARGET, "--host", host, "--port", str(port)]
    command += ["--timeout-graceful-shutdown", str(GRACE_S)]
    os.execv(sys.executable, command)
