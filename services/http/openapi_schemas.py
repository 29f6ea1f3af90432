"""JSON schemas of the OpenAPI document: from structs, and the instants that no type can say."""

import json
import re
from datetime import date
from inspect import cleandoc
from typing import Any, Final

import msgspec

from services.http.endpoints import Schemas

REF: Final = "#/components/schemas/{name}"
_DAYS: Final = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"  # no leap days
)
_CLOCK: Final = r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])"
INSTANT: Final = f"^(19(7[1-9]|[89][0-9])|2[0-9]{{3}})-{_DAYS}{_CLOCK}$"

_ATTRIBUTE: Final = re.compile(r"^(\w+(?:, \w+)*)\n((?:    .+\n?)+)", re.MULTILINE)  # of a numpydoc docstring


def ref(name: str) -> dict[str, str]:
    """Reference to a schema."""
    return {"$ref": REF.format(name=name)}


def optional(schema: dict[str, Any]) -> dict[str, Any]:
    """Schema of a field that may be null, and is null where it is missing."""
    return {"anyOf": [schema, {"type": "null"}]}


def words(vocabulary: tuple[str, ...]) -> dict[str, Any]:
    """Constraint of a text to a vocabulary, for the document only: what decodes requests says more when it refuses."""
    return {"enum": list(vocabulary)}


def components(*structs: type) -> Schemas:
    """Schemas of structs and of all that they are made of, by name."""
    ordered = sorted(set(structs), key=lambda kind: kind.__name__)
    return msgspec.json.schema_components(ordered, ref_template=REF)[1]


def until(today: date) -> str:
    r"""Pattern of RFC 3339 instants from 1971 until a day, leap days aside.

    Examples
    --------
    >>> from re import match
    >>> days = ("2025-12-31", "2026-11-21", "2026-11-22", "2027-01-01", "2026-12-01", "2026-09-31")
    >>> [bool(match(until(date(2026, 11, 21)), f"{day}T10:00:00Z")) for day in days]
    [True, True, False, False, False, False]
    """
    years = [f"19(7[1-9]|[89][0-9])|20({'|'.join(f'{year:02d}' for year in range(today.year - 2000))})"]
    months = [f"{today.year}-{month:02d}-(0[1-9]|1[0-9]|2[0-8])" for month in range(1, today.month)]
    days = "|".join(f"{day:02d}" for day in range(1, today.day + 1))
    so_far = "|".join([*months, f"{today.year}-{today.month:02d}-({days})"])
    return f"^((({years[0]})-{_DAYS})|{so_far}){_CLOCK}$"


def for_clients(schema: Any) -> Any:
    r"""The same schema as generators of clients want it.

    They take a field with a default for one that is always there, and an object that names no fields for one that has none;
    the regular expressions of JSON Schema know no ``\Z``; and a docstring tells its fields where JSON Schema has a place.

    Examples
    --------
    >>> for_clients({"properties": {"limit": {"default": 20}, "text": {"pattern": r"^a\Z", "default": None}}})
    {'properties': {'limit': {'description': 'Default 20.'}, 'text': {'pattern': '^a$'}}}
    """
    if isinstance(schema, list):
        return [for_clients(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: for_clients(value) for name, value in schema.items()}
    if isinstance(pattern := schema.get("pattern"), str):
        plain["pattern"] = pattern.replace(r"\Z", "$")
    if plain.get("type") == "object" and not plain.keys() & {"properties", "additionalProperties"}:
        plain["additionalProperties"] = True
    if (default := plain.pop("default", None)) not in (None, [], {}):
        told = f"{plain.get('description', '')} Default {json.dumps(default)}."
        plain["description"] = told.strip()
    return _described(plain)


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema with each attribute of its docstring told beside the attribute."""
    text = schema.get("description")
    if not isinstance(text, str):
        return schema
    about, _, attributes = cleandoc(text).partition("\n\nAttributes\n----------\n")
    fields = schema.get("properties", {})
    for names, told in _ATTRIBUTE.findall(attributes):
        for name in names.split(", "):
            fields = fields | {name: fields[name] | {"description": " ".join(told.split())}}
    return schema | {"description": about} | ({"properties": fields} if fields else {})
