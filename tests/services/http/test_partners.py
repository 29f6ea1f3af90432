"""Keys: shown once, hashed at rest, refused at once when revoked."""

from pathlib import Path
from typing import Any

import apsw
import pytest

from infra import layout
from infra.store.embedded.store import EmbeddedStore
from services.http import partners
from tests.stores import embedded_only

NOW_US = 1_800_000_000_000_000


def test_a_new_key_is_known_and_not_stored(tmp_path: Path) -> None:
    key = partners.add(tmp_path, "shop", NOW_US)
    caller = partners.Keys(tmp_path).authenticate(key, NOW_US / 1e6)
    assert caller is not None
    assert (caller.partner, caller.kind, "recommendations:read" in caller.scopes) == ("shop", "sk", True)
    assert key.encode() not in b"".join(p.read_bytes() for p in tmp_path.glob(f"{layout.STORE}*"))


def test_a_browser_key_may_only_send_events(tmp_path: Path) -> None:
    caller = partners.Keys(tmp_path).authenticate(partners.add(tmp_path, "shop", NOW_US, "pk"), NOW_US / 1e6)
    assert caller is not None
    assert caller.scopes == {"events:write"}


def test_a_revoked_key_is_refused_by_a_running_service(tmp_path: Path) -> None:
    key = partners.add(tmp_path, "shop", NOW_US)
    keys = partners.Keys(tmp_path, check_s=0)
    assert keys.authenticate(key, NOW_US / 1e6) is not None
    assert partners.revoke(tmp_path, "shop", NOW_US) == 1
    assert keys.authenticate(key, NOW_US / 1e6) is None


def test_rotation_keeps_the_old_key_for_a_day(tmp_path: Path) -> None:
    old = partners.add(tmp_path, "shop", NOW_US)
    new = partners.rotate(tmp_path, "shop", NOW_US)
    keys = partners.Keys(tmp_path, check_s=0)
    soon, later = NOW_US / 1e6 + 60, NOW_US / 1e6 + partners.ROTATION_OVERLAP_S + 1
    assert [keys.authenticate(k, soon) is not None for k in (old, new)] == [True, True]
    assert [keys.authenticate(k, later) is not None for k in (old, new)] == [False, True]


def test_rotation_keeps_scopes_and_limit_of_the_newest_key(tmp_path: Path) -> None:
    partners.add(tmp_path, "shop", NOW_US, scopes=["events:write", "catalog:write"], requests_per_minute=7)
    caller = partners.Keys(tmp_path).authenticate(partners.rotate(tmp_path, "shop", NOW_US), NOW_US / 1e6)
    assert caller is not None
    assert (caller.scopes, caller.requests_per_minute) == (frozenset({"events:write", "catalog:write"}), 7)


@embedded_only("the driver's trace fails")
def test_keys_known_before_stay_valid_while_the_store_cannot_be_read(tmp_path: Path) -> None:
    key = partners.add(tmp_path, "shop", NOW_US)
    keys = partners.Keys(tmp_path, check_s=0)
    assert keys.authenticate(key, NOW_US / 1e6) is not None
    partners.revoke(tmp_path, "shop", NOW_US)
    store = keys._store
    assert isinstance(store, EmbeddedStore)
    store.connection.exec_trace = full
    assert keys.authenticate(key, NOW_US / 1e6) is not None
    store.connection.exec_trace = full
    assert keys.authenticate("sk_wrong", NOW_US / 1e6) is None


def full(cursor: apsw.Cursor, text: str, bindings: Any) -> bool:
    """A disk that cannot be used."""
    raise apsw.FullError("disk full")


def test_unknown_partners_and_bad_names_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="no partner called"):
        partners.rotate(tmp_path, "nobody", NOW_US)
    with pytest.raises(ValueError, match="letters, digits"):
        partners.add(tmp_path, "a b", NOW_US)


def test_the_listing_shows_hints_only(tmp_path: Path) -> None:
    key = partners.add(tmp_path, "shop", NOW_US)
    (row,) = partners.listing(tmp_path)
    assert (row["partner"], row["hint"]) == ("shop", key[:7])
    assert key not in str(row)


def test_a_key_made_after_all_were_revoked_may_do_no_more_than_the_last_one(tmp_path: Path) -> None:
    partners.add(tmp_path, "shop", NOW_US, scopes=["events:write"])
    partners.revoke(tmp_path, "shop", NOW_US)
    caller = partners.Keys(tmp_path).authenticate(partners.rotate(tmp_path, "shop", NOW_US), NOW_US / 1e6)
    assert caller is not None
    assert caller.scopes == {"events:write"}
