"""The promotion report as one page that needs nothing else: what was decided, by which rules, on what evidence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from flows.reports.page import about, cell, document, folded, section, table, verdict
from flows.reports.plots import Bar, bars, lines
from models.bandit.off_policy import DR, IPS, SNIPS
from models.evaluation import comparison, gate

ESTIMATORS = (IPS, SNIPS, DR)
MARKS = {gate.PASS: "pass", gate.FAIL: "FAIL", gate.THIN: "not enough data"}


def page(report: Mapping[str, Any]) -> str:
    """The whole page.

    Parameters
    ----------
    report
        As `flows.promote` writes it: ``versions``, the verdict of `gate.judge`, and its ``evidence``; what is missing is left
        out.
    """
    evidence = report.get("evidence", {})
    parts = [
        _decision(report, evidence),
        _rules(report["rules"]),
        _gains("Against the champion", evidence.get("comparisons", []), comparison.OVERALL),
        _gains("Early in a session", evidence.get("comparisons", []), comparison.EARLY),
        _early(evidence.get("early_decision", {})),
        _gains("Slices", evidence.get("comparisons", []), comparison.SLICE),
        _calibration(evidence.get("calibrations", [])),
        _speed(evidence.get("latency_ms", {}), evidence.get("size_mb", {})),
        off_policy(evidence.get("off_policy")),
        off_policy(evidence.get("profiles"), "Logged decisions: the profiles on trial"),
        shadow(evidence.get("shadow")),
        _lineage(evidence.get("lineage", {})),
    ]
    return document("Promotion", parts)


def _named(versions: Mapping[str, int]) -> str:
    return ", ".join(f"{name} v{version}" for name, version in versions.items()) or "none yet"


def _decision(report: Mapping[str, Any], evidence: Mapping[str, Any]) -> str:
    held = evidence.get("held_out", {})
    told = [f"candidate: {_named(report['versions'])}", f"champion: {_named(evidence.get('champion', {}))}"]
    counts = Counter(rule["verdict"] for rule in report["rules"])
    told.append("rules: " + (", ".join(f"{counts[v]} {mark}" for v, mark in MARKS.items() if counts[v]) or "none"))
    when = (
        f"{held.get('n_sessions', 0):,} held-out sessions, {held.get('n_rows', 0):,} prefixes; {evidence.get('judged_at', '')}"
    )
    return "<h1>Promotion</h1>" + verdict(gate.in_words(report), told) + about(when)


def _rules(rules: Sequence[Mapping[str, Any]]) -> str:
    order = {gate.FAIL: 0, gate.PASS: 1, gate.THIN: 2}
    rows = [
        [r["name"], MARKS[r["verdict"]], None if r["observed"] is None else f"{r['observed']:.4g}", r["wanted"]]
        for r in sorted(rules, key=lambda r: order[r["verdict"]])
    ]
    return section("Rules", table(["rule", "verdict", "observed", "wanted"], rows))


def _gains(title: str, rows: Sequence[Mapping[str, Any]], part: str) -> str:
    """Dots with intervals: what the candidate gains, in each measure's own unit; right of the line it is better."""
    drawn = [
        Bar(
            r["name"],
            g["mean"],
            g["low"],
            g["high"],
            g["low"] > 0 or g["high"] < 0,
            (r["candidate"], r["champion"], r["n_sessions"]),
        )
        for r in rows
        if r["part"] == part
        for g in [r["gain"]]
    ]
    if not drawn:
        return ""
    head = ["candidate", "champion", "sessions"]
    return section(title, bars("Gain of the candidate, 95 %: right of the line it is better", drawn, head, "gain", "measure"))


def _early(sides: Mapping[str, Mapping[str, float | None]]) -> str:
    curves = {
        side: [(float(after.removeprefix("after_")), float(value)) for after, value in points.items() if value is not None]
        for side, points in sides.items()
    }
    if not any(curves.values()):
        return ""
    return lines("Early decision: how soon is intent known?", curves, "events of the session seen", y_label="macro-F1")


def _calibration(rows: Sequence[Mapping[str, Any]]) -> str:
    told = [[r["name"], r["ece"], f"{r['low']:.3f} to {r['high']:.3f}", r["n_sessions"]] for r in rows]
    head = ["probability", "ECE", "95 %, without the noise of few rows", "sessions"]
    return section("Calibration", table(head, told))


def _speed(latency: Mapping[str, Mapping[str, float]], size_mb: Mapping[str, float]) -> str:
    ours, theirs = latency.get("candidate", {}), latency.get("champion", {})
    rows = [[name, ours.get(name), theirs.get(name), size] for name, size in size_mb.items()]
    return section("Cost", table(["model", "processor time a prediction, ms", "the champion's, ms", "size, MB"], rows))


def off_policy(found: Mapping[str, Any] | None, title: str = "Logged decisions") -> str:
    """What the candidate would have earned, by the decisions that were dealt with known probabilities."""
    if not found:
        return ""
    says = f"{found['verdict']}: {found['reason']} ({found['n_decisions']:,} decisions, {found['n_visitors']:,} visitors)"
    sides = [side for side in ("candidate", "champion", "difference") if side in found]
    rows = [[name.upper(), *(_between(found[side][name]) for side in sides)] for name in ESTIMATORS]
    told = table(["reward a decision, 95 %", *sides], rows) if sides else ""
    return section(title, f"<p>{escape(says)}</p>", told)


def _between(interval: Mapping[str, float | None]) -> str | None:
    if None in interval.values():
        return None
    return f"{interval['mean']:+.4f} ({interval['low']:+.4f} to {interval['high']:+.4f})"


def shadow(found: Mapping[str, Any] | None) -> str:
    """What the challenger would have answered to live requests, beside what was answered."""
    if not found:
        return section("Shadow", "<p>No live request has been scored by this candidate beside the champion.</p>")
    names = list(next(iter(found.values())))
    rows = [[kind, *(one[name] for name in names)] for kind, one in found.items()]
    return section("Shadow", table(["", *(name.replace("_", " ") for name in names)], rows))


def _lineage(sides: Mapping[str, Mapping[str, Any]]) -> str:
    """Where candidate and champion come from: only what differs, and once what is the same for several models."""
    models: dict[tuple[str, str, str], list[str]] = {}
    for name, ours in sides.get("candidate", {}).items():
        theirs, mine = flattened(sides.get("champion", {}).get(name, {})), flattened(ours)
        for key in sorted({*mine, *theirs}):
            if mine.get(key) != theirs.get(key):
                models.setdefault((key, _read(key, mine.get(key)), _read(key, theirs.get(key))), []).append(name)
    rows = [[key, ours, theirs, ", ".join(names)] for (key, ours, theirs), names in models.items()]
    if not rows:
        return ""
    told = table(["", "candidate", "champion", "models"], rows)
    return section(
        "Lineage: what differs", told if any(sides.get("champion", {}).values()) else folded("No champion yet", told)
    )


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of JSON as one level, names joined by dots; lists as they are.

    Examples
    --------
    >>> flattened({"window": {"n_events": 5}, "seed": 0})
    {'window.n_events': 5, 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _read(key: str, value: Any) -> str:
    """A value as a person reads it: instants as such, long ones cut."""
    if key.endswith("_us") and isinstance(value, int):
        return datetime.fromtimestamp(value / 1e6, UTC).isoformat(timespec="seconds")
    return cell(value)[:80] if value is None or isinstance(value, int | float) else str(value)[:80]
