"""Own names of event types: what a partner calls what its visitors do, as our types.

A name leads to one of our types and never to another name, so that there are no chains and no circles. Our own names mean what
they mean to everybody; of the vocabularies that we know (`models.events.names`) a partner may mean something else.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from models.events.encode import TYPE_CODE
from models.events.rules import Problem
from models.schema import EVENT_TYPES, MAX_ID_LENGTH

OwnNames = Mapping[str, str]  # a partner's name -> our event type
NONE: Final[OwnNames] = MappingProxyType({})
MOST: Final = 500  # of one partner
SHORTEST: Final = 2  # characters


def own_names_problem(names: OwnNames) -> Problem | None:
    """First thing that is wrong with the names of a partner; its pointer leads to the name.

    Examples
    --------
    >>> own_names_problem({"product_viewed": "item_view"})
    >>> own_names_problem({"a/b": "b", "b": "a/b"})
    Problem(pointer='/a~1b', reason='a name must lead to an event type of ours, not to another name')
    """
    if len(names) > MOST:
        return Problem("", f"there may be {MOST} names at most")
    for name, event_type in names.items():
        if reason := _reason(name, event_type, names):
            return Problem(f"/{name.replace('~', '~0').replace('/', '~1')}", reason)
    return None


def _reason(name: str, event_type: str, names: OwnNames) -> str | None:
    if not SHORTEST <= len(name) <= MAX_ID_LENGTH or not name.strip():
        return f"a name must be a text of {SHORTEST} to {MAX_ID_LENGTH} characters"
    if name in TYPE_CODE:
        return "this is an event type of ours already, and means the same to everybody"
    if event_type in names and event_type not in TYPE_CODE:
        return "a name must lead to an event type of ours, not to another name"
    if event_type not in TYPE_CODE:
        return f"a name must lead to one of {', '.join(EVENT_TYPES)}"
    return None
