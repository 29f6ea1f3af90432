"""Ablation of the weightings, as the evaluation report tells it: the tables of `models.evaluation.ablation`."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from flows.reports.page import Row
from flows.reports.structs import Interval
from models.questions.rest_of_session import MEASURES, TARGETS
from models.statistics.bootstrap import NO_DIFFERENCE

NAMES: Final = dict(zip(MEASURES, ("Recall@20", "MRR@20", "NDCG@20"), strict=True))
NOT_MEASURED: Final = "Which weighting: not measured here; attune evaluate does."
SHOWN: Final = ("intent_weighted", "learned", "served", "ranker")  # in the parts, where five arms would be too many


class Arm(Struct, frozen=True):
    """Measures of one arm on one kind of target, and their difference to static's.

    `decides` is the difference in NDCG@20, its interval widened for the number of arms, and `smallest_seen` what such an
    interval would have told from zero; None for static itself.
    """

    recall_20: float
    mrr_20: float
    ndcg_20: float
    against_static: Mapping[str, Interval] = {}
    decides: Interval | None = None
    smallest_seen: float | None = None


class Shown(Struct, frozen=True):
    """Share of the items that an arm's lists show, how popular these are (1 = as the mean item), and how unevenly (0 to 1)."""

    coverage: float
    mean_popularity: float
    gini: float


Arms = Mapping[str, int | Arm]  # of one kind of target: ``n_prefixes``, and each arm by its name


class Ablation(Struct, frozen=True):
    """All arms on the same later prefixes; `winner` and `verdict` alone where no prefix could be asked.

    `untouched` are the event types whose weight changes nothing in this shop; by shop, at a partner that is one of its own.
    """

    n_prefixes: int
    winner: Mapping[str, str]
    verdict: str
    n_users: int = 0
    overall: Mapping[str, Arms] = {}
    by_intent: Mapping[str, Mapping[str, Arms]] = {}
    by_length: Mapping[str, Mapping[str, Arms]] = {}
    cold_items: Mapping[str, Arms] = {}
    new_items: Mapping[str, Arms] = {}
    lists: Mapping[str, Shown] = {}
    by_history: Mapping[str, Mapping[str, Arms]] = {}
    reachable: Mapping[str, float | None] = {}
    untouched: Sequence[str] = ()
    untouched_by_shop: Mapping[str, Sequence[str]] = {}

    @property
    def sentence(self) -> str:
        """Verdict in words: which weighting wins.

        Examples
        --------
        >>> winner = {"view": "learned", "purchase": "no difference", "add_to_cart": "no difference"}
        >>> Ablation(n_prefixes=9, winner=winner, verdict="").sentence
        'Which weighting: learned for the next view; no difference for the next purchase, add to cart.'
        """
        if not self.n_prefixes:
            return NOT_MEASURED
        kinds: dict[str, list[str]] = {}
        for kind, name in self.winner.items():
            kinds.setdefault(name, []).append(kind.replace("_", " "))
        ordered = sorted(kinds.items(), key=lambda one: one[0] == NO_DIFFERENCE)
        told = "; ".join(f"{name} for the next {', '.join(of)}" for name, of in ordered)
        return f"Which weighting: {told}."

    def power(self, kind: str) -> dict[str, float]:
        """Power on a kind of target: the share of it that could be reached, and what each arm's interval would have told."""
        told = {f"smallest difference seen, {name}": arm.smallest_seen for name, arm in self.kinds()[kind].items()}
        told["targets for which anything speaks"] = self.reachable.get(kind)
        return {name: value for name, value in told.items() if value is not None}

    def kinds(self) -> dict[str, dict[str, Arm]]:
        """Arms by name, of each kind of target that came."""
        return {kind: arms for kind in TARGETS if (arms := arms_of(self.overall, kind))}

    def slices(self) -> dict[str, list[Row]]:
        """By kind of target: part, difference, arm, prefixes, NDCG@20; a part and its size in its first row only."""
        parts = {**self.by_intent, **{f"events seen: {name}": one for name, one in self.by_length.items()}}
        parts |= self.by_history
        parts |= {"cold items": self.cold_items, "items not met before": self.new_items}
        return {kind: [row for name, one in parts.items() for row in _slice(name, one, kind)] for kind in TARGETS}


def arms_of(found: Mapping[str, Arms], kind: str) -> dict[str, Arm]:
    """The arms of one kind of target, without the number of its prefixes."""
    return {name: arm for name, arm in found.get(kind, {}).items() if isinstance(arm, Arm)}


def _slice(part: str, found: Mapping[str, Arms], kind: str) -> list[Row]:
    arms = arms_of(found, kind)
    shown = [name for name in SHOWN if name in arms]
    heads = [(part, found[kind]["n_prefixes"]), *[("", None)] * len(shown)] if shown else []
    return [(head, arms[name].decides, name, n, arms[name].ndcg_20) for name, (head, n) in zip(shown, heads, strict=False)]
