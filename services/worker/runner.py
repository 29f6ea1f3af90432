"""Runner of duties, each in a thread of its own, so that a slow one does not hold the others up.

A duty keeps its place in the table `cursors` and moves it in the transaction that holds its effect. So it may be killed at any
moment, and a step that failed is simply done again.
"""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import PurePath
from typing import Final, Protocol, runtime_checkable

import feature_repo  # noqa: F401 - before Feast, whose import it shortens
from infra.settings import Settings

REST_S: Final = 2.0  # after a store that could not be read or written
LONGEST_REST_S: Final = 60.0  # after a step that fails again and again for a reason nobody foresaw
LITTLE: Final = 100  # done in one step; after more, there may be a backlog
PATIENCE_S: Final = 10.0  # for steps under way when the worker is told to stop
log = logging.getLogger("attune.worker")


class Duty(Protocol):
    """Duty: something that has to be done again and again."""

    @property
    def name(self) -> str:
        """For the log, and usually its cursor."""
        ...

    @property
    def poll_s(self) -> float:
        """Wait after a step with nothing to do, seconds."""
        ...

    def step(self, now_us: int) -> int:
        """Do some of it, in about a second at most; called from one thread, on a store of its own.

        Returns
        -------
        How much was done; 0 if there was nothing to do.
        """
        ...


@runtime_checkable
class Closable(Protocol):
    """Duty that holds something open beside its store."""

    def close(self) -> None:
        """Let go of it; called in the duty's thread after its last step."""
        ...


@runtime_checkable
class Gathering(Protocol):
    """Duty whose step costs about as much for one event as for many: while little comes, it is done together."""

    @property
    def gather_s(self) -> float:
        """Wait after a step that has done less than `LITTLE`, seconds."""
        ...


def openers(settings: Settings, *, in_parts: bool = False) -> dict[str, Callable[[], Duty]]:
    """Openers of the worker's duties, by name; those that can be done in parts as these. Takes seconds: Feast's import.

    A duty opens a store of its own. Imports stand inside, so that whoever needs only `Duty` does not pay for them.
    """
    from services.worker import action_weights, archive, cleanup, delivery, erasure, features, retention, rewards, signals

    modules = [features, action_weights, signals, delivery, rewards, cleanup, erasure, retention]
    modules += [archive] if settings.objects_url else []
    found: dict[str, Callable[[], Duty]] = {
        module.__name__.rpartition(".")[2]: partial(module.open_duty, settings) for module in modules
    }
    return {**found, **features.openers_of_parts(settings)} if in_parts else found


def duties(settings: Settings) -> list[Duty]:
    """Everything the worker does, opened."""
    return [opened() for opened in openers(settings).values()]


def open_and_follow(
    name: str, opened: Callable[[], Duty], stopped: threading.Event, failures: tuple[type[Exception], ...]
) -> None:
    """Open a duty, again and again where that fails, and do it until `stopped`."""
    while not stopped.is_set():
        try:
            duty = opened()
        except failures as error:
            log.warning("%s is opened again in %g s: %s", name, REST_S, type(error).__name__)
            stopped.wait(REST_S)
        else:
            follow(duty, stopped, failures, lambda: time.time_ns() // 1_000)


def follow(
    duty: Duty,
    stopped: threading.Event,
    failures: tuple[type[Exception], ...],
    now_us: Callable[[], int],
    least_rest_s: float = REST_S,
) -> None:
    """Do a duty until `stopped`, resting after failures.

    A store that cannot be reached is asked again after the least rest. An error that nobody foresaw must not take the other
    duties with it: it is logged, and the duty rests twice as long each time.
    """
    rest_s = least_rest_s
    while not stopped.is_set():
        try:
            done = duty.step(now_us())
        except failures as error:
            log.warning("%s is tried again in %g s: %s", duty.name, least_rest_s, type(error).__name__)
            stopped.wait(least_rest_s)
            continue
        except Exception as error:
            # Without its message, which may hold a value of a partner's.
            what = f"{type(error).__name__} at {_place(error)}"
            log.error(
                "%s stands still for %g s: unforeseen %s", duty.name, rest_s, what, exc_info=log.isEnabledFor(logging.DEBUG)
            )
            stopped.wait(rest_s)
            rest_s = min(2 * rest_s, LONGEST_REST_S)
            continue
        rest_s = least_rest_s
        if not done:
            stopped.wait(duty.poll_s)
        elif done < LITTLE and isinstance(duty, Gathering):
            stopped.wait(duty.gather_s)
    if isinstance(duty, Closable):
        duty.close()


def _place(error: Exception) -> str:
    """File and line where an error came up."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{PurePath(last.filename).name}:{last.lineno}"


def follow_all(
    all_duties: Sequence[Duty],
    stopped: threading.Event,
    failures: tuple[type[Exception], ...],
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    least_rest_s: float = REST_S,
) -> None:
    """Do all duties, each in its thread, until `stopped`; steps under way get `PATIENCE_S` to end."""
    threads = [
        threading.Thread(target=follow, args=(duty, stopped, failures, now_us, least_rest_s), name=duty.name, daemon=True)
        for duty in all_duties
    ]
    for thread in threads:
        thread.start()
    stopped.wait()
    until = time.monotonic() + PATIENCE_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
