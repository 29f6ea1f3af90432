"""Walks: what a simulated visitor would do in the shop, for the page to do it in front of whoever looks on."""

from typing import Any, Final

import numpy as np

from models.arrays import Records
from models.schema import EVENT_TYPES, INTENTS
from models.simulator import Shop, ShopConfig, Visit, open_shop
from models.simulator.catalogue import category_names, item_ids
from models.simulator.records import blank_steps

AS: Final = {"researcher": "research", "buyer": "intent_to_purchase", "browser": "exploratory", "comparer": "comparative"}
LEAST, MOST = 6, 24  # steps that are worth looking at
_TRIES: Final = 400
_SHORTEST_MS, _LONGEST_MS = 900, 2_600  # between two steps: people would wait longer


class Walker:
    """Walker through the simulator's shop.

    Examples
    --------
    >>> steps = Walker(ShopConfig(n_users=50)).walk("researcher", seed=3)
    >>> len(steps) >= LEAST, steps[0]["intent"]
    (True, 'research')
    """

    def __init__(self, config: ShopConfig | None = None) -> None:
        self._config = config or ShopConfig(n_users=500)
        self._shop: Shop | None = None

    def walk(self, kind: str, seed: int) -> list[dict[str, Any]]:
        """Steps of a visitor who came with an intent; of each what is done, after which pause, and what was on the mind.

        Parameters
        ----------
        kind
            One of `AS`.

        Raises
        ------
        KeyError
            If there is no such kind.
        """
        wanted, config = INTENTS.index(AS[kind]), self._config
        rng = np.random.default_rng([seed, 7])
        shop = self._shop = self._shop or open_shop(config, np.random.default_rng([config.seed, 3]))
        rows: Records = blank_steps(0)
        for _ in range(_TRIES):
            visit = Visit(shop, int(rng.integers(config.n_users)), 0, rng)
            if visit.intent == wanted and len(rows := visit.advance(MOST)) >= LEAST and rows[0]["intent"] == wanted:
                break
        return [_step(row, before, config) for row, before in zip(rows, [None, *rows[:-1]], strict=True)]


def _step(row: Any, before: Any, config: ShopConfig) -> dict[str, Any]:
    pause_ms = 0 if before is None else (int(row["at_us"]) - int(before["at_us"])) // 1000
    step: dict[str, Any] = {
        "type": EVENT_TYPES[int(row["event_type"])],
        "intent": INTENTS[int(row["intent"])],
        "pause_ms": int(np.clip(pause_ms, _SHORTEST_MS, _LONGEST_MS)),
    }
    if row["item"] >= 0:
        step["item_id"] = str(item_ids(config.n_items)[row["item"]])
    if row["category"] >= 0:
        step["category"] = str(category_names(config.n_categories)[row["category"]])
    if not np.isnan(row["query_length"]):
        step["query_length"] = int(row["query_length"])
    return step
