"""A local object store for tests and benchmarks, which can be told to be away."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

BUCKET = "attune"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
Respond = Callable[[str, list[tuple[str, str]]], object]


class Storage:
    """Object storage on a port of this machine; while `is_away`, every request is answered by 503.

    Attributes
    ----------
    environment
        What a process is given to use it.
    asked
        Number of requests.
    """

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self.is_away, self.asked = False, 0
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        address = f"http://127.0.0.1:{self._server.server_port}"
        self.environment = {"ATTUNE_OBJECTS_URL": f"s3://{BUCKET}/shop", "AWS_ENDPOINT_URL": address, **KEYS}
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        self.client: Any = boto3.client("s3", endpoint_url=address, **keys)
        self.client.create_bucket(Bucket=BUCKET)

    def _answer(self, environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        self.asked += 1
        if self.is_away:
            respond("503 Slow Down", [("Content-Length", "0")])
            return []
        answer: Iterable[bytes] = self._app(environ, respond)
        return answer

    def names(self) -> list[str]:
        """Names of all objects."""
        return [one["Key"] for one in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def storage() -> Iterator[Storage]:
    """A new store with an empty bucket."""
    made = Storage()
    try:
        yield made
    finally:
        made.close()
