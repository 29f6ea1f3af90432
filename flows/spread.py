"""Spread: one function over many arguments, one after the other in this process, or on the workers of a Dask cluster.

A flow's task opens a cluster's client, hands the calls out and takes it down again; what travels are names of files and counts.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")
CONNECT_S = 30


class Spread(Protocol):
    """A `map` whose results come in the order of the arguments."""

    def __call__(self, function: Callable[[Argument], Result], arguments: Sequence[Argument], /) -> Iterator[Result]:
        """Results of a function of each argument."""
        ...


def here(function: Callable[[Argument], Result], arguments: Sequence[Argument], /) -> Iterator[Result]:
    """Call one after the other in this process: in memory is what one call needs."""
    return map(function, arguments)


@contextmanager
def spread(dask: str | None) -> Iterator[Spread]:
    """Open what calls are spread over.

    Parameters
    ----------
    dask
        Address of a Dask scheduler whose workers see the same home; None for `here`.

    Raises
    ------
    ValueError
        If Dask is not installed, no scheduler answers there, or its workers died over one call again and again.
    """
    if dask is None:
        yield here
        return
    try:
        import distributed
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise ValueError("--dask needs the package distributed, which is not installed") from None
    try:
        connect: Any = distributed.Client
        client = connect(dask, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {dask}: {error}") from None
    with client:
        try:
            yield _over(client)
        except KilledWorker as error:
            raise ValueError(f"Dask's workers ended over the same work, mostly for want of memory: {error}") from None


def _over(client: Any) -> Spread:
    def spread_over(function: Callable[[Argument], Result], arguments: Sequence[Argument], /) -> Iterator[Result]:
        for future in client.map(function, arguments, pure=False, retries=1):
            yield future.result()
            future.release()

    return spread_over
