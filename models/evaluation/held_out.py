"""Held-out period: rows and sessions that no model of a training has learned from, and what is asked about them."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from models.inference.examples import Examples, Log
from models.questions import next_item
from models.questions.next_item import Questions
from models.statistics.split import Split

N_QUESTIONS: Final = 2_000  # prefixes whose next item is asked for


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out period, on which both sides of a comparison are judged.

    Attributes
    ----------
    examples, rows
        Examples of all periods, and which of them are held out, shape (n_rows,).
    log
        In which the examples were chosen.
    later
        Its sessions of the held-out period.
    asked
        Questions about the next item of these.
    from_us
        Instant at which the period begins.
    """

    examples: Examples
    rows: npt.NDArray[np.bool_]
    log: Log
    later: Log
    asked: Questions
    from_us: int


def held_out(
    examples: Examples, log: Log, split: Split, rng: np.random.Generator, at_most: int = N_QUESTIONS, from_us: int = 0
) -> HeldOut:
    """The last period of a split; the questions are drawn where there are more than `at_most`.

    Parameters
    ----------
    from_us
        Where the first models of a shop were calibrated on the beginning of that period, the instant at which that ended.
    """
    from_us = max(from_us, split.test_from_us)
    later = log.since(from_us)
    rows = split.test & (examples.started_us >= from_us)
    return HeldOut(examples, rows, log, later, next_item.questions(later.events, later.starts, at_most, rng), from_us)
