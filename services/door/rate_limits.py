"""How often a key may ask: a token bucket per key, in the memory of each worker.

Every worker admits its share of a key's limit, so a key that talks to one worker only gets that share. The headers follow the
IETF draft "RateLimit header fields for HTTP" (draft-ietf-httpapi-ratelimit-headers, revision 10): ``RateLimit-Policy`` names
the quota ``q`` of a window of ``w`` seconds, ``RateLimit`` what is left of it and in how many seconds it is whole again.
"""

from math import ceil
from typing import Final

from services.door.partners import Caller
from services.door.problems import Headers, Refusal

WINDOW_S: Final = 60
_WINDOW_US: Final = WINDOW_S * 1_000_000


class _Bucket:
    """Tokens of one key in this worker."""

    __slots__ = ("capacity", "per_us", "policy", "quota", "seen_at_us", "tokens", "workers")

    def __init__(self, quota: int, workers: int, now_us: int) -> None:
        self.quota, self.workers = quota, workers
        self.capacity = max(1.0, quota / workers)
        self.per_us = self.capacity / _WINDOW_US
        self.tokens, self.seen_at_us = self.capacity, now_us
        self.policy = (b"ratelimit-policy", b'"key";q=%d;w=%d' % (quota, WINDOW_S))


class RateLimits:
    """Counts the requests of every key.

    Parameters
    ----------
    requests_per_minute
        Of a key that has no limit of its own, in all workers together.
    workers
        Processes that share the limit.
    """

    def __init__(self, requests_per_minute: int, workers: int) -> None:
        self._default = requests_per_minute
        self._workers = workers
        self._buckets: dict[int, _Bucket] = {}

    def take(self, caller: Caller, now_us: int) -> Headers:
        """Count a request; the headers of its answer.

        Raises
        ------
        Refusal
            429 with ``Retry-After`` when the key has used up what it may ask.
        """
        quota = caller.requests_per_minute or self._default
        bucket = self._buckets.get(caller.key_id)
        if bucket is None or bucket.quota != quota:
            bucket = self._buckets[caller.key_id] = _Bucket(quota, self._workers, now_us)
        elapsed_us = now_us - bucket.seen_at_us
        bucket.seen_at_us = now_us
        tokens = bucket.tokens
        if elapsed_us > 0:
            tokens = min(bucket.capacity, tokens + elapsed_us * bucket.per_us)
        admitted = tokens >= 1.0
        bucket.tokens = tokens = tokens - 1.0 if admitted else tokens
        whole_s = ceil((bucket.capacity - tokens) / bucket.per_us / 1e6)
        left = b'"key";r=%d;t=%d' % (tokens * bucket.workers, whole_s)
        headers = (bucket.policy, (b"ratelimit", left))
        if not admitted:
            wait_s = max(1, ceil((1.0 - tokens) / bucket.per_us / 1e6))
            retry = (b"retry-after", b"%d" % wait_s)
            raise Refusal(429, f"this key may send {quota} requests a minute", headers=(*headers, retry))
        return headers
