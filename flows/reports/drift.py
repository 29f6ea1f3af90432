"""A drift report as Markdown and as one page that needs nothing else."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from flows.reports.page import about, document, section, table, verdict

N_SHOWN: Final = 15  # features with the largest shift


def text(report: Mapping[str, Any]) -> str:
    """The verdict and its rules as Markdown.

    Parameters
    ----------
    report
        As `flows.drift.measure` makes it.
    """
    said = f"**{report['verdict']}**: {report['sentence']}"
    if not report["rules"]:
        return said
    lines = [
        said,
        "",
        "| rule | verdict | observed | limit | |",
        f"|{' --- |' * 5}",
    ]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in _rules(report))])


def page(report: Mapping[str, Any]) -> str:
    """The report as HTML."""
    rules = section("Rules", table(("rule", "verdict", "observed", "limit", "about"), _rules(report)))
    told = [f"measured at {report['measured_at']}"] if report.get("measured_at") else []
    parts = ["<h1>Drift</h1>", verdict(f"{report['verdict']}: {report['sentence']}"), *map(about, told), rules]
    if report["features"]:
        parts += [_features(report["features"]), _intents(report["intent_mix"])]
    return document("Drift", parts)


def _features(shifts: Mapping[str, float]) -> str:
    """The largest shifts."""
    shown = list(shifts.items())[:N_SHOWN]
    said = f"The {len(shown)} of {len(shifts)} features that moved most; below 0.1 is little, above 0.25 is much."
    return section("Features", about(said), table(("feature", "population stability index"), shown))


def _intents(mix: Mapping[str, Mapping[str, float]]) -> str:
    """Shares of the intents, before and now."""
    before, now = ({name: n / sum(mix[when].values()) for name, n in mix[when].items()} for when in ("reference", "current"))
    rows = [(name, f"{share:.1%}", f"{now[name]:.1%}", f"{now[name] - share:+.1%}") for name, share in before.items()]
    return section("Intents", table(("intent", "before", "now", "change"), rows))


def _rules(report: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for rule in report["rules"]:
        numbers = ("" if rule[name] is None else f"{rule[name]:.4g}" for name in ("observed", "limit"))
        yield rule["name"], rule["verdict"], *numbers, rule["about"]
