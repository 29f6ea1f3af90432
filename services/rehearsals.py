"""Rehearsal on a home: its log, models, catalogue and online store, each opened for it and closed again."""

from contextlib import closing
from functools import cache

from infra.settings import Settings
from infra.store.engines import open_store
from models.arrays import Floats32
from models.engagement.policy import SignalPolicy
from models.experiments.uplift import UpliftParams
from models.model_set import ModelSet
from services.serving.features import StoreUnreachable, open_features
from services.signals.catalog import Catalog
from services.signals.rehearsal import DAYS, MOST_MOMENTS, RehearsalAnswer, rehearse
from services.signals.uplift import suggested


def of_home(
    settings: Settings, partner: str, policy: SignalPolicy, models: ModelSet, now_us: int, most: int = MOST_MOMENTS,
    within_s: float = 40.0, days: float = DAYS, most_visitors: int = 2**62,
) -> RehearsalAnswer:  # fmt: skip
    """Rehearse a policy of a partner with the models that serve."""
    online = open_features(settings)

    @cache
    def item(item_id: str) -> Floats32 | None:
        try:
            return online.item(item_id, now_us)
        except StoreUnreachable:
            return None

    with closing(open_store(settings.home)) as store:
        catalog, steps_s = Catalog(settings.home), settings.silence_steps_s
        found = rehearse(
            store.read, policy, partner, models, item, catalog, now_us, days, most, within_s, steps_s, most_visitors
        )
        for kind in policy.signal_types:
            found.suggested[kind] = suggested(store.read, partner, kind, UpliftParams())
    return found
