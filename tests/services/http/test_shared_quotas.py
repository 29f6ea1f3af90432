"""Quotas over replicas: what all admit together, by a real Redis; and what each admits while it is away."""

import secrets
import time
from collections.abc import Iterator, Mapping

import pytest

from infra.quotas import Quota, QuotasAwayError, RedisQuotas
from services.http.partners import Caller
from services.http.problems import Refusal
from services.http.rate_limits import RateLimiter
from services.http.shared_quotas import SharedQuotas
from tests.redis_server import needs_redis, server

NOW_US = 1_795_255_200_000_000
N_REPLICAS = 3


def wall_us() -> int:
    return time.time_ns() // 1_000


class Server:
    """Server of quotas whose answers a test gives."""

    level, n_processes, is_away = 0.0, 1, False

    def exchange(self, used: Mapping[Quota, int]) -> tuple[dict[Quota, float], int]:
        if self.is_away:
            raise QuotasAwayError("TimeoutError")
        self.level -= sum(used.values())
        return dict.fromkeys(used, self.level), self.n_processes

    def close(self) -> None: ...


@pytest.fixture
def replicas() -> Iterator[list[SharedQuotas]]:
    url = server()
    assert url is not None
    found = [SharedQuotas(RedisQuotas(url, secrets.token_hex(8)), 1, wall_us) for _ in range(N_REPLICAS)]
    for one in found * 2:  # the second time each knows of all
        one.exchange()
    yield found
    for one in found:
        one.stop()


def hammered(replicas: list[SharedQuotas], quota: Quota, seconds: float, step: int) -> tuple[int, float]:
    """Ask some replicas as fast as possible, with an exchange of each after some requests; how many were admitted, how long."""
    n_admitted, began = 0, time.monotonic()
    while (took_s := time.monotonic() - began) < seconds:
        for one in replicas:
            for _ in range(step):
                found = one.take(quota, wall_us())
                n_admitted += found[0]
            one.exchange()
    return n_admitted, took_s


@needs_redis
@pytest.mark.parametrize(("n_asked", "step"), [(3, 7), (3, 400), (1, 90)])
def test_replicas_admit_a_quota_together_whoever_of_them_is_asked(
    replicas: list[SharedQuotas], n_asked: int, step: int
) -> None:
    quota = Quota(secrets.randbits(48), 600)
    n_admitted, took_s = hammered(replicas[:n_asked], quota, 3.0, step)
    may = quota.per_minute * (1 + took_s / 60)
    assert 0.95 * may <= n_admitted <= 1.05 * may


@needs_redis
def test_a_small_quota_is_not_lost_between_replicas(replicas: list[SharedQuotas]) -> None:
    quota = Quota(secrets.randbits(48), 10)
    n_admitted, took_s = hammered(replicas, quota, 1.0, 1)
    assert 10 <= n_admitted <= 10 + N_REPLICAS + took_s / 6


def test_what_was_admitted_too_much_at_once_is_owed() -> None:
    there, quota = Server(), Quota(1, 60)
    there.level = 60.0
    replicas = [SharedQuotas(there, 1, lambda: NOW_US) for _ in range(N_REPLICAS)]  # each thinks that it is alone
    for one in replicas:
        one.exchange()
        assert sum(one.take(quota, NOW_US)[0] for _ in range(60)) == 60
    for one in replicas:
        one.exchange()
    assert there.level == -120
    assert replicas[2].take(quota, NOW_US + 60_000_000) == (False, 0.0)  # a minute pays back half of it


@needs_redis
def test_at_most_a_minute_is_owed(replicas: list[SharedQuotas]) -> None:
    quotas, quota = RedisQuotas(str(server()), "p"), Quota(secrets.randbits(48), 60)
    levels, n_processes = quotas.exchange({quota: 500})
    quotas.close()
    assert (levels[quota], n_processes) == (-60, N_REPLICAS + 1)
    quotas = RedisQuotas(str(server()), "q")
    assert quotas.exchange({})[1] == N_REPLICAS + 1  # who has ended is not counted any more
    quotas.close()


def test_a_process_admits_half_its_share_of_what_was_left_at_the_last_exchange() -> None:
    there = Server()
    there.level, there.n_processes = 60.0, 4
    quotas, quota = SharedQuotas(there, 1, lambda: NOW_US), Quota(1, 60)
    assert quotas.exchange()
    assert [quotas.take(quota, NOW_US) for _ in range(9)] == [(True, 59.0 - n) for n in range(8)] + [(False, 52.0)]
    quotas.exchange()
    assert there.level == 52.0
    assert sum(quotas.take(quota, NOW_US)[0] for _ in range(60)) == 7  # an eighth of 52, a begun one counts


def test_a_server_that_is_away_leaves_each_its_share_of_what_was_left_and_hears_of_it_later() -> None:
    there = Server()
    there.level, there.n_processes = 60.0, 3
    shared, quota = SharedQuotas(there, 1, lambda: NOW_US), Quota(1, 60)
    shared.exchange()
    assert [shared.take(quota, NOW_US)[0] for _ in range(6)] == [True] * 6
    shared.exchange()
    there.is_away = True
    assert not shared.exchange()
    assert sum(shared.take(quota, NOW_US)[0] for _ in range(60)) == 18  # a third of 54
    assert not shared.exchange()
    assert sum(shared.take(quota, NOW_US + 30_000_000)[0] for _ in range(60)) == 10  # a third of a minute's half
    assert sum(shared.take(quota, NOW_US + 900_000_000)[0] for _ in range(60)) == 20
    there.is_away = False
    assert shared.exchange()
    assert there.level == 54 - 18 - 10 - 20


def test_before_the_server_was_heard_of_each_worker_of_a_replica_has_its_share() -> None:
    shared = SharedQuotas(Server(), 4, lambda: NOW_US)
    assert sum(shared.take(Quota(1, 60), NOW_US)[0] for _ in range(60)) == 15
    assert [shared.take(Quota(2, 2), NOW_US)[0] for _ in range(3)] == [True, False, False]


def test_a_refusal_says_when_to_come_again() -> None:
    there = Server()
    shared = SharedQuotas(there, 1, lambda: NOW_US)
    limits = RateLimiter(60, workers=1, shared=shared)
    caller = Caller("shop", frozenset(), "sk", 1, frozenset(), None)
    shared.exchange()
    limits.take(caller, NOW_US)
    there.level = 0.5
    shared.exchange()
    with pytest.raises(Refusal) as refused:
        limits.take(caller, NOW_US)
    assert dict(refused.value.headers) == {
        b"ratelimit-policy": b'"key";q=60;w=60', b"ratelimit": b'"key";r=0;t=60', b"retry-after": b"1",
    }  # fmt: skip


def test_a_redis_that_nobody_runs_is_said_to_be_away() -> None:
    quotas = RedisQuotas("redis://127.0.0.1:1/0", "p")
    with pytest.raises(QuotasAwayError):
        quotas.exchange({Quota(1, 60): 1})
    quotas.close()
