"""Replay: answers at moments of a log, in its codes, by whichever model is asked."""

from dataclasses import replace

import numpy as np
import pytest

from models.associations import model as associations
from models.associations.model import AssociationParams
from models.events.encode import NO_CODE, EventArray
from models.inference.examples import Log, Senders
from models.item_ranking import Asked
from models.model_set import ModelSet
from models.questions.later import Later
from models.ranker.model import Ranker, SourceParams, build_sources
from models.replay import replay
from models.schema import EVENT_TYPES, N_INTENTS
from models.weight_profile import STATIC
from models.weights import actions
from tests.builders import encoded

STARTS = np.array([True, False, False])
LATER = Later(
    Log(encoded(["item_view"] * 3, [1, 0, 3]), STARTS, np.zeros(3, np.int64), np.zeros(3, np.int64), ["b", "a", "c", "new"]),
    np.full((3, N_INTENTS), 1 / N_INTENTS),
)
FIRST, LAST = np.zeros(3, np.int64), np.arange(3)


def earlier(*items: int) -> tuple[EventArray, np.ndarray]:
    """Ten sessions that go through these items."""
    events = encoded(["item_view"] * 10 * len(items), items * 10)
    return events, np.arange(len(events)) % len(items) == 0


@pytest.fixture(scope="module")
def models() -> ModelSet:
    """Models that number the items otherwise than the log, know one that it does not have, and do not know its last."""
    ids, params = np.array(["a", "b", "c", "gone"], dtype=object), SourceParams(n_dims=2)
    sources = build_sources(*earlier(3, 0, 1, 2), ids, params)
    store = associations.build(*earlier(0, 1, 2, 3), ids, AssociationParams(min_llr=0.0))
    return ModelSet(associations=store, ranker=Ranker(sources, None, params, "too_few_questions"))


@pytest.mark.parametrize("ranker", [False, True], ids=["associations", "ranker"])
def test_answers_are_items_of_the_log_without_the_one_on_screen(models: ModelSet, ranker: bool) -> None:
    lists = replay(models, LATER, FIRST, LAST, Asked(limit=5, ranker=ranker)).answers(STATIC)
    assert lists.shape == (3, 5)
    # What the log does not have takes its place in the list; the item that no model knows leaves nothing out.
    assert [sorted(row[row != NO_CODE].tolist()) for row in lists] == [[0, 2], [1, 2], [0, 1, 2]]


def test_popularity_leaves_out_the_same(models: ModelSet) -> None:
    for asked in (Asked(limit=5), Asked(limit=5, ranker=True)):
        lists = replay(models, LATER, FIRST, LAST, asked).popular()
        assert [sorted(row[row != NO_CODE].tolist()) for row in lists] == [[0, 2], [1, 2], [0, 1, 2]]


def test_some_moments_are_answered_as_among_all(models: ModelSet) -> None:
    asks = replay(models, LATER, FIRST, LAST)
    np.testing.assert_array_equal(asks.answers(STATIC, rows=LAST != 1), asks.answers(STATIC)[[0, 2]])


def test_action_weights_move_the_dynamic_variant_only(models: ModelSet) -> None:
    mean = np.tile(STATIC.base, (actions.N_CONTEXTS, 1))
    mean[:, EVENT_TYPES.index("item_view")] = 0.0  # all that this log knows are views
    moved = replay(replace(models, actions=actions.ActionWeights(1, mean, mean, mean[0])), LATER, FIRST, LAST)
    plain = replay(models, LATER, FIRST, LAST)
    np.testing.assert_array_equal(moved.answers(STATIC, "static"), plain.answers(STATIC))
    assert (moved.answers(STATIC) == NO_CODE).all()


def test_a_model_that_is_missing_is_named(models: ModelSet) -> None:
    with pytest.raises(ValueError, match="with ranker"):
        replay(replace(models, ranker=None), LATER, FIRST, LAST, Asked(ranker=True))


@pytest.mark.parametrize("ranker", [False, True], ids=["associations", "ranker"])
def test_a_session_is_asked_in_the_models_of_its_senders_shop(models: ModelSet, ranker: bool) -> None:
    asked, ids = Asked(limit=5, ranker=ranker), np.array(["c", "b"], dtype=object)  # a shop that numbers them otherwise
    sources = build_sources(*earlier(0, 1), ids, SourceParams(n_dims=2))
    own = ModelSet(
        associations=associations.build(*earlier(0, 1), ids, AssociationParams(min_llr=0.0)),
        ranker=Ranker(sources, None, SourceParams(n_dims=2), "too_few_questions"),
    )
    assert models.associations is not None
    assert models.ranker is not None
    assert own.associations is not None
    assert own.ranker is not None
    apart = replace(
        models,
        associations=models.associations.beside({"shop": own.associations}),
        ranker=models.ranker.beside({"shop": own.ranker}),
    )
    for partner, side in (("shop", own), ("another", models)):
        sent = LATER._replace(log=LATER.log._replace(senders=Senders((partner,), np.zeros(3, np.int32))))
        asks, alone = replay(apart, sent, FIRST, LAST, asked), replay(side, LATER, FIRST, LAST, asked)
        assert asks.answers(STATIC).tolist() == alone.answers(STATIC).tolist()
        assert asks.popular().tolist() == alone.popular().tolist()
    assert (
        replay(own, LATER, FIRST, LAST, asked).popular().tolist()
        != replay(models, LATER, FIRST, LAST, asked).popular().tolist()
    )
