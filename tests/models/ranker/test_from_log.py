"""The ranker of a typed log: sessions in the order of time, and questions about the next other item."""

from dataclasses import replace

import numpy as np
import pytest

from models.artifact import Parts
from models.associations.goal_query import Past
from models.inference.examples import Log
from models.questions import next_item
from models.ranker import from_log as log_ranker
from models.ranker import model as ranker
from models.ranker import training as ranker_training
from models.schema import N_EVENT_TYPES
from tests.builders import event_array, in_a_row

ANY = np.ones(N_EVENT_TYPES)


def log_of(sessions: list[tuple[int, list[int]]], n_items: int = 30, users: list[int] | None = None) -> Log:
    """A log of (start in seconds, items), in the order given; without `users`, each session is another visitor's."""
    rows, starts = in_a_row([[(start, k, item) for k, item in enumerate(items)] for start, items in sessions])
    at_us = [(start + k) * 1_000_000 for start, k, _ in rows]
    events = event_array(len(rows), occurred_at_us=at_us, item=[item for *_, item in rows])
    started = np.array([start * 1_000_000 for start, *_ in rows], dtype=np.int64)
    session = np.cumsum(starts) - 1
    user = session if users is None else np.array(users, np.int64)[session]
    return Log(events, starts, started, user, [f"i{k}" for k in range(n_items)])


def returns(n_sessions: int) -> Log:
    """After two items, visitors return to the first, and touch each item twice; a log that is not in the order of time."""
    rng = np.random.default_rng(3)
    pairs = [rng.choice(30, 2, replace=False).tolist() for _ in range(n_sessions)]
    return log_of([(1000 * k, [a, a, b, b, a]) for k, (a, b) in enumerate(pairs)][::-1])


@pytest.fixture(scope="module")
def model() -> ranker.Ranker:
    return log_ranker.fit(returns(400))


def test_sessions_come_in_the_order_of_time_and_stay_whole() -> None:
    events, starts, users = log_ranker.by_time(log_of([(50, [1, 2]), (9, [3]), (9, [4, 5])]))
    assert events["item"].tolist() == [3, 4, 5, 1, 2]
    assert starts.tolist() == [True, True, False, True, False]
    assert users.tolist() == [1, 2, 2, 0, 0]


def test_only_moves_to_another_item_are_asked() -> None:
    events = log_of([(0, [7, 7, 8, -1, 8, 7])]).events
    first, wanted = ranker_training.questions(events, np.array([0, 6]), 0, moves_only=True)
    assert wanted.tolist() == [2, 5]
    assert first.tolist() == [0, 0]


def test_it_learns_where_visitors_go_next(model: ranker.Ranker) -> None:
    later = log_of([(10**6 + 100 * k, [k, k, k + 1, k]) for k in range(0, 28, 2)])
    asked = next_item.questions(later.events, later.starts, 1000, np.random.default_rng(0))
    back = next_item.Questions(*(rows[1::2] for rows in asked))
    found = [model.rank(codes, np.zeros(3, np.int8), ANY, 20, codes[-1:]).items[0] for codes in sessions_of(later, back)]
    assert np.mean(found == later.events["item"][back.target]) > 0.9


def sessions_of(log: Log, asked: next_item.Questions) -> list[np.ndarray]:
    return [log.events["item"][a : b + 1] for a, b in zip(asked.first, asked.last, strict=True)]


def test_it_learns_that_visitors_come_back_to_what_they_met_in_earlier_sessions() -> None:
    rng = np.random.default_rng(5)
    met = [rng.choice(100, 3, replace=False).tolist() for _ in range(600)]
    visits = [(1000 * k, [a, b]) for k, (a, b, _) in enumerate(met)]
    again = [(10**6 + 1000 * k, [c, a]) for k, (a, _, c) in enumerate(met)]
    model = log_ranker.fit(log_of(visits + again, 100, [*range(600)] * 2))
    asked = np.array([50]), np.zeros(1, np.int8), ANY, 2, np.array([50])
    past = Past(np.array([8, 7]), np.zeros(2, np.int8), np.array([9e5, 9e5 + 1]))
    assert set(model.rank(*asked, past=past).items.tolist()) == {7, 8}
    assert not {7, 8} & set(model.rank(*asked).items.tolist())
    assert not {7, 8} & set(replace(model, params=replace(model.params, history=False)).rank(*asked, past=past).items.tolist())


@pytest.mark.parametrize("log", [log_of([(0, [1, 2])]), log_of([(0, [-1])], n_items=0), log_of([(0, [])], n_items=0)])
def test_a_log_too_small_gives_the_named_fallback(log: Log) -> None:
    model = log_ranker.fit(log)
    assert model.fallback == "too_few_questions"
    assert len(model.rank(np.array([1]), np.zeros(1, np.int8), ANY, 5).items) <= len(log.item_ids)


def test_a_stored_ranker_answers_alike_and_can_be_fitted_again_from_its_parameters(model: ranker.Ranker) -> None:
    parts = ranker.to_parts(model)
    asked = np.array([3, 4]), np.zeros(2, np.int8), ANY, 10
    stored = ranker.from_parts(Parts(parts.meta, parts.arrays))
    assert stored.rank(*asked).items.tolist() == model.rank(*asked).items.tolist()
    again = log_ranker.fit(returns(400), parts.meta["params"])
    assert again.rank(*asked).items.tolist() == model.rank(*asked).items.tolist()
