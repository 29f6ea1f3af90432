"""Structs that several reports share: what pages read of the core's tables, decoded at the one place where pages are made.

The tables stay dicts of JSON values, in files and for programs. A field without a default is always there: where the core
forgets or renames one, decoding fails and says which.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from models.bandit.off_policy import DR, IPS, SNIPS

Kind = TypeVar("Kind", bound=Struct)


def decoded(report: Mapping[str, Any], kind: type[Kind]) -> Kind:
    """The report as its JSON file holds it, typed.

    Raises
    ------
    msgspec.ValidationError
        If a field is missing or of another type, with its path.

    Examples
    --------
    >>> decoded({"n_rows": 9, "n_sessions": 2, "from_us": 0}, HeldOut)
    HeldOut(n_rows=9, n_sessions=2)
    """
    return msgspec.json.decode(json.dumps(report), type=kind)


def signed(value: float) -> str:
    """A difference with its sign and four digits; what rounds to zero is no less than zero.

    Examples
    --------
    >>> signed(-0.01), signed(-0.00001), signed(0.0)
    ('-0.0100', '+0.0000', '+0.0000')
    """
    return f"{round(value, 4) + 0.0:+.4f}"


class HeldOut(Struct, frozen=True):
    """Sessions that no model has learned from, and their prefixes."""

    n_rows: int
    n_sessions: int


class Interval(Struct, frozen=True, forbid_unknown_fields=True):
    """A difference with its bounds, 95 % unless told otherwise, and who is better; None where it could not be measured.

    Examples
    --------
    >>> str(Interval(mean=0.02, low=-0.01, high=0.05)), str(Interval())
    ('+0.0200 [-0.0100, +0.0500]', '')
    """

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: str = ""

    def __str__(self) -> str:
        return "{1} [{0}, {2}]".format(*map(signed, self.bounds)) if self.bounds else ""

    @property
    def bounds(self) -> tuple[float, float, float] | None:
        """Low, mean, high."""
        if self.low is None or self.mean is None or self.high is None:
            return None
        return self.low, self.mean, self.high

    @property
    def is_clear(self) -> bool:
        """Whether zero lies outside."""
        return self.bounds is not None and (self.bounds[0] > 0 or self.bounds[2] < 0)


class Spanned(Struct, frozen=True):
    """Something with a 95 % interval."""

    low: float
    high: float

    @property
    def span(self) -> str:
        """The interval with three digits."""
        return f"{self.low:.3f} to {self.high:.3f}"


class Classification(Struct, frozen=True, forbid_unknown_fields=True):
    """Measures of a classifier; None where there is no row, or for a class that never occurs.

    `ece` is the expected calibration error, `pr_auc` by class, `confusion` counts rows by label and prediction.
    """

    n_rows: int = 0
    macro_f1: float | None = None
    accuracy: float | None = None
    log_loss: float | None = None
    brier: float | None = None
    ece: float | None = None
    pr_auc: Mapping[str, float | None] = {}
    confusion: Sequence[Sequence[int]] = ()

    @property
    def shares(self) -> list[float]:
        """Share of each class among the rows: the PR-AUC that chance reaches."""
        return [sum(row) / max(self.n_rows, 1) for row in self.confusion]


class YesNo(Struct, frozen=True, forbid_unknown_fields=True):
    """Measures of a yes/no probability; None where there is no row, or only one answer."""

    n_rows: int = 0
    base_rate: float | None = None
    roc_auc: float | None = None
    pr_auc: float | None = None
    log_loss: float | None = None
    brier: float | None = None
    ece: float | None = None


class Estimates(Struct, frozen=True):
    """Reward a decision, by inverse propensity scores, the same normalised, and doubly robust."""

    ips: Interval
    snips: Interval
    dr: Interval


class OffPolicy(Struct, frozen=True):
    """Reward that a candidate would have earned, by decisions that were dealt with known probabilities."""

    verdict: str
    reason: str
    n_decisions: int
    n_visitors: int
    candidate: Estimates | None = None
    champion: Estimates | None = None
    difference: Estimates | None = None

    @property
    def sides(self) -> dict[str, Estimates]:
        """Those that were estimated, by name."""
        return {name: side for name in ("candidate", "champion", "difference") if (side := getattr(self, name))}

    def rows(self) -> list[list[object]]:
        """Estimator, and its interval for each side."""
        return [[name.upper(), *(getattr(side, name) for side in self.sides.values())] for name in (IPS, SNIPS, DR)]


class Shadow(Struct, frozen=True, forbid_unknown_fields=True):
    """Live requests that a candidate answered beside the champion; shares and means (ms) over those that both answered.

    `top_20_overlap` is the share of the first 20 items that both have, `probability_distance` the total variation distance.
    """

    n_requests: int
    n_failed: int
    label_agreement: float | None
    top_20_overlap: float | None
    probability_distance: float | None
    champion_ms: float | None
    challenger_ms: float | None
