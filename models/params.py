"""Hyper-parameters by name: frozen dataclasses with some of their fields set, as a person writes them."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

Params = TypeVar("Params")


def settable(params: Any) -> Iterator[str]:
    """Paths of all numbers, words and switches in a dataclass and in those inside it.

    Examples
    --------
    >>> from models.inference.next_action import DEFAULT_PARAMS
    >>> "action.learning_rate" in list(settable(DEFAULT_PARAMS))
    True
    """
    for one in fields(params):
        value = getattr(params, one.name)
        if is_dataclass(value):
            yield from (f"{one.name}.{path}" for path in settable(value))
        elif isinstance(value, bool | int | float | str):
            yield one.name


def changed(params: Params, given: Mapping[str, str]) -> Params:
    """The same parameters with some of them set.

    Parameters
    ----------
    given
        Texts by path; a path that leaves out a level means the parameter wherever it stands below.

    Raises
    ------
    ValueError
        If there is no such parameter, with those that there are; or if the text is no value of its type.

    Examples
    --------
    >>> from models.inference.next_action import DEFAULT_PARAMS
    >>> new = changed(DEFAULT_PARAMS, {"learning_rate": "0.05", "action.n_rounds": "9"})
    >>> new.action.learning_rate, new.purchase.learning_rate, new.action.n_rounds
    (0.05, 0.05, 9)
    >>> new.purchase.n_rounds == DEFAULT_PARAMS.purchase.n_rounds
    True
    """
    known = list(settable(params))
    for path, text in given.items():
        meant = [one for one in known if one == path or one.endswith(f".{path}")]
        if not meant:
            raise ValueError(f"there is no parameter {path}; there are {', '.join(known)}")
        for one in meant:
            params = _with(params, one.split("."), text)
    return params


def _with(params: Any, path: list[str], text: str) -> Any:
    name, *below = path
    present = getattr(params, name)
    if below:
        return replace(params, **{name: _with(present, below, text)})
    return replace(params, **{name: _read(name, text, type(present))})


def _read(name: str, text: str, kind: type) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (ValueError, KeyError):
        raise ValueError(f"{name} takes {'true or false' if kind is bool else f'a value of type {kind.__name__}'}") from None


def by_model(given: Mapping[str, str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of each model, by settings such as ``next_action.learning_rate``.

    Parameters
    ----------
    defaults
        Parameters of the models that have some, by name.

    Raises
    ------
    ValueError
        As `changed`, or if a setting names no model that has parameters.

    Examples
    --------
    >>> from models.learners.trees import BoostParams
    >>> by_model({"intent.n_leaves": "7"}, {"intent": BoostParams()})["intent"].n_leaves
    7
    """
    own: dict[str, dict[str, str]] = {name: {} for name in defaults}
    for path, text in given.items():
        name, _, inner = path.partition(".")
        if name not in own or not inner:
            raise ValueError(f"there are no parameters {path}; expected MODEL.PARAMETER, of {', '.join(defaults)}")
        own[name][inner] = text
    return {name: changed(defaults[name], own[name]) for name in defaults}
