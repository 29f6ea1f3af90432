"""Training input: the one value that every model of a retraining is fitted on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from models.arrays import Flags
from models.inference.examples import Examples, Log
from models.statistics.split import Split


class Incumbent(NamedTuple):
    """The version of a model that serves while a new one is fitted."""

    version: int
    model: Any


@dataclass(frozen=True, eq=False)
class TrainingInput:
    """Training input of one model; a fit reads it and nothing else, so equal inputs give equal models.

    Attributes
    ----------
    examples
        Rows with features and labels, of all periods.
    log
        The whole log.
    split
        Periods of the examples. What is judged on the last one must not learn from it.
    last_seq, as_of_us
        Which events of the log are in it: up to this number, and to this instant if one was given.
    fitted
        Models of this retraining that the model's row of `models.model_specs.SPECS` needs, by name.
    incumbent
        What serves, learned without the last period; None where there is none, or the row does not ask for it.
    judged_from_us
        Where models are judged from. It lies later than the last period's beginning where there is no champion yet: between the
        two, what says probabilities is calibrated once more.
    seed
        Of all that is random.
    params
        Hyper-parameters, of the type of the row's; None: those of the row.
    spread
        A `map` over the workers of a cluster; None where there is none.
    """

    examples: Examples
    log: Log
    split: Split
    last_seq: int = 0
    as_of_us: int | None = None
    fitted: Mapping[str, Any] = field(default_factory=dict)
    incumbent: Incumbent | None = None
    judged_from_us: int = 0
    seed: int = 0
    params: Any = None
    spread: Any = None

    @property
    def unjudged(self) -> Flags:
        """Rows of the last period that judge nothing, shape (n_rows,)."""
        return self.split.test & (self.examples.started_us < self.judged_from_us)
