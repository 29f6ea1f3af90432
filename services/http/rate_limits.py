"""Token-bucket rate limiters, per key and per peer, in the memory of each worker process.

Every worker admits its share of a key's limit, so a key that talks to one worker only gets that share; with a Redis, all the
workers of all replicas use up one limit (`services.http.shared_quotas`). The headers follow the IETF draft "RateLimit header
fields for HTTP" (draft-ietf-httpapi-ratelimit-headers, revision 10): ``RateLimit-Policy`` names the quota ``q`` of a window of
``w`` seconds, ``RateLimit`` what is left of it and in how many seconds it is whole again.

Requests without a valid key are counted by peer, so that trying keys costs time. A valid key is never held up by what others
behind the same peer try: else anybody in a shop's network, or behind its proxy, could lock it out. A browser key stands in
every page of a shop: it has a limit of its own, and a smaller one for each peer, so that no visitor uses up what all need.
"""

import secrets
from collections import OrderedDict
from hashlib import blake2b
from ipaddress import IPv6Address
from math import ceil
from typing import Final

from infra.quotas import WINDOW_S, Quota
from services.http.partners import Caller
from services.http.problems import Headers, Refusal
from services.http.shared_quotas import SharedQuotas

# Keys cannot be guessed, but looking them up costs time: a peer without a valid one may ask so much less often than a key.
WITHOUT_KEY: Final = 10
MAX_PEERS: Final = 4096  # remembered by each worker
MAX_VISITORS: Final = 65_536  # the same, of browser keys
BROWSER_LIMITS: Final = (6_000, 300)  # requests a minute of a browser key, and of one peer with it
_WINDOW_US: Final = WINDOW_S * 1_000_000


class _TokenBucket:
    """Token bucket of one key in this worker."""

    __slots__ = ("capacity", "per_us", "policy", "quota", "seen_at_us", "tokens", "workers")

    def __init__(self, quota: int, workers: int, now_us: int) -> None:
        self.quota, self.workers = quota, workers
        self.capacity = max(1.0, quota / workers)
        self.per_us = self.capacity / _WINDOW_US
        self.tokens, self.seen_at_us = self.capacity, now_us
        self.policy = (b"ratelimit-policy", b'"key";q=%d;w=%d' % (quota, WINDOW_S))

    def take(self, now_us: int) -> bool:
        """Fill up by the time that has gone by, and take a token if there is one."""
        elapsed_us = now_us - self.seen_at_us
        self.seen_at_us = now_us
        tokens = self.tokens
        if elapsed_us > 0:
            tokens = min(self.capacity, tokens + elapsed_us * self.per_us)
        admitted = tokens >= 1.0
        self.tokens = tokens - 1.0 if admitted else tokens
        return admitted

    @property
    def retry_after(self) -> tuple[bytes, bytes]:
        """The header that says when there will be a token."""
        return b"retry-after", b"%d" % max(1, ceil((1.0 - self.tokens) / self.per_us / 1e6))


class RateLimiter:
    """Token-bucket rate limiter, per key.

    Parameters
    ----------
    requests_per_minute
        Of a server key that has no limit of its own, in all workers together.
    workers
        Processes that share the limit.
    of_browsers
        The same of a browser key; as that of a server key, if not given.
    shared
        Where replicas share the limits.
    """

    def __init__(
        self, requests_per_minute: int, workers: int, of_browsers: int | None = None, shared: SharedQuotas | None = None
    ) -> None:
        self._shared = shared
        self._default = {"sk": requests_per_minute, "pk": of_browsers or requests_per_minute}
        self._workers = workers
        self._buckets: dict[int, _TokenBucket] = {}

    def take(self, caller: Caller, now_us: int) -> Headers:
        """Count a request; the headers of its answer.

        Raises
        ------
        Refusal
            429 with ``Retry-After`` when the key has used up what it may ask.
        """
        quota = caller.requests_per_minute or self._default[caller.kind]
        if self._shared is not None:
            return _told(quota, *self._shared.take(Quota(caller.key_id, quota), now_us))
        bucket = self._buckets.get(caller.key_id)
        if bucket is None or bucket.quota != quota:
            bucket = self._buckets[caller.key_id] = _TokenBucket(quota, self._workers, now_us)
        admitted = bucket.take(now_us)
        whole_s = ceil((bucket.capacity - bucket.tokens) / bucket.per_us / 1e6)
        left = b'"key";r=%d;t=%d' % (bucket.tokens * bucket.workers, whole_s)
        headers = (bucket.policy, (b"ratelimit", left))
        if not admitted:
            raise Refusal(429, f"this key may send {quota} requests a minute", headers=(*headers, bucket.retry_after))
        return headers


def _told(quota: int, admitted: bool, left: float) -> Headers:
    """Headers about a quota that replicas share, or the refusal."""
    per_s = quota / WINDOW_S
    policy, rest = b'"key";q=%d;w=%d' % (quota, WINDOW_S), b'"key";r=%d;t=%d' % (left, ceil((quota - left) / per_s))
    headers = ((b"ratelimit-policy", policy), (b"ratelimit", rest))
    if not admitted:
        wait = (b"retry-after", b"%d" % max(1, ceil((1.0 - left) / per_s)))
        raise Refusal(429, f"this key may send {quota} requests a minute", headers=(*headers, wait))
    return headers


class PeerLimiter:
    """Token-bucket rate limiter per peer: of requests without a valid key, or of those with one browser key.

    No address is kept, only a hash under a key that ends with the process.

    Parameters
    ----------
    per_minute
        Requests of one peer.
    workers
        Processes that share the limit.
    whose
        What is limited, as the refusal says it.
    """

    def __init__(self, per_minute: int, workers: int, most: int = MAX_PEERS, whose: str = "without a valid key") -> None:
        self._workers = workers
        self._whose = whose
        self._per_minute = per_minute
        self._most = most
        self._secret = secrets.token_bytes(16)
        self._buckets: OrderedDict[bytes, _TokenBucket] = OrderedDict()  # the peer that was seen last comes last

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, peer: str, now_us: int, key_id: int = 0) -> None:
        """Count a request.

        Parameters
        ----------
        peer
            Address that it came from; empty where there is none.
        key_id
            Of the key that it came with; each has buckets of its own.

        Raises
        ------
        Refusal
            429 with ``Retry-After`` when the peer has tried too often.
        """
        name = blake2b(f"{key_id} {network_of(peer)}".encode(), key=self._secret, digest_size=8).digest()
        bucket = self._buckets.pop(name, None) or _TokenBucket(self._per_minute, self._workers, now_us)
        self._buckets[name] = bucket
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        if not bucket.take(now_us):
            said = f"a peer may send {self._per_minute} requests a minute {self._whose}"
            raise Refusal(429, said, headers=(bucket.retry_after,))


def network_of(peer: str) -> str:
    """Network of a peer, as one owner holds it: IPv6 is given out in networks of 64 bits.

    Examples
    --------
    >>> network_of("192.0.2.7"), network_of("2001:db8:0:7:a:b:c:d"), network_of("2001:db8:0:7::1")
    ('192.0.2.7', '20010db800000007', '20010db800000007')
    >>> network_of("::ffff:192.0.2.7")
    '192.0.2.7'
    """
    try:
        address = IPv6Address(peer)
    except ValueError:
        return peer
    return address.packed[:8].hex() if address.ipv4_mapped is None else str(address.ipv4_mapped)
