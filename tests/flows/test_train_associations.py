"""The associations that the flow keeps know which events of the log are in them: the service follows the log from there."""

from pathlib import Path

import numpy as np
import pandas as pd

from flows import train
from infra.artifacts import read_parts
from models.associations import model as associations
from models.inference.examples import Log
from tests.builders import event_array
from tests.training import empty_rows, write_run


def test_the_store_knows_up_to_which_event_it_was_built(tmp_path: Path) -> None:
    log = Log(event_array(2, item=[0, 1]), np.array([True, False]), np.zeros(2, np.int64), np.zeros(2, np.int64), ["a", "b"])
    frame = pd.DataFrame({"occurred_at_us": [5, 9], "seq": [41, 42]})
    write_run(tmp_path, empty_rows(2), log, window=train._window(frame, 9))
    store = associations.from_parts(read_parts(Path(train.fit.fn(str(tmp_path), "associations", 0))))
    assert (store.built_to_seq, store.as_of_us, list(store.item_ids)) == (42, 9, ["a", "b"])
    assert store.ledger is not None
