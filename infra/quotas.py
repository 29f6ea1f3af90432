"""Quotas that many processes use up together, as token buckets on a Redis: what is left, and how many processes there are.

The clock is Redis's own. No name of a key is there, only its number.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple

WINDOW_S: Final = 60  # in which a bucket is full again
PATIENCE_S: Final = 1.0
THERE_S: Final = 3.0  # a process that has not told of itself for so long is not counted
_PREFIX: Final = "attune:quota:"
_PROCESSES: Final = "attune:quotas"
# Fill the bucket by the time that has gone by, and take what was used; at worst, a whole window is owed. (used, quota, window)
_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local quota = tonumber(ARGV[2])
local kept = redis.call('HMGET', KEYS[1], 'level', 'at')
local level = quota
if kept[1] then
    level = math.min(quota, tonumber(kept[1]) + math.max(0, now - tonumber(kept[2])) * quota / tonumber(ARGV[3]))
end
level = math.max(-quota, level - tonumber(ARGV[1]))
redis.call('HSET', KEYS[1], 'level', string.format('%.6f', level), 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], 3 * tonumber(ARGV[3]))
return string.format('%.6f', level)
"""
# Count a process and those that told of themselves lately. (name, seconds)
_COUNT: Final = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
return redis.call('ZCARD', KEYS[1])
"""


class Quota(NamedTuple):
    """Quota of a key: the key's number, and requests a minute."""

    key_id: int
    per_minute: int


class QuotasAwayError(Exception):
    """The Redis does not answer."""


class RedisQuotas:
    """Token buckets on a Redis.

    Parameters
    ----------
    url
        ``redis://…`` or ``rediss://…``.
    process
        Name of this process, that of no other one.
    """

    def __init__(self, url: str, process: str) -> None:
        from redis import Redis
        from redis.exceptions import RedisError

        self._client = Redis.from_url(url, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S, retry=None)
        self._failures = (RedisError, OSError)
        self._process = process

    def exchange(self, used: Mapping[Quota, int]) -> tuple[dict[Quota, float], int]:
        """Tell what was used here; what is left of each for all, and how many processes there are.

        Parameters
        ----------
        used
            Requests admitted since the last time.

        Raises
        ------
        QuotasAwayError
            If it does not answer in time.
        """
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.eval(_COUNT, 1, _PROCESSES, self._process, THERE_S)
                for quota, n in used.items():
                    pipeline.eval(_TAKE, 1, f"{_PREFIX}{quota.key_id}:{quota.per_minute}", n, quota.per_minute, WINDOW_S)
                n_processes, *levels = pipeline.execute()
        except self._failures as error:
            raise QuotasAwayError(type(error).__name__) from error
        return dict(zip(used, map(float, levels), strict=True)), int(n_processes)

    def close(self) -> None:
        """Be counted no more, and let go of the connections."""
        with suppress(*self._failures):
            self._client.zrem(_PROCESSES, self._process)
        self._client.close()
