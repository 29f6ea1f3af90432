"""Makes the home of a small shop with something in every table, by the commands and the HTTP API alone, and packs it.

``.venv/bin/python make_home.py HOME OUT.tar.xz`` in a checkout of the commit that the home shall be of. It takes about six
minutes. What comes out differs each time: keys, ids, instants.
"""

import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import apsw
import httpx

PORT = 18798  # of the service
ENDPOINT = 18799  # of the partner's webhook
NOBODY = 9  # nothing listens there: deliveries that stay pending
SHOP = ("--users", "60", "--seed", "8")
FIRST = (*SHOP, "--days", "3", "--end", "2026-11-24T00:00:00Z")
SECOND = (*SHOP, "--days", "1", "--end", "2026-11-25T00:00:00Z")  # the same visitors a day later
SETTINGS = {
    "ATTUNE_ALLOW_PRIVATE_WEBHOOKS": "true",
    "ATTUNE_SHADOW_SHARE": "1",
    "ATTUNE_TRIAL_SHARE": "0.2",
    "ATTUNE_REWARD_WINDOW_S": "20",
}
PAGE = {"Origin": "https://shop.example"}
READERS = [f"reader-{n}" for n in range(12)]  # asked for recommendations; the even ones bought what was shown
SEEKERS = [f"seeker-{n}" for n in range(6)]  # refined their searches, until signals came of it
LEAVERS = [f"leaver-{n}" for n in range(4)]  # left a cart
GONE = "u8-5"  # one of the simulated visitors: erased, came back, erased again
KEPT = ("attune.db", "secret.key", "local.key", "bentoml", "feast", "offline", "reports")
SECRETS = ("secret.key", "local.key")
PATIENCE_S = 120.0


class Shop:
    """A home, its commands and its running service."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.keys: dict[str, str] = {}
        self._n_events = 0

    def attune(self, *words: str) -> str:
        """Run a command to its end; what it printed."""
        sys.stderr.write(f"attune {' '.join(words)}\n")
        command = [str(Path(sys.executable).parent / "attune"), *words]
        run = subprocess.run(command, env=self._env(), stdout=subprocess.PIPE, text=True, check=True)
        return run.stdout.strip()

    @contextmanager
    def up(self) -> Iterator[None]:
        """Service and worker, stopped as by Ctrl-C."""
        words = [str(Path(sys.executable).parent / "attune"), "up", "--no-open", "--port", str(PORT)]
        running = subprocess.Popen(words, env=self._env(), stdout=subprocess.PIPE, text=True)
        assert running.stdout is not None
        try:
            assert any(line.startswith("ready ") for line in running.stdout)
            self.keys["local, server"] = (self.home / "local.key").read_text()
            yield
        finally:
            running.send_signal(signal.SIGINT)
            assert running.wait(PATIENCE_S) == 0

    def _env(self) -> dict[str, str]:
        return {**os.environ, **SETTINGS, "ATTUNE_HOME": str(self.home)}

    def ask(self, method: str, path: str, body: Any = None, key: str = "local, server", **headers: str) -> Any:
        """Send a request until it is taken; the body of the answer."""
        headers = {"Authorization": f"Bearer {self.keys[key]}", **headers}
        for _ in range(20):
            reply = httpx.request(method, f"http://127.0.0.1:{PORT}{path}", json=body, headers=headers, timeout=PATIENCE_S)
            if reply.status_code != 503:
                break
            time.sleep(0.5)
        assert reply.status_code < 300, reply.text
        return reply.json() if reply.content else None

    def send(self, events: Sequence[Mapping[str, Any]], key: str = "local, server", **headers: str) -> Any:
        """Send events of the present."""
        self._n_events += len(events)
        first, at = self._n_events - len(events), datetime.now(UTC)
        sent = [
            {"event_id": f"live-{first + n}", "ts": (at + timedelta(milliseconds=n)).isoformat(), **event}
            for n, event in enumerate(events)
        ]
        return self.ask("POST", "/v1/events", {"events": sent}, key, **headers)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What the store holds."""
        with closing(apsw.Connection(str(self.home / "attune.db"), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            connection.set_busy_timeout(10_000)
            found: list[tuple[Any, ...]] = connection.execute(statement).fetchall()
        return found

    def wait(self, statement: str) -> None:
        """Wait until a statement gives a row."""
        until(lambda: bool(self.rows(statement)), statement)


def until(is_so: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.3)


@contextmanager
def endpoint() -> Iterator[str]:
    """A webhook that takes everything."""

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", ENDPOINT), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{ENDPOINT}/signals"
    finally:
        server.shutdown()


def spoil(file: Path) -> None:
    """Add a line that is no JSON, an event without its item, and one whose price nobody believes."""
    events = [json.loads(line) for line in file.read_text().splitlines()]
    prices = [event["item_id"] for event in events if event.get("price")]
    usual = max(sorted(set(prices)), key=prices.count)
    like = next(event for event in events if event.get("price") and event["item_id"] == usual)
    bare = {name: value for name, value in like.items() if name != "item_id"}
    wrong = [{**bare, "event_id": "file-no-item"}, {**like, "event_id": "file-price", "price": 1000 * like["price"]}]
    with file.open("a") as out:
        out.write("".join(f"{line}\n" for line in ("this is no JSON", *map(json.dumps, wrong))))


def make_keys(shop: Shop) -> None:
    """Keys of three partners: all that `local` may have, few scopes and a rotation, none any more."""
    browser = ("--browser", "--origin", PAGE["Origin"], "--requests-per-minute", "600")
    shop.keys["local, browser"] = shop.attune("partner", "add", "local", *browser)
    few = ("--scope", "recommendations:read", "--scope", "events:write", "--requests-per-minute", "1200")
    shop.attune("partner", "add", "agency", *few)
    shop.keys["agency, server"] = shop.attune("partner", "rotate", "agency")
    shop.attune("partner", "add", "former")
    shop.attune("partner", "revoke", "former")


def fill_shelves(shop: Shop, items: Sequence[str]) -> None:
    """Catalogue, offers and a policy that sends soon."""
    goods = [{"item_id": item, "price": 20.0 + n, "stock": 3, "title": f"Item {n}"} for n, item in enumerate(items[:20])]
    goods.append({"item_id": items[20], "price": 5.0, "stock": 0, "category": "sold out"})
    guide = {"item_id": "size-guide", "kind": "content", "title": "Which size?", "url": "https://shop.example/sizes"}
    shop.ask("PUT", "/v1/catalog/items", {"items": [*goods, guide]})
    shop.ask("PUT", "/v1/catalog/items", {"items": [{**guide, "title": "Which size fits?"}]})
    autumn = {"offer_id": "autumn", "percent": 10, "currency": "EUR", "budget": 500.0, "title": "Autumn", "code": "LEAF"}
    past = {"offer_id": "past", "amount": 5, "currency": "EUR", "active": False, "valid_until": "2026-11-01T00:00:00Z"}
    shop.ask("PUT", "/v1/offers", {"offers": [autumn, past]})
    shop.ask("PUT", "/v1/signals/policy", policy(0.5))


def policy(holdout_share: float, **more: Any) -> dict[str, Any]:
    soon = {"min_score_discount": 0.0, "min_p_leave": 0.0, "max_p_purchase_discount": 1.0}
    return {"thresholds": soon, "holdout_share": holdout_share, "cool_down_s": 0, **more}


def subscribe(shop: Shop, url: str) -> str:
    """Three subscriptions: one that works, one to nobody, one disabled; the id of the first."""
    works = shop.ask("POST", "/v1/subscriptions", {"url": url}, **{"Idempotency-Key": "subscribe-1"})
    shop.ask("POST", f"/v1/subscriptions/{works['id']}/rotate-secret")
    shop.ask("POST", f"/v1/subscriptions/{works['id']}/test")
    support = {"url": f"http://127.0.0.1:{NOBODY}/signals", "signal_types": ["proactive_support"], "min_score": 0.0}
    shop.ask("POST", "/v1/subscriptions", support)
    idle = shop.ask("POST", "/v1/subscriptions", {"url": url, "min_score": 0.9})
    shop.ask("PATCH", f"/v1/subscriptions/{idle['id']}", {"state": "disabled"})
    return str(works["id"])


def session(*items: str) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(minutes=5)
    events = [
        {"type": "item_view", "item_id": item, "ts": (at + timedelta(seconds=9 * n)).isoformat()}
        for n, item in enumerate(items)
    ]
    return {"session_id": "s-1", "context": {"device": "mobile", "timezone": "Europe/Berlin"}, "events": events}


def read_and_buy(shop: Shop, items: Sequence[str]) -> None:
    """Recommendations of every kind, and what follows from them: named decisions, by server and by browser."""
    kinds: tuple[dict[str, Any], ...] = ({"explain": True}, {"ranker": True}, {"interleave": True}, {"item_id": items[0]})
    for n, user in enumerate(READERS):
        seen = session(*items[n : n + 4])
        answer = shop.ask("POST", "/v1/recommendations", {"user_id": user, "session_data": seen, "limit": 5, **kinds[n % 4]})
        shop.ask("POST", "/v1/engagement", {"user_id": user, "session_data": seen})
        event = {"user_id": user, "session_id": f"s-{user}", "item_id": answer["items"][0]["item_id"], "price": 25.0}
        event["decision_id"] = answer["decision_id"]
        bought = [{**event, "type": kind} for kind in ("item_view", "add_to_cart", "purchase")]
        if n % 4 == 0:
            shop.send(bought, "local, browser", **PAGE)
        elif n % 2 == 0:
            shop.send(bought)
    once = {"user_id": READERS[1], "session_id": "s-once", "type": "item_view", "item_id": items[0], "event_id": "once"}
    body = {"events": [{**once, "ts": datetime.now(UTC).isoformat()}]}
    answers = [shop.ask("POST", "/v1/events", body, **{"Idempotency-Key": "once-1"}) for _ in range(2)]
    assert answers[0] == answers[1]


def send_wrong(shop: Shop) -> None:
    """Events that the door rejects, and a visitor who does not consent."""
    wrong: list[dict[str, Any]] = [
        {"type": "item_view"},
        {"type": "jump"},
        {"type": "purchase", "item_id": "sku-1", "price": -1},
    ]
    refused = [{"user_id": READERS[0], "session_id": "s-wrong", **event} for event in wrong]
    silent = {"user_id": "silent-1", "type": "search", "context": {"consent": False}}
    assert shop.send([*refused, silent])["rejected"] == 4


def call_for_signals(shop: Shop, items: Sequence[str]) -> None:
    """Searches that find nothing, until some visitors are sent a signal and some are held out; then carts that are left."""
    for user in SEEKERS:
        search = {"user_id": user, "session_id": f"s-{user}"}
        shop.send([{**search, "type": "search", "query_length": 9}, *[{**search, "type": "search_refine"}] * 4])
    shop.wait("SELECT 1 WHERE (SELECT count(*) FROM signal_users WHERE last_signal_at_us > 0) >= 6")
    shop.ask("PUT", "/v1/signals/policy", policy(0.0))
    for user in LEAVERS:
        visit = {"user_id": user, "session_id": f"s-{user}", "item_id": items[1], "price": 21.0}
        shop.send([{**visit, "type": kind} for kind in ("item_view", "item_view", "add_to_cart")])
    shop.wait("SELECT 1 FROM offer_spend")
    shop.wait("SELECT 1 FROM deliveries WHERE cause = 'signal' AND state = 'delivered'")


def erase(shop: Shop) -> None:
    """A visitor who is erased, comes back and is erased again."""
    for _ in range(2):
        shop.send([{"user_id": GONE, "session_id": "s-gone", "type": "search", "query_length": 4}] * 3)
        receipt = shop.ask("DELETE", f"/v1/users/{GONE}")["receipt_id"]
        done = f"SELECT 1 FROM tombstones WHERE receipt_id = '{receipt}' AND completed_at_us IS NOT NULL"
        shop.wait(done)


def visit_of_agency(shop: Shop, items: Sequence[str]) -> None:
    shop.send([{"user_id": "guest-1", "session_id": "s-g", "type": "item_view", "item_id": items[0]}], "agency, server")
    shop.ask("POST", "/v1/recommendations", {"user_id": "guest-1", "limit": 3}, "agency, server")


def first_day(shop: Shop) -> None:
    """What the shop's visitors and engineers do while the first models serve."""
    items = [
        item for (item,) in shop.rows("SELECT item_id FROM events WHERE item_id > '' GROUP BY 1 ORDER BY count(*) DESC, 1")
    ]
    with endpoint() as url, shop.up():
        fill_shelves(shop, items)
        works = subscribe(shop, url)
        shop.wait("SELECT 1 FROM profile_snapshots")
        read_and_buy(shop, items)
        send_wrong(shop)
        call_for_signals(shop, items)
        visit_of_agency(shop, items)
        ((newest,),) = shop.rows("SELECT signal_id FROM signals WHERE partner = 'local' ORDER BY seq DESC LIMIT 1")
        shop.ask("POST", f"/v1/subscriptions/{works}/replay", {"signal_ids": [newest]})
        shop.wait("SELECT 1 FROM deliveries WHERE cause = 'replay' AND state = 'delivered'")
        shop.wait("SELECT 1 FROM rewards WHERE reward = 1")
        erase(shop)
        time.sleep(30)  # the decisions' time is over: the bandit learns
        rest(shop)


def second_day(shop: Shop) -> None:
    """The second models serve, and beside them the second profiles, unseen and on trial."""
    items = [
        item for (item,) in shop.rows("SELECT item_id FROM events WHERE item_id > '' GROUP BY 1 ORDER BY count(*) DESC, 1")
    ]
    with shop.up():
        for n in range(40):
            asked: dict[str, Any] = {"user_id": f"second-{n}", "session_data": session(*items[n : n + 3]), "limit": 10}
            shop.ask("POST", "/v1/recommendations", asked)
            shop.ask("POST", "/v1/engagement", {name: asked[name] for name in ("user_id", "session_data")})
        shop.wait("SELECT 1 FROM shadow WHERE kind = 'engagement' AND n_requests > n_failed")
        serving = shop.ask("POST", "/v1/recommendations", {"user_id": READERS[0], "session_data": session(*items[:3])})
        assert serving["models"]["intent"] == 2
        shop.ask("PUT", "/v1/signals/policy", policy(0.05, quiet_hours={"from": "23:30", "to": "23:45"}))
        rest(shop)


def rest(shop: Shop) -> None:
    """Wait until the worker has seen all events, and until it has surely written what follows from them."""
    behind = "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM cursors WHERE name IN ({}) AND seq < (SELECT max(seq) FROM events))"
    shop.wait(behind.format("'rewards', 'signals', 'action_weights', 'online_features'"))
    time.sleep(5)


def shrink(shop: Shop) -> None:
    """Leave what cannot be made again, in one file per database."""
    named = {artifact for (artifact,) in shop.rows("SELECT artifact FROM model_versions")}
    for path in shop.home.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in sorted((shop.home / "bentoml").rglob("*"), reverse=True):
        is_kept = path.name == "latest" or any(str(path.relative_to(shop.home)).startswith(artifact) for artifact in named)
        if path.is_file() and not is_kept:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    for name in ("attune.db", "feast/online.db"):
        with closing(apsw.Connection(str(shop.home / name))) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert not [path for path in shop.home.rglob("*") if path.name.endswith(("-wal", "-shm"))]


def pack(home: Path, out: Path) -> None:
    """Pack files and folders by name; equal homes give equal bytes."""
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(home.rglob("*")):
            entry = tarfile.TarInfo(str(path.relative_to(home)))
            entry.mode = 0o755 if path.is_dir() else 0o600 if path.name in SECRETS else 0o644
            if path.is_dir():
                entry.type = tarfile.DIRTYPE
                tar.addfile(entry)
            else:
                entry.size = path.stat().st_size
                tar.addfile(entry, BytesIO(path.read_bytes()))
    out.write_bytes(lzma.compress(packed.getvalue(), preset=9 | lzma.PRESET_EXTREME))


def main(home: Path, out: Path) -> None:
    """Make the home in an empty folder, and pack it."""
    shop = Shop(home)
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "first.jsonl", Path(folder) / "second.jsonl"
        shop.attune("simulate", *FIRST, "--out", str(first))
        shop.attune("simulate", *SECOND, "--out", str(second))
        spoil(first)
        shop.attune("retrain", "--events", str(first))
        shop.attune("tune")
        shop.attune("promote", "profiles")
        make_keys(shop)
        first_day(shop)
        shop.attune("retrain", "--events", str(second))
        shop.attune("tune")
    second_day(shop)
    shop.attune("weights", "freeze")
    shop.attune("evaluate")
    shop.attune("experiment", "report")
    shop.attune("drift")
    shrink(shop)
    pack(home, out)
    tables = [name for (name,) in shop.rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    counts = {name: shop.rows(f"SELECT count(*) FROM {name}")[0][0] for name in tables}
    told = {"keys": shop.keys, "bytes": out.stat().st_size, "rows": counts}
    sys.stdout.write(f"{json.dumps(told, indent=2)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute())
