"""Hyper-parameters that a person sets by their names."""

import pytest

from models.model_specs import PARAMS
from models.params import by_model, changed, settable


def test_every_model_with_parameters_can_be_set_and_what_is_not_set_stays() -> None:
    for name, params in PARAMS.items():
        assert list(settable(params)), name
        assert changed(params, {}) == params
    new = by_model({"next_action.purchase.l2": "9"}, PARAMS)
    assert new["next_action"].purchase.l2 == 9.0
    assert new["next_action"].action == PARAMS["next_action"].action
    assert new["intent"] == PARAMS["intent"]


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("next_action.rate", "1", "there is no parameter rate; there are action.n_rounds"),
        ("next_action", "1", "expected MODEL.PARAMETER"),
        ("nothing.l2", "1", "expected MODEL.PARAMETER"),
        ("intent.n_leaves", "many", "n_leaves takes a value of type int"),
        ("intent.n_leaves", "1.5", "n_leaves takes a value of type int"),
    ],
)
def test_what_is_no_parameter_or_no_value_is_refused_with_what_there_is(path: str, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as told:
        by_model({path: text}, PARAMS)
    assert "many" not in str(told.value)
