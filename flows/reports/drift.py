"""A drift report as a page and as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from flows.reports.page import render
from flows.reports.structs import decoded

N_SHOWN: Final = 15  # features with the largest shift


class Rule(Struct, frozen=True):
    """One rule's answer; None where nothing was observed, or where there is no limit."""

    name: str
    verdict: str
    observed: float | None
    limit: float | None
    about: str

    @property
    def cells(self) -> list[str]:
        """Its row in a table."""
        numbers = ("" if value is None else f"{value:.4g}" for value in (self.observed, self.limit))
        return [self.name, self.verdict, *numbers, self.about]


class DriftReport(Struct, frozen=True):
    """The latest window against the champion's.

    Attributes
    ----------
    features
        Population stability index, largest first; empty where a window is.
    intent_mix
        Sessions by their most probable intent, in the ``reference`` and the ``current`` window.
    windows
        Sessions of both, and how many are ``needed``.
    """

    measured_at: str
    verdict: str
    sentence: str
    rules: Sequence[Rule]
    features: Mapping[str, float]
    intent_mix: Mapping[str, Mapping[str, int]] | None
    windows: Mapping[str, int] = {}

    def sizes(self) -> list[tuple[str, int]]:
        """Sessions in each window; nothing in reports of before."""
        names = {"reference": "the champion's window", "current": "since then"}
        return [(said, self.windows[name]) for name, said in names.items() if name in self.windows]

    @property
    def needed(self) -> int:
        """Sessions that each window needs."""
        return self.windows.get("needed", 1)

    def shifts(self) -> list[tuple[str, float]]:
        """The features that moved most."""
        return list(self.features.items())[:N_SHOWN]

    def intents(self) -> list[list[str]]:
        """Intent, its share before, now, and the change."""
        if self.intent_mix is None:
            return []
        mixes = [self.intent_mix[when] for when in ("reference", "current")]
        before, now = ({name: n / sum(mix.values()) for name, n in mix.items()} for mix in mixes)
        return [[name, f"{share:.1%}", f"{now[name]:.1%}", f"{now[name] - share:+.1%}"] for name, share in before.items()]


def page(report: Mapping[str, Any]) -> str:
    """The report as HTML, from the dict that `flows.drift.measure` makes."""
    return render("drift.html.j2", report=decoded(report, DriftReport))


def text(report: Mapping[str, Any]) -> str:
    """The verdict and its rules as Markdown."""
    return render("drift.md.j2", report=decoded(report, DriftReport))
