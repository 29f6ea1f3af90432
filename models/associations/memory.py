"""Working memory of a thread that asks a store: made when it is first needed, and again when the catalogue has outgrown it."""

from threading import local

import numpy as np

from models.arrays import Ints
from models.associations.goal_query import MOST_GUESTS
from models.associations.query import Scratch, new_scratch
from models.bound import Bound, bind


def scratch_of(kept: local, n_items: int) -> tuple[Scratch, Bound]:
    """Scratch with room for so many items and the guests, and the same bound, in its order."""
    found: tuple[Scratch, Bound] | None = getattr(kept, "scratch", None)
    if found is None or len(found[0].sums) < n_items + MOST_GUESTS:
        scratch = new_scratch(_room(n_items))
        found = kept.scratch = scratch, bind(*scratch)
    return found


def places_of(kept: local, n_items: int) -> Ints:
    """A place for each item and guest, all -1: who writes into it sets it back; shape (n_items + more,)."""
    found: Ints | None = getattr(kept, "places", None)
    if found is None or len(found) < n_items + MOST_GUESTS:
        found = kept.places = np.full(_room(n_items), -1)
    return found


def _room(n_items: int) -> int:
    return n_items + n_items // 4 + 2 * MOST_GUESTS
