"""All pages, in the order of the menu: address, name, what it shows, what may be done there, and who may look."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from services.console.access import ADMIN, EVERYBODY, ML, OPERATOR
from services.console.acts import Act
from services.console.page import Page
from services.console.pages import (
    associations,
    audit,
    data,
    deliveries,
    drift,
    experiments,
    models,
    now,
    partners,
    policies,
    privacy,
    reports,
    sessions,
    signals,
    weights,
)
from services.console.sources import Ask, Sources


class Entry(NamedTuple):
    """Entry of the menu."""

    path: str
    name: str
    view: Callable[[Sources, Ask], Page]
    acts: Mapping[str, Act] = {}
    roles: frozenset[str] = EVERYBODY


ENTRIES: Final = (
    Entry("/", "Now", now.view),
    Entry("/sessions", "Sessions", sessions.view),
    Entry("/weights", "Weights", weights.view, weights.ACTS),
    Entry("/associations", "Associations", associations.view),
    Entry("/signals", "Signals", signals.view, policies.ACTS),
    Entry("/deliveries", "Deliveries", deliveries.view, deliveries.ACTS),
    Entry("/experiments", "Experiments", experiments.view, experiments.ACTS),
    Entry("/models", "Models", models.view, models.ACTS),
    Entry("/data", "Data", data.view, data.ACTS),
    Entry("/drift", "Drift", drift.view, drift.ACTS),
    Entry("/partners", "Partners", partners.view, partners.ACTS, frozenset({OPERATOR, ADMIN})),
    Entry("/privacy", "Privacy", privacy.view, privacy.ACTS, frozenset({OPERATOR, ADMIN})),
    Entry("/reports", "Reports", reports.view),
    Entry("/audit", "Audit", audit.view, {}, frozenset({OPERATOR, ML, ADMIN})),
)
