"""An experiment's readout as lines of text for a terminal, and as one page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from flows.reports.page import render
from flows.reports.plots import Quad
from flows.reports.structs import decoded
from models.experiments.guardrails import DEGRADED_RATE, ERROR_RATE, LATENCY, SIGNALS
from models.experiments.outcomes import CONVERSION, REVENUE

MEASURES: Final = {
    CONVERSION: "conversion",
    REVENUE: "revenue per visitor",
    ERROR_RATE: "failed requests",
    DEGRADED_RATE: "degraded answers",
    LATENCY: "latency, ms",
    SIGNALS: "signals per visitor",
}
HEAD: Final = ("measure", "variant", "mean", "minus control", "95 % at any time", "relative", "95 % at any time")
NO_DATA: Final = "no data"
FIXED_HEAD: Final = ("measure", "variant", "minus control", "95 % at one planned look", "p")
Row = Sequence[str]


class Estimate(Struct, frozen=True):
    """A difference from the control and its confidence sequence; no bounds where nothing is known yet."""

    estimate: float
    low: float | None
    high: float | None

    def cells(self, form: str) -> tuple[str, str]:
        """The difference, and its bounds."""
        bounds = "" if self.low is None else f"{self.low:{form}} to {self.high:{form}}"
        return f"{self.estimate:{form}}", bounds


class Point(Estimate, frozen=True):
    """The confidence sequence as it was at so many visitors."""

    n_visitors: int


class Comparison(Struct, frozen=True):
    """A treatment beside the control; `relative` is None for a control at zero, `p_value` is of a test of counts."""

    difference: Estimate
    relative: Estimate | None
    p_value: float | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """Four cells of a row."""
        return (*self.difference.cells("+.4g"), *(self.relative.cells("+.1%") if self.relative else ("", "")))


class Variant(Struct, frozen=True):
    """A measure's mean over the visitors of a variant, and what is known of some measures only: quantiles, counts."""

    mean: float
    p50: float | None = None
    p99: float | None = None
    n_requests: int = 0
    n_failed: int = 0
    n_visitors_failed: int = 0

    @property
    def shown(self) -> str:
        """The mean, with the quantiles if there are any."""
        return f"{self.mean:.4g}" + ("" if self.p50 is None else f" (p50 {self.p50:.3g}, p99 {self.p99:.3g})")


class Measure(Struct, frozen=True):
    """An outcome or a guardrail: each variant, and each treatment against the control."""

    variants: Mapping[str, Variant]
    comparisons: Mapping[str, Comparison]


class SampleRatio(Struct, frozen=True):
    """Test of whether visitors were dealt as they should be; shares of the variants, None without visitors."""

    passed: bool
    p_value: float
    observed: Sequence[float] | None


class Power(Struct, frozen=True):
    """Probability that a lift (of `target_lift`, relative) would have been found by now, and what is to wait for."""

    target_lift: float
    power_now: float
    wanted_power: float
    visitors_missing: float | None
    visitors_per_day: float
    days_missing: float | None


class FixedEffect(Struct, frozen=True):
    """A difference from the control with the interval and p-value of one look planned in advance."""

    difference: float
    low: float
    high: float
    p_value: float


class FixedHorizon(Struct, frozen=True):
    """Tests of one look planned in advance, with a warning; by measure and variant."""

    note: str
    metrics: Mapping[str, Mapping[str, FixedEffect]]


class Interleaving(Struct, frozen=True):
    """Verdict on interleaved lists: what visitors took from them."""

    sentence: str


class Group(Struct, frozen=True):
    """Readout of one group of visitors; `metrics` are None where there are too few."""

    visitors: Mapping[str, int]
    alpha: float
    metrics: Mapping[str, Measure | None] | None


class ExperimentReport(Struct, frozen=True):
    """The readout of `flows.experiment`; None where the result is withheld or there is nothing to tell yet.

    `n_maturing` counts visitors whose outcomes are still counted, for `window_days` after the first exposure; `since` (the
    first exposure) and `until` are UTC, `alpha` is the chance that an interval is ever wrong, `left_out` counts visitors by the
    reason, `path` is of the conversion.
    """

    experiment: str
    sentence: str
    control: str
    visitors: Mapping[str, int]
    n_maturing: int
    since: str | None
    until: str
    window_days: float
    alpha: float
    left_out: Mapping[str, int]
    sample_ratio: SampleRatio | None
    metrics: Mapping[str, Measure | None] | None
    guardrails: Mapping[str, Measure] | None
    power: Mapping[str, Power] | None
    path: Mapping[str, Sequence[Point]] | None
    fixed_horizon: FixedHorizon | None = None
    interleaving: Interleaving | None = None
    by_group: Mapping[str, Mapping[str, Group]] = {}

    @property
    def head(self) -> Row:
        """Headings of the tables of measures."""
        return [each.replace("95 %", f"{100 * (1 - self.alpha):.0f} %") for each in HEAD]

    def about(self) -> Iterator[str]:
        """Remarks: who was looked at, whether the split is as dealt, and what counts."""
        seen = ", ".join(f"{n:,} {variant}" for variant, n in self.visitors.items())
        yield f"{self.experiment}: visitors {seen or 'none'}; {self.since or 'never'} to {self.until}"
        ratio = self.sample_ratio
        if ratio and ratio.observed:
            observed = "/".join(f"{100 * share:.3g}" for share in ratio.observed)
            yield f"sample ratio {observed}: {'as' if ratio.passed else 'NOT as'} dealt (p {ratio.p_value:.3g} at any time)"
        left_out = ", ".join(f"{n:,} {why}" for why, n in self.left_out.items() if n)
        within = f"outcomes within {self.window_days:g} days of the first exposure; {self.n_maturing:,} visitors still in them"
        yield f"{within}; left out: {left_out}" if left_out else within

    def failed(self) -> str:
        """Failed requests by variant, and whether that can be chance."""
        errors = (self.guardrails or {})[ERROR_RATE]
        counts = ", ".join(
            f"{name} {one.n_failed:,} of {one.n_requests:,} requests ({one.n_visitors_failed:,} visitors)"
            for name, one in errors.variants.items()
        )
        chance = ", ".join(f"{name} p {one.p_value:.3g}" for name, one in errors.comparisons.items())
        return f"failed: {counts}" + (f"; more than the control by chance at any time: {chance}" if chance else "")

    def waiting(self) -> Iterator[str]:
        """Power so far and the wait that is left, for each treatment."""
        for name, one in (self.power or {}).items():
            found = (
                f"a true lift of {one.target_lift:.0%} would have been found by now with a probability of {one.power_now:.0%}"
            )
            if one.visitors_missing:
                found += f"; for {one.wanted_power:.0%} about {one.visitors_missing:,.0f} more visitors are needed"
                found += f" ({one.days_missing:,.1f} days at {one.visitors_per_day:,.0f} a day)"
            yield f"{name}: {found}"

    def groups(self) -> list[Row]:
        """Rows of the groups: who they are, and each measure of each variant."""
        return [
            (f"{name} {group}", *row)
            for name, groups in self.by_group.items()
            for group, one in groups.items()
            for row in (measured(one.metrics) if one.metrics else [("too few visitors", "", NO_DATA, *("",) * 4)])
        ]

    def fixed(self) -> list[Row]:
        """Rows of the test of one look."""
        return [
            (MEASURES[name], variant, f"{one.difference:+.4g}", f"{one.low:+.4g} to {one.high:+.4g}", f"{one.p_value:.3g}")
            for name, variants in (self.fixed_horizon.metrics if self.fixed_horizon else {}).items()
            for variant, one in variants.items()
        ]

    def bands(self) -> dict[str, list[Quad]]:
        """Confidence sequence of the conversion by the number of visitors, for each treatment."""
        return {
            name: [(p.n_visitors, p.low, p.estimate, p.high) for p in points if p.low is not None and p.high is not None]
            for name, points in (self.path or {}).items()
        }


def measured(measures: Mapping[str, Measure | None]) -> list[Row]:
    """Rows of measures, one a variant; one for a measure of which nothing is known."""
    rows: list[Row] = []
    for name, one in measures.items():
        rows += [(MEASURES[name], "", NO_DATA, *("",) * 4)] if one is None else _by_variant(MEASURES[name], one)
    return rows


def _by_variant(name: str, one: Measure) -> list[Row]:
    return [
        (name, variant, each.shown, *(one.comparisons[variant].cells if variant in one.comparisons else ("",) * 4))
        for variant, each in one.variants.items()
    ]


def columns(rows: Sequence[Row]) -> str:
    """Rows as lines of text, their cells below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def page(report: Mapping[str, Any]) -> str:
    """The readout as HTML, with the confidence sequence over the visitors."""
    return render("experiment.html.j2", report=decoded(report, ExperimentReport), measured=measured, fixed_head=FIXED_HEAD)


def text(report: Mapping[str, Any]) -> str:
    """The readout for a terminal: the sentence first."""
    told = decoded(report, ExperimentReport)
    return render("experiment.txt.j2", report=told, measured=measured, columns=columns, fixed_head=FIXED_HEAD)
