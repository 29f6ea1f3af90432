"""Who has too many events is counted once, then what is passed is added: the answer is always that of a new count."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.store.engines import open_store
from infra.store.identities import join
from infra.store.lengths import Lengths
from infra.store.protocol import Row
from infra.store.statements.events import COUNT_OF_USERS, FROM_SERVER, USERS_BETWEEN
from models.events.rules import to_row
from tests.stores import numbers


class Log:
    """A log, and lengths of whoever follows it."""

    def __init__(self, home: Path, most: int, users_kept: int = 10) -> None:
        self.home, self.store, self.counted = home, open_store(home), 0
        self.lengths = Lengths(self._read, COUNT_OF_USERS, most, users_kept)
        self.passed, self._n = 0, 0

    def _read(self, statement: str, bindings: Sequence[Any]) -> list[Row]:
        self.counted += statement == COUNT_OF_USERS
        return self.store.read(statement, bindings)

    def append(self, *users: str) -> None:
        rows = []
        for user in users:
            self._n += 1
            told = {"event_id": f"e{self._n}", "type": "search", "ts": "2026-11-21T11:00:00Z"}
            rows.append(("shop", *to_row(told, user), 1, *FROM_SERVER))
        self.store.append(rows)

    def follow(self, *users: str) -> set[str]:
        """Append events, pass what is new, and ask who of its users has too many."""
        self.append(*users)
        until = numbers(self.home)[-1]
        n_new: dict[str, int] = dict(self.store.read(USERS_BETWEEN, (self.passed, until)))
        self.lengths.passed(self.passed, until, n_new)
        self.passed = until
        return self.lengths.busy(n_new)


def test_a_visitor_is_counted_at_first_sight_and_when_the_bound_is_too_high(tmp_path: Path) -> None:
    log = Log(tmp_path, most=3)
    assert [log.follow("a"), log.follow("a"), log.follow("a")] == [set(), set(), set()]
    assert log.counted == 1
    assert log.follow("a", "b") == {"a"}
    assert log.counted == 2


def test_an_event_that_was_counted_before_it_was_passed_makes_nobody_busy(tmp_path: Path) -> None:
    log = Log(tmp_path, most=3)
    log.append("a", "a", "a")
    assert log.lengths.busy({"a"}) == set()
    assert log.follow() == set()


@pytest.mark.parametrize("users_kept", [1, 10])
def test_every_answer_is_that_of_a_new_count(tmp_path: Path, users_kept: int) -> None:
    rng, log = random.Random(7), Log(tmp_path, most=4, users_kept=users_kept)
    for _ in range(25):
        users = rng.choices("abcdefgh", k=rng.randint(1, 4))
        counted: dict[str, int] = dict(log.store.read("SELECT user_id, count(*) FROM events GROUP BY user_id"))
        now = {user: counted.get(user, 0) + users.count(user) for user in users}
        assert log.follow(*users) == {user for user, n in now.items() if n > 4}


def test_who_leaves_a_stretch_out_remembers_nothing(tmp_path: Path) -> None:
    log = Log(tmp_path, most=3)
    log.follow("a")
    log.append("a", "a")
    log.passed = numbers(tmp_path)[-1]  # somebody else has followed it
    assert log.follow("a") == {"a"}


def test_a_user_with_whom_a_visitor_was_joined_is_counted_again(tmp_path: Path) -> None:
    log = Log(tmp_path, most=3)
    log.follow("u", "u", "anonymous", "anonymous")
    log.store.write(lambda transaction: join(transaction, "shop", "anonymous", "u", 1))
    assert log.lengths.busy({"u"}) == {"u"}
