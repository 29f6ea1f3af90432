"""The gate between a candidate and the visitors: rules that say pass, fail or not enough data, each with what it saw.

A fail keeps the champion. "Not enough data" keeps it too, unless there is none yet: the first models of a shop are better than
no models, and a thin log cannot speak against them. What is measured on a sample fails only where the sample makes the loss
certain, and passes only where it makes certain that nothing worth mentioning was lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from scipy.special import ndtri

from models.evaluation.comparison import OVERALL, Calibration, Comparison
from models.statistics.metrics import Interval
from models.statistics.verdict import FAIL as FAIL
from models.statistics.verdict import PASS as PASS
from models.statistics.verdict import THIN as THIN
from models.statistics.verdict import Rule as Rule
from models.statistics.verdict import Verdict

LINEAGE: Final = ("window", "periods", "examples", "validation", "code", "seed", "params")  # what every version must tell


@dataclass(frozen=True)
class GateParams:
    """Where the gate draws its lines; stored with the verdict.

    Attributes
    ----------
    min_rows
        Held-out rows below which a measure says nothing.
    min_groups
        Sessions below which an interval over sessions says nothing; for a purchase AUC, sessions that bought.
    min_sessions
        Held-out sessions below which a calibration error, a slice or a drift says nothing.
    tolerance
        By how much a measure may be worse than the champion's, as a share of it.
    slack
        The same, absolute: below it a difference is noise.
    level
        How sure a loss must be before any of the comparisons fails, all of them together.
    max_ece
        Highest calibration error of any probability.
    max_latency_ms, max_slowdown
        Highest processor time of one prediction of one model: by itself, and as a multiple of the champion's where it is no
        longer negligible (a tenth of the first).
    max_size_mb
        Largest artifact.
    max_drift_share
        Share of the input features that may have drifted before the held-out period speaks for another world.
    """

    min_rows: int = 300
    min_groups: int = 30
    min_sessions: int = 300
    tolerance: float = 0.05
    slack: float = 0.01
    level: float = 0.95
    max_ece: float = 0.15
    max_latency_ms: float = 2.0
    max_slowdown: float = 3.0
    max_size_mb: float = 4096.0
    max_drift_share: float = 0.5


DEFAULT_PARAMS: Final = GateParams()


def at_most(name: str, observed: float | None, limit: float) -> Rule:
    """A measure that must not exceed a limit, and is known exactly.

    Examples
    --------
    >>> at_most("size, MB", 3.0, 10.0).verdict, at_most("size, MB", 30.0, 10.0).verdict, at_most("size, MB", None, 1.0).verdict
    ('pass', 'fail', 'not_enough_data')
    """
    return Rule(name, THIN if observed is None else PASS if observed <= limit else FAIL, observed, f"<= {limit:g}")


def holds(name: str, n_bad: int, n_checked: int, wanted: str) -> Rule:
    """A property that every checked case must have: no data is thin, one bad case fails.

    Examples
    --------
    >>> holds("parity", 0, 50, "bit for bit").verdict, holds("parity", 1, 50, "bit for bit").verdict
    ('pass', 'fail')
    """
    return Rule(name, THIN if n_checked == 0 else FAIL if n_bad else PASS, float(n_bad), wanted)


def calibrated(found: Sequence[Calibration], params: GateParams, *, first: bool) -> list[Rule]:
    """Every served probability must mean what it says: fails where the error is certainly above the limit.

    Parameters
    ----------
    first
        Without a champion to compare with, being calibrated is what speaks for a candidate.
    """
    return [_calibrated(one, params)._replace(decisive=first) for one in found]


def _calibrated(one: Calibration, params: GateParams) -> Rule:
    wanted = f"<= {params.max_ece:g}, certainly (between {one.low:.3f} and {one.high:.3f})"
    if one.n_sessions < params.min_sessions:
        return Rule(one.name, THIN, one.ece, wanted)
    return Rule(one.name, FAIL if one.low > params.max_ece else PASS if one.high <= params.max_ece else THIN, one.ece, wanted)


def stretched(interval: Interval, n_comparisons: int, level: float) -> Interval:
    """A 95 % interval made wide enough that all of `n_comparisons` hold together (Bonferroni), by the normal distribution.

    Examples
    --------
    >>> wide = stretched(Interval(0.0, -1.0, 1.0), 25, 0.95)
    >>> round(wide.high, 2), stretched(wide, 1, 0.95) == wide
    (1.58, True)
    """
    factor = float(ndtri(1 - (1 - level) / (2 * max(n_comparisons, 1))) / ndtri(0.975))
    mean, low, high = interval
    return Interval(mean, mean - factor * (mean - low), mean + factor * (high - mean))


def not_worse(found: Sequence[Comparison], params: GateParams) -> list[Rule]:
    """No measure may fall behind the champion's: overall, early in a session, and in no slice.

    Passes where a loss beyond the tolerance can be ruled out, fails where a loss is certain, else there is not enough data.
    With many slices one of them always looks bad, so a loss is certain only at a level that holds for all of them together.
    """
    return [_not_worse(one, params, len(found)) for one in found]


def _not_worse(one: Comparison, params: GateParams, n_comparisons: int) -> Rule:
    margin = params.tolerance * abs(one.champion) + params.slack
    low, high = one.gain.low, one.gain.high
    wanted = f"champion {one.champion:.4f}, gain {low:+.4f} to {high:+.4f}, at least {-margin:+.4f}"
    enough = one.n_rows >= params.min_rows and one.n_sessions >= (
        params.min_groups if one.part == OVERALL else params.min_sessions
    )
    if not enough or low != low:
        verdict: Verdict = THIN
    elif low >= -margin:
        verdict = PASS
    else:
        verdict = FAIL if stretched(one.gain, n_comparisons, params.level).high < 0 else THIN
    return Rule(one.name, verdict, one.candidate, wanted, decisive=one.part == OVERALL)


def quick(ours: Mapping[str, float], theirs: Mapping[str, float], params: GateParams) -> list[Rule]:
    """Processor milliseconds of one prediction, by model, beside the champion's.

    Examples
    --------
    >>> quick({"intent": 0.9}, {"intent": 0.2}, DEFAULT_PARAMS)[0].verdict
    'fail'
    >>> quick({"intent": 0.09}, {"intent": 0.02}, DEFAULT_PARAMS)[0].verdict
    'pass'
    """
    limits = {
        name: min(params.max_latency_ms, max(params.max_slowdown * theirs[name], params.max_latency_ms / 10))
        if name in theirs
        else params.max_latency_ms
        for name in ours
    }
    return [at_most(f"{name} latency, ms of processor", value, limits[name]) for name, value in ours.items()]


def complete(lineages: Mapping[str, Mapping[str, Any]]) -> Rule:
    """Every version must tell where it comes from: a version whose batch was not validated has no right to serve.

    Examples
    --------
    >>> complete({"intent": {"window": {}}}).observed
    6.0
    """
    missing = [f"{name}.{key}" for name, told in lineages.items() for key in LINEAGE if told.get(key) is None]
    wanted = "nothing missing" if not missing else f"nothing missing, not {', '.join(missing[:3])}"
    return holds("lineage", len(missing), len(lineages), wanted)


def judge(rules: list[Rule], *, first: bool, params: GateParams = DEFAULT_PARAMS) -> dict[str, Any]:
    """The whole verdict, JSON-able: one fail is a fail; without any decisive pass there is not enough data.

    Parameters
    ----------
    rules
        All answers.
    first
        Whether there is no champion yet.

    Returns
    -------
    ``{"verdict", "promote", "first", "rules": [{"name", "verdict", "observed", "wanted"}], "params"}``

    Examples
    --------
    >>> thin = Rule("intent calibration", "not_enough_data", None, "<= 0.1", decisive=True)
    >>> judge([thin], first=True)["promote"], judge([thin], first=False)["promote"]
    (True, False)
    """
    failed = any(rule.verdict == FAIL for rule in rules)
    shown = any(rule.verdict == PASS and rule.decisive for rule in rules)
    verdict = FAIL if failed else PASS if shown else THIN
    return {
        "verdict": verdict,
        "promote": verdict == PASS or (first and verdict == THIN),
        "first": first,
        "rules": [{name: value for name, value in rule._asdict().items() if name != "decisive"} for rule in rules],
        "params": asdict(params),
    }


def in_words(summary: Mapping[str, Any]) -> str:
    """One line about a verdict: what was decided, and every rule that decided against it with what it saw and wanted.

    Parameters
    ----------
    summary
        With ``verdict``, ``promoted`` (or ``promote``) and ``rules``; with ``first`` or ``champions``, and ``held_back``, if
        known.

    Examples
    --------
    >>> rule = {"name": "size, MB", "verdict": "fail", "observed": 30.0, "wanted": "<= 10"}
    >>> in_words({"verdict": "fail", "promoted": False, "rules": [rule]})
    'fail, the champion stays: size, MB is 30 (wanted: <= 10)'
    """
    if summary.get("promoted", summary.get("promote")):
        held = ", ".join(summary.get("held_back") or ())
        parts = (summary["verdict"], "promoted", held and f"without {held} (on trial)", summary.get("approval"))
        return ", ".join(filter(None, parts))
    first = summary.get("first", not summary.get("champions", True))
    decided = f"{summary['verdict']}, {'nothing serves yet' if first else 'the champion stays'}"
    if summary.get("approval"):
        return f"{decided}: {summary['approval']}"
    failed = [rule for rule in summary["rules"] if rule["verdict"] == FAIL]
    if not failed:
        return f"{decided}: no measure had enough held-out data to speak for the candidate"
    return f"{decided}: {'; '.join(map(_failed, failed))}"


def _failed(rule: Mapping[str, Any]) -> str:
    observed = "unknown" if rule["observed"] is None else f"{rule['observed']:.4g}"
    return f"{rule['name']} is {observed} (wanted: {rule['wanted']})"
