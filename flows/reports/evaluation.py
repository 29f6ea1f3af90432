"""The evaluation report as one page that needs nothing else: what came out first, then the figures and pictures behind it."""

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from flows.reports import actions as action_page
from flows.reports import weighting as weighting_page
from flows.reports.page import about, beside, cell, document, folded, heat, interval, section, table, verdict
from flows.reports.plots import Bar, bars, lines
from flows.reports.promotion import off_policy, shadow
from models.schema import HORIZONS_S, INTENTS, NEXT_ACTIONS

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
Tables = Mapping[str, Mapping[str, Any]]


def page(report: Mapping[str, Any]) -> str:
    """The whole page.

    Parameters
    ----------
    report
        As `flows.evaluate` makes it; what is missing is left out.
    """
    full = report.get("full") or {}
    held = report.get("held_out", {})
    versions = ", ".join(f"{name} v{n}" for name, n in report["candidate"].get("versions", {}).items())
    told = (
        f"{held.get('n_sessions', 0):,} held-out sessions, {held.get('n_rows', 0):,} prefixes, all later than what was learned "
        f"from; {versions or 'unnamed versions'}; {report.get('evaluated_at', '')}"
    )
    parts = [
        "<h1>Evaluation</h1>",
        about(told),
        _in_short(report, full),
        weighting_page.part(full.get("ablation")),
        _next_item(report["candidate"].get("associations")),
        _intent(report, full.get("intent") or {}),
        _next_action(report, full.get("next_action") or {}),
        action_page.part(full.get("actions")),
        off_policy(full.get("off_policy")),
        shadow(report["shadow"]) if report.get("shadow") else "",
    ]
    return document("Evaluation", parts)


def _in_short(report: Mapping[str, Any], full: Mapping[str, Any]) -> str:
    """The answers before the evidence."""
    intent = _intent_methods(report, full.get("intent") or {})
    scores = {name: one["overall"].get("macro_f1") for name, one in intent.items()}
    points = ["Intent, macro-F1: " + ", ".join(f"{name} {cell(score)}" for name, score in scores.items() if score is not None)]
    for horizon in HORIZONS_S:
        more = (full.get("next_action") or {}).get(horizon, {})
        gains = {"ROC-AUC": more.get("roc_auc_over_logistic"), "PR-AUC": more.get("pr_auc_over_logistic")}
        told = [f"{name} {interval(one)} ({_spoken(one['verdict'])})" for name, one in gains.items() if one and interval(one)]
        if told:
            points.append(f"Purchase within {_minutes(horizon)}, gain over logistic regression: {', '.join(told)}")
    items = report["candidate"].get("associations") or {}
    for label, key in _ITEM_GAINS.items():
        if interval(items.get(key)):
            points.append(f"Next item, MRR@20, {label}: {interval(items[key])}")
    return verdict(weighting_page.sentence(full.get("ablation")), points)


def _spoken(better: str) -> str:
    return better if better == "no difference" else f"{NAMES.get(better, better)} is better"


def _minutes(horizon: str) -> str:
    n = HORIZONS_S[horizon] // 60
    return f"{n} minutes" if n < 60 else "an hour" if n == 60 else f"{n // 60} hours"


_ITEM_GAINS: Final = {
    "intent weighting - static": "dynamic_minus_static_mrr",
    "ranker - intent weighting": "ranker_minus_dynamic_mrr",
}


def _next_item(found: Mapping[str, Any] | None) -> str:
    """The next other item of a session: what serves, the ranker where there is one, static weights and popularity."""
    if not found or not found.get("n_questions"):
        return ""
    names, parts = ("n_questions", "hit_rate_20", "mrr_20"), []
    for title, key in (("All next items", "overall"), ("Carts, checkouts and purchases", "buying")):
        rows = [[NAMES.get(name, name), *(one.get(m) for m in names)] for name, one in found.get(key, {}).items()]
        parts.append(f"<div><h3>{title}</h3>{table(['', 'questions', 'HR@20', 'MRR@20'], rows)}</div>")
    gains = [_gain(label, found[key]) for label, key in _ITEM_GAINS.items() if interval(found.get(key))]
    return section("The next item", bars("Gain in MRR@20, 95 %", gains, unit="gain") if gains else "", beside(*parts))


def _gain(label: str, one: Mapping[str, Any], *cells: object) -> Bar:
    return Bar(label, one["mean"], one["low"], one["high"], one["low"] > 0 or one["high"] < 0, cells)


def _intent_methods(report: Mapping[str, Any], full: Mapping[str, Any]) -> Tables:
    """Model, champion where it is another one, and baselines, by the names a reader knows."""
    champion = report.get("champion")
    found = {"model": report["candidate"]["intent"]}
    if champion and champion.get("versions") != report["candidate"].get("versions"):
        found["champion"] = champion["intent"]
    found |= {NAMES[name]: one for name, one in report["baselines"]["intent"].items()}
    return {**found, **{NAMES[name]: full[name] for name in ("logistic_on_counts", "without_behaviour") if name in full}}


def _intent(report: Mapping[str, Any], full: Mapping[str, Any]) -> str:
    methods = _intent_methods(report, full)
    candidate = report["candidate"]["intent"]
    names = ("macro_f1", "accuracy", "log_loss", "brier", "ece")
    rows = [[name, *(one["overall"].get(m) for m in names)] for name, one in methods.items()]
    parts = [table(["", "macro-F1", "accuracy", "log loss", "Brier", "ECE"], rows)]
    gain = full.get("behaviour_gain")
    if gain:
        told = [_gain("dwell, scroll, zoom, cursor", gain)]
        says = {"with": "worth having", "without": "better without"}.get(gain["verdict"], gain["verdict"])
        parts.append(bars(f"Log loss saved by the browser's measures: {says}", told, unit="saved"))
    parts += [beside(_early(methods), _calibrated("Intent: is it as likely as said?", candidate.get("calibration")))]
    parts += [folded("Early decisions in figures", _early_table(methods))]
    parts += ["<h3>PR-AUC by class</h3>", _pr_auc(methods, candidate["overall"], INTENTS), _confusion(candidate["overall"])]
    if "second_rule" in full:
        second = [
            [NAMES.get(name, name), one["n_rows"], one.get("macro_f1"), one.get("accuracy")]
            for name, one in full["second_rule"].items()
        ]
        parts += ["<h3>By the second, held-out labelling rule</h3>", table(["", "rows", "macro-F1", "accuracy"], second)]
    return section("Intent", *parts)


def _early(methods: Tables) -> str:
    curves = {}
    for name, one in methods.items():
        points = [(float(at.removeprefix("after_")), part.get("macro_f1")) for at, part in one["early_decision"].items()]
        curves[name] = [(x, float(y)) for x, y in points if y is not None]
    return lines("Early decision: how soon is intent known?", curves, "events of the session seen", y_label="macro-F1")


def _early_table(methods: Tables) -> str:
    after = list(methods["model"]["early_decision"])
    rows: list[list[object]] = [
        [name, *(one["early_decision"].get(k, {}).get("macro_f1") for k in after)] for name, one in methods.items()
    ]
    rows.append(["sessions", *(methods["model"]["early_decision"][k].get("n_rows") for k in after)])
    return table(["macro-F1 after", *(f"{k.removeprefix('after_')} events" for k in after)], rows)


def _calibrated(title: str, found: Any) -> str:
    points = [(float(one["mean_p"]), float(one["hit_rate"])) for one in found or []]
    if not points:
        return ""
    return lines(title, {"model": points}, "probability said, bins of equal size", diagonal=True, y_label="share come true")


def _pr_auc(methods: Tables, overall: Mapping[str, Any], names: tuple[str, ...]) -> str:
    rows = [[name, *(one["overall"].get("pr_auc", {}).get(i) for i in names)] for name, one in methods.items()]
    counts = [sum(row) for row in overall.get("confusion", [])]
    if counts:
        rows.append(["share of the class: what chance reaches", *(n / max(sum(counts), 1) for n in counts)])
    return table(["", *names], rows)


def _confusion(overall: Mapping[str, Any]) -> str:
    if "confusion" not in overall:
        return ""
    rows = zip(INTENTS, overall["confusion"], strict=True)
    return "<h3>Confusion: prefixes, and their share of the label</h3>" + heat(
        ["label, and what was predicted:", *INTENTS], rows
    )


def _next_action(report: Mapping[str, Any], full: Mapping[str, Any]) -> str:
    parts = [_horizon(report, horizon, full.get(horizon, {})) for horizon in HORIZONS_S]
    return section("Next action", *parts)


def _horizon(report: Mapping[str, Any], horizon: str, more: Mapping[str, Any]) -> str:
    """One horizon: the next action, then the purchase."""
    methods = {"model": report["candidate"]["next_action"][horizon]}
    champion = report.get("champion")
    if champion and champion.get("versions") != report["candidate"].get("versions"):
        methods["champion"] = champion["next_action"][horizon]
    methods[NAMES["usual"]] = report["baselines"]["next_action"][horizon]
    methods |= {NAMES[name]: more[name] for name in ("markov_chain", "logistic_on_counts") if name in more}
    actions = {name: one["action"] for name, one in methods.items() if "action" in one}
    parts = [f"<h3>Within {escape(_minutes(horizon))}</h3>"]
    names = ("log_loss", "accuracy", "macro_f1", "brier", "ece")
    rows = [[name, *(one.get(m) for m in names)] for name, one in actions.items()]
    parts.append(table(["what comes next, or leaving", "log loss", "accuracy", "macro-F1", "Brier", "ECE"], rows))
    names = ("roc_auc", "pr_auc", "log_loss", "brier", "ece")
    rows = [[name, *(one["purchase"].get(m) for m in names)] for name, one in methods.items() if "purchase" in one]
    parts.append(table(["purchase", "ROC-AUC", "PR-AUC", "log loss", "Brier", "ECE"], rows))
    rate = methods["model"]["purchase"].get("base_rate")
    if rate is not None:
        parts.append(about(f"A purchase follows {rate:.1%} of the prefixes; this is also the PR-AUC that chance reaches."))
    gains = {"ROC-AUC": more.get("roc_auc_over_logistic"), "PR-AUC": more.get("pr_auc_over_logistic")}
    told = [_gain(name, one) for name, one in gains.items() if one and interval(one)]
    drawn = bars("Purchase: gain over logistic regression on counts, 95 %", told, unit="gain") if told else ""
    parts += [
        drawn,
        _calibrated(f"Purchase within {_minutes(horizon)}: is it as likely as said?", more.get("purchase_calibration")),
    ]
    return "".join([*parts, folded("PR-AUC of each action", _by_action(actions))])


def _by_action(actions: Tables) -> str:
    """One row an action, since there are many; those that never come are left out."""
    counts = {name: sum(row) for name, row in zip(NEXT_ACTIONS, actions["model"].get("confusion", []), strict=False)}
    rows = [
        [name, n, *(one.get("pr_auc", {}).get(name) for one in actions.values()), n / max(sum(counts.values()), 1)]
        for name, n in sorted(counts.items(), key=lambda one: -one[1])
        if n
    ]
    return table(["action", "rows", *actions, "chance"], rows)
