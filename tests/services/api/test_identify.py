"""Identity: what an anonymous visitor did and what a user does is one visitor's, once the shop says so."""

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from feature_repo.parts import read
from flows.append import ingest_file
from flows.materialize import write_tables
from infra.layout import OFFLINE
from infra.secret import secret
from infra.store.engines import open_store
from infra.store.statements.cursors import MOVE_CURSOR
from models.events.identity import partner_key, pseudonym
from models.experiments.assignment import DYNAMIC_VS_STATIC, assign
from models.schema import USER_RECENT_ITEMS, USERS_VIEW
from services.serving.profiles import replay
from services.worker.action_weights import ActionWeightDuty
from services.worker.features import MATERIALIZED, FeatureDuty
from tests.services.shop_door import NOW, NOW_US, Service, batch, service
from tests.stores import connect, settled
from tests.waiting import until

__all__ = ["service"]

COOKIE, USER = "cookie-1", "anna"


class Rows:
    """An online store in memory."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict[Any, Any]] = {}

    def write_to_online_store(self, feature_view_name: str, df: pd.DataFrame) -> None:
        for row in df.to_dict("records"):
            self.rows[feature_view_name, row["user_id"]] = row

    def forget(self, users: Any) -> None:
        self.rows = {key: row for key, row in self.rows.items() if key[1] not in users}


def known(home: Path, user_id: str) -> str:
    return pseudonym(partner_key(secret(home), "shop"), user_id)


def seen(event_id: str, user_id: str, item_id: str, minutes_ago: float, **more: Any) -> dict[str, Any]:
    ts = (NOW - pd.Timedelta(minutes=minutes_ago).to_pytimedelta()).isoformat()
    return {
        "event_id": event_id,
        "user_id": user_id,
        "session_id": "s",
        "type": "item_view",
        "item_id": item_id,
        "ts": ts,
        **more,
    }


def identify(service: Service, anonymous_id: str = COOKIE, user_id: str = USER, **more: Any) -> Any:
    headers = more.pop("headers", {})
    body = {"anonymous_id": anonymous_id, "user_id": user_id, **more}
    return service.ask(body, "/v1/identify", **headers)


def visitors(home: Path) -> dict[str, list[str]]:
    """Events by visitor."""
    with closing(connect(home)) as store:
        rows = store.execute("SELECT user_id, event_id FROM events ORDER BY seq").fetchall()
    return {user: [event for who, event in rows if who == user] for user, _ in rows}


def test_what_was_before_and_what_comes_is_one_visitors(service: Service) -> None:
    service.ask(batch(seen("1", USER, "a", 60), seen("2", COOKIE, "b", 10)))
    assert identify(service).json() == {"status": "joined"}
    service.ask(batch(seen("3", COOKIE, "c", 5), seen("4", USER, "d", 4)))
    service.ask(batch(seen("page", COOKIE, "e", 3)), key=service.browser)
    assert visitors(service.home) == {known(service.home, USER): ["1", "2", "3", "4", "\x1fpage"]}
    assert identify(service).json() == {"status": "known"}
    assert identify(service, USER, USER).json() == {"status": "known"}


def test_two_people_at_one_device_are_two_and_the_first_stays(service: Service) -> None:
    service.ask(batch(seen("1", COOKIE, "a", 60)))
    identify(service)
    answer = identify(service, user_id="bernd")
    assert (answer.status_code, answer.json()["pointer"]) == (409, "/anonymous_id")
    assert identify(service, USER, "bernd").status_code == 409
    assert identify(service, "cookie-2", COOKIE).json() == {"status": "joined"}  # who the cookie is, is known
    assert list(visitors(service.home)) == [known(service.home, USER)]


def test_it_takes_the_shops_word_and_the_visitors_consent(service: Service) -> None:
    service.ask(batch(seen("1", COOKIE, "a", 60)))
    page = service.ask({"anonymous_id": COOKIE, "user_id": USER}, "/v1/identify", key=service.browser)
    assert page.status_code == 403
    assert identify(service, context={"consent": False}).json() == {"status": "no_consent"}
    assert identify(service, headers={"Sec-GPC": "1"}).json() == {"status": "no_consent"}
    assert identify(service, anonymous_id="").json()["pointer"] == "/anonymous_id"
    assert list(visitors(service.home)) == [known(service.home, COOKIE)]


def test_the_worker_and_a_rebuild_know_the_same_visitor(service: Service) -> None:
    home = service.home
    service.ask(batch(seen("1", USER, "a", 60), seen("2", COOKIE, "b", 10), seen("0", "other", "z", 9)))
    with closing(connect(home)) as store:
        store.execute(MOVE_CURSOR, (MATERIALIZED, 0, 7))
    online = Rows()
    duty, weights = FeatureDuty(open_store(home), online, online.forget), ActionWeightDuty(open_store(home))
    settled(home)
    write_tables(home, NOW_US)
    duty.step(NOW_US)
    weights.step(NOW_US)
    identify(service)
    with closing(connect(home)) as store:
        store.execute("UPDATE identities SET joined_at_us = ?", (time.time_ns() // 1_000,))  # folds go by the wall clock
    duty.step(NOW_US)
    weights.step(NOW_US + 1)
    user = known(home, USER)
    assert online.rows["user_recent_items", user][USER_RECENT_ITEMS] == ["b", "a"]
    assert {who for _, who in online.rows} == {user, known(home, "other")}
    write_tables(home, NOW_US)
    listed = read(home / OFFLINE)
    assert listed is not None
    tables = pd.concat(pd.read_parquet(home / OFFLINE / f"{USERS_VIEW}.parquet" / name) for name in listed.parts[USERS_VIEW])
    assert set(tables["user_id"]) == {user, known(home, "other")}
    last = tables[tables["user_id"] == user].sort_values("occurred_at").iloc[-1]
    live = online.rows[USERS_VIEW, user]
    assert all(last[name] == live[name] for name in tables.columns if name.startswith(("n_", "decayed_", "user_")))
    with closing(connect(home)) as store:
        assert store.execute("SELECT DISTINCT user_id FROM action_due ORDER BY 1").fetchall() == [
            (who,) for who in sorted({user, known(home, "other")})
        ]


def test_erasure_of_the_user_reaches_the_anonymous_history_whoever_is_named(service: Service) -> None:
    home = service.home
    for named in (USER, COOKIE):
        service.ask(batch(seen(f"1-{named}", USER, "a", 60), seen(f"2-{named}", COOKIE, "b", 10)))
        identify(service)
        receipt = service.ask(b"", f"/v1/users/{named}", "DELETE").json()
        assert receipt["removed"]["events"] == 2
        assert receipt["removed"]["identities"] == 1
        assert visitors(home) == {}
        assert service.ask(batch(seen("again", COOKIE, "b", 10))).json()["accepted"] == 0
        with closing(connect(home)) as store:
            store.execute("DELETE FROM tombstones")


def test_who_was_erased_and_is_identified_again_brings_no_old_history_back(service: Service) -> None:
    service.ask(batch(seen("1", COOKIE, "b", 10)))
    service.ask(b"", f"/v1/users/{USER}", "DELETE")
    assert identify(service).json() == {"status": "joined"}
    assert visitors(service.home) == {}


def test_a_visitor_goes_on_being_dealt_what_was_dealt_before_the_login(service: Service) -> None:
    home = service.home
    cookie = next(
        name
        for name in map(str, range(100))
        if assign(DYNAMIC_VS_STATIC, known(home, name)) != assign(DYNAMIC_VS_STATIC, known(home, USER))
    )

    def asked(user_id: str) -> str:
        body = {"user_id": user_id, "session_data": {"session_id": "s", "events": []}}
        return str(service.ask(body, "/v1/recommendations").json()["experiment"]["variant"])

    with closing(connect(home)) as store:
        first = asked(cookie)
        until(lambda: store.execute("SELECT 1 FROM decisions").fetchall(), "the decision is not on record")
        identify(service, cookie)
        assert [asked(USER), asked(cookie)] == [first, first]
        until(lambda: len(store.execute("SELECT 1 FROM decisions").fetchall()) == 3, "the decisions are not on record")
        rows = store.execute("SELECT DISTINCT user_id, dealt_as FROM decisions").fetchall()
    assert rows == [(known(home, USER), known(home, cookie))]
    assert replay(home).different == []


def test_files_that_come_later_are_the_users_too(service: Service, tmp_path: Path) -> None:
    service.ask(batch(seen("1", USER, "a", 60)))
    identify(service)
    file = tmp_path / "more.jsonl"
    file.write_bytes(msgspec.json.encode(seen("f", COOKIE, "b", 9_000)))
    assert ingest_file(file, "attune", service.home, "shop", progress=False).accepted == 1
    assert visitors(service.home) == {known(service.home, USER): ["1", "f"]}


def test_files_of_segment_and_posthog_say_who_a_visitor_is(service: Service, tmp_path: Path) -> None:
    ts = NOW.isoformat()
    viewed = {"event": "Product Viewed", "properties": {"product_id": "a"}, "timestamp": ts}
    segment = [
        {"type": "track", "messageId": "1", "anonymousId": COOKIE, **viewed},
        {"type": "identify", "messageId": "2", "anonymousId": COOKIE, "userId": USER},
        {"type": "identify", "messageId": "3", "anonymousId": COOKIE, "userId": "bernd"},
        {"type": "identify", "messageId": "4", "anonymousId": "no", "userId": "x", "context": {"consent": False}},
    ]
    posthog = [
        {"uuid": "p", "distinct_id": "device", **viewed},
        {"uuid": "q", "event": "$identify", "distinct_id": USER, "properties": {"$anon_distinct_id": "device"}},
    ]
    for name, rows, first, again in (("segment", segment, (2, 0, 1), (0, 2, 1)), ("posthog", posthog, (2, 0, 0), (0, 2, 0))):
        file = tmp_path / f"{name}.jsonl"
        file.write_bytes(b"\n".join(map(msgspec.json.encode, rows)))
        assert tuple(ingest_file(file, name, service.home, "shop", progress=False)) == first
        assert tuple(ingest_file(file, name, service.home, "shop", progress=False)) == again
    assert visitors(service.home) == {known(service.home, USER): ["1", "p"]}
    with closing(open_store(service.home)) as store:
        assert ("anonymous_id is another user's already",) in store.read("SELECT reason FROM quarantine")
