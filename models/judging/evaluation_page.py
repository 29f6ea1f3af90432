"""The evaluation report as one page that needs nothing else, and the ablation as Markdown."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from models.page import Row, cell, document, interval, table
from models.plots import Bar, bars, lines
from models.ranking.rest_of_session import MEASURES, TARGETS
from models.schema import HORIZONS_S, INTENTS


def page(report: Mapping[str, Any]) -> str:
    """The whole page.

    Parameters
    ----------
    report
        As `flows.evaluate` makes it; what is missing is left out.
    """
    full = report.get("full") or {}
    held = report.get("held_out", {})
    about = (
        f"{held.get('n_sessions', 0):,} held-out sessions, {held.get('n_rows', 0):,} prefixes; {report.get('evaluated_at', '')}"
    )
    parts = [
        f"<h1>Evaluation</h1><p><small>{escape(about)}</small></p>",
        _next_item(report["candidate"].get("associations")),
        _ablation(full.get("ablation")),
        _intent(report, full.get("intent") or {}),
        _next_action(report, full.get("next_action") or {}),
    ]
    return document("Evaluation", parts)


def _next_item(found: Mapping[str, Any] | None) -> str:
    """The next other item of a session: what serves, the ranker where there is one, static weights and popularity."""
    if not found or not found.get("n_questions"):
        return ""
    names, parts = ("n_questions", "hit_rate_20", "mrr_20"), ["<h2>The next item</h2>"]
    for title, key in (("All", "overall"), ("Carts, checkouts and purchases", "buying")):
        rows = [[name, *(one.get(m) for m in names)] for name, one in found.get(key, {}).items()]
        parts += [f"<h3>{title}</h3>", table(["", "questions", "hit rate@20", "MRR@20"], rows)]
    for label, key in (("dynamic - static", "dynamic_minus_static_mrr"), ("ranker - dynamic", "ranker_minus_dynamic_mrr")):
        if key in found:
            parts.append(f"<p>MRR@20, {label}: {interval(found[key])}.</p>")
    return "\n".join(parts)


def ablation_markdown(found: Mapping[str, Any] | None) -> str:
    """The ablation as markdown: the verdict, and a table of the arms; nothing where it was not measured.

    Examples
    --------
    >>> arms = {"n_prefixes": 9, "static": {"recall_20": 0.5, "mrr_20": 0.25, "ndcg_20": 0.125}}
    >>> empty = {"n_prefixes": 0}
    >>> found = {"n_prefixes": 9, "verdict": "view: no difference"}
    >>> found |= {"overall": {"view": arms, "add_to_cart": empty, "purchase": empty}}
    >>> print(ablation_markdown(found).splitlines()[-1])
    | view | static | 0.5000 | 0.2500 | 0.1250 |  |
    """
    if not found or not found.get("n_prefixes"):
        return ""
    lines_ = [f"\nWhich weighting: {found['verdict']}\n", f"| target | arm | {' | '.join(MEASURES)} | NDCG@20 - static |"]
    lines_.append(f"|{' --- |' * (len(MEASURES) + 3)}")
    for kind, part in found["overall"].items():
        for name, one in part.items():
            if isinstance(one, Mapping):
                gain = interval(one.get("decides")) or ""
                lines_.append(f"| {kind} | {name} | {' | '.join(cell(one[m]) for m in MEASURES)} | {gain} |")
    return "\n".join(lines_)


def _ablation(found: Mapping[str, Any] | None) -> str:
    if not found or not found.get("n_prefixes"):
        return ""
    about = f"{found['n_prefixes']:,} prefixes of {found['n_users']:,} users; the interval of NDCG@20 against static decides."
    parts = [f'<h2>Which weighting</h2><p class="verdict">{escape(found["verdict"])}</p><p><small>{about}</small></p>']
    for kind in TARGETS:
        part = found["overall"][kind]
        if part["n_prefixes"] == 0:
            continue
        gains = [
            Bar(name, one["decides"]["mean"], one["decides"]["low"], one["decides"]["high"], name == found["winner"][kind])
            for name, one in part.items()
            if isinstance(one, Mapping) and "decides" in one
        ]
        parts += [f"<h3>Next {escape(kind)}</h3>", bars("NDCG@20 minus static", gains), _arms(part)]
    slices = {**found["by_intent"], **{f"{name} events": one for name, one in found["by_length"].items()}}
    slices |= {"cold items": found["cold_items"], "items not met before": found["new_items"]}
    parts += ["<h3>Parts</h3>", _slices(slices), "<h3>What is shown</h3>"]
    parts.append(
        table(
            ["arm", "coverage", "mean popularity", "Gini"],
            [[name, one["coverage"], one["mean_popularity"], one["gini"]] for name, one in found["lists"].items()],
        )
    )
    return "\n".join(parts)


def _arms(part: Mapping[str, Any]) -> str:
    arms = [(name, one) for name, one in part.items() if isinstance(one, Mapping)]
    rows = [
        [name, *(one[m] for m in MEASURES), *(interval(one.get("against_static", {}).get(m)) for m in MEASURES)]
        for name, one in arms
    ]
    return table(["arm", *MEASURES, *(f"{m} - static" for m in MEASURES)], rows)


def _slices(slices: Mapping[str, Mapping[str, Any]]) -> str:
    rows: list[Row] = []
    for name, kinds in slices.items():
        for kind, part in kinds.items():
            if part["n_prefixes"] == 0:
                continue
            for arm in ("intent_weighted", "learned", "served", "ranker"):
                if arm in part:
                    gain = part[arm]["against_static"]["ndcg_20"]
                    rows.append([name, kind, arm, part["n_prefixes"], part[arm]["ndcg_20"], interval(gain)])
    return table(["part", "target", "arm", "prefixes", "NDCG@20", "minus static"], rows)


def _intent(report: Mapping[str, Any], full: Mapping[str, Any]) -> str:
    candidate, baselines = report["candidate"]["intent"], report["baselines"]["intent"]
    methods = {"model": candidate, **baselines}
    methods |= {name: full[name] for name in ("logistic_on_counts", "without_behaviour") if name in full}
    names = ("macro_f1", "accuracy", "log_loss", "brier", "ece")
    rows = [[name, *(one["overall"].get(m) for m in names)] for name, one in methods.items()]
    parts = ["<h2>Intent</h2>", table(["", *names], rows), _early(methods), _calibrated("Intent", candidate.get("calibration"))]
    parts += [_pr_auc(methods), _confusion(candidate["overall"])]
    if full.get("behaviour_gain"):
        gain = full["behaviour_gain"]
        parts.append(f"<p>Log loss saved by dwell, scroll, zoom and cursor: {interval(gain)} ({escape(gain['verdict'])}).</p>")
    if "second_rule" in full:
        second = [[name, one["n_rows"], one.get("macro_f1"), one.get("accuracy")] for name, one in full["second_rule"].items()]
        parts += ["<h3>By the second, held-out labelling rule</h3>", table(["", "rows", "macro_f1", "accuracy"], second)]
    return "\n".join(parts)


def _early(methods: Mapping[str, Mapping[str, Any]]) -> str:
    curves = {}
    for name, one in methods.items():
        points = [(float(at.removeprefix("after_")), part.get("macro_f1")) for at, part in one["early_decision"].items()]
        curves[name] = [(x, float(y)) for x, y in points if y is not None]
    return lines("Macro-F1 after so many events", curves, "events seen")


def _calibrated(title: str, found: Sequence[Mapping[str, float]] | None) -> str:
    points = [(float(one["mean_p"]), float(one["hit_rate"])) for one in found or []]
    return lines(f"{title}: said and come true", {"model": points}, "probability said", diagonal=True) if points else ""


def _pr_auc(methods: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [[name, *(one["overall"].get("pr_auc", {}).get(i) for i in INTENTS)] for name, one in methods.items()]
    return "<h3>PR-AUC</h3>" + table(["", *INTENTS], rows)


def _confusion(overall: Mapping[str, Any]) -> str:
    if "confusion" not in overall:
        return ""
    rows = [[name, *counts] for name, counts in zip(INTENTS, overall["confusion"], strict=True)]
    return "<h3>Confusion</h3>" + table(["labelled as, predicted:", *INTENTS], rows)


def _next_action(report: Mapping[str, Any], full: Mapping[str, Any]) -> str:
    parts = ["<h2>Next action</h2>"]
    for horizon in HORIZONS_S:
        model, usual = report["candidate"]["next_action"][horizon], report["baselines"]["next_action"][horizon]
        more = full.get(horizon, {})
        methods = {"model": model, "most frequent": usual}
        methods |= {name: more[name] for name in ("markov_chain", "logistic_on_counts") if name in more}
        names = ("log_loss", "accuracy", "macro_f1")
        action = [[name, *(one["action"].get(m) for m in names)] for name, one in methods.items() if "action" in one]
        measures = ("roc_auc", "pr_auc", "log_loss", "brier", "ece")
        bought = [[name, *(one["purchase"].get(m) for m in measures)] for name, one in methods.items() if "purchase" in one]
        parts += [f"<h3>{escape(horizon.replace('_', ' '))}: {HORIZONS_S[horizon] // 60} minutes</h3>"]
        parts += [table(["next action", *names], action), table(["purchase", *measures], bought)]
        parts.append(_calibrated("Purchase", more.get("purchase_calibration")))
        gain = more.get("roc_auc_over_logistic")
        if gain and gain["mean"] is not None:
            parts.append(f"<p>ROC-AUC over logistic regression on counts: {interval(gain)} ({escape(gain['verdict'])}).</p>")
    return "\n".join(parts)
