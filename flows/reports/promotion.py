"""The promotion report as a page and as Markdown: what was decided, by which rules, on what evidence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from flows.reports.page import Row, cell, render
from flows.reports.structs import HeldOut, Interval, OffPolicy, Shadow, Spanned, decoded
from models.evaluation import comparison, gate
from models.statistics.verdict import FAIL, NOT_ENOUGH, PASS, THIN, Verdict

MARKS: Final[Mapping[Verdict, str]] = {PASS: "pass", FAIL: "FAIL", THIN: NOT_ENOUGH}


class Rule(Struct, frozen=True):
    """One rule's answer; `observed` is None where there was nothing to see."""

    name: str
    verdict: Verdict
    observed: float | None
    wanted: str
    about: Sequence[str] = ()
    says: str = ""

    @property
    def seen(self) -> str:
        """Observed value with four digits."""
        return "" if self.observed is None else f"{self.observed:.4g}"


class Outcome(Struct, frozen=True):
    """Verdict on one model: whether it is promoted, else why not and what answers instead."""

    promote: bool
    verdict: Verdict
    why: str = ""
    instead: str = ""


class Comparison(Struct, frozen=True):
    """One measure of both sides, in its own unit; the gain is positive where the candidate is better."""

    name: str
    part: str
    candidate: float
    champion: float
    gain: Interval
    n_sessions: int


class Calibration(Spanned, frozen=True):
    """Calibration error of one probability, and the interval of what it would be on endless rows."""

    name: str
    ece: float
    n_sessions: int


class Evidence(Struct, frozen=True):
    """Measurements that the rules looked at; by model, or by side and model.

    `latency_ms` is the processor time of a prediction, `early_decision` the macro-F1 by side and events seen (``after_3``),
    `profiles` what is said of the profiles on trial, None where there are none, `drift` the share of the session features that
    moved between the earlier and the held-out sessions, which decides nothing.
    """

    judged_at: str
    held_out: HeldOut
    champion: Mapping[str, int]
    comparisons: Sequence[Comparison]
    calibrations: Sequence[Calibration]
    latency_ms: Mapping[str, Mapping[str, float]]
    size_mb: Mapping[str, float]
    early_decision: Mapping[str, Mapping[str, float | None]]
    shadow: Mapping[str, Shadow]
    drift: float | None
    off_policy: OffPolicy
    profiles: OffPolicy | None
    lineage: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def costs(self) -> list[list[object]]:
        """Model, its processor time and the champion's in milliseconds, its size in MB."""
        sides = [self.latency_ms.get(side, {}) for side in ("candidate", "champion")]
        return [[name, *(side.get(name) for side in sides), size] for name, size in self.size_mb.items()]

    def changes(self) -> list[list[str]]:
        """Differences in lineage: key, candidate, champion, and the models of which it holds."""
        models: dict[tuple[str, str, str], list[str]] = {}
        for name, tree in self.lineage.get("candidate", {}).items():
            theirs, ours = flattened(self.lineage.get("champion", {}).get(name, {})), flattened(tree)
            for key in sorted({*ours, *theirs}):
                if ours.get(key) != theirs.get(key):
                    models.setdefault((key, _read(key, ours.get(key)), _read(key, theirs.get(key))), []).append(name)
        return [[*row, ", ".join(names)] for row, names in models.items()]


class PromotionReport(Struct, frozen=True):
    """The verdict of `gate.judge` about the versions of a candidate, and its evidence.

    `first` says whether there is no champion yet, `held_back` which models stay on trial and why, `approval` what became of
    asking a person.
    """

    versions: Mapping[str, int]
    verdict: Verdict
    promote: bool
    first: bool
    models: Mapping[str, Outcome]
    rules: Sequence[Rule]
    evidence: Evidence
    held_back: Mapping[str, str] = {}
    approval: str | None = None

    @property
    def sentence(self) -> str:
        """Decision, and the rules that made it."""
        return gate.in_words(msgspec.to_builtins(self))

    @property
    def counts(self) -> str:
        """Number of rules by verdict."""
        n_of = Counter(rule.verdict for rule in self.rules)
        return ", ".join(f"{n_of[verdict]} {mark}" for verdict, mark in MARKS.items() if n_of[verdict]) or "none"

    def outcomes(self) -> list[Row]:
        """The models: promoted or not, why not, and what answers instead."""
        rows = ((one.why, "" if one.promote else one.instead) for one in self.models.values())
        named = zip(self.models.items(), rows, strict=True)
        return [(name, "promoted" if one.promote else MARKS[one.verdict], *row) for (name, one), row in named]

    def rows(self) -> list[Row]:
        """The rules, those that failed first."""
        ordered = sorted(self.rules, key=lambda rule: (FAIL, PASS, THIN).index(rule.verdict))
        return [(rule.name, MARKS[rule.verdict], rule.seen, rule.wanted) for rule in ordered]


def page(report: Mapping[str, Any]) -> str:
    """The whole page, from the dict that `flows.promote` writes."""
    marks = {verdict: MARKS[verdict] for verdict in (FAIL, THIN, PASS)}
    return render("promotion.html.j2", report=decoded(report, PromotionReport), parts=comparison, marks=marks)


def markdown(report: Mapping[str, Any]) -> str:
    """The verdict and its rules as a table."""
    return render("promotion.md.j2", report=decoded(report, PromotionReport))


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of JSON as one level, names joined by dots; lists as they are.

    Examples
    --------
    >>> flattened({"window": {"n_events": 5}, "seed": 0})
    {'window.n_events': 5, 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _read(key: str, value: Any) -> str:
    """A value as a person reads it: instants as such, long ones cut."""
    if key.endswith("_us") and isinstance(value, int):
        return datetime.fromtimestamp(value / 1e6, UTC).isoformat(timespec="seconds")
    return cell(value)[:80]
