"""Schedule: serve the deployments of one home, with Prefect's server and pages beside them, until told to stop.

What a deployment's ``triggers`` declare becomes an automation of that server: drift starts a retraining.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]
from rich.console import Console

from flows import access
from flows.server import Server
from infra import layout
from infra.lock import held
from infra.settings import prepare
from infra.store.engines import open_store

# Beside the packages in a checkout; inside this one in an installed wheel.
DECLARED: Final = (Path(__file__).parents[1] / "infra" / "deploy" / "prefect.yaml", Path(__file__).with_name("prefect.yaml"))
SCHEDULE_LOCK: Final = "schedule.lock"
POLL_S: Final = 5
HOME: Final = "{{ $ATTUNE_HOME }}"


def run(home: Path, port: int = 4200, declared: Path | None = None) -> None:
    """Serve the deployments until Ctrl-C or SIGTERM.

    Parameters
    ----------
    port
        Where Prefect's pages are, on this machine.
    declared
        Another declaration than ``infra/deploy/prefect.yaml``.

    Raises
    ------
    ValueError
        If the declaration cannot be read.
    OSError
        If another schedule serves this home, or the port is taken.
    """
    # A shell starts what it puts into the background with SIGINT ignored, and Python leaves that so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    home = prepare(home)
    open_store(home).close()  # what is wrong with it is said now, and not by every run
    wanted = read(declared or next((path for path in DECLARED if path.exists()), DECLARED[0]), home)
    with held(home / SCHEDULE_LOCK, "schedule"):
        server = Server(home, port, full=True)
        # Before anything imports Prefect: settings of the runner, and of the processes that it starts.
        os.environ.update(
            access.client_environment(server.secret),
            PREFECT_API_URL=server.url,
            PREFECT_RUNNER_POLL_FREQUENCY=str(POLL_S),
            PREFECT_RUNNER_SERVER_ENABLE="false",
        )
        known_at, signed_in_with = home / layout.PREFECT_URL, home / layout.PREFECT_AUTH
        try:
            server.wait()
            access.keep(signed_in_with, server.secret)
            known_at.write_text(server.url)
            _serve(server, wanted)
        finally:
            known_at.unlink(missing_ok=True)
            signed_in_with.unlink(missing_ok=True)
            server.stop()


def read(path: Path, home: Path) -> list[dict[str, Any]]:
    """The declared deployments, with the home filled in.

    Raises
    ------
    ValueError
        If the file is missing or declares nothing.
    """
    try:
        declared = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"cannot read the deployments in {path}: {type(error).__name__}") from None
    if not isinstance(declared, Mapping) or not declared.get("deployments"):
        raise ValueError(f"{path} declares no deployments")
    return [_filled(one, str(home)) for one in declared["deployments"]]


def _filled(part: Any, home: str) -> Any:
    if isinstance(part, dict):
        return {name: _filled(value, home) for name, value in part.items()}
    if isinstance(part, list):
        return [_filled(value, home) for value in part]
    return home if part == HOME else part


def _serve(server: Server, wanted: list[dict[str, Any]]) -> None:
    from prefect.deployments.runner import RunnerDeployment
    from prefect.runner import Runner

    class Served(Runner):
        """A runner that stops the same way on SIGTERM as on Ctrl-C; its own handler leaves runs and schedules as they are."""

        def handle_sigterm(self, *_args: Any, **_more: Any) -> None:
            raise KeyboardInterrupt

    runner = Served(name="attune", pause_on_shutdown=True)
    for one in wanted:
        # The flow is imported to learn its parameters: a wrong name stops here, not at three in the morning.
        deployment: Any = RunnerDeployment.from_entrypoint(**{**one, **_when(one)})
        runner.add_deployment(deployment)
    console = Console(stderr=True, highlight=False)
    pages, secret = server.url.removesuffix("/api"), server.home / layout.PREFECT_AUTH
    console.print(f"Prefect's pages: {pages} (they ask for the line in {secret})", soft_wrap=True)
    for one in wanted:
        when = [str(each.get("cron") or f"every {each.get('interval')} s") for each in one.get("schedules", ())]
        when += [f"on {event}" for each in one.get("triggers", ()) for event in each["expect"]]
        console.print(f"  {one['entrypoint']} ({one['name']}): {', '.join(when)}", soft_wrap=True)
    with suppress(KeyboardInterrupt):
        asyncio.run(runner.start())


def _when(one: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What starts a deployment: the clock, or an event (an automation that Prefect's server keeps)."""
    from prefect.events import DeploymentEventTrigger
    from prefect.schedules import Cron, Interval

    return {
        "schedules": [
            Cron(each["cron"], timezone=each.get("timezone", "UTC")) if "cron" in each else Interval(each["interval"])
            for each in one.get("schedules", ())
        ],
        "triggers": [DeploymentEventTrigger.model_validate(each) for each in one.get("triggers", ())],
    }


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
