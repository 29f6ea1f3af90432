"""Values that say their type, as some stores write JSON: MongoDB, DynamoDB, Firestore, Avro, protocol buffers.

``{"$numberLong": "7"}``, ``{"N": "7"}`` and ``{"long": 7}`` are 7; an instant of seconds and nanoseconds is a Unix time.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Json = dict[str, Any]

LOOKED_AT: Final = 20  # documents of a block: a file has such values everywhere, or nowhere
_NANOS: Final = ("nanoseconds", "nanos")


def _any(value: Any) -> bool:
    return True


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_digits(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip("-")[:1].isdigit()


# Name of a type -> whether what stands under it can be of that type.
_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(
        ("$oid", "$date", "$numberLong", "$numberInt", "$numberDouble", "$numberDecimal", "$uuid", "$symbol"), _any
    ),
    "S": _is_text,
    "N": _is_digits,
    "BOOL": lambda value: isinstance(value, bool),
    "NULL": lambda value: value is True,
    "M": lambda value: isinstance(value, dict),
    "L": lambda value: isinstance(value, list) and all(isinstance(one, dict) and len(one) == 1 for one in value),
    "string": _is_text,
    **dict.fromkeys(("long", "int", "float", "double"), _is_number),
    "boolean": lambda value: isinstance(value, bool),
}


def without_types(documents: Sequence[Json]) -> Sequence[Json]:
    """Documents with the values themselves, where the first of them have any that say their type.

    Examples
    --------
    >>> without_types([{"_id": {"$oid": "6f"}, "at": {"$date": {"$numberLong": "1698832860000"}}, "n": [{"$numberInt": "3"}]}])
    [{'_id': '6f', 'at': '1698832860000', 'n': ['3']}]
    >>> without_types([{"Item": {"who": {"S": "u"}, "cart": {"L": [{"M": {"sku": {"S": "a"}}}]}, "note": {"NULL": True}}}])
    [{'Item': {'who': 'u', 'cart': [{'sku': 'a'}], 'note': None}}]
    >>> without_types([{"at": {"_seconds": 1698832800, "_nanoseconds": 5_000}, "size": {"S": 4}}])
    [{'at': 1698832800000005, 'size': {'S': 4}}]
    """
    if not any(map(_has_types, documents[:LOOKED_AT])):
        return documents
    return [found if isinstance(found := _bare(one), dict) else one for one in documents]


def is_type(name: str) -> bool:
    """Whether the end of a path names the type of a value, and no field."""
    return name in _TYPES


def _has_types(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_types, value))
    return isinstance(value, dict) and (_typed(value) is not value or any(map(_has_types, value.values())))


def _bare(value: Any) -> Any:
    """A value without the types in it."""
    if isinstance(value, list):
        return [_bare(one) for one in value]
    if not isinstance(value, dict):
        return value
    typed = _typed(value)
    return _bare(typed) if typed is not value else {name: _bare(inner) for name, inner in value.items()}


def _typed(value: Json) -> Any:
    """The value in an object that says its type; the object itself, if it is none."""
    if len(value) == 1:
        ((name, inner),) = value.items()
        if name.lstrip("_") == "seconds" and _is_digits(str(inner)) and len(str(inner)) > len("99999999"):
            return int(inner) * 1_000_000  # protocol buffers leave nanoseconds out that are none
        fits = _TYPES.get(name)
        return value if fits is None or not fits(inner) else None if name == "NULL" else inner
    bare = {name.lstrip("_"): inner for name, inner in value.items()} if len(value) == 2 else {}
    nanos = next((bare[name] for name in _NANOS if name in bare), None)
    try:
        return value if nanos is None else int(bare["seconds"]) * 1_000_000 + int(nanos) // 1_000
    except (KeyError, TypeError, ValueError):
        return value
