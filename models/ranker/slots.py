"""Slots of a query's items in the scratch of its thread, and how few values are put in order."""

from models.arrays import Floats, Floats32, Ints, Ints32
from models.kernels import kernel


@kernel
def slot_of(slot: Ints, item: Ints, sums: Floats32, seen: Ints32, code: int, number: int, n: int) -> tuple[int, int]:
    """Slot of an item, a new one if need be; and the number of slots."""
    if slot[code, 0] == number:
        return slot[code, 1], n
    slot[code, 0] = number
    slot[code, 1] = n
    item[n] = code
    sums[n] = 0.0
    seen[n] = -1
    seen[n, 2] = 0
    return n, n + 1


@kernel
def falling(values: Floats, order: Ints, n: int) -> None:
    """Put the first n places of `order` in the falling order of their values, equal ones as they were.

    By insertion: there are a hundred, and compiling numpy's sorts takes seconds.
    """
    for k in range(1, n):
        one, at = order[k], k
        while at > 0 and values[order[at - 1]] < values[one]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = one
