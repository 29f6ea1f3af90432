"""What requests leave for a time is forgotten after it."""

from pathlib import Path

from infra.store.engines import open_store
from infra.store.statements.decisions import KEEP_SNAPSHOT
from infra.store.statements.idempotency import KEEP_ANSWER
from infra.store.statements.quarantine import QUARANTINE_ROW, REJECTED_SOURCE
from infra.store.statements.trust import KEEP_ADMITTED, KEEP_ITEM, KEEP_VISITOR
from models.events.rejected import stand_in
from services.worker.cleanup import SNAPSHOTS_KEPT, CleanupDuty
from tests.services.receivers import OLD_SECRET, SEALS, SECRET, subscribe
from tests.stores import connect, embedded_only

DAY_US = 86_400_000_000
NOW_US = 1_795_255_200_000_000


def test_only_what_is_old_enough_is_removed(tmp_path: Path) -> None:
    connection = connect(tmp_path)
    for age_us in (0, DAY_US - 1, DAY_US + 1):
        connection.execute(KEEP_ANSWER, ("shop", str(age_us), "f", 202, b"{}", NOW_US - age_us))
    for source, age in ((REJECTED_SOURCE, 13), (REJECTED_SOURCE, 15), ("old.csv", 15)):
        row = ("shop", source, "attune", 1, "{}", "why", f"{source}{age}", NOW_US - age * DAY_US)
        connection.execute(QUARANTINE_ROW, row)
    cleanup = CleanupDuty(open_store(tmp_path), lambda _: bytes(32), SEALS)
    assert cleanup.step(NOW_US) == 2
    assert cleanup.step(NOW_US) == 0
    assert connection.execute("SELECT count(*) FROM idempotent_answers").fetchall() == [(2,)]
    kept = connection.execute("SELECT source, (? - quarantined_at_us) / ? FROM quarantine ORDER BY id", (NOW_US, DAY_US))
    assert kept.fetchall() == [(REJECTED_SOURCE, 13), ("old.csv", 15)]


def test_counters_of_trust_go_with_their_day_and_items_that_few_came_to_after_a_month(tmp_path: Path) -> None:
    connection, today = connect(tmp_path), NOW_US // DAY_US
    for age in (0, 1, 2):
        connection.execute(KEEP_VISITOR, (f"u{age}", today - age, 1))
        connection.execute(KEEP_ADMITTED, (today - age, "shop", "key 1", 1, 0))
    for item, is_known, age in (("new", 0, 30), ("old", 0, 31), ("known", 1, 99)):
        connection.execute(KEEP_ITEM, ("shop", item, "", is_known, today - age))
    assert CleanupDuty(open_store(tmp_path), lambda _: bytes(32), SEALS).step(NOW_US) == 3
    assert connection.execute("SELECT user_id FROM trust_visitors ORDER BY 1").fetchall() == [("u0",), ("u1",)]
    assert connection.execute("SELECT item_id FROM trust_items ORDER BY 1").fetchall() == [("known",), ("new",)]


@embedded_only("no such line was ever kept on a server")
def test_texts_that_an_early_version_kept_go(tmp_path: Path) -> None:
    connection = connect(tmp_path)
    texts = ('{"user_id": "u-canary", broken', "u-canary;i-1", '{"type":"dance"}', stand_in("already gone", bytes(32)))
    for text in texts:
        connection.execute(QUARANTINE_ROW, ("shop", "old.csv", "attune", 1, text, "why", text, NOW_US))
    cleanup = CleanupDuty(open_store(tmp_path), lambda _: bytes(32), SEALS)
    assert [cleanup.step(NOW_US) for _ in range(3)] == [2, 0, 0]
    kept = [raw for (raw,) in connection.execute("SELECT raw FROM quarantine ORDER BY id")]
    assert kept == [*(stand_in(text, bytes(32)) for text in texts[:2]), *texts[2:]]


def test_secrets_that_were_kept_in_clear_are_sealed_and_leave_no_file(tmp_path: Path) -> None:
    connection = connect(tmp_path)
    subscribe(connection, "s", "https://shop.example/in")
    connection.execute("UPDATE subscriptions SET previous_secret = ?", (OLD_SECRET,))
    cleanup = CleanupDuty(open_store(tmp_path), lambda _: bytes(32), SEALS)
    assert [cleanup.step(NOW_US) for _ in range(2)] == [1, 0]
    ((now, before),) = connection.execute("SELECT secret, previous_secret FROM subscriptions").fetchall()
    assert (SEALS.opened("s", now), SEALS.opened("s", before)) == (SECRET, OLD_SECRET)
    assert not [path.name for path in tmp_path.iterdir() if SECRET.encode() in path.read_bytes()]


def test_of_the_snapshots_of_the_bandit_the_newest_stay(tmp_path: Path) -> None:
    connection = connect(tmp_path)
    connection.executemany(KEEP_SNAPSHOT, [("{}", 0, NOW_US)] * (SNAPSHOTS_KEPT + 3)).fetchall()
    cleanup = CleanupDuty(open_store(tmp_path), lambda _: bytes(32), SEALS)
    assert [cleanup.step(NOW_US) for _ in range(2)] == [3, 0]
    kept = connection.execute("SELECT min(version), max(version), count(*) FROM profile_snapshots").fetchall()
    assert kept == [(4, SNAPSHOTS_KEPT + 3, SNAPSHOTS_KEPT)]
