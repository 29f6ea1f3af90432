"""Small expressions over a visitor's moment: what a partner writes to say when something of its own begins.

Numbers, texts, comparisons, ``and``, ``or``, ``not``, ``in (…)``, ``+ - * /`` and parentheses, in Python's spelling. Python's
parser reads them, and nothing of them is ever run: a tree of our own is evaluated, of limited size, over names that are given.
There are no calls, no loops, no powers and no attributes, so an expression costs what its length says.

All is arithmetic on NumPy values, so one moment and a column of a million moments are one function.
"""

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np

MOST_CHARACTERS: Final = 500
MOST_NODES: Final = 100
MOST_NUMBER: Final = 1e12
Kind = Literal["number", "text", "truth"]
Values = Mapping[str, Any]
_Evaluate = Callable[[Values, float], Any]


class ExpressionError(ValueError):
    """An expression that does not parse, would cost too much, or can never hold; the message repeats nothing of it."""


class Name(NamedTuple):
    """A name that an expression may use.

    Attributes
    ----------
    kind
        Of its values.
    low, high
        Range of a number.
    is_noisy
        Whether it is an estimate, whose thresholds have a dead band.
    """

    kind: Kind
    low: float = -math.inf
    high: float = math.inf
    is_noisy: bool = False


class _Part(NamedTuple):
    """A part of an expression: what it gives, how, and the name or constant that it is."""

    kind: Kind
    evaluate: _Evaluate
    name: str | None = None
    constant: Any = None


@dataclass(frozen=True, eq=False)
class Expression:
    """An expression that was read.

    Attributes
    ----------
    text
        As it was written.
    names
        That it uses.
    """

    text: str
    names: frozenset[str]
    _evaluate: _Evaluate

    def holds(self, values: Values, band: float = 0.0) -> Any:
        """Truth of the expression at a moment, or an array of truths where values are arrays.

        Parameters
        ----------
        band
            Share by which thresholds of estimates are eased; see `models.engagement.policy`.
        """
        with np.errstate(all="ignore"):
            found = self._evaluate(values, band)
        return found if isinstance(found, np.ndarray) else bool(found)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def parse(text: str, names: Mapping[str, Name]) -> Expression:
    """Read an expression.

    Raises
    ------
    ExpressionError
        In one line that says where, by the character, and what is admitted.

    Examples
    --------
    >>> names = {"score": Name("number", 0, 1, is_noisy=True), "left": Name("text")}
    >>> found = parse("score >= 0.5 and left in ('cart', 'checkout')", names)
    >>> found.holds({"score": 0.6, "left": "cart"}), found.holds({"score": 0.45, "left": "cart"})
    (True, False)
    >>> found.holds({"score": 0.45, "left": "cart"}, band=0.2)
    True
    >>> parse("score > 2", names)
    Traceback (most recent call last):
    models.engagement.expressions.ExpressionError: it can never hold: score is from 0 to 1
    """
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(f"it may have {MOST_CHARACTERS} characters at most")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        where = f" near character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise ExpressionError(f"it is no expression{where}") from None
    nodes = list(ast.walk(tree))
    if len(nodes) > MOST_NODES:
        raise ExpressionError(f"it may have {MOST_NODES} parts at most, found {len(nodes)}")
    part = _read(tree, names)
    if part.kind != "truth":
        raise ExpressionError("it must be true or false: compare something, as in score > 0.5")
    _require_possible(tree, names)
    return Expression(text, frozenset(n.id for n in nodes if isinstance(n, ast.Name)), part.evaluate)


def _read(node: ast.expr, names: Mapping[str, Name]) -> _Part:
    match node:
        case ast.Name(id=name):
            if name not in names:
                raise ExpressionError(f"{_at(node)}: unknown name; known are {', '.join(names)}")
            return _Part(names[name].kind, lambda values, band: values[name], name)
        case ast.Constant(value=value):
            return _constant(node, value)
        case ast.BoolOp(op=op, values=operands):
            parts = [_truth(one, names) for one in operands]
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return _Part("truth", lambda values, band: _joined(join, [part.evaluate(values, band) for part in parts]))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _truth(operand, names)
            return _Part("truth", lambda values, band: np.logical_not(inner.evaluate(values, -band)))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _number(operand, names)
            constant = None if inner.constant is None else -inner.constant
            return _Part("number", lambda values, band: -inner.evaluate(values, band), constant=constant)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            a, b, combine = _number(left, names), _number(right, names), _ARITHMETIC[type(op)]
            return _Part("number", lambda values, band: combine(a.evaluate(values, band), b.evaluate(values, band)))
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            operands = [left, *comparators]
            links = [_compared(*link, names) for link in zip(operands, ops, comparators, strict=False)]
            return _Part("truth", lambda values, band: _joined(np.logical_and, [one(values, band) for one in links]))
    raise ExpressionError(f"{_at(node)}: only numbers, texts, names, comparisons, and, or, not, in, + - * / are admitted")


def _constant(node: ast.expr, value: object) -> _Part:
    if isinstance(value, bool):
        return _Part("truth", lambda values, band: value, constant=value)
    if isinstance(value, int | float) and abs(value) <= MOST_NUMBER:
        return _Part("number", lambda values, band: value, constant=float(value))
    if isinstance(value, str):
        return _Part("text", lambda values, band: value, constant=value)
    raise ExpressionError(f"{_at(node)}: a constant must be a text, or a number up to {MOST_NUMBER:g}")


def _joined(join: Any, found: list[Any]) -> Any:
    result = found[0]
    for one in found[1:]:
        result = join(result, one)
    return result


def _divided(a: Any, b: Any) -> Any:
    return np.divide(a, np.where(np.equal(b, 0), np.nan, b))  # no number is above or below what is none


_ARITHMETIC: Final[Mapping[type, Any]] = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: _divided}
_ORDERED: Final[Mapping[type, Any]] = {
    ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal
}  # fmt: skip
_EQUAL: Final[Mapping[type, Any]] = {ast.Eq: np.equal, ast.NotEq: np.not_equal}
_RISES: Final = (ast.Gt, ast.GtE)


def _compared(left: ast.expr, op: ast.cmpop, right: ast.expr, names: Mapping[str, Name]) -> _Evaluate:
    """One comparison; a threshold of an estimate falls by the band, or rises where it must not be passed."""
    if isinstance(op, ast.In | ast.NotIn):
        return _among(left, op, right, names)
    a, b = _read(left, names), _read(right, names)
    if a.kind != b.kind or a.kind == "truth":
        raise ExpressionError(f"{_at(right)}: a number is compared with a number, a text with a text")
    if type(op) in _EQUAL:
        equal = _EQUAL[type(op)]
        return lambda values, band: equal(a.evaluate(values, band), b.evaluate(values, band))
    if type(op) not in _ORDERED or a.kind != "number":
        raise ExpressionError(f"{_at(right)}: texts are compared with == and !=, or in (…)")
    compare, rises = _ORDERED[type(op)], isinstance(op, _RISES)
    if a.name and names[a.name].is_noisy and b.constant is not None:
        return lambda values, band: compare(a.evaluate(values, band), b.constant * (1.0 - band if rises else 1.0 + band))
    if b.name and names[b.name].is_noisy and a.constant is not None:
        return lambda values, band: compare(a.constant * (1.0 + band if rises else 1.0 - band), b.evaluate(values, band))
    return lambda values, band: compare(a.evaluate(values, band), b.evaluate(values, band))


def _among(left: ast.expr, op: ast.cmpop, right: ast.expr, names: Mapping[str, Name]) -> _Evaluate:
    a = _read(left, names)
    if not isinstance(right, ast.Tuple | ast.List) or not right.elts:
        raise ExpressionError(f"{_at(right)}: behind in stands a list of texts or numbers, as in ('cart', 'checkout')")
    options = [_read(one, names) for one in right.elts]
    if any(one.constant is None or one.kind != a.kind for one in options):
        raise ExpressionError(f"{_at(right)}: the list behind in holds constants of one kind")

    def evaluate(values: Values, band: float) -> Any:
        given = a.evaluate(values, band)
        found = _joined(np.logical_or, [np.equal(given, one.constant) for one in options])
        return np.logical_not(found) if isinstance(op, ast.NotIn) else found

    return evaluate


def _truth(node: ast.expr, names: Mapping[str, Name]) -> _Part:
    part = _read(node, names)
    if part.kind != "truth":
        raise ExpressionError(f"{_at(node)}: and, or, not join what is true or false")
    return part


def _number(node: ast.expr, names: Mapping[str, Name]) -> _Part:
    part = _read(node, names)
    if part.kind != "number":
        raise ExpressionError(f"{_at(node)}: + - * / take numbers")
    return part


def _at(node: ast.expr) -> str:
    return f"at character {node.col_offset + 1}"


# ---- what can never hold -----------------------------------------------------------------------------------------------


def _require_possible(tree: ast.expr, names: Mapping[str, Name]) -> None:
    """Refuse conditions of which all must hold, and which leave a name no value."""
    all_of = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    ranges = {name: (one.low, one.high) for name, one in names.items()}
    for condition in all_of:
        if not isinstance(condition, ast.Compare) or len(condition.ops) != 1:
            continue
        left, op, right = condition.left, condition.ops[0], condition.comparators[0]
        if not (isinstance(left, ast.Name) and isinstance(right, ast.Constant) and type(op) in _ORDERED):
            continue
        if not isinstance(right.value, int | float):
            continue
        low, high, bound = *ranges[left.id], float(right.value)
        if isinstance(op, _RISES):
            low = max(low, math.nextafter(bound, math.inf) if isinstance(op, ast.Gt) else bound)
        else:
            high = min(high, math.nextafter(bound, -math.inf) if isinstance(op, ast.Lt) else bound)
        if low > high:
            told = names[left.id]
            known = (
                f"{left.id} is from {told.low:g} to {told.high:g}"
                if math.isfinite(told.high)
                else "its bounds exclude each other"
            )
            raise ExpressionError(f"it can never hold: {known}")
        ranges[left.id] = (low, high)
