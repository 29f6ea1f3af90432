"""Examples of a log as if nobody and nothing in it had been known before: what benchmarks of inference start from."""

import numpy as np
import pandas as pd

from models.inference import examples
from models.inference.examples import ExampleParams, Examples, Log
from models.schema import ITEM_FEATURES, LAST_EVENT_AT, USER_FEATURES


def examples_of(events: pd.DataFrame, params: ExampleParams) -> tuple[Log, Examples]:
    """The log of some events, and its examples without features of users and items.

    Parameters
    ----------
    events
        Event frame, such as a simulated shop's.
    """
    log, frame = examples.read_log(events)
    rows = examples.choose(log, frame, params)
    nothing = pd.DataFrame(np.nan, index=range(len(rows)), columns=[*USER_FEATURES, LAST_EVENT_AT, *ITEM_FEATURES])
    return log, examples.assemble(log, rows, nothing)
