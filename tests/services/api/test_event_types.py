"""A partner's own names of event types: told once, understood by every door; what nobody knows is refused and can be mended."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows.quarantine import replay
from infra.store.engines import open_store
from models.events.own_names import MOST
from models.schema import EVENT_TYPES, MAX_ID_LENGTH
from services.http import partners
from tests.services.shop_door import NOW_US, SHOP, Service, batch, event, service
from tests.stores import connect

__all__ = ["service"]

PATH = "/v1/event-types"
NAMES = {"product_viewed": "item_view", "basket.added": "add_to_cart", "gesucht": "search", "page_view": "cart_view"}


def put(service: Service, names: Any, **more: Any) -> Any:
    return service.ask({"names": names}, PATH, "PUT", **more)


def types(service: Service) -> list[str]:
    with closing(connect(service.home)) as store:
        return [kind for (kind,) in store.execute("SELECT event_type FROM events ORDER BY seq").fetchall()]


def session(*kinds: str) -> dict[str, Any]:
    return {"events": [event(type=kind, item_id=f"sku-{n}") for n, kind in enumerate(kinds)]}


def test_names_are_told_and_shown(service: Service) -> None:
    assert service.ask(b"", PATH, "GET").json() == {"event_types": list(EVENT_TYPES), "names": {}}
    assert put(service, NAMES).json()["names"] == NAMES
    assert service.ask(b"", PATH, "GET").json()["names"] == NAMES
    assert partners.own_names(service.home, "shop") == NAMES
    assert put(service, {"look": "item_view"}).json()["names"] == {"look": "item_view"}  # those of before are gone


def test_events_have_the_types_that_their_names_mean(service: Service) -> None:
    put(service, NAMES)
    sent = batch(
        event("1", type="product_viewed", item_id="a", price=3),
        event("2", type="basket.added", product_id=7),  # fields as other vocabularies have them
        {**event("3", item_id="a"), "type": "track", "event": "product_viewed"},
        event("4", type="gesucht", query="rote Schuhe"),
        event("5", type="page_view"),  # of a vocabulary, too: the partner's word counts
        event("6", type="item_view", item_id="b"),
    )
    assert service.ask(sent).json()["accepted"] == 6
    assert types(service) == ["item_view", "add_to_cart", "item_view", "search", "cart_view", "item_view"]


def test_a_page_s_events_and_questions_know_them_too(tmp_path: Path) -> None:
    key = partners.add(tmp_path, "shop", NOW_US, "pk", scopes=("events:write", partners.PAGE), origins=[SHOP])
    service = Service(tmp_path)
    put(service, NAMES)
    text = {"content-type": "text/plain", "origin": SHOP}

    def page(path: str, **body: Any) -> Any:
        return service.client.post(path, content=json.dumps({"key": key, **body}), headers=text).json()

    assert page("/v1/visits", events=[event("1", type="product_viewed", item_id="a")])["accepted"] == 1
    assert (
        page("/v1/page", user_id="v", session_data=session("product_viewed"))["intent"]
        == (page("/v1/page", user_id="v", session_data=session("item_view"))["intent"])
    )
    service.app.shared.writer.close()


@pytest.mark.parametrize("path", ["/v1/recommendations", "/v1/engagement", "/v1/intent"])
def test_a_session_in_own_words_is_answered_as_one_in_ours(service: Service, path: str) -> None:
    said, ours = session("product_viewed", "gesucht", "basket.added"), session("item_view", "search", "add_to_cart")
    refused = service.ask({"user_id": "u", "session_data": said}, path)
    assert (refused.status_code, refused.json()["pointer"]) == (422, "/session_data/events/0/type")
    assert PATH in refused.json()["detail"]
    put(service, NAMES)

    def answer(data: dict[str, Any]) -> Any:
        asked = {"session_data": data} if path == "/v1/intent" else {"user_id": "u", "session_data": data}
        return {name: value for name, value in service.ask(asked, path).json().items() if name != "decision_id"}

    assert answer(said) == answer(ours)
    needs = service.ask({"user_id": "u", "session_data": {"events": [event(type="product_viewed")]}}, path).json()
    assert needs["detail"] == "item_view needs an item_id"


def test_a_name_that_nobody_knows_is_refused_with_what_to_do_and_comes_in_after_it(service: Service) -> None:
    verdict = service.ask(batch(event("1", type="looked", item_id="a"), event("2"))).json()
    assert (verdict["accepted"], verdict["rejected"]) == (1, 1)
    assert PATH in verdict["results"][0]["reason"]
    assert replay(service.home).accepted == 0
    put(service, {"looked": "item_view"})
    assert replay(service.home).accepted == 1
    assert types(service) == ["search", "item_view"]


BAD = {
    "a circle": ({"aa": "bb", "bb": "aa"}, "/names/aa"),
    "itself": ({"aa": "aa"}, "/names/aa"),
    "a chain": ({"aa": "bb", "bb": "item_view"}, "/names/aa"),
    "no type of ours": ({"look": "dance"}, "/names/look"),
    "a foreign type": ({"look": "view_item"}, "/names/look"),
    "ours already": ({"item_view": "purchase"}, "/names/item_view"),
    "a letter": ({"a": "purchase"}, "/names/a"),
    "nothing": ({"": "purchase"}, "/names/"),
    "blanks": ({"   ": "purchase"}, "/names/   "),
    "too long": ({"a" * (MAX_ID_LENGTH + 1): "purchase"}, f"/names/{'a' * (MAX_ID_LENGTH + 1)}"),
    "a stroke": ({"a/b~c": "dance"}, "/names/a~1b~0c"),
    "too many": ({f"name {n}": "purchase" for n in range(MOST + 1)}, "/names"),
    "a number": ({"look": 7}, "/names"),
    "null": ({"look": None}, "/names"),
    "a list": ([["look", "item_view"]], "/names"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_a_name_is_refused_and_those_of_before_stay(service: Service, name: str) -> None:
    put(service, NAMES)
    refused = put(service, BAD[name][0])
    assert (refused.status_code, refused.json().get("pointer")) == (422, BAD[name][1])
    assert service.ask(b"", PATH, "GET").json()["names"] == NAMES


@pytest.mark.parametrize("body", [b'{"names": {"a\\u0000b": "item_view"}}', b'{"names": {"a\\ud83d": "item_view"}}'])
def test_odd_characters_of_a_name_do_no_harm(service: Service, body: bytes) -> None:
    assert service.ask(body, PATH, "PUT").status_code == 200
    with closing(open_store(service.home)) as store:
        ((kept,),) = store.read("SELECT names FROM event_names")
    assert "\0" not in kept
    assert service.ask(batch(event("1", type="a\0b", item_id="a"))).json()["rejected"] == 1
    assert service.ask(batch()).json()["accepted"] == 1


def test_pages_and_other_partners_have_no_say(tmp_path: Path) -> None:
    other = partners.add(tmp_path, "other", NOW_US)
    service = Service(tmp_path)
    assert put(service, NAMES, key=service.browser, origin=SHOP).status_code == 403
    put(service, NAMES)
    assert service.ask(b"", PATH, "GET", key=other).json()["names"] == {}
    assert service.ask(batch(event("1", type="product_viewed", item_id="a")), key=other).json()["rejected"] == 1
    service.app.shared.writer.close()


def test_a_repetition_of_an_older_word_changes_nothing(service: Service) -> None:
    once = {"idempotency-key": "k-1"}
    put(service, {"look": "item_view"}, **once)
    put(service, {"look": "purchase"})
    put(service, {"look": "item_view"}, **once)  # answered from what was kept
    service.ask(batch(event("1", type="look", item_id="a")))
    assert types(service) == ["purchase"]
