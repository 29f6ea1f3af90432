"""The promotion report as one page that needs nothing else: what was decided, by which rules, on what evidence."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from models.bandit.off_policy import DR, IPS, SNIPS
from models.judging import comparison, gate
from models.page import document, table
from models.plots import Bar, bars, lines

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
        _off_policy(evidence.get("off_policy")),
        _shadow(evidence.get("shadow")),
        _lineage(evidence.get("lineage", {})),
    ]
    return document("Promotion", parts)


def _named(versions: Mapping[str, int]) -> str:
    return ", ".join(f"{name}:{version}" for name, version in versions.items()) or "none yet"


def _decision(report: Mapping[str, Any], evidence: Mapping[str, Any]) -> str:
    held = evidence.get("held_out", {})
    about = (
        f"candidate {_named(report['versions'])}; champion {_named(evidence.get('champion', {}))}; "
        f"{held.get('n_sessions', 0):,} held-out sessions, {held.get('n_rows', 0):,} prefixes; {evidence.get('judged_at', '')}"
    )
    return f'<h1>Promotion</h1><p class="verdict">{escape(gate.in_words(report))}</p><p><small>{escape(about)}</small></p>'


def _rules(rules: Sequence[Mapping[str, Any]]) -> str:
    order = {gate.FAIL: 0, gate.PASS: 1, gate.THIN: 2}
    rows = [
        [r["name"], MARKS[r["verdict"]], r["observed"], r["wanted"]] for r in sorted(rules, key=lambda r: order[r["verdict"]])
    ]
    return "<h2>Rules</h2>" + table(["rule", "verdict", "observed", "wanted"], rows)


def _gains(title: str, rows: Sequence[Mapping[str, Any]], part: str) -> str:
    """Dots with intervals: what the candidate gains, in each measure's own unit; right of the line it is better."""
    some = [row for row in rows if row["part"] == part]
    if not some:
        return ""
    drawn = [
        Bar(_short(r["name"]), g["mean"], g["low"], g["high"], g["low"] > 0 or g["high"] < 0) for r in some for g in [r["gain"]]
    ]
    told = [
        [r["name"], r["candidate"], r["champion"], f"{r['gain']['low']:+.4f} to {r['gain']['high']:+.4f}", r["n_sessions"]]
        for r in some
    ]
    head = ["measure", "candidate", "champion", "gain, 95 %", "sessions"]
    return f"<h2>{escape(title)}</h2>" + bars("gain of the candidate, 95 % interval", drawn) + table(head, told)


def _short(name: str) -> str:
    return name.replace("next action", "action").replace("log loss", "loss")


def _early(sides: Mapping[str, Mapping[str, float | None]]) -> str:
    curves = {
        side: [(float(after.removeprefix("after_")), float(value)) for after, value in points.items() if value is not None]
        for side, points in sides.items()
    }
    return lines("Intent macro-F1 after so many events", curves, "events seen") if any(curves.values()) else ""


def _calibration(rows: Sequence[Mapping[str, Any]]) -> str:
    told = [[r["name"], r["ece"], f"{r['low']:.4f} to {r['high']:.4f}", r["n_sessions"]] for r in rows]
    if not told:
        return ""
    return "<h2>Calibration</h2>" + table(["probability", "ECE", "95 %, without the noise of few rows", "sessions"], told)


def _speed(latency: Mapping[str, Mapping[str, float]], size_mb: Mapping[str, float]) -> str:
    ours, theirs = latency.get("candidate", {}), latency.get("champion", {})
    rows = [[name, ours.get(name), theirs.get(name), size] for name, size in size_mb.items()]
    head = ["model", "ms of processor a prediction", "the champion's", "size, MB"]
    return "<h2>Cost</h2>" + table(head, rows) if rows else ""


def _off_policy(found: Mapping[str, Any] | None) -> str:
    """What the candidate's weights would have earned, by the decisions that were dealt with known probabilities."""
    if not found:
        return ""
    says = f"{found['verdict']}: {found['reason']} ({found['n_decisions']:,} decisions, {found['n_visitors']:,} visitors)"
    sides = [side for side in ("candidate", "champion", "difference") if side in found]
    rows = [[name, *(_between(found[side][name]) for side in sides)] for name in ESTIMATORS]
    told = table(["reward a decision, 95 %", *sides], rows) if sides else ""
    return f"<h2>Logged decisions</h2><p>{escape(says)}</p>{told}"


def _between(interval: Mapping[str, float | None]) -> str | None:
    if None in interval.values():
        return None
    return f"{interval['mean']:+.4f} ({interval['low']:+.4f} to {interval['high']:+.4f})"


def _shadow(found: Mapping[str, Any] | None) -> str:
    """What the challenger would have answered to live requests, beside what was answered."""
    if not found:
        return "<h2>Shadow</h2><p>No live request has been scored by this candidate beside the champion.</p>"
    names = list(next(iter(found.values())))
    rows = [[kind, *(one[name] for name in names)] for kind, one in found.items()]
    return "<h2>Shadow</h2>" + table(["", *(name.replace("_", " ") for name in names)], rows)


def _lineage(sides: Mapping[str, Mapping[str, Any]]) -> str:
    """Where candidate and champion come from; only what differs."""
    rows = []
    for name, ours in sides.get("candidate", {}).items():
        theirs = flattened(sides.get("champion", {}).get(name, {}))
        mine = flattened(ours)
        rows += [
            [name, key, _when(key, mine.get(key)), _when(key, theirs.get(key))]
            for key in sorted({*mine, *theirs})
            if mine.get(key) != theirs.get(key)
        ]
    head = ["model", "", "candidate", "champion"]
    return "<h2>Lineage: what differs</h2>" + table(head, rows) if rows else ""


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


def _when(key: str, value: Any) -> Any:
    """Instants as a person reads them."""
    if key.endswith("_us") and isinstance(value, int):
        return datetime.fromtimestamp(value / 1e6, UTC).isoformat(timespec="seconds")
    return value if value is None or isinstance(value, int | float) else str(value)[:80]
