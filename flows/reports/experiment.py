"""An experiment's readout as lines of text for a terminal, and as one page that needs nothing else."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from flows.reports import plots
from flows.reports.page import about, beside, document, section, table, verdict
from models.experiments.guardrails import DEGRADED_RATE, ERROR_RATE, LATENCY, SIGNALS
from models.experiments.outcomes import CONVERSION, REVENUE

_MEASURES: Final = {
    CONVERSION: "conversion",
    REVENUE: "revenue per visitor",
    ERROR_RATE: "failed requests",
    DEGRADED_RATE: "degraded answers",
    LATENCY: "latency, ms",
    SIGNALS: "signals per visitor",
}
_HEAD: Final = ("measure", "variant", "mean", "minus control", "95 % at any time", "relative", "95 % at any time")
Row = tuple[str, ...]


def text(report: Mapping[str, Any]) -> str:
    """The readout for a terminal: the sentence first.

    Parameters
    ----------
    report
        As `flows.experiment.readout` makes it.
    """
    lists = report.get("interleaving")
    told = [f"interleaving: {lists['sentence']}"] if lists and lists["sentence"] != report["sentence"] else []
    if report["since"] is None:
        return "\n".join([report["sentence"], *told])
    lines = [report["sentence"], "", *_about(report)]
    if report["metrics"]:
        lines += ["", *_columns([_HEAD, *_rows(report["metrics"])])]
    if report["guardrails"]:
        lines += ["", "guardrails", *_columns([_HEAD, *_rows(report["guardrails"])]), _failed(report)]
    lines += [*_waiting(report)]
    if report.get("fixed_horizon"):
        lines += ["", f"FIXED HORIZON: {report['fixed_horizon']['note']}", *_columns(_fixed(report))]
    return "\n".join([*lines, *([""] if told else []), *told])


def page(report: Mapping[str, Any]) -> str:
    """The readout as HTML, with the confidence sequence over the visitors."""
    waiting = [line for line in _waiting(report) if line]
    head = _head(report)
    outcomes = [_path(report), table(head, _rows(report["metrics"]))] if report["metrics"] else [_path(report)]
    guards = [table(head, _rows(report["guardrails"])), about(_failed(report))] if report["guardrails"] else []
    parts = [
        f"<h1>Experiment {escape(report['experiment'])}</h1>",
        verdict(report["sentence"], waiting),
        *map(about, _about(report)),
        section("Outcomes", *outcomes),
        section("Guardrails", *guards),
    ]
    if report.get("fixed_horizon"):
        top, *rows = _fixed(report)
        parts.append(section("Fixed horizon", f"<p>{escape(report['fixed_horizon']['note'])}</p>", table(top, rows)))
    if report.get("interleaving"):
        parts.append(section("Interleaving", f"<p>{escape(report['interleaving']['sentence'])}</p>"))
    return document(f"Experiment {report['experiment']}", parts)


def _path(report: Mapping[str, Any]) -> str:
    """How the difference became known, visitor by visitor: a band that may be read at any time."""
    drawn = []
    for name, points in (report["path"] or {}).items():
        shown = [(float(p["n_visitors"]), p["low"], p["estimate"], p["high"]) for p in points if p["low"] is not None]
        title = f"Conversion of {name} minus {report['control']}, {1 - report['alpha']:.0%} at any time"
        drawn.append(plots.band(title, shown, "visitors of the experiment", "difference in conversion"))
    return beside(*drawn)


def _head(report: Mapping[str, Any]) -> Row:
    return tuple(each.replace("95 %", f"{1 - report['alpha']:.0%}") for each in _HEAD)


def _about(report: Mapping[str, Any]) -> Iterator[str]:
    seen = ", ".join(f"{n:,} {variant}" for variant, n in report["visitors"].items())
    yield f"{report['experiment']}: visitors {seen or 'none'}; {report['since'] or 'never'} to {report['until']}"
    ratio = report["sample_ratio"]
    if ratio and ratio["observed"]:
        observed = "/".join(f"{100 * share:.3g}" for share in ratio["observed"])
        said = "as dealt" if ratio["passed"] else "NOT as dealt"
        yield f"sample ratio {observed}: {said} (p {ratio['p_value']:.3g} at any time)"
    left_out = ", ".join(f"{n:,} {why}" for why, n in report["left_out"].items() if n)
    yield (
        f"outcomes within {report['window_days']:g} days of the first exposure; {report['n_maturing']:,} visitors still in them"
        + (f"; left out: {left_out}" if left_out else "")
    )


def _rows(measures: Mapping[str, Any]) -> Iterator[Row]:
    for name, one in measures.items():
        for variant, each in one["variants"].items():
            compared = one["comparisons"].get(variant)
            shown = f"{each['mean']:.4g}" + (f" (p50 {each['p50']:.3g}, p99 {each['p99']:.3g})" if "p50" in each else "")
            cells = (*_interval(compared["difference"]), *_interval(compared["relative"], "%")) if compared else ("",) * 4
            yield _MEASURES[name], variant, shown, *cells


def _failed(report: Mapping[str, Any]) -> str:
    """How many requests failed by variant, and whether that can be chance."""
    errors = report["guardrails"][ERROR_RATE]
    counts = ", ".join(
        f"{variant} {each['n_failed']:,} of {each['n_requests']:,} requests ({each['n_visitors_failed']:,} visitors)"
        for variant, each in errors["variants"].items()
    )
    chance = ", ".join(f"{name} p {one['p_value']:.3g}" for name, one in errors["comparisons"].items())
    return f"failed: {counts}" + (f"; more than the control by chance at any time: {chance}" if chance else "")


def _interval(one: Mapping[str, float] | None, unit: str = "") -> tuple[str, str]:
    if one is None:
        return "", ""
    kind = "+.1%" if unit else "+.4g"
    if one["low"] is None:
        return f"{one['estimate']:{kind}}", ""
    return f"{one['estimate']:{kind}}", f"{one['low']:{kind}} to {one['high']:{kind}}"


def _waiting(report: Mapping[str, Any]) -> Iterator[str]:
    for name, one in (report["power"] or {}).items():
        yield ""
        found = (
            f"a true lift of {one['target_lift']:.0%} would have been found by now with a probability of {one['power_now']:.0%}"
        )
        if one["visitors_missing"]:
            more = f"; for {one['wanted_power']:.0%} about {one['visitors_missing']:,} more visitors are needed"
            days = f" ({one['days_missing']:,.1f} days at {one['visitors_per_day']:,.0f} a day)"
            yield f"{name}: {found}{more}{days}"
        else:
            yield f"{name}: {found}"


def _fixed(report: Mapping[str, Any]) -> list[Row]:
    rows: list[Row] = [("measure", "variant", "minus control", "95 % at one planned look", "p")]
    for name, one in report["fixed_horizon"]["metrics"].items():
        for variant, each in one.items():
            bounds = f"{each['low']:+.4g} to {each['high']:+.4g}"
            rows.append((_MEASURES[name], variant, f"{each['difference']:+.4g}", bounds, f"{each['p_value']:.3g}"))
    return rows


def _columns(rows: list[Row]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
