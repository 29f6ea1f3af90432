"""Redis for tests: the server of ``ATTUNE_TEST_REDIS_URL``, else of the usual port; without one, tests are left out."""

import os
from functools import cache

import pytest
from redis import Redis
from redis.exceptions import RedisError


@cache
def server() -> str | None:
    """Address of a server that may be written; None where there is none."""
    url = os.environ.get("ATTUNE_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
    try:
        with Redis.from_url(url, socket_connect_timeout=2) as client:
            client.ping()
    except (RedisError, OSError):
        return None
    return url


needs_redis = pytest.mark.skipif(server() is None, reason="no Redis: ATTUNE_TEST_REDIS_URL names a server")
