"""A drift report as Markdown and as one page that needs nothing else."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from models.page import document, table

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
    parts = ["<h1>Drift</h1>", f'<p class="verdict">{escape(report["verdict"])}: {escape(report["sentence"])}</p>']
    parts.append(table(("rule", "verdict", "observed", "limit", "about"), _rules(report)))
    if report["features"]:
        rows = list(report["features"].items())[:N_SHOWN]
        parts += ["<h2>Features</h2>", table(("feature", "PSI"), rows)]
        before, now = (report["intent_mix"][when] for when in ("reference", "current"))
        rows_of_mix = [(name, n / sum(before.values()), now[name] / sum(now.values())) for name, n in before.items()]
        parts += ["<h2>Intents</h2>", table(("intent", "before", "now"), rows_of_mix)]
    return document("Drift", parts)


def _rules(report: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for rule in report["rules"]:
        numbers = ("" if rule[name] is None else f"{rule[name]:.4g}" for name in ("observed", "limit"))
        yield rule["name"], rule["verdict"], *numbers, rule["about"]
