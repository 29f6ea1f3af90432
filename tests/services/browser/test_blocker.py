"""A blocker's engine with generic rules stops none of our addresses, but what trackers are known by."""

import re

import pytest

from services.beacon.files import DIST
from tests.services.browser.house import stopped_by_a_blocker

SHOP = "https://shop.example"
TRACKERS = (
    ("script", "/analytics.js"), ("script", "/js/matomo.js?v=4"), ("script", "/beacon.js"), ("script", "/s/tracker.min.js"),
    ("xmlhttprequest", "/api/event"), ("xmlhttprequest", "/v1/track"), ("xmlhttprequest", "/collect?v=2&tid=G-1"),
    ("image", "/pixel.gif?e=view"), ("ping", "/beacon/visits"),
)  # fmt: skip


def asked(kind: str, path: str, of: str = SHOP) -> dict[str, str]:
    return {"url": of + path, "sourceUrl": f"{SHOP}/item/sku-9", "type": kind}


def ours() -> list[tuple[str, str]]:
    """What the script asks for, and the script itself, by the names that the beacon's page gives a shop."""
    calls = sorted(set(re.findall(r'"(/v1/\w+)"', (DIST / "attune.js").read_text())))
    assert calls == ["/v1/page", "/v1/visits"]
    return [("script", "/attune/attune.js"), ("script", "/attune/attune.mjs")] + [
        (kind, f"/attune{call}") for call in calls for kind in ("xmlhttprequest", "ping")
    ]


def test_nothing_of_ours_is_stopped_on_a_shops_own_address() -> None:
    assert dict(zip(ours(), stopped_by_a_blocker([asked(*one) for one in ours()]), strict=True)) == dict.fromkeys(ours())


def test_elsewhere_only_what_the_script_does_not_use_is_stopped() -> None:
    stopped = stopped_by_a_blocker([asked(*one, of="https://attune.example") for one in ours()])
    assert {kind for (kind, _), rule in zip(ours(), stopped, strict=True) if rule} == {"ping"}, "sendBeacon's kind"


@pytest.mark.parametrize("of", [SHOP, "https://elsewhere.example"])
def test_the_rules_stop_what_trackers_are_known_by(of: str) -> None:
    stopped = stopped_by_a_blocker([asked(*one, of=of) for one in TRACKERS])
    assert [one for one, rule in zip(TRACKERS, stopped, strict=True) if not rule] == []
