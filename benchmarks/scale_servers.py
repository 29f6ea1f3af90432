"""Servers of `benchmarks.scale` behind forwarders: PostgreSQL, Redis and an object store."""

import os
import secrets
import shutil
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psycopg

from benchmarks.forwarder import Forwarder
from benchmarks.object_storage import Storage
from benchmarks.own_servers import Pair, Redis, folder_of_programs

SERVER: Final = os.environ.get("ATTUNE_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
REDIS: Final = os.environ.get("ATTUNE_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")


class Servers:
    """PostgreSQL, Redis and an object store, behind forwarders; what the benchmark itself looks through is never cut.

    Parameters
    ----------
    folder
        Of the servers' files, where they are the benchmark's own.
    listen
        Address at which the processes reach them.
    """

    def __init__(self, folder: Path, listen: str) -> None:
        self.objects = Storage()
        objects = Forwarder("127.0.0.1", urlsplit(self.objects.environment["AWS_ENDPOINT_URL"]).port or 0, listen)
        self.environment = self.objects.environment | {"AWS_ENDPOINT_URL": f"http://{listen}:{objects.port}"}
        programs = folder_of_programs() if shutil.which("redis-server") else None
        self.pair = Pair(folder / "pair", programs) if programs else None
        self.own_redis = Redis() if programs else None
        self._server = self.pair.url if self.pair else SERVER
        redis_url = f"redis://127.0.0.1:{self.own_redis.port}/0" if self.own_redis else REDIS
        base, redis = urlsplit(self._server), urlsplit(redis_url)
        at = base.hostname or "127.0.0.1", base.port or 5432
        self.postgres, self.past = Forwarder(*at, listen), Forwarder(*at)
        self.redis = Forwarder(redis.hostname or "127.0.0.1", redis.port or 6379, listen)
        self.name = f"attune_scale_{secrets.token_hex(4)}"
        who = base.netloc.rpartition("@")[0]
        self.past_url = f"postgresql://{who}@127.0.0.1:{self.past.port}/{self.name}"
        self.url = f"postgresql://{who}@{listen}:{self.postgres.port}/{self.name}"
        self.redis_url = f"redis://{listen}:{self.redis.port}{redis.path}"

    def fail_over(self, pair: Pair) -> None:
        """Kill the primary, promote the standby, and lead everybody there."""
        pair.fail_over()
        for forwarder in (self.postgres, self.past):
            forwarder.lead_to(pair.port)

    def close(self) -> None:
        """End the servers, or drop the database on those that were given."""
        self.objects.close()
        if self.pair and self.own_redis:
            self.pair.close()
            self.own_redis.close()
            return
        with closing(psycopg.connect(self._server, autocommit=True)) as server:
            server.execute(psycopg.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(psycopg.sql.Identifier(self.name)))
