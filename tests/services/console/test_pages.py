"""The console's pages: what they say with much, little and no data, and that they need nothing but themselves."""

import csv
import gzip
import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import registry
from infra.store.engines import open_store
from infra.store.errors import StoreUnavailable
from infra.store.protocol import Bindings, Row
from services.console import access
from services.console.live import Streams
from services.console.pages.all import ENTRIES
from services.console.sources import Sources
from services.http import partners
from tests.services.console.desk import Desk, now_us
from tests.services.console.test_doors import TWINS

MOST_BYTES = 60_000


@pytest.fixture(scope="module")
def desk(crowned: Path) -> Iterator[Desk]:
    made = Desk(crowned)
    visit(crowned)
    yield made
    made.close()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def visit(home: Path, user: str = "u-canary", n: int = 6) -> None:
    """Let somebody look at some items."""
    from infra.secret import secret
    from infra.store.engines import open_writer
    from models.events.identity import partner_key, pseudonym
    from models.events.rules import to_row

    partners.keep(home, "local", "sk_of_a_test", now_us())
    name = pseudonym(partner_key(secret(home), "local"), user)
    began = time.time() - 60
    rows = []
    for k in range(n):
        ts = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began + 5 * k))
        kind = "add_to_cart" if k == n - 1 else "item_view"
        rows.append(
            to_row({"event_id": f"{user}-{k}", "type": kind, "item_id": f"sku-{k:05d}", "ts": ts, "session_id": "s"}, name)
        )
    writer = open_writer(home, now_us)
    writer.append("local", rows).result(60)
    writer.close()


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_a_page_is_complete_in_itself_and_small(desk: Desk, entry: Any) -> None:
    answer = desk.client("admin").get(entry.path)
    assert answer.status_code == 200
    assert len(gzip.compress(answer.content)) < MOST_BYTES
    text = answer.text
    assert text.count("<main") == 1
    assert 'class="skip"' in text
    assert re.findall(r"""(?:src|href|action)=["']https?://""", text) == []
    assert re.findall(r"<script(?![^>]*src=)|\son\w+=", text) == []
    assert text.count('aria-current="page"') == 1
    assert "u-canary" not in text
    assert re.findall(r">[^<]*\d{4}-\d\d-\d\dT\d\d:[^<]*<", text) == [], "instants are for people, and in <time>"
    assert len(re.findall(r'class="wide" tabindex="0" role="region"', text)) == text.count('class="wide"')


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_an_empty_home_says_what_is_missing(empty: Desk, entry: Any) -> None:
    text = empty.client("admin").get(entry.path).text
    assert 'id="lead"' in text
    assert "Traceback" not in text


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_twins_hold_the_same_numbers(desk: Desk, entry: Any) -> None:
    client, twin = desk.client("admin"), TWINS[entry.path]
    told = client.get(f"{twin}.json").json()
    tables = {id_: rows for id_, rows in told["blocks"].items() if isinstance(rows, list)}
    assert tables
    for id_, rows in tables.items():
        answer = client.get(f"{twin}.csv", params={"table": id_})
        assert answer.headers["content-type"].startswith("text/csv")
        assert abs(len(list(csv.DictReader(io.StringIO(answer.text)))) - len(rows)) <= 1  # somebody may have come between
    assert client.get(f"{twin}.csv?table=none").status_code == 404


def test_a_visit_is_told_event_by_event_under_a_pseudonym(desk: Desk) -> None:
    client = desk.client("viewer")
    rows = client.get("/sessions.json").json()["blocks"]["sessions"]
    assert rows[0]["events"] == 6
    address = re.findall(r"/sessions\?visitor=([0-9a-f]+)", client.get("/sessions").text)[0]
    told = client.get("/sessions.json", params={"visitor": address}).json()["blocks"]
    assert len(told["events"]) == 6
    assert told["events"][0]["event"] == "add to cart"
    for row in told["events"]:
        assert sum(row["intent after it"].values()) == pytest.approx(1.0)
    assert told["intent"]["exploratory"][-1] == pytest.approx(told["events"][0]["intent after it"]["exploratory"])
    assert "Nobody of this name" in client.get("/sessions?visitor=nobody").text


def test_a_visit_can_be_seen_as_it_was_after_each_event(desk: Desk) -> None:
    client = desk.client("viewer")
    address = re.findall(r"/sessions\?visitor=([0-9a-f]+)", client.get("/sessions").text)[0]
    whole, then = (
        client.get("/sessions.json", params={"visitor": address, **more}).json()["blocks"] for more in ({}, {"until": "2"})
    )
    assert [row["event"] for row in then["events"]] == [row["event"] for row in whole["events"][-2:]]
    assert then["intent"]["exploratory"] == pytest.approx(whole["intent"]["exploratory"][:2])
    page = client.get("/sessions", params={"visitor": address, "until": "2"}).text
    assert "After 2 of 6 events" in page
    assert "data-live=" not in page.split('id="blocks"')[1].split(">")[0], "what was does not move"
    assert 'min="1" max="6" step="1" value="2"' in page
    assert client.get("/sessions", params={"visitor": address, "until": "x"}).status_code == 200


def test_the_intent_slider_changes_the_list_by_what_answers_requests(desk: Desk) -> None:
    client = desk.client("viewer")
    mixes = ({"exploratory": "100", "intent_to_purchase": "0"}, {"exploratory": "0", "intent_to_purchase": "100"})
    lists = [
        client.get("/associations.json", params={"item": "sku-00005", "comparative": "0", "research": "0", **mix}).json()[
            "blocks"
        ]["ranked"]
        for mix in mixes
    ]
    scores = [{row["item"]: row["score"] for row in one} for one in lists]
    assert scores[0] != scores[1]
    assert all(one == sorted(one, reverse=True) for one in ([row["score"] for row in each] for each in lists))
    assert "No item of that name" in client.get("/associations?q=zzz").text
    assert client.get("/associations?item=nothing").status_code == 200
    assert client.get("/associations?item=sku-00005&exploratory=nan&research=x").status_code == 200


def test_no_data_is_not_zero(empty: Desk) -> None:
    traffic = empty.client("viewer").get("/now.json").json()["blocks"]["traffic"]
    assert traffic["p99 of the newest 1,000 answers, ms"] is None
    assert traffic["events a second, last minute"] == 0


def test_a_champion_moves_only_where_the_gate_passed_and_the_name_was_typed(desk: Desk) -> None:
    def post(action: str, **fields: str) -> Any:
        return desk.post("ml", f"/models/do/{action}", **fields)

    assert "the gate did not pass" in post("promote", model="intent:1", typed="intent:1").text
    parts = registry.load_artifact(desk.home, "intent", "champion")
    version = registry.save(desk.home, "intent", parts.parts, {}, golden=parts.golden)
    registry.record(desk.home, "intent", version, verdict={"verdict": "pass"})
    name = f"intent:{version}"
    assert name in desk.client("ml").get("/models").text
    assert "another one; nothing was done" in post("promote", model=name, typed="intent").text
    assert registry.champions(desk.home)["intent"] == 1
    assert post("promote", model=name, typed=name, reason="better").status_code == 200
    assert registry.champions(desk.home)["intent"] == version
    assert post("rollback", name="intent", typed="intent", reason="worse").status_code == 200
    assert registry.champions(desk.home)["intent"] == 1
    assert [(row.actor, row.reason) for row in registry.audit(desk.home)[-2:]] == [("ml", "better"), ("ml", "worse")]
    rows, broken = access.audited(open_store(desk.home).read)
    assert broken is None
    assert [row["outcome"] for row in rows if row["action"] == "Models rollback"] == ["done"]


def test_keys_are_shown_once_and_stand_in_no_audit(desk: Desk) -> None:
    shown = desk.post("admin", "/partners/do/add", name="web", kind="server").text
    key = re.findall(r"sk_[\w-]{20,}", shown)[0]
    assert partners.Keys(desk.home).authenticate(key, time.time()) is not None
    assert key not in desk.client("admin").get("/partners").text
    assert key not in json.dumps(access.audited(open_store(desk.home).read)[0])
    assert "needs the page" in desk.post("admin", "/partners/do/add", name="web", kind="browser").text
    assert "another one" in desk.post("admin", "/partners/do/revoke", name="web", typed="wbe").text
    assert "1 keys of web" in desk.post("admin", "/partners/do/revoke", name="web", typed="web").text


def test_an_erased_user_is_named_nowhere(desk: Desk) -> None:
    visit(desk.home, "u-to-erase")
    told = desk.post("admin", "/privacy/do/erase", shop="local", user="u-to-erase", typed="u-to-erase", reason="asked").text
    assert "Receipt er_" in told
    assert "u-to-erase" not in json.dumps(access.audited(open_store(desk.home).read)[0])
    receipts = desk.client("admin").get("/privacy.json").json()["blocks"]["receipts"]
    assert len(receipts) == 1
    assert "6 events" in receipts[0]["removed"]


def test_a_policy_is_saved_whole_or_not_at_all(desk: Desk) -> None:
    fields = {"shop": "local", "max_per_day": "5", "cool_down_s": "60", "holdout_share": "0.2", "type_offer_discount": "on"}
    assert "is saved" in desk.post("operator", "/signals/do/policy", **fields).text
    row = next(one for one in desk.client("viewer").get("/signals.json").json()["blocks"]["policies"] if one["shop"] == "local")
    assert (row["most a day"], row["held out"], row["may be sent"]) == (5, 0.2, "offer discount")
    for wrong in ({"holdout_share": "2"}, {"max_per_day": "x"}, {"quiet_from": "25:00"}, {"shop": "nobody"}):
        assert desk.post("operator", "/signals/do/policy", **{**fields, **wrong}).status_code == 422
    again = next(
        one for one in desk.client("viewer").get("/signals.json").json()["blocks"]["policies"] if one["shop"] == "local"
    )
    assert again == row


def test_weights_are_held_and_let_go(desk: Desk) -> None:
    assert desk.post("ml", "/weights/do/freeze").status_code == 200
    assert desk.post("ml", "/weights/do/thaw").status_code == 200


class OnADisk(Sources):
    """Sources of a store on a disk that may be gone."""

    is_gone = False

    def read(self, statement: str, bindings: Bindings = ()) -> list[Row]:
        if self.is_gone:
            raise StoreUnavailable("the disk is gone")
        return super().read(statement, bindings)


def test_what_was_seen_stays_while_the_store_cannot_be_read(desk: Desk) -> None:
    sources = OnADisk(desk.home)
    client = Desk(desk.home, sources=sources).client("viewer")
    lead = re.findall(r'id="lead".*?</p>', client.get("/data").text, re.DOTALL)[0]

    sources.is_gone = True
    kept = client.get("/data")
    assert kept.status_code == 200
    assert lead in kept.text
    assert "cannot be read now" in kept.text
    assert client.get("/data?never=seen").status_code == 503


async def _first(stream: Any, n: int) -> list[str]:
    return [message async for _, message in zip_async(range(n), stream)]


async def zip_async(numbers: Any, stream: Any) -> Any:
    for number in numbers:
        yield number, await anext(stream)


def test_a_stream_sends_what_has_changed_and_ends_with_the_session() -> None:
    import asyncio

    states = iter([{"a": "1", "b": "1"}, {"a": "1", "b": "2"}, {"a": "1", "b": "2"}])
    good = iter([True, False])

    async def run() -> list[str]:
        streams = Streams()
        stream = streams.follow("key", lambda: next(states), lambda: next(good))
        found = await _first(stream, 3)
        assert streams.n == 1
        await stream.aclose()
        assert streams.n == 0
        return found

    hello, all_, changed = asyncio.run(run())
    assert hello.startswith("retry")
    assert json.loads(all_.removeprefix("data: ")) == {"a": "1", "b": "1"}
    assert json.loads(changed.removeprefix("data: ")) == {"b": "2"}
