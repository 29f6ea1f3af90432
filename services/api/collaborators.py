"""Collaborators of the handlers: what all of them share in a process, built once by `services.api.app`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from infra.settings import Settings
from infra.store.free_space import FreeSpace
from infra.store.protocol import Writer
from models.events.identity import pseudonym
from services.delivery.seals import Seals
from services.http.guard import Authenticator
from services.http.idempotency import Writes
from services.http.reader import Reader
from services.serving.decision_log import DecisionLog
from services.serving.event_names import EventNames
from services.serving.experiments import Runs
from services.serving.features import OnlineSource
from services.serving.identities import Identities
from services.serving.model_watch import ChampionSource
from services.serving.profiles import ProfileSource
from services.serving.shadow import Shadow
from services.signals.catalog import Catalog


class Observer(Protocol):
    """Observer of what the service does, called from any thread. `services.metrics.Metrics` is one."""

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer; `route` is a template, never a path."""
        ...

    def judged(self, status: str, n: int) -> None:
        """Count events by their verdict."""
        ...

    def decided(self, status: str, n: int) -> None:
        """Count decisions and failures that were put on record, or could not be."""
        ...

    def admitted(self, fallbacks: Mapping[str, int]) -> None:
        """Count fallbacks that decisions on record admit, by name."""
        ...

    def shadowed(self, outcome: str) -> None:
        """Count a request that a challenger answered too, by how its answer compares."""
        ...


class Unobserved:
    """Observer that counts nothing."""

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Pass over an answer."""

    def judged(self, status: str, n: int) -> None:
        """Pass over events."""

    def decided(self, status: str, n: int) -> None:
        """Pass over decisions."""

    def admitted(self, fallbacks: Mapping[str, int]) -> None:
        """Pass over fallbacks."""

    def shadowed(self, outcome: str) -> None:
        """Pass over a comparison."""


@dataclass(frozen=True)
class Collaborators:
    """Collaborators of the handlers in one process.

    Attributes
    ----------
    authenticator
        Whose key a request carries; a stream asks it again.
    champions, online, catalog, profiles, experiments
        Models, features, catalogues, the bandit and the experiment, as they stand now.
    decisions, shadow
        Where an answer goes on record, and where a challenger gives it too.
    reader, writer, writes
        The store: reads on behalf of requests, group commit, and idempotent writes through it.
    space
        Room on the home's disk: while it is short, nothing is written.
    identities
        Whom a pseudonym stands for.
    event_names
        What partners call event types.
    seals
        What webhooks are signed with, encrypted where it is kept.
    key
        The pseudonym key of a partner: users are stored under pseudonyms.
    now_us
        The clock, microseconds since 1970.
    """

    settings: Settings
    authenticator: Authenticator
    observer: Observer
    champions: ChampionSource
    online: OnlineSource
    catalog: Catalog
    profiles: ProfileSource
    experiments: Runs
    decisions: DecisionLog
    shadow: Shadow
    reader: Reader
    identities: Identities
    event_names: EventNames
    writer: Writer
    writes: Writes
    space: FreeSpace
    seals: Seals
    key: Callable[[str], bytes]
    now_us: Callable[[], int]

    def visitor(self, partner: str, user_id: str) -> str:
        """The pseudonym of a visitor; of an anonymous one who is known by now, the user's."""
        return self.identities.resolved(pseudonym(self.key(partner), user_id))
