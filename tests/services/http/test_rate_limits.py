"""Token buckets of keys and of peers."""

import pytest

from services.http.partners import Caller
from services.http.problems import Refusal
from services.http.rate_limits import PeerLimiter, RateLimiter

NOW_US = 1_795_255_200_000_000


def caller(key_id: int = 1, own: int | None = None, kind: str = "sk") -> Caller:
    return Caller("shop", frozenset(), kind, key_id, frozenset(), own)


def test_a_key_may_ask_as_often_as_its_quota_says_and_then_waits_for_the_next_token() -> None:
    limits = RateLimiter(60, workers=1)
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
    limits = RateLimiter(60, workers=4)
    assert dict(limits.take(caller(), NOW_US))[b"ratelimit"] == b'"key";r=56;t=4'
    for _ in range(14):
        limits.take(caller(), NOW_US - 60_000_000)
    with pytest.raises(Refusal):
        limits.take(caller(), NOW_US - 60_000_000)


def test_a_key_with_a_limit_of_its_own_has_that_and_a_new_limit_counts_at_once() -> None:
    limits = RateLimiter(60, workers=1)
    assert dict(limits.take(caller(own=5), NOW_US))[b"ratelimit-policy"] == b'"key";q=5;w=60'
    assert dict(limits.take(caller(own=7), NOW_US))[b"ratelimit"] == b'"key";r=6;t=9'


def test_a_browser_key_has_another_limit_unless_it_has_one_of_its_own() -> None:
    limits = RateLimiter(60, 1, of_browsers=7)
    policies = [dict(limits.take(caller(n, own, "pk"), NOW_US))[b"ratelimit-policy"] for n, own in ((1, None), (2, 9))]
    assert policies == [b'"key";q=7;w=60', b'"key";q=9;w=60']


def test_a_peer_has_a_bucket_of_its_own_for_each_browser_key() -> None:
    visitors = PeerLimiter(1, 1, whose="with a browser key")
    for key_id, peer in ((1, "192.0.2.1"), (2, "192.0.2.1"), (1, "192.0.2.2")):
        visitors.take(peer, NOW_US, key_id)
    with pytest.raises(Refusal, match="with a browser key"):
        visitors.take("::ffff:192.0.2.1", NOW_US, 1)


def test_a_peer_without_a_valid_key_has_to_wait_and_no_other_peer_with_it() -> None:
    peers = PeerLimiter(2, workers=1)
    for _ in range(2):
        peers.take("2001:db8:0:7::1", NOW_US)
    with pytest.raises(Refusal) as refusal:
        peers.take("2001:db8:0:7::2", NOW_US)  # of the same owner
    assert (refusal.value.problem.status, refusal.value.headers) == (429, ((b"retry-after", b"30"),))
    peers.take("192.0.2.7", NOW_US)
    peers.take("2001:db8:0:7::1", NOW_US + 30_000_001)


def test_as_many_peers_are_remembered_as_there_is_room_for_and_none_by_its_address() -> None:
    peers = PeerLimiter(1, workers=1, most=3)
    for n in range(10):
        peers.take(f"192.0.2.{n}", NOW_US)
    assert len(peers) == 3
    with pytest.raises(Refusal):
        peers.take("192.0.2.9", NOW_US)
    assert "192.0.2" not in repr(vars(peers))
