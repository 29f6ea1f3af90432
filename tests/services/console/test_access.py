"""Access to the console: links, passwords, sessions, roles."""

from pathlib import Path

import pytest

from infra.store.engines import closed_store, open_store, server
from services.console import access
from services.console.access import FREE_TRIES, LINK_S, SESSION_S, Doorkeeper
from tests.services.console.desk import Desk


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> int:
        return int(self.now_s * 1e6)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keeper(tmp_path: Path, clock: Clock) -> Doorkeeper:
    return Doorkeeper(closed_store(tmp_path), clock)


def test_a_link_lets_in_once_and_for_a_quarter_of_an_hour(tmp_path: Path, keeper: Doorkeeper, clock: Clock) -> None:
    token = access.add(tmp_path, "ada", "ml", clock())
    assert keeper.by_link(token) == ("ada", "ml", "")
    session, person = keeper.enter_by_link(token) or ("", None)
    assert person is not None
    assert (person.name, person.role) == ("ada", "ml")
    assert keeper.enter_by_link(token) is None
    late = access.add(tmp_path, "ada", "ml", clock())
    clock.now_s += LINK_S
    assert keeper.enter_by_link(late) is None
    assert keeper.known(session) is not None
    clock.now_s += SESSION_S
    assert keeper.known(session) is None


def test_a_password_opens_and_a_wrong_one_has_to_wait_longer_each_time(
    tmp_path: Path, keeper: Doorkeeper, clock: Clock
) -> None:
    token = access.add(tmp_path, "ada", "viewer", clock())
    with pytest.raises(ValueError, match="10 to 200"):
        keeper.enter_by_link(token, "short")
    keeper.enter_by_link(token, "a long password")
    assert keeper.enter("ada", "a long password") is not None
    for _ in range(FREE_TRIES):
        assert keeper.enter("ada", "wrong password") is None
    assert keeper.waits_s("ada") == 2.0
    assert keeper.enter("ada", "a long password") is None
    clock.now_s += 2.0
    assert keeper.enter("ada", "wrong password") is None
    assert keeper.waits_s("ada") == 4.0
    clock.now_s += 4.0
    assert keeper.enter("ada", "a long password") is not None
    assert keeper.waits_s("ada") == 0.0
    assert keeper.enter("nobody", "a long password") is None


def test_who_is_revoked_is_out_at_once(tmp_path: Path, keeper: Doorkeeper, clock: Clock) -> None:
    token = access.add(tmp_path, "ada", "admin", clock())
    session, _ = keeper.enter_by_link(token, "a long password") or ("", None)
    another = access.add(tmp_path, "ada", "admin", clock())
    access.revoke(tmp_path, "ada", clock())
    assert keeper.known(session) is None
    assert keeper.by_link(another) is None
    assert keeper.enter("ada", "a long password") is None
    with pytest.raises(KeyError, match="operator list"):
        access.revoke(tmp_path, "ada", clock())


def test_nothing_secret_is_kept_as_it_is(tmp_path: Path, keeper: Doorkeeper, clock: Clock) -> None:
    token = access.add(tmp_path, "ada", "admin", clock())
    session, _ = keeper.enter_by_link(token, "a long password") or ("", None)
    open_store(tmp_path).scrub()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("attune.db*"))
    for secret in (token, session, "a long password"):
        assert secret.encode() not in kept


@pytest.mark.parametrize(("name", "role"), [("", "viewer"), ("a b", "viewer"), ("ada", "root"), ("x" * 65, "viewer")])
def test_names_and_roles_are_looked_at(tmp_path: Path, name: str, role: str) -> None:
    with pytest.raises(ValueError, match=r"operator.s name|role is one of"):
        access.add(tmp_path, name, role, 0)


def test_the_audit_tells_when_it_was_altered(tmp_path: Path, keeper: Doorkeeper, clock: Clock) -> None:
    for name in ("ada", "bob", "cyd"):
        access.add(tmp_path, name, "viewer", clock())
    store = open_store(tmp_path)
    assert [row["subject"] for row in access.audited(store.read)[0]] == ["ada", "bob", "cyd"]
    assert access.audited(store.read)[1] is None
    dropped = f"DROP TRIGGER console_audit_no_update{' ON console_audit' if server(tmp_path) else ''}"
    store.write(lambda transaction: transaction.execute(dropped))
    store.write(lambda transaction: transaction.execute("UPDATE console_audit SET subject = 'eve' WHERE id = 2"))
    assert access.audited(store.read)[1] == 1


def test_a_proxy_in_front_may_name_who_it_is(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "x-operator")
    access.add(tmp_path, "ada", "viewer", 1)
    nobody = desk.client()
    assert nobody.get("/weights", headers={"x-operator": "ada"}).status_code == 200
    assert nobody.get("/weights", headers={"x-operator": "eve"}).status_code == 401
    assert Desk(tmp_path).client().get("/weights", headers={"x-operator": "ada"}).status_code == 401
    desk.close()
