"""The client against a service that stumbles, and its webhook check against the scheme's own library."""

import gzip
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from services.client import Attune, AttuneError, EventVerdict, WebhookError, verify_webhook
from services.delivery import webhooks
from services.event_queue import EventQueue
from tests.services.receivers import OLD_SECRET, SECRET
from tests.waiting import PATIENCE_S, until

Answer = tuple[int, dict[str, str], bytes]

GOOD: Answer = (200, {}, b'{"fine":true}')


class Asked(NamedTuple):
    """What the service was sent."""

    line: str
    headers: dict[str, str]
    body: Any


class Stumbling:
    """A service that answers from a list: (status, headers, body), None to hang up; events are accepted when it is empty."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: list[Any] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(f"{self.command} {self.path}", headers, json.loads(body) if body else None)
                service.asked.append(asked)
                answer = service.answers.pop(0) if service.answers else service.accept(asked)
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, content = answer
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = respond  # noqa: N815 - the library's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def accept(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        events = asked.body.get("events", []) if asked.body else []
        verdicts = [{"event_id": e["event_id"], "status": "rejected" if e.get("bad") else "accepted"} for e in events]
        rejected = sum(v["status"] == "rejected" for v in verdicts)
        counts = {"accepted": len(events) - rejected, "duplicate": 0, "rejected": rejected, "results": verdicts}
        return 202, {}, json.dumps(counts).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def service() -> Iterator[Stumbling]:
    made = Stumbling()
    yield made
    made.close()


def test_a_call_is_made_again_as_the_same_call_until_it_succeeds(service: Stumbling) -> None:
    waits: list[float] = []
    service.answers = [(503, {"Retry-After": "7"}, b"{}"), None, (429, {}, b"not ours"), GOOD]
    answer = Attune("sk_x", service.url, wait=waits.append).put_items([{"item_id": "a"}])
    assert answer == {"fine": True}
    assert len({asked.headers["idempotency-key"] for asked in service.asked}) == 1
    assert [asked.body for asked in service.asked] == [{"items": [{"item_id": "a"}]}] * 4
    assert 7 <= waits[0] <= 7.1
    assert 0 <= waits[1] <= 0.2
    assert 0 <= waits[2] <= 0.4


def test_another_call_has_another_key_and_a_read_has_none(service: Stumbling) -> None:
    client = Attune("sk_x", service.url)
    service.answers = [GOOD, GOOD, (200, {}, b'{"subscriptions":[]}')]
    client.put_offers([])
    client.put_offers([])
    assert client.subscriptions() == []
    first, second, read = (asked.headers.get("idempotency-key") for asked in service.asked)
    assert first != second
    assert read is None


def test_what_is_refused_is_not_tried_again(service: Stumbling) -> None:
    problem = b'{"title":"t","status":422,"detail":"must be text","pointer":"/user_id"}'
    service.answers = [(422, {"X-Request-Id": "r-1"}, problem)]
    with pytest.raises(AttuneError) as caught:
        Attune("sk_x", service.url).recommendations("u-1")
    assert (caught.value.status, caught.value.pointer, caught.value.request_id) == (422, "/user_id", "r-1")
    assert len(service.asked) == 1


def test_a_service_that_stays_away_is_an_error_without_the_key(service: Stumbling) -> None:
    waits: list[float] = []
    with pytest.raises(AttuneError) as caught:
        Attune("sk_canary", "http://127.0.0.1:9", attempts=3, wait=waits.append).intent({"events": []})
    assert caught.value.status == 0
    assert len(waits) == 2
    assert "canary" not in str(caught.value)


def test_the_last_refusal_is_told_when_patience_ends(service: Stumbling) -> None:
    service.answers = [(503, {}, b'{"detail":"not now"}')] * 2
    with pytest.raises(AttuneError, match="503: not now"):
        Attune("sk_x", service.url, attempts=2, wait=lambda _: None).erase_user("u/1")
    assert service.asked[0].line == "DELETE /v1/users/u%2F1"


def test_events_get_what_they_need_and_go_in_batches(service: Stumbling) -> None:
    events = [{"user_id": "u", "type": "item_view", "item_id": f"i-{n}"} for n in range(1_100)]
    answer = Attune("sk_x", service.url).send_events(events)
    assert (answer["accepted"], len(answer["results"])) == (1_100, 1_100)
    assert [len(asked.body["events"]) for asked in service.asked] == [500, 500, 100]
    assert len({e["event_id"] for asked in service.asked for e in asked.body["events"]}) == 1_100
    assert all(datetime.fromisoformat(e["ts"]).tzinfo for asked in service.asked for e in asked.body["events"])
    assert service.asked[0].headers["content-encoding"] == "gzip"
    assert "event_id" not in events[0]


def test_many_pages_need_no_recursion(service: Stumbling) -> None:
    more: list[Answer] = [(200, {}, b'{"deliveries":[{"n":1}],"next":7}')] * 1_499
    service.answers = [*more, (200, {}, b'{"deliveries":[{"n":2}],"next":null}')]
    assert len(list(Attune("sk_x", service.url).deliveries("s", limit=1))) == 1_500


def test_deliveries_come_page_after_page(service: Stumbling) -> None:
    service.answers = [(200, {}, b'{"deliveries":[{"n":1}],"next":7}'), (200, {}, b'{"deliveries":[{"n":2}],"next":null}')]
    assert list(Attune("sk_x", service.url).deliveries("s", limit=1)) == [{"n": 1}, {"n": 2}]
    assert service.asked[1].line == "GET /v1/subscriptions/s/deliveries?limit=1&before=7"


def test_a_replay_takes_instants(service: Stumbling) -> None:
    Attune("sk_x", service.url).replay("s", start=datetime(2026, 1, 1, tzinfo=UTC), until=datetime(2026, 1, 2, tzinfo=UTC))
    assert service.asked[0].body == {"from": "2026-01-01T00:00:00+00:00", "until": "2026-01-02T00:00:00+00:00"}


def test_threads_share_a_client(service: Stumbling) -> None:
    client = Attune("sk_x", service.url)
    threads = [threading.Thread(target=client.send_events, args=([{"user_id": "u"}],)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(service.asked) == 8


def test_a_queue_sends_everything_in_batches_and_tells_what_is_not_taken(service: Stumbling) -> None:
    rejected: list[EventVerdict] = []
    with EventQueue(Attune("sk_x", service.url), size=40, seconds=PATIENCE_S, on_rejected=rejected.append) as queue:
        ids = [queue.add(user_id="u", type="search", bad=n == 3) for n in range(100)]
    assert [e["event_id"] for asked in service.asked for e in asked.body["events"]] == ids
    assert [verdict["event_id"] for verdict in rejected] == [ids[3]]
    assert len(service.asked) <= 4


def test_a_queue_sends_what_has_waited_long_enough(service: Stumbling) -> None:
    with EventQueue(Attune("sk_x", service.url), size=1_000, seconds=0.02) as queue:
        queue.add(user_id="u", type="search")
        until(lambda: service.asked)
        assert len(service.asked) == 1


def test_a_queue_outlasts_an_outage(service: Stumbling) -> None:
    service.answers = [(503, {}, b"{}")] * 3
    client = Attune("sk_x", service.url, attempts=1)
    queue = EventQueue(client, size=1, seconds=0.02)
    ids = [queue.add(user_id="u", type="search") for _ in range(2)]
    until(lambda: len(service.asked) >= 4)
    queue.close()
    sent = [e["event_id"] for asked in service.asked[3:] for e in asked.body["events"]]
    assert sorted(sent) == sorted(ids)


def test_batches_are_no_larger_than_the_service_takes(service: Stumbling) -> None:
    events = [{"user_id": "u", "type": "search", "note": "ä" * 500} for _ in range(600)]
    answer = Attune("sk_x", service.url).send_events(events)
    assert answer["accepted"] == 600
    assert len(service.asked) == 2
    assert all(len(json.dumps(asked.body)) <= 1024 * 1024 for asked in service.asked)


@pytest.mark.parametrize(("note", "error"), [({1, 2}, TypeError), ("x" * 1_000_000, ValueError)])
def test_what_can_never_be_sent_does_not_enter_a_queue(service: Stumbling, note: object, error: type[Exception]) -> None:
    with EventQueue(Attune("sk_x", service.url), seconds=0.01) as queue:
        with pytest.raises(error):
            queue.add(user_id="u", note=note)
        queue.add(user_id="u", type="search")
    assert len(service.asked) == 1


def test_a_queue_says_when_it_is_full_and_when_it_could_not_send() -> None:
    queue = EventQueue(Attune("sk_x", "http://127.0.0.1:9", attempts=1), size=10, seconds=PATIENCE_S, limit=2)
    queue.add(user_id="u")
    queue.add(user_id="u")
    with pytest.raises(OverflowError):
        queue.add(user_id="u")
    with pytest.raises(AttuneError):
        queue.close()


# ---- webhooks ----------------------------------------------------------------------------------------------------------

BODY = b'{"type":"signal.test","timestamp":"x","data":{}}'


def signed(at_s: int, secrets: tuple[str, ...] = (SECRET,), body: bytes = BODY) -> dict[str, str]:
    return webhooks.headers("msg_1", at_s * 1_000_000, body, secrets)


def test_a_message_is_taken_by_either_secret_and_in_any_case_of_headers() -> None:
    headers = {name.upper(): value for name, value in signed(1_000, (SECRET, OLD_SECRET)).items()}
    for secret in (SECRET, OLD_SECRET, (OLD_SECRET, SECRET)):
        assert verify_webhook(secret, headers, BODY, 1_000)["type"] == "signal.test"


@pytest.mark.parametrize(
    ("change", "secret", "now_s"),
    [
        ({}, OLD_SECRET, 1_000),
        ({}, "whsec_***", 1_000),
        ({}, SECRET, 1_301),
        ({}, SECRET, 699),
        ({"webhook-id": "msg_2"}, SECRET, 1_000),
        ({"webhook-id": ""}, SECRET, 1_000),
        ({"webhook-timestamp": "1001"}, SECRET, 1_000),
        ({"webhook-timestamp": "１０００"}, SECRET, 1_000),
        ({"webhook-timestamp": "-1"}, SECRET, 1_000),
        ({"webhook-signature": ""}, SECRET, 1_000),
        ({"webhook-signature": "v1,"}, SECRET, 1_000),
        ({"webhook-signature": "v1,ü v2,x v1a,y"}, SECRET, 1_000),
    ],
)
def test_what_cannot_be_trusted_is_refused(change: dict[str, str], secret: str, now_s: int) -> None:
    with pytest.raises(WebhookError):
        verify_webhook(secret, {**signed(1_000), **change}, BODY, now_s)


def test_a_body_that_was_touched_is_refused() -> None:
    with pytest.raises(WebhookError):
        verify_webhook(SECRET, signed(1_000), BODY + b" ", 1_000)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4), st.from_regex(r"[a-z0-9_]{1,20}", fullmatch=True))
def test_what_the_reference_library_signs_is_taken_and_ours_is_taken_by_it(data: dict[str, str], message: str) -> None:
    body = json.dumps({"type": "signal.test", "data": data})
    now = datetime.now(UTC).replace(microsecond=0)
    theirs = Webhook(SECRET).sign(message, now, body)
    headers = {"webhook-id": message, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": theirs}
    assert dict(verify_webhook(SECRET, headers, body.encode())["data"]) == data
    ours = webhooks.headers(message, int(now.timestamp()) * 1_000_000, body.encode(), (SECRET,))
    assert Webhook(SECRET).verify(body, ours)["data"] == data
