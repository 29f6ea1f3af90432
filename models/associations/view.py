"""View of live associations: one of their states, as readers have it."""

import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

from models.associations import query
from models.associations.model import AssociationStore
from models.events.encode import NO_CODE


class Names(NamedTuple):
    """Items by code and codes by item: shared by all views up to the next eviction, only ever added to."""

    item_ids: list[str]
    codes: dict[str, int]
    local: threading.local  # scratch of each reading thread


def named(item_ids: list[str]) -> Names:
    """Names of items, by code."""
    return Names(item_ids, {item_id: code for code, item_id in enumerate(item_ids)}, threading.local())


class View(AssociationStore):
    """One state of live associations: as good as any `AssociationStore`, and as immutable.

    `item_ids` may already hold items of later states; `n_items` counts those of this one.
    """

    def __init__(
        self, store: AssociationStore, index: query.Index, overlay: query.Overlay, categories: tuple[Any, Any, Any],
        names: Names, to: tuple[int, int],
    ) -> None:  # fmt: skip
        values = {
            **{name: getattr(store, name) for name in ("params", "ledger", "as_of_us")},
            **dict(zip(("categories", "category_names", "_category_codes"), categories, strict=True)),
            **{"index": index, "overlay": overlay, "item_ids": names.item_ids, "built_to_us": to[0], "built_to_seq": to[1]},
            **{"_codes": names.codes, "_local": names.local},
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def n_items(self) -> int:
        """Size of the catalogue that the log has shown."""
        return len(self.overlay.slot)

    def code(self, item_id: str | None) -> int:
        """Code of an item, `NO_CODE` if unknown."""
        code = NO_CODE if item_id is None else self._codes.get(item_id, NO_CODE)
        return code if code < len(self.overlay.slot) else NO_CODE

    def codes(self, item_ids: Iterable[str]) -> dict[str, int]:
        """Codes of some items by their ids, in order of first appearance, `NO_CODE` for the unknown."""
        known, n = self._codes.get, len(self.overlay.slot)
        return {item_id: code if (code := known(item_id, NO_CODE)) < n else NO_CODE for item_id in item_ids}
