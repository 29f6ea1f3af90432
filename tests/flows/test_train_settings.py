"""A hyper-parameter that a person sets reaches the fit, and stands in what the version tells of itself."""

from pathlib import Path

import numpy as np

from flows import train
from models.inference import intent
from models.inference.examples import Log
from models.model_specs import SPEC
from tests.builders import event_array
from tests.training import empty_rows, write_run


def test_settings_of_a_run_reach_the_fit_of_their_model_only(tmp_path: Path) -> None:
    log = Log(event_array(2), np.array([True, True]), np.zeros(2, np.int64), np.zeros(2, np.int64), ["a", "b"])
    write_run(tmp_path, empty_rows(4), log, settings={"intent.l2": "6.5"})
    told = intent.fit_on(train.training_input(tmp_path, SPEC["intent"], 0)).meta["params"]
    assert told["l2"] == 6.5
    assert told["n_leaves"] == intent.DEFAULT_PARAMS.n_leaves
    assert train.training_input(tmp_path, SPEC["next_action"], 0).params == SPEC["next_action"].params
