"""Workflows that a partner defines: when each begins, by an expression over the moment, and what it is told, by a template.

A workflow whose expression asks for ``silence_s`` or ``left`` may begin in silence too; others need the visitor to be there.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Any, Final

import numpy as np

from models.arrays import Floats, Floats32
from models.engagement.expressions import Expression, Name, parse
from models.engagement.silence import Silence
from models.schema import NEXT_ACTIONS, SESSION_FEATURES

MOST_WORKFLOWS: Final = 20
MOST_FIELDS: Final = 20
MOST_TEXT: Final = 500  # characters of a field's template, and of what comes of it
_P: Final = Name("number", 0.0, 1.0, is_noisy=True)
_COUNT: Final = Name("number", 0.0)
# What expressions and templates may name. Session features count and last as `models.schema.SESSION_FEATURES` says.
NAMES: Final[Mapping[str, Name]] = {
    "score": _P,
    **{f"p_{action}": _P for action in NEXT_ACTIONS},
    "silence_s": _COUNT,
    "left": Name("text"),
    "category": Name("text"),
    "item_id": Name("text"),
    "cart_value": _COUNT,
    **{name: Name("number") for name in SESSION_FEATURES},
}
LISTS: Final = ("cart_item_ids", "left_item_ids", "product_ids", "content_ids")  # for templates, each as a field of its own
_OF_SILENCE: Final = frozenset({"silence_s", "left"})
CART_REMINDER: Final = "cart_reminder"
_placeholder: Final = re.compile(r"[a-z][a-z0-9_]*").fullmatch


class TemplateError(ValueError):
    """A template that names what nobody knows; the message repeats nothing of it."""


@dataclass(frozen=True)
class Workflow:
    """A workflow: its name, when it begins, and its fields.

    Attributes
    ----------
    fields
        Name to template: a text in which ``{name}`` stands for a value of `NAMES`, or one list of `LISTS` alone.
    """

    name: str
    when: Expression
    fields: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def is_for_silence(self) -> bool:
        """Whether it may begin while nobody is there."""
        return bool(self.when.names & _OF_SILENCE)


def workflow(name: str, when: str, fields: Mapping[str, str]) -> Workflow:
    """A workflow, as a partner writes it.

    Raises
    ------
    ExpressionError, TemplateError
        In one line.
    """
    for template in fields.values():
        check_template(template)
    return Workflow(name, parse(when, NAMES), dict(fields))


def check_template(template: str) -> None:
    """Make sure that a template can be filled.

    Raises
    ------
    TemplateError
        If it is too long, is no template, or names something unknown.

    Examples
    --------
    >>> check_template("{n_add_to_cart} things in {category}")
    >>> check_template("{score.__class__}")
    Traceback (most recent call last):
    models.engagement.workflows.TemplateError: a placeholder is a name in braces, as in {category}
    """
    if len(template) > MOST_TEXT:
        raise TemplateError(f"a template may have {MOST_TEXT} characters at most")
    for name in _placeholders(template):
        if name in LISTS and template != f"{{{name}}}":
            raise TemplateError(f"{name} is a list: let a field be {{{name}}} and nothing else")
        if name not in LISTS and name not in NAMES:
            raise TemplateError(f"a placeholder is unknown; known are {', '.join((*NAMES, *LISTS))}")


def _placeholders(template: str) -> list[str]:
    try:
        parts = list(Formatter().parse(template))
    except ValueError:
        raise TemplateError("a brace that is none of a placeholder is written twice: {{ or }}") from None
    for _, name, spec, conversion in parts:
        if name is not None and (spec or conversion or not _placeholder(name)):
            raise TemplateError("a placeholder is a name in braces, as in {category}")
    return [name for _, name, _, _ in parts if name is not None]


def moment_values(
    score: float, p_next: Floats | None, features: Floats32, silence: Silence, told: Mapping[str, Any]
) -> dict[str, Any]:
    """Values of all names at a moment; a probability that no model tells is none, so that nothing compares with it.

    Parameters
    ----------
    told
        ``category``, ``item_id`` and ``cart_value``, as far as they are known, and the `LISTS`.
    """
    chances = np.full(len(NEXT_ACTIONS), np.nan) if p_next is None else p_next
    return {
        "score": score,
        **{f"p_{action}": float(p) for action, p in zip(NEXT_ACTIONS, chances, strict=True)},
        "silence_s": silence.seconds,
        "left": "" if silence.left is None else silence.left.kind,
        "left_item_ids": [] if silence.left is None else silence.left.item_ids,
        "category": "",
        "item_id": "",
        "cart_value": np.nan,
        **dict(zip(SESSION_FEATURES, features.tolist(), strict=True)),
        **{name: value for name, value in told.items() if value is not None},
    }


def first_that_holds(workflows: Sequence[Workflow], values: Mapping[str, Any], band: float = 0.0) -> Workflow | None:
    """The first workflow that begins at a moment."""
    silent = values["silence_s"] > 0
    candidates = (one for one in workflows if not silent or one.is_for_silence)
    return next((one for one in candidates if one.when.holds(values, band)), None)


def filled(one: Workflow, values: Mapping[str, Any], most_items: int) -> dict[str, Any]:
    """Fields of a workflow; numbers as people write them, and what is not known as an empty text.

    Examples
    --------
    >>> reminder = workflow("call", "cart_size >= 1", {"text": "{cart_size} for {cart_value}", "ids": "{cart_item_ids}"})
    >>> filled(reminder, {"cart_size": 2.0, "cart_value": 19.5, "cart_item_ids": ["a", "b", "c"]}, 2)
    {'text': '2 for 19.5', 'ids': ['a', 'b']}
    """
    return {name: _filled(template, values, most_items) for name, template in one.fields.items()}


def _filled(template: str, values: Mapping[str, Any], most_items: int) -> Any:
    name = template[1:-1]
    if template == f"{{{name}}}" and name in LISTS:
        return list(values.get(name, ()))[:most_items]
    parts = (before + ("" if key is None else _text(values.get(key))) for before, key, _, _ in Formatter().parse(template))
    return "".join(parts)[:MOST_TEXT]


def _text(value: Any) -> str:
    if isinstance(value, float | int):
        return "" if value != value else f"{value:.2f}".rstrip("0").rstrip(".")
    return "" if value is None else str(value)
