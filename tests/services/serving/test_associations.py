"""An event that was accepted changes the recommendations in every process, and after a new start.

How soon is measured by `benchmarks.live_associations`.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from infra import layout
from infra.settings import Settings
from infra.store.engines import open_store, open_writer
from infra.store.events import read_events
from infra.store.statements.quarantine import QUARANTINE_EVENT
from models.associations import from_log
from models.associations.eviction import Bounds
from models.associations.model import AssociationStore
from models.events.encode import NO_CODE
from models.events.rules import parse_instant_us, to_row
from models.inference import examples
from models.weight_profile import STATIC
from services.api.app import App, build_app
from services.http.guard import AdmitAll
from services.privacy.erasure import erase_in_store, new_receipt_id
from services.serving import association_tail, associations
from services.serving.association_tail import Followed, Tail
from services.serving.associations import LiveChampions
from services.serving.features import NoFeatures
from services.serving.model_watch import ChampionWatcher
from tests.stores import connect, copied, nth, numbers
from tests.waiting import PATIENCE_S, until

NOW_US = parse_instant_us("2026-11-21T12:00:00Z")


def app_of(home: Path) -> App:
    return build_app(Settings(home=home), authenticator=AdmitAll(), online=NoFeatures(), now_us=lambda: NOW_US)


def post(client: TestClient, path: str, body: Any) -> Any:
    return client.post(path, content=json.dumps(body).encode(), headers={"content-type": "application/json"})


def view(event_id: str, item: str, second: int, user: str = "u", kind: str = "item_view") -> dict[str, Any]:
    return {"event_id": event_id, "user_id": user, "type": kind, "item_id": item, "ts": f"2026-11-21T11:00:{second:02}Z"}


def beside(client: TestClient, item: str) -> dict[str, float]:
    session = {"events": [{"type": "item_view", "item_id": item, "ts": "2026-11-21T11:59:00Z"}]}
    answer = post(client, "/v1/recommendations", {"user_id": "w", "session_data": session}).json()
    return {found["item_id"]: found["score"] for found in answer["items"]}


def leads_to(client: TestClient, item: str, first: str) -> bool:
    """Whether this stands first beside an item."""
    return next(iter(beside(client, item))) == first


def test_an_accepted_event_changes_the_answers_of_every_process(crowned: Path, tmp_path: Path) -> None:
    home = copied(crowned, tmp_path / "home")
    with TestClient(app_of(home)) as one, TestClient(app_of(home)) as two:
        assert "shade" not in beside(one, "lamp")
        events = [view("1", "lamp", 1), view("2", "shade", 9, kind="add_to_cart")]
        assert post(one, "/v1/events", {"events": events}).json()["accepted"] == 2
        for client in (one, two):
            until(partial(leads_to, client, "lamp", "shade"), "the answers did not change")
        until(lambda: beside(one, "lamp") == beside(two, "lamp"), "the gates did not settle alike")
        scores = beside(one, "lamp")
    with TestClient(app_of(home)) as again:  # snapshot and tail give the same after a new start
        until(lambda: beside(again, "lamp") == pytest.approx(scores), "a new start gives another answer")


def put(home: Path, *events: dict[str, Any], partner: str = "shop") -> None:
    writer = open_writer(home, lambda: NOW_US)
    writer.append(partner, [to_row(event, event["user_id"]) for event in events]).result(PATIENCE_S)
    writer.close()
    with closing(open_store(home)) as store:  # on a server, transactions of others hold the log's end back
        until(lambda: store.tail("test").end() >= max(numbers(home)), "somebody's transaction does not end")


def rebuilt(
    home: Path, *, to: int = 2**62, as_of_us: int | None = None, partners: tuple[str, ...] | None = None
) -> AssociationStore:
    """What the flow would build from the log to its n-th event, or from the events of some partners."""
    with closing(open_store(home)) as store:
        frame = read_events(store, until_us=as_of_us, believed=True)
    frame = frame[frame["seq"] <= nth(home, min(to, len(numbers(home))))]
    seq = int(frame["seq"].max()) if len(frame) else 0
    frame = frame if partners is None else frame[frame["partner"].isin(partners)]
    built = from_log.built(examples.read_log(frame)[0], {"min_llr": 0.0})
    return replace(built, built_to_seq=seq, as_of_us=as_of_us)


def told(store: AssociationStore, item: str) -> dict[str, float]:
    ranked = store.recommend(np.array([store.code(item)]), np.zeros(1, np.int8), np.zeros(1), STATIC.base, 50)
    return {store.item_ids[code]: score for code, score in zip(ranked.items.tolist(), ranked.scores.tolist(), strict=True)}


LOG = [view(f"e{k}", "abcde"[k * k % 5], k, "uvw"[k % 3], ("item_view", "purchase")[k % 4 == 0]) for k in range(24)]


@pytest.mark.parametrize("built_to", [0, 1, 11, 23])
def test_snapshot_and_tail_equal_a_build_of_the_whole_log(tmp_path: Path, built_to: int) -> None:
    put(tmp_path, *LOG[:12])
    tail = Tail(open_store(tmp_path), rebuilt(tmp_path, to=built_to))
    tail.step()
    put(tmp_path, *LOG[12:])
    assert tail.step() is False
    for item in "abcde":
        assert told(tail.live.view, item) == pytest.approx(told(rebuilt(tmp_path), item), rel=1e-5)


def test_a_build_as_of_an_instant_is_brought_up_to_date_as_well(tmp_path: Path) -> None:
    put(tmp_path, *reversed(LOG))  # what is older has the higher numbers
    store = rebuilt(tmp_path, as_of_us=parse_instant_us("2026-11-21T11:00:07Z"))
    tail = Tail(open_store(tmp_path), store)
    tail.step()
    assert told(tail.live.view, "a") == pytest.approx(told(rebuilt(tmp_path), "a"), rel=1e-5)


@pytest.mark.parametrize("built_to", [0, 7, 12, 24])
@pytest.mark.parametrize("ours", ["built", "unbuilt"])
def test_a_tail_of_some_partners_equals_a_build_of_theirs(tmp_path: Path, built_to: int, ours: str) -> None:
    for k in range(0, 24, 3):  # of three partners by turns
        put(tmp_path, *LOG[k : k + 2], partner=("local", ours)[k % 2])
        put(tmp_path, view(f"x{k}", "x", k, "z"), view(f"y{k}", LOG[k]["item_id"], k + 1, "z"), partner="another")
    put(tmp_path, view("late", "a", 50, "u"), view("later", "e", 51, "u"), partner=ours)
    followed = Followed(("local", "built")) if ours == "built" else Followed(("local",), ours)
    tail = Tail(open_store(tmp_path), rebuilt(tmp_path, to=built_to, partners=followed.built), followed=followed)
    assert tail.step() is False
    whole = rebuilt(tmp_path, partners=("local", ours))
    for item in "abcde":
        assert told(tail.live.view, item) == pytest.approx(told(whole, item), rel=1e-5)
    assert tail.live.view.code("x") == NO_CODE


def test_of_a_partner_that_was_not_built_the_newest_events_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(association_tail, "LEAST_EVENTS", 4)
    put(tmp_path, *LOG[:6], partner="local")
    put(tmp_path, view("1", "x", 1), view("2", "a", 2), view("3", "y", 3, "v"), *LOG[6:9], partner="new")
    store = rebuilt(tmp_path, to=12, partners=("local",))
    put(tmp_path, view("4", "z", 50, "v"), partner="new")
    tail = Tail(open_store(tmp_path), store, followed=Followed(("local",), "new"))
    tail.step()
    assert [tail.live.view.code(item) == NO_CODE for item in "xyz"] == [True, False, False]


def test_what_is_in_quarantine_is_not_counted(tmp_path: Path) -> None:
    put(tmp_path, *LOG[:6])
    connection = connect(tmp_path)
    connection.execute(QUARANTINE_EVENT, ("price", "key", NOW_US, nth(tmp_path, 2)))
    tail = Tail(open_store(tmp_path), rebuilt(tmp_path, to=0))
    tail.step()
    assert told(tail.live.view, "a") == pytest.approx(told(rebuilt(tmp_path), "a"), rel=1e-5)


@pytest.mark.parametrize("built_to", [0, 11, 23])
def test_what_a_browser_key_tells_counts_live_as_it_does_in_a_build(tmp_path: Path, built_to: int) -> None:
    put(tmp_path, *LOG, *(view(f"x{k}", "x", 30 + k, "w") for k in range(3)))
    all_count = rebuilt(tmp_path)
    connection = connect(tmp_path)
    connection.execute("UPDATE events SET browser = 1 WHERE user_id IN ('u', 'v', 'w')")
    connection.execute("UPDATE events SET believed = 0 WHERE user_id = 'w' OR seq % 5 = 0")
    tail = Tail(open_store(tmp_path), rebuilt(tmp_path, to=built_to))
    tail.step()
    for item in "abcde":
        assert told(tail.live.view, item) == pytest.approx(told(rebuilt(tmp_path), item), rel=1e-5)
    assert told(tail.live.view, "b") != pytest.approx(told(all_count, "b"), rel=1e-2)
    assert tail.live.view.code("x") == NO_CODE


def test_one_visitor_of_a_browser_key_counts_once_however_often_it_comes(tmp_path: Path) -> None:
    put(tmp_path, *LOG)
    bought = {"a": "item_view", "new": "purchase"}
    again = [view(f"{k}-{i}", i, k % 60, "z", bought[i]) | {"session_id": f"s{k}"} for k in range(50) for i in bought]
    put(tmp_path, *again)
    loud = told(rebuilt(tmp_path), "a")
    connect(tmp_path).execute("UPDATE events SET browser = 1 WHERE user_id = 'z'")
    tail = Tail(open_store(tmp_path), rebuilt(tmp_path, to=20))
    tail.step()
    found = told(tail.live.view, "a")
    assert loud["new"] > loud["b"]
    assert found["new"] < found["b"]


def test_a_flood_lets_the_rarest_go_says_so_and_the_log_is_followed_on(crowned: Path, tmp_path: Path) -> None:
    home = copied(crowned, tmp_path / "home")
    source = LiveChampions(home, ChampionWatcher(home), poll_s=0.01, most=Bounds(pairs=200, items=100))
    source.start()
    try:

        def live() -> AssociationStore:
            found = source.current().associations
            assert found is not None
            return found

        n_built = len(live().item_ids)
        put(home, view("1", "lamp", 1), view("2", "shade", 9), view("3", "lamp", 1, "v"), view("4", "shade", 2, "v"))
        until(lambda: "shade" in told(live(), "lamp"), "the tail is not followed")
        assert source.problems() == {}
        put(home, *(view(f"f{k}-{item}", f"{item}{k}", k % 50, f"bot{k}") for k in range(300) for item in "xy"))
        put(home, view("5", "lamp", 55, "w"), view("6", "wick", 56, "w"))
        until(lambda: "wick" in told(live(), "lamp"), "the tail is not followed any more")
        assert "were let go" in source.problems()["associations"]
        assert live().n_items <= n_built + 100
        assert "shade" in told(live(), "lamp")
    finally:
        source.stop()


def test_a_machine_is_left_to_the_next_build(tmp_path: Path) -> None:
    put(tmp_path, view("1", "a", 1), view("2", "b", 2), view("3", "c", 3), view("4", "a", 1, "v"), view("5", "b", 2, "v"))
    tail = Tail(open_store(tmp_path), rebuilt(tmp_path, to=0), most_events=2)
    assert tail.step() is False
    assert set(tail.live.view.item_ids) == {"a", "b"}


def test_a_page_that_poses_as_a_visitor_does_not_make_a_machine_of_them(tmp_path: Path) -> None:
    put(tmp_path, view("1", "a", 1), view("2", "b", 2), *(view(f"x{k}", "c", 3) for k in range(9)))
    connect(tmp_path).execute("UPDATE events SET browser = 1, believed = 0 WHERE item_id = 'c'")
    tail = Tail(open_store(tmp_path), rebuilt(tmp_path, to=0), most_events=2)
    tail.step()
    assert set(told(tail.live.view, "a")) == {"a", "b"}


def test_a_champion_that_cannot_follow_serves_as_it_is_and_the_problem_is_named(crowned: Path, tmp_path: Path) -> None:
    home = copied(crowned, tmp_path / "home")
    for ledger in home.rglob("support.npy"):  # as a file of an earlier version
        ledger.unlink()
        noted = json.loads((ledger.parent / layout.SUMS_FILE).read_text())
        del noted["sums"][ledger.name]
        (ledger.parent / layout.SUMS_FILE).write_text(json.dumps(noted))
    watcher = ChampionWatcher(home)
    watcher.refresh()
    source = LiveChampions(home, watcher)
    assert source.follow() is False
    assert source.current().associations is watcher.current().associations
    assert "attune retrain" in source.problems()["associations"]


def test_gates_settle_when_there_is_time(tmp_path: Path) -> None:
    put(tmp_path, *LOG[:6])
    tail = Tail(open_store(tmp_path), rebuilt(tmp_path, to=3))
    tail.step()
    assert not tail.live.is_settled
    tail.settle(now_s=0.5)
    assert not tail.live.is_settled
    tail.settle(now_s=100.0)
    assert tail.live.is_settled


def bits(store: AssociationStore) -> list[bytes]:
    """All that answers are made of."""
    overlay = [value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode() for value in store.overlay]
    popular = [store.index.popular_item.tobytes(), store.index.popular_count.tobytes()]
    return [*overlay, *popular, repr(store.item_ids[: store.n_items]).encode()]


def associations_of(source: LiveChampions) -> AssociationStore:
    source._publish()
    live = source.current().associations
    assert live is not None
    return live


def answers_of(*sources: LiveChampions) -> list[list[bytes]]:
    """Bits of each, settled."""
    found = []
    for source in sources:
        for tail in (source._tails or {}).values():
            tail.live.settle()
        found.append(bits(associations_of(source)))
    return found


@pytest.fixture
def replica(crowned: Path, tmp_path: Path) -> Iterator[Callable[[], LiveChampions]]:
    """Makes processes that answer, on one home; they follow when they are told to. The first counts."""
    home, made = copied(crowned, tmp_path / "home"), []

    def begin(**bounds: int) -> LiveChampions:
        watcher = ChampionWatcher(home)
        watcher.refresh()
        made.append(LiveChampions(home, watcher, most=Bounds(**bounds)))
        return made[-1]

    yield begin
    for one in made:
        one._store.lease(associations.LEASE, one._holder, 0)


def caught_up(*sources: LiveChampions) -> None:
    for source in sources:
        while source.follow():
            pass


def test_all_processes_have_the_same_bits_however_late_they_begin(
    replica: Callable[..., LiveChampions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(association_tail, "LEAST_BYTES", 4_000)
    one, two = replica(), replica()
    for k in range(0, 24, 3):
        put(tmp_path / "home", *LOG[k : k + 3], view(f"n{k}", f"new {k}", k, "u"), view(f"l{k}", "lamp", k + 1, "v"))
        caught_up(one)
        if k % 2:
            caught_up(two)
    caught_up(two)
    late = replica()
    caught_up(late)
    ((n_rows,),) = connect(tmp_path / "home").execute("SELECT count(*) FROM association_deltas").fetchall()
    assert n_rows < 8  # sums took the place of deltas
    first, *others = answers_of(one, two, late)
    assert others == [first, first]


def test_what_one_lets_go_all_let_go(replica: Callable[..., LiveChampions], tmp_path: Path) -> None:
    one, two = replica(pairs=200, items=20), replica(pairs=200, items=20)
    put(tmp_path / "home", *LOG)
    caught_up(one, two)
    put(tmp_path / "home", *(view(f"f{k}-{item}", f"{item}{k}", k % 50, f"bot{k}") for k in range(60) for item in "xy"))
    caught_up(one, two)
    put(tmp_path / "home", view("5", "lamp", 55, "w"), view("6", "wick", 56, "w"))
    caught_up(one, two, late := replica())
    first, *others = answers_of(one, two, late)
    assert others == [first, first]
    assert all("were let go" in source.problems()["associations"] for source in (one, two, late))


def test_who_takes_over_counts_on_where_the_one_before_stopped(replica: Callable[..., LiveChampions], tmp_path: Path) -> None:
    one, two = replica(), replica()
    put(tmp_path / "home", *LOG[:12])
    caught_up(one, two)
    one._store.lease(associations.LEASE, one._holder, 0)  # as if it had been killed
    one._counting = None
    two._asked_at_s = float("-inf")
    put(tmp_path / "home", *LOG[12:], view("9", "lamp", 55, "w"), view("10", "wick", 56, "w"))
    caught_up(two, one)
    first, other = answers_of(one, two)
    assert first == other
    assert "wick" in told(associations_of(two), "lamp")


def test_an_erasure_begins_anew_for_all(replica: Callable[..., LiveChampions], tmp_path: Path) -> None:
    one, two = replica(), replica()
    put(tmp_path / "home", view("9", "lamp", 55, "w"), view("10", "wick", 56, "w"))
    caught_up(one, two)
    assert "wick" in told(associations_of(two), "lamp")
    with closing(open_store(tmp_path / "home")) as store:
        store.write(lambda transaction: erase_in_store(transaction, "shop", "w", new_receipt_id(), NOW_US))
    caught_up(one, two)
    first, other = answers_of(one, two)
    assert first == other
    assert associations_of(two).code("wick") == NO_CODE
