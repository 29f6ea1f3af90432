"""Every user is of one part, whatever their number, and parts are about as large."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.user_shards import N_SHARDS, Part, shard_of


@given(st.text(), st.sampled_from([1, 2, 4, 8, 64]))
def test_a_user_is_of_exactly_one_part(user: str, n_parts: int) -> None:
    assert [Part(number, n_parts).has(user) for number in range(n_parts)].count(True) == 1


@given(st.text())
def test_parts_are_cut_between_shards(user: str) -> None:
    assert Part(shard_of(user), N_SHARDS).has(user)
    assert Part(shard_of(user) // 16, 4).has(user)


@pytest.mark.parametrize("n_parts", [4, 64])
def test_parts_are_about_as_large(n_parts: int) -> None:
    n_users = 300 * n_parts
    found = Counter(shard_of(f"p-{n}") * n_parts // N_SHARDS for n in range(n_users))
    assert len(found) == n_parts
    assert max(found.values()) < 1.3 * n_users / n_parts
