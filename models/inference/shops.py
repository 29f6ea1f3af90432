"""Shops of a log: what is learned of items, once for the base and once for each shop with enough events of its own."""

from collections.abc import Callable

from models.artifact import Parts
from models.inference.examples import Log
from models.schema import LOCAL_PARTNER
from models.shops import LEAST_EVENTS, Learned, apart, joined


def with_their_own(log: Log) -> list[str]:
    """Partners that have models of their own, beside the base's.

    With fewer than `LEAST_EVENTS` events a partner has the base's, and its own events live on top of them; but where the base
    is as small, those of each partner cost next to nothing.
    """
    n_events = {} if log.senders is None else log.senders.n_events()
    n_base = n_events.pop(LOCAL_PARTNER, 0)
    return sorted(name for name, n in n_events.items() if n >= LEAST_EVENTS or n_base < LEAST_EVENTS)


def fit(log: Log, one: Callable[[Log], Parts]) -> Parts:
    """Parts of a model that each shop has one of.

    Parameters
    ----------
    log
        Without senders there is one shop, and one model.
    one
        Fit of one model to the part of the log that counts for it.
    """
    if log.senders is None:
        return one(log)
    return joined(one(log.of_shop(LOCAL_PARTNER)), {name: one(log.of_shop(name)) for name in with_their_own(log)})


def rebuilt(parts: Parts, log: Log, one: Callable[[Parts, Log, str], Learned]) -> Learned:
    """A model of the same shops as some parts, made again from a log.

    Parameters
    ----------
    one
        Makes that of a shop, with the parameters of its parts; "" is the shop that all are.
    """
    base, shops = apart(parts)
    if shops is None:
        return one(base, log, "")
    own = {name: one(kept, log.of_shop(name), name) for name, kept in shops.items()}
    return one(base, log.of_shop(LOCAL_PARTNER), LOCAL_PARTNER).beside(own)
