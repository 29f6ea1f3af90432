"""Canaries: words that stand for a user, a query, a key, an address; sent everywhere, to be found nowhere."""

import gzip
import json
import socket
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from tests.waiting import PATIENCE_S

USER: Final = "canaryuser5e1f0a7c"
QUERY: Final = "canaryquery81b3d2e4"
KEY: Final = "sk_canarykey0c9d7f3a6b"
IP: Final = "203.0.113.177"
OWN_IP: Final = "127.0.0.77"  # of the client that sends the canaries, where the system lets it choose
WORDS: Final = tuple(word.encode() for word in (USER, QUERY, KEY, IP, OWN_IP))
OVERSIZED: Final = 5_000_000


def session(item_id: str, ts: str) -> dict[str, Any]:
    search = {"type": "search", "query": QUERY, "search_term": QUERY, "query_length": 19, "ts": ts, "ip": IP, "user": USER}
    return {"context": {"device": "mobile", "ip": IP}, "events": [search, {"type": "item_view", "item_id": item_id, "ts": ts}]}


def events(item_id: str, ts: str) -> list[Any]:
    """Good events of the user, foreign ones, and such as are rejected."""
    who = {"user_id": USER, "session_id": "s-canary", "ts": ts, "context": {"ip": IP, "device": "mobile"}, "query": QUERY}
    good = [
        who | {"type": kind, "item_id": item_id}
        for kind in ("item_view", "item_engagement", "add_to_cart", "search", "purchase")
    ]
    ga4: dict[str, Any] = {"name": "search", "params": {"search_term": QUERY}, "client_id": USER, "timestamp_micros": 1}
    segment: dict[str, Any] = {
        "type": "track",
        "event": "Products Searched",
        "userId": USER,
        "properties": {"query": QUERY},
        "context": {"ip": IP},
    }
    wrong: list[dict[str, Any]] = [
        *({"type": kind} for kind in (None, 7, "dance", ["search"])),
        *({"user_id": user} for user in (USER * 30, [USER], {"id": USER}, None)),
        *({"ts": ts} for ts in (USER, None, "2999-01-01T00:00:00Z", "2001-01-01T00:00:00Z")),
        *({"price": price} for price in (USER, -1, {USER: USER})),
        {"event_id": [USER]},
        {"session_id": {USER: USER}},
        {USER: USER, "type": "search", "query_length": QUERY},
    ]
    bad = [{**good[0], **fields} for fields in wrong]
    numbered = [{"event_id": f"canary-{n}"} | event for n, event in enumerate([*good, ga4, segment, *bad])]
    return [*numbered, USER, [USER], {USER: QUERY}]


def bodies(item_id: str, ts: str) -> Iterator[bytes]:
    """Requests, good and bad, of every kind of endpoint."""
    state = {"query": QUERY, "user": USER}
    asked = {"user_id": USER, "session_data": session(item_id, ts), "current_state": state, "query": QUERY, USER: QUERY}
    wrong = (
        {"user_id": [USER]},
        {"user_id": USER * 30},
        {"limit": USER},
        {"session_data": USER},
        {"session_data": {"events": USER}},
    )
    structured: list[Any] = [
        asked, *(asked | fields for fields in wrong), {"events": events(item_id, ts)}, {"events": USER, "sent_at": USER},
        {"items": [{"item_id": {USER: USER}, "price": USER}]}, {"offers": [{"offer_id": 7, "percent": USER}]},
        {"url": f"https://{USER}@localhost/{USER}", "signal_types": [USER], "min_score": USER},
        {"url": f"https://{USER}.internal/{QUERY}"}, {"signal_ids": [USER]}, {"from": USER, "until": USER},
        {"max_per_day": USER, USER: USER}, USER, [USER], {USER: {USER: USER}}, None,
    ]  # fmt: skip
    for body in structured:
        yield json.dumps(body).encode()
    yield f'{{"user_id": "{USER}", "query": "{QUERY}"'.encode()
    yield f'{{"user_id": "{USER}\xff", "query": "{QUERY}"}}'.encode("latin-1")
    yield f'{{"user_id": "{USER}", "price": NaN}}'.encode()


def send(url: str, key: str, item_id: str, ts: str) -> list[httpx.Response]:
    """Plant the words in requests to every endpoint; all answers."""
    local = OWN_IP if sys.platform == "linux" else None
    noise = {
        "X-Forwarded-For": IP, "Forwarded": f"for={IP}", "X-Real-IP": IP, "User-Agent": USER, "Cookie": f"user={USER}",
        "Referer": f"https://shop.example/?q={QUERY}", "X-User": USER,
    }  # fmt: skip
    answers = []
    way = httpx.HTTPTransport(local_address=local)
    with httpx.Client(base_url=url, transport=way, headers=noise, timeout=PATIENCE_S) as client:
        sent = [*bodies(item_id, ts)]
        paths = client.get("/openapi.json").json()["paths"]
        for path, methods in paths.items():
            if path.endswith("/stream"):
                continue
            address = path.replace("{id}", USER).replace("{user_id}", f"{USER}%2F{USER}").replace("{receipt_id}", USER)
            for method in methods:
                for body in sent if "requestBody" in methods[method] else sent[:1]:
                    answers.append(client.request(method, address, content=body, headers=_json(key)))
                more = _json(key) | {"Idempotency-Key": USER}
                query = {"user_id": USER, "after": USER, "limit": QUERY, "before": USER, "state": USER}
                answers.append(client.request(method, address, params=query, content=sent[0], headers=more))
                answers.append(client.request(method, address, content=sent[0], headers=_json(KEY)))
        for path in ("/v1/events", "/v1/recommendations"):
            big = f'{{"user_id": "{USER}", "{QUERY}": "'.encode() + b"x" * OVERSIZED + b'"}'
            zipped = _json(key) | {"Content-Encoding": "gzip"}
            for body in (gzip.compress(big), USER.encode()):
                answers.append(client.post(path, content=body, headers=zipped))
            answers.append(client.post(path, content=big, headers=_json(key)))
        answers.append(client.get(f"/{USER}/{QUERY}", params={"q": QUERY}, headers=_json(key)))
        answers += (client.request(method, "/v1/intent", headers=_json(key)) for method in (USER, "PATCH"))
    _send_garbage(url)
    return answers


def _json(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}


def _send_garbage(url: str) -> None:
    """Bytes that are no HTTP."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=PATIENCE_S) as connection, suppress(ConnectionError):
        connection.sendall(f"GET /{USER}\x00 HTTP/9.9\r\n{QUERY}\r\n\r\n".encode())
        connection.recv(1000)


def lines(item_id: str, ts: str) -> str:
    """A file of events, as `attune ingest` reads it: the events above, and lines that are none."""
    broken = (f'{{"user_id": "{USER}", "query": "{QUERY}"', f"{USER},{QUERY}", f'["{USER}"]')
    return "".join(f"{line}\n" for line in (*(json.dumps(event) for event in events(item_id, ts)), *broken))


def holding(folder: Path) -> dict[str, list[str]]:
    """Files in which a word can be found, also inside Parquet columns and archives, with the words."""
    found = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a running service removes files that it is done with
            content = b"\n".join(_contents(path)) if path.is_file() else b""
            if words := [word.decode() for word in WORDS if word in content]:
                found[str(path.relative_to(folder))] = words
    return found


def _contents(path: Path) -> Iterator[bytes]:
    yield path.read_bytes()
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq
        from pyarrow import types

        table = pq.read_table(path)
        texts = [f.name for f in table.schema if not (types.is_primitive(f.type) or types.is_boolean(f.type))]
        yield str(table.select(texts).to_pydict()).encode()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name) for name in archive.namelist())
