"""Verdict: what a rule says of what was measured, in one vocabulary for gate, trials, experiments, drift and estimates."""

from typing import Final, Literal, NamedTuple

Verdict = Literal["pass", "fail", "not_enough_data"]
PASS: Final = "pass"
FAIL: Final = "fail"
THIN: Final = "not_enough_data"
NOT_ENOUGH: Final = "not enough data"  # the same of what is no rule: readouts of experiments, estimates, drift


class Rule(NamedTuple):
    """One rule's answer.

    Attributes
    ----------
    observed, wanted
        What was seen, None where there was nothing to see, and what would have been right, in words.
    decisive
        Whether a pass is evidence for the model, and not only the absence of a defect.
    about
        Models that it judges; none named: all of them.
    says
        The same as a sentence, where `observed` and `wanted` do not tell a person enough.
    """

    name: str
    verdict: Verdict
    observed: float | None
    wanted: str
    decisive: bool = False
    about: tuple[str, ...] = ()
    says: str = ""
