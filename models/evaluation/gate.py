"""The gate between a candidate and the visitors: rules that say pass, fail or not enough data, each with what it saw.

Every model is judged by itself, by the rules that are about it; only what was fitted to another model of the candidate waits
for that one (`Standing.needs`). A fail keeps the champion, and so does "not enough data". Where there is no champion yet, a
model is compared with its baseline instead, and serves unless it is surely worse or its probabilities are not safe: its
fallback, which has a name, answers then. What is measured on a sample fails only where the sample makes the loss certain, and
passes only where it makes certain that nothing worth mentioning was lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from scipy.special import ndtri

from models.evaluation.comparison import EARLY, OPTIONAL, OVERALL, Calibration, Comparison
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
        Sessions below which an interval over sessions says nothing; for a purchase AUC, sessions that bought. Without a
        champion also those below which nobody knows whether a probability is safe.
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
        Without a champion to compare with, being calibrated is what speaks for a candidate, and fewer sessions suffice.
    """
    least = params.min_groups if first else params.min_sessions
    return [_calibrated(one, params, least)._replace(decisive=first) for one in found]


def _calibrated(one: Calibration, params: GateParams, least: int) -> Rule:
    wanted = f"<= {params.max_ece:g}, certainly (between {one.low:.3f} and {one.high:.3f})"
    if one.n_sessions < least:
        return Rule(one.name, THIN, None, wanted, about=one.about, says=_few(one.name, one.n_sessions, least))
    verdict: Verdict = FAIL if one.low > params.max_ece else PASS if one.high <= params.max_ece else THIN
    says = f"{one.name}: what it promises is off by {one.ece:.3f}, {params.max_ece:g} is tolerated"
    return Rule(one.name, verdict, one.ece, wanted, about=one.about, says=says)


def _few(name: str, n_sessions: int, least: int) -> str:
    return f"{name}: {n_sessions} held-out sessions, {least} are needed"


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
    least = params.min_groups if one.part == OVERALL else params.min_sessions
    enough = one.n_rows >= params.min_rows and one.n_sessions >= least
    says = f"{_placed(one)}, {margin:.3f} is tolerated"
    if not enough or low != low:
        says = _few(one.name, one.n_sessions, least) if one.n_sessions < least else says
        verdict: Verdict = THIN
    elif low >= -margin:
        verdict = PASS
    else:
        verdict = FAIL if stretched(one.gain, n_comparisons, params.level).high < 0 else THIN
    return Rule(one.name, verdict, one.candidate, wanted, one.part == OVERALL, one.about, says)


def _placed(one: Comparison) -> str:
    """How much better or worse, in which measure and for whom.

    Examples
    --------
    >>> one = Comparison("intent log loss, device mobile", "slice", 0.65, 0.6, Interval(-0.046, -0.07, -0.02), 900, 400)
    >>> _placed(one)
    'intent log loss is worse by 0.046 for mobile visitors'
    """
    measure, where = one.name, ""
    if one.part != OVERALL:
        measure, _, place = one.name.rpartition(", ")
        who = place.removeprefix("device ").removesuffix(" users")
        where = (
            f" {place}" if one.part == EARLY else f" for {place}" if place.startswith("partner ") else f" for {who} visitors"
        )
    by = f"{abs(one.gain.mean):.3f}" if abs(one.gain.mean) >= 0.001 else "less than 0.001"
    return f"{measure} is {'worse' if one.gain.mean < 0 else 'better'} by {by}{where}"


def over_baseline(found: Sequence[Comparison], params: GateParams) -> list[Rule]:
    """Models beside their baselines: fails where one is surely worse, passes where surely better.

    What another model answers as well without it (`OPTIONAL`) fails as soon as it is worse on average.

    Examples
    --------
    >>> one = Comparison("intent log loss", OVERALL, 0.9, 0.8, Interval(-0.1, -0.15, -0.05), 900, 400)
    >>> over_baseline([one], DEFAULT_PARAMS)[0].says
    'intent log loss is worse by 0.100 than the baseline has it'
    """
    return [_over_baseline(one, params, len(found)) for one in found]


def _over_baseline(one: Comparison, params: GateParams, n_comparisons: int) -> Rule:
    name, low, high = f"{one.name}, over the baseline", one.gain.low, one.gain.high
    wanted = f"baseline {one.champion:.4f}, gain {low:+.4f} to {high:+.4f}, not surely below 0"
    if one.n_sessions < params.min_groups or low != low:
        says = _few(name, one.n_sessions, params.min_groups)
        return Rule(name, THIN, None, wanted, True, one.about, says)
    sure = stretched(one.gain, n_comparisons, params.level)
    fails = sure.high < 0 or (one.gain.mean < 0 and bool(OPTIONAL & set(one.about)))
    verdict: Verdict = FAIL if fails else PASS if low > 0 else THIN
    return Rule(name, verdict, one.candidate, wanted, True, one.about, f"{_placed(one)} than the baseline has it")


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
    return [
        at_most(f"{name} latency, ms of processor", value, limits[name])._replace(about=(name,)) for name, value in ours.items()
    ]


def complete(lineages: Mapping[str, Mapping[str, Any]]) -> Rule:
    """Every version must tell where it comes from: a version whose batch was not validated has no right to serve.

    Examples
    --------
    >>> complete({"intent": {"window": {}}}).observed
    6.0
    """
    missing = [(name, key) for name, told in lineages.items() for key in LINEAGE if told.get(key) is None]
    named = ", ".join(f"{name}.{key}" for name, key in missing[:3])
    rule = holds("lineage", len(missing), len(lineages), f"nothing missing, not {named}" if missing else "nothing missing")
    return rule._replace(about=tuple(dict.fromkeys(name for name, _ in missing)))


class Standing(NamedTuple):
    """Standing of a candidate's model before the rules are asked.

    Attributes
    ----------
    first
        Whether it has no champion yet.
    learned
        Whether it learned from any row.
    needs
        Models of the candidate that it was fitted to: it is promoted with them or not at all.
    says_p
        Whether it answers probabilities, which must be safe before the first one serves.
    is_counted
        Whether it is counted from the log: a newer count needs no evidence of its own.
    instead
        What answers where it is left out and has no champion.
    """

    first: bool
    learned: bool = True
    needs: tuple[str, ...] = ()
    says_p: bool = False
    is_counted: bool = False
    instead: str = "nothing"


def judge(rules: list[Rule], standings: Mapping[str, Standing], params: GateParams = DEFAULT_PARAMS) -> dict[str, Any]:
    """The verdict on every model of a candidate, JSON-able.

    Parameters
    ----------
    rules
        All answers.
    standings
        The candidate's models, in an order in which one follows those that it needs.

    Returns
    -------
    ``{"verdict", "promote", "first", "models": {name: {"verdict", "promote", "first", "why", "instead"}}, "rules": [{"name",
    "verdict", "observed", "wanted", "about", "says"}], "params"}``; at the top, ``promote`` is whether any model is,
    ``verdict`` a fail where one failed, and a pass where one passed and none failed.

    Examples
    --------
    >>> thin = Rule("size, MB", "not_enough_data", None, "<= 0.1")
    >>> told = judge([thin], {"weights": Standing(first=True), "ranker": Standing(first=False)})
    >>> [one["promote"] for one in told["models"].values()]
    [True, False]
    """
    models: dict[str, dict[str, Any]] = {}
    for name, standing in standings.items():
        own = [rule for rule in rules if not rule.about or name in rule.about]
        missing = [other for other in standing.needs if other in models and not models[other]["promote"]]
        models[name] = _judged(own, standing, missing, params)
    verdicts = {one["verdict"] for one in models.values()}
    return {
        "verdict": FAIL if FAIL in verdicts else PASS if PASS in verdicts else THIN,
        "promote": any(one["promote"] for one in models.values()),
        "first": all(standing.first for standing in standings.values()),
        "models": models,
        "rules": [{name: value for name, value in rule._asdict().items() if name != "decisive"} for rule in rules],
        "params": asdict(params),
    }


def _judged(own: list[Rule], standing: Standing, missing: list[str], params: GateParams) -> dict[str, Any]:
    failed = [_sentence(rule._asdict()) for rule in own if rule.verdict == FAIL]
    shown = any(rule.verdict == PASS and rule.decisive for rule in own)
    verdict = THIN if not standing.learned else FAIL if failed else PASS if shown else THIN
    is_harmless = standing.is_counted or (standing.first and (_is_safe(own) or not standing.says_p))
    unsure = verdict == THIN and not is_harmless
    why = ""
    if not standing.learned:
        why = "not enough data: there was nothing to learn from"
    elif failed:
        why = "; ".join(failed)
    elif unsure:
        few = next((rule.says for rule in own if rule.verdict == THIN and rule.decisive and rule.says), "")
        why = f"not enough data: {few or 'no held-out sessions speak for it'}"
    elif missing:
        why = f"it was fitted to {' and '.join(missing)}, which {'are' if len(missing) > 1 else 'is'} left out"
    instead = standing.instead if standing.first else "the champion stays"
    return {"verdict": verdict, "promote": not why, "first": standing.first, "why": why, "instead": instead}


def _is_safe(own: list[Rule]) -> bool:
    """Whether enough sessions were there to see an unsafe probability."""
    return any(rule.decisive and rule.observed is not None for rule in own)


def in_words(summary: Mapping[str, Any]) -> str:
    """One line about a verdict: what serves now, what does not, and why.

    Parameters
    ----------
    summary
        With ``verdict``, ``promoted`` (or ``promote``) and ``models``; with ``held_back`` and ``approval``, if known.

    Examples
    --------
    >>> intent = {"promote": False, "why": "size, MB is 30 (wanted: <= 10)", "instead": "the champion stays"}
    >>> in_words({"verdict": "fail", "promoted": False, "models": {"intent": intent}})
    'fail, nothing new serves; intent is left out, the champion stays: size, MB is 30 (wanted: <= 10)'
    """
    return "; ".join(in_lines(summary))


def in_lines(summary: Mapping[str, Any]) -> list[str]:
    """The same with a line for each model that is left out."""
    held, models = summary.get("held_back") or {}, summary["models"]
    serves = summary.get("promoted", summary.get("promote"))
    decided = f"{summary['verdict']}, {'promoted' if serves else 'nothing new serves'}"
    left = [
        f"{name} is left out, {one['instead']}: {one['why']}" for name, one in models.items() if one["why"] and name not in held
    ]
    if serves and left:
        decided += f" {', '.join(name for name, one in models.items() if one['promote'] and name not in held)}"
    on_trial = f"without {', '.join(held)} (on trial)" if held else ""
    return [", ".join(filter(None, (decided, on_trial, summary.get("approval")))), *left]


def _sentence(rule: Mapping[str, Any]) -> str:
    if rule["says"]:
        return str(rule["says"])
    observed = "unknown" if rule["observed"] is None else f"{rule['observed']:.4g}"
    return f"{rule['name']} is {observed} (wanted: {rule['wanted']})"
