"""The evaluation report as a page, what came out first, and as Markdown; made from the dict that `flows.evaluate` writes."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from flows.reports.actions import Actions
from flows.reports.page import Row, at, render
from flows.reports.structs import Classification, HeldOut, Interval, OffPolicy, Shadow, YesNo, decoded
from flows.reports.weighting import NAMES as MEASURES
from flows.reports.weighting import NOT_MEASURED, Ablation
from models.schema import HORIZONS_S, INTENTS, NEXT_ACTIONS

HORIZONS: Final = dict(zip(HORIZONS_S, ("5 minutes", "an hour"), strict=True))
NAMES: Final = {
    "majority": "class shares of before",
    "rules": "labelling rules on the prefix",
    "logistic_on_counts": "logistic regression on counts",
    "without_behaviour": "without dwell, scroll, zoom, cursor",
    "markov_chain": "Markov chain on the last event",
    "dynamic": "intent weighting",
    "static": "static weights",
    "usual": "most frequent action, base rate",
}
FIGURES: Final = {  # of the Markdown
    "intent macro-F1": "intent.overall.macro_f1",
    "intent macro-F1 after 3 events": "intent.early_decision.after_3.macro_f1",
    "intent macro-F1 after 10 events": "intent.early_decision.after_10.macro_f1",
    "intent ECE": "intent.overall.ece",
    "next action log loss, 5 minutes": "next_action.short_term.action.log_loss",
    "purchase within an hour, AUC": "next_action.medium_term.purchase.roc_auc",
    "purchase within an hour, PR-AUC": "next_action.medium_term.purchase.pr_auc",
    "purchase within an hour, ECE": "next_action.medium_term.purchase.ece",
    "engagement score, AUC": "engagement.roc_auc",
    "engagement score, ECE": "engagement.ece",
    "next item hit rate@20": "associations.hit_rate_20",
    "next item MRR@20": "associations.mrr_20",
    "next item hit rate@20, ranker": "associations.overall.ranker.hit_rate_20",
    "next item MRR@20, ranker": "associations.overall.ranker.mrr_20",
}


class Bin(Struct, frozen=True):
    """Rows of about the same probability: what was said on average, and the share that came true."""

    mean_p: float
    hit_rate: float


class IntentTables(Struct, frozen=True):
    """Intent against the weak labels: overall, by events seen (``after_3``), and what was said against what came."""

    overall: Classification
    early_decision: Mapping[str, Classification]
    calibration: Sequence[Bin] = ()

    @property
    def early(self) -> dict[str, float | None]:
        """Macro-F1 by events seen."""
        return {after.removeprefix("after_"): one.macro_f1 for after, one in self.early_decision.items()}


class Horizon(Struct, frozen=True):
    """The next action, and whether a purchase follows, within one horizon; None where a method does not speak of it."""

    action: Classification | None = None
    purchase: YesNo | None = None


class Ranked(Struct, frozen=True):
    """Hit rate and mean reciprocal rank of the next other item of a session, among the first 20."""

    n_questions: int
    hit_rate_20: float | None = None
    mrr_20: float | None = None


class NextItem(Ranked, frozen=True, kw_only=True):
    """By method, of all questions and of those about buying; at the top what serves without the ranker."""

    overall: Mapping[str, Ranked]
    buying: Mapping[str, Ranked]
    dynamic_minus_static_mrr: Interval | None = None
    ranker_minus_dynamic_mrr: Interval | None = None

    @property
    def gains(self) -> dict[str, Interval]:
        """Differences in MRR@20 that were measured."""
        gains = {
            "intent weighting - static": self.dynamic_minus_static_mrr,
            "ranker - intent weighting": self.ranker_minus_dynamic_mrr,
        }
        return {name: gain for name, gain in gains.items() if gain and gain.bounds}


class Side(Struct, frozen=True):
    """Candidate, champion or a baseline; a baseline has only some of it."""

    intent: IntentTables
    next_action: Mapping[str, Horizon] = {}
    versions: Mapping[str, int] = {}
    engagement: YesNo | None = None
    associations: NextItem | None = None


class Baselines(Struct, frozen=True):
    """Methods that need no training: intent by name, and the most frequent action with the base rate by horizon."""

    intent: Mapping[str, IntentTables]
    next_action: Mapping[str, Horizon]


class FullIntent(Struct, frozen=True):
    """Stronger baselines of the intent, what the browser's measures save, and a second, held-out labelling rule's opinion."""

    logistic_on_counts: IntentTables
    without_behaviour: IntentTables
    behaviour_gain: Interval
    second_rule: Mapping[str, Classification]


class FullHorizon(Struct, frozen=True):
    """Stronger baselines of one horizon; empty where no held-out row has it covered."""

    markov_chain: Horizon | None = None
    logistic_on_counts: Horizon | None = None
    purchase_calibration: Sequence[Bin] = ()
    roc_auc_over_logistic: Interval = Interval()
    pr_auc_over_logistic: Interval = Interval()

    @property
    def gains(self) -> dict[str, Interval]:
        """Over logistic regression on counts, by measure, where it could be measured."""
        gains = {"ROC-AUC": self.roc_auc_over_logistic, "PR-AUC": self.pr_auc_over_logistic}
        return {name: gain for name, gain in gains.items() if gain.bounds}


class EarlyPoint(Struct, frozen=True):
    """Purchase within the hour, foreseen at some moments of sessions; F1 at a threshold of earlier sessions."""

    n_rows: int
    f1: float | None = None
    roc_auc: float | None = None
    base_rate: float | None = None


class Goal(Struct, frozen=True):
    """Goal: its share of the mixture, what each class of an association counts over "other", and what is popular."""

    goal: str
    share: float
    met: float
    same_category: float
    other: float
    popular: float


class Goals(Struct, frozen=True):
    """Goal weights that serve; own events by goal, and the factors of each intent, by event type."""

    goals: Sequence[Goal] = ()
    own: Sequence[Mapping[str, str | float]] = ()
    intents: Sequence[Mapping[str, str | float]] = ()


class StateGain(Struct, frozen=True):
    """Gain of one part of the visitor's state over the session: log loss saved, per horizon and question."""

    n: int
    changed: float | None = None
    short_term: Mapping[str, Interval] = {}
    medium_term: Mapping[str, Interval] = {}


class Full(Struct, frozen=True):
    """The slower half, of ``attune evaluate`` only."""

    ablation: Ablation
    intent: FullIntent
    next_action: Mapping[str, FullHorizon]
    actions: Actions
    off_policy: OffPolicy
    early_purchase: Mapping[str, Mapping[str, EarlyPoint]] = {}
    goals: Goals = Goals()
    state: Mapping[str, StateGain] = {}

    def states(self) -> list[tuple[str, ...]]:
        """Rows of the state: moments, answers that are others, and log loss saved."""
        return [
            (
                name,
                f"{one.n:,}",
                "" if one.changed is None else f"{one.changed:.0%}",
                *(
                    str(of.get(asked, Interval()))
                    for of in (one.short_term, one.medium_term)
                    for asked in ("action", "purchase")
                ),
            )
            for name, one in self.state.items()
        ]

    def soon(self, measure: str) -> dict[str, dict[str, float | None]]:
        """By method, a measure of the purchase by events seen."""
        curves = ((method, points) for method, points in self.early_purchase.items())
        return {
            NAMES.get(method, method): {
                name.split()[1]: at(one, measure) for name, one in points.items() if name[:6] == "after "
            }
            for method, points in curves
        }


class EvaluationReport(Struct, frozen=True):
    """Candidate, champion and baselines on the same held-out sessions; without `full` after a retraining."""

    evaluated_at: str
    held_out: HeldOut
    candidate: Side
    champion: Side | None
    baselines: Baselines
    shadow: Mapping[str, Shadow]
    full: Full | None = None

    def sides(self) -> dict[str, Side]:
        """The candidate, and the champion where it is another one."""
        other = self.champion if self.champion and self.champion.versions != self.candidate.versions else None
        return {"model": self.candidate, "champion": other} if other else {"model": self.candidate}

    def intents(self) -> dict[str, IntentTables]:
        """Every method that infers the intent, by the name a reader knows."""
        found = {name: side.intent for name, side in self.sides().items()} | named(self.baselines.intent)
        more = ("logistic_on_counts", "without_behaviour") if self.full else ()
        return found | {NAMES[name]: at(self.full, f"intent.{name}") for name in more}

    def next_actions(self, horizon: str) -> dict[str, Horizon]:
        """Every method that foresees the next action or the purchase within a horizon."""
        found = {name: side.next_action[horizon] for name, side in self.sides().items()}
        found[NAMES["usual"]] = self.baselines.next_action[horizon]
        more = {name: at(self.more(horizon), name) for name in ("markov_chain", "logistic_on_counts")}
        return found | {NAMES[name]: one for name, one in more.items() if one}

    def more(self, horizon: str) -> FullHorizon:
        """Stronger baselines of a horizon, empty without the slower half."""
        return self.full.next_action[horizon] if self.full else FullHorizon()

    @property
    def sentence(self) -> str:
        """Headline: which weighting wins."""
        return self.full.ablation.sentence if self.full else NOT_MEASURED

    def columns(self) -> dict[str, Side]:
        """The columns of the Markdown."""
        majority = Side(intent=self.baselines.intent["majority"], next_action=self.baselines.next_action)
        sides = {"candidate": self.candidate, "champion": self.champion, "majority": majority}
        return {name: side for name, side in sides.items() if side} | {"rules": Side(intent=self.baselines.intent["rules"])}


def page(report: Mapping[str, Any]) -> str:
    """The whole page; the slower half is left out where it was not measured."""
    told, known = (
        decoded(report, EvaluationReport),
        {"names": NAMES, "horizons": HORIZONS, "intents": INTENTS, "measures": MEASURES},
    )
    return render("evaluation.html.j2", report=told, named=named, by_action=by_action, **known)


def markdown(report: Mapping[str, Any]) -> str:
    """The main figures as one table, and where they were measured the arms, the weights and the strongest pairs of actions."""
    return render("evaluation.md.j2", report=decoded(report, EvaluationReport), figures=FIGURES, measures=MEASURES)


def named(methods: Mapping[str, Any]) -> dict[str, Any]:
    """Methods by the names that a reader knows."""
    return {NAMES.get(name, name): one for name, one in methods.items()}


def by_action(methods: Mapping[str, Classification]) -> list[Row]:
    """PR-AUC of each action that came, most frequent first: one row an action, since there are many."""
    model = methods["model"]
    shares = sorted(zip(NEXT_ACTIONS, model.shares, strict=False), key=lambda one: -one[1])
    return [
        [name, round(share * model.n_rows), *(one.pr_auc.get(name) for one in methods.values()), share]
        for name, share in shares
        if share
    ]
