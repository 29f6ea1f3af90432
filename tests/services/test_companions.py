"""Companions of `attune up`: who starts beside it, where, and with which keys."""

import socket
import time
from pathlib import Path

import pytest

from services import companions
from services.http import partners
from services.local_keys import DEMO, local_key, page_key, service_url
from services.processes import stop


def test_nothing_starts_where_nothing_is_wanted(tmp_path: Path) -> None:
    assert companions.start(tmp_path, tmp_path / "logs", 3000, "http://127.0.0.1:3000", ()) == ([], {})


def test_a_port_that_is_taken_is_no_reason_not_to_start(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        children, addresses = companions.start(
            tmp_path, tmp_path / "logs", taken.getsockname()[1] - 2, "http://127.0.0.1:9", {"shop"}
        )
        stop(children)
        assert not addresses["shop"].endswith(f":{taken.getsockname()[1]}")


def test_the_demo_shop_has_keys_of_its_own_which_stay(tmp_path: Path) -> None:
    origins = ["http://127.0.0.1:3002"]
    key = page_key(tmp_path, origins)
    assert page_key(tmp_path, origins) == key
    assert page_key(tmp_path, ["http://127.0.0.1:3003"]) != key
    caller = partners.Keys(tmp_path).authenticate(key, time.time())
    assert caller is not None
    assert (caller.partner, caller.kind, caller.origins) == (DEMO, "pk", frozenset(origins))
    assert local_key(tmp_path, DEMO) != local_key(tmp_path)


def test_without_a_service_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="attune up"):
        service_url(tmp_path)
