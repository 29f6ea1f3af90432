"""Touches that were kept are those that the log would give, and each is read once."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.store.engines import open_store
from infra.store.identities import join
from infra.store.protocol import Row
from infra.store.statements.events import FROM_SERVER, READ_TOUCHES, TOUCHES_BETWEEN, USERS_BETWEEN
from models.events.rules import to_row
from services.serving.touches import Touches
from tests.stores import numbers


class Log:
    """A log, and touches of whoever follows it."""

    def __init__(self, home: Path, most_events: int = 100, rows_kept: int = 1_000) -> None:
        self.home, self.store, self.n_rows = home, open_store(home), 0
        self.touches = Touches(self._read, most_events, rows_kept)
        self.passed, self._n = 0, 0

    def _read(self, statement: str, bindings: Sequence[Any]) -> list[Row]:
        found = self.store.read(statement, bindings)
        self.n_rows += len(found) if statement in (READ_TOUCHES, TOUCHES_BETWEEN) else 0
        return found

    def append(self, *users: str) -> None:
        rows = []
        for user in users:
            self._n += 1
            told = {"event_id": f"e{self._n}", "type": "search", "ts": f"2026-11-21T11:00:{self._n % 60:02}Z"}
            rows.append(("shop", *to_row(told, user), 1, *FROM_SERVER))
        self.store.append(rows)

    def new(self) -> tuple[dict[str, int], int]:
        until = numbers(self.home)[-1]
        return dict(self.store.read(USERS_BETWEEN, (self.passed, until))), until

    def follow(self, *users: str) -> list[Row]:
        """Append events, and take all touches of their users."""
        self.append(*users)
        n_new, until = self.new()
        after, self.passed = self.passed, until
        return self.touches.of(n_new, after, until, until)

    def in_log(self, users: Sequence[str] | Mapping[str, int]) -> list[Row]:
        return self.store.read(READ_TOUCHES, (msgspec.json.encode(list(users)).decode(), 2**62))


@pytest.mark.parametrize("rows_kept", [0, 7, 1_000])
def test_touches_are_those_of_the_log(tmp_path: Path, rows_kept: int) -> None:
    rng, log = random.Random(3), Log(tmp_path, rows_kept=rows_kept)
    for _ in range(20):
        users = rng.choices("abcdef", k=rng.randint(1, 4))
        assert log.follow(*users) == log.in_log(users)


def test_each_touch_is_read_once(tmp_path: Path) -> None:
    log = Log(tmp_path)
    for _ in range(10):
        log.follow("a", "b")
    assert log.n_rows == 20


def test_a_part_of_a_step_behind_the_stretch_is_not_read_twice(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append("a", "a", "a", "a")
    first, second, _, last = numbers(tmp_path)
    for stretch in ((0, first), (first, second)):
        assert log.touches.of({"a": 1}, *stretch, last) == log.in_log("a")
    assert log.n_rows == 4


def test_who_leaves_a_stretch_out_reads_all_again(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.follow("a")
    log.append("a")
    log.passed = numbers(tmp_path)[-1]  # somebody else has counted it
    assert log.follow("a") == log.in_log("a")


def test_what_a_joined_visitor_did_is_the_users(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.follow("u", "anonymous", "other")
    log.store.write(lambda transaction: join(transaction, "shop", "anonymous", "u", 1))
    assert log.follow("u") == log.in_log(["u"])
    assert len(log.in_log(["u"])) == 3


def test_a_visitor_becomes_a_machine_while_being_kept(tmp_path: Path) -> None:
    log = Log(tmp_path, most_events=3)
    assert len(log.follow("a", "a", "b")) == 3
    assert log.follow("a", "a", "b") == log.in_log("b")
    assert log.follow("a", "b") == log.in_log("b")
