"""How often a key may ask."""

import pytest

from services.door.partners import Caller
from services.door.problems import Refusal
from services.door.rate_limits import RateLimits

NOW_US = 1_795_255_200_000_000


def caller(key_id: int = 1, own: int | None = None) -> Caller:
    return Caller("shop", frozenset(), "sk", key_id, frozenset(), own)


def test_a_key_may_ask_as_often_as_its_quota_says_and_then_waits_for_the_next_token() -> None:
    limits = RateLimits(60, workers=1)
    headers = [dict(limits.take(caller(), NOW_US)) for _ in range(60)]
    assert headers[0] == {b"ratelimit-policy": b'"key";q=60;w=60', b"ratelimit": b'"key";r=59;t=1'}
    assert headers[59][b"ratelimit"] == b'"key";r=0;t=60'
    with pytest.raises(Refusal) as refusal:
        limits.take(caller(), NOW_US + 400_000)
    assert refusal.value.problem.status == 429
    assert dict(refusal.value.headers)[b"retry-after"] == b"1"
    limits.take(caller(2), NOW_US)  # another key has a bucket of its own
    limits.take(caller(), NOW_US + 1_000_001)
    assert dict(limits.take(caller(), NOW_US + 120_000_000))[b"ratelimit"] == b'"key";r=59;t=1'


def test_workers_share_a_quota_and_a_clock_that_goes_back_gives_nothing() -> None:
    limits = RateLimits(60, workers=4)
    assert dict(limits.take(caller(), NOW_US))[b"ratelimit"] == b'"key";r=56;t=4'
    for _ in range(14):
        limits.take(caller(), NOW_US - 60_000_000)
    with pytest.raises(Refusal):
        limits.take(caller(), NOW_US - 60_000_000)


def test_a_key_with_a_limit_of_its_own_has_that_and_a_new_limit_counts_at_once() -> None:
    limits = RateLimits(60, workers=1)
    assert dict(limits.take(caller(own=5), NOW_US))[b"ratelimit-policy"] == b'"key";q=5;w=60'
    assert dict(limits.take(caller(own=7), NOW_US))[b"ratelimit"] == b'"key";r=6;t=9'
