"""`attune signals uplift`: the readout of what the store holds."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.store.engines import open_writer
from infra.store.statements.signals import ADD_HELD_OUT, ADD_SIGNAL, PUT_POLICY
from models.events.rules import to_row
from models.experiments.uplift import UpliftParams
from models.schema import DAY_US, SIGNAL_TYPES
from services import commands
from services.signals import uplift
from tests.stores import connect
from tests.waiting import PATIENCE_S

T0_US = 1_790_000_000_000_000
FEW = UpliftParams(min_users=2, min_conversions=1)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Three users sent discounts of 2.0, three held out, one in both groups; two of each bought, one of them too late."""
    store = connect(tmp_path)
    store.execute(PUT_POLICY, ("shop", '{"holdout_share": 0.5}', 1))
    told = ("offer_discount", '{"offer_id": "two", "amount": 2.0}', 0.5, "leave")
    for n, user in enumerate(("s1", "s2", "s3", "both")):
        store.execute(ADD_SIGNAL, (f"sig_{n}", "shop", user, 1, *told, n, T0_US, 0))
    for n, user in enumerate(("h1", "h2", "h3", "both")):
        store.execute(ADD_HELD_OUT, ("shop", user, *told, n, T0_US, 0))
    writer = open_writer(tmp_path, lambda: T0_US)
    for user, day, price in (("s1", 1, 10.0), ("s2", 2, 20.0), ("h1", 1, 12.0), ("h2", 8, 99.0), ("both", 1, 99.0)):
        ts = f"2026-09-{21 + day:02}T15:00:00Z"
        event = {"event_id": f"{user}-{day}", "type": "purchase", "item_id": "sku", "price": price, "ts": ts}
        writer.append("shop", [to_row(event, user)]).result(PATIENCE_S)
    writer.close()
    return tmp_path


def test_users_count_from_their_first_signal_for_a_window(home: Path) -> None:
    (found,) = uplift.of_home(home, None, 0, FEW)
    assert (found["partner"], found["switched"]) == ("shop", 1)
    assert found["users"] == {"sent": 3, "held_out": 3, "bought": 3}
    revenue = found["measures"]["net_revenue_per_user"]
    assert revenue["held_out"] == pytest.approx(12 / 3)
    assert revenue["sent"] == pytest.approx((10 + 20 - 2 - 2) / 3, rel=0.02)  # the dearest purchase is capped a little
    assert found["verdict"] == "no uplift"
    assert set(found["by_signal"]) == {"offer_discount"} < set(SIGNAL_TYPES)


def test_older_first_signals_are_left_out(home: Path) -> None:
    assert uplift.of_home(home, "shop", T0_US + DAY_US, FEW)[0]["users"] == {"sent": 0, "held_out": 0, "bought": 0}


def test_the_command_says_so_in_words_and_in_json(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_HOME", str(home))
    said = CliRunner().invoke(commands.app, ["signals", "uplift"])
    assert said.exit_code == 0
    assert said.stdout.startswith("shop: not enough data: 3 sent, 3 held out, 3 bought")
    (found,) = json.loads(CliRunner().invoke(commands.app, ["signals", "uplift", "--partner", "shop", "--json"]).stdout)
    assert found["verdict"] == found["discounts"]["verdict"] == "not enough data"
    missing = CliRunner().invoke(commands.app, ["signals", "uplift", "--partner", "nobody"])
    assert isinstance(missing.exception, KeyError)
