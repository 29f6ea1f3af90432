"""A request that fails counts for the variant that its visitor was dealt, and the readout names the variant that breaks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from flows.commands import app as command_line
from infra import layout
from infra.secret import secret
from infra.settings import Settings
from models.events.identity import partner_key, pseudonym
from models.experiments.assignment import DYNAMIC_VS_STATIC, assign
from models.weight_profile import HEURISTIC
from services.api.app import build_app
from services.api.collaborators import Unobserved
from services.http.guard import AdmitAll
from services.serving.features import NoFeatures
from services.serving.model_watch import ChampionWatcher
from tests.fixed_models import FixedModels
from tests.stores import connect

NOW_US = 1_763_719_200_000_000  # 2025-11-21T10:00:00Z
CANARY = "canary-user-7f3a"
EVENT = {"type": "item_view", "item_id": "sku-00001", "ts": "2025-11-21T09:59:00Z"}
BROKEN = HEURISTIC._replace(factors=np.ones((1, 1)))  # of another shape than intents and event types


class Promoted(FixedModels):
    """The champions of a home, whose weights are exchanged while the service runs."""

    def __init__(self, home: Path) -> None:
        watcher = ChampionWatcher(home)
        watcher.refresh()
        super().__init__(watcher.current())


class Counted(Unobserved):
    """Remembers what went on record."""

    def __init__(self) -> None:
        self.decisions: dict[str, int] = {}

    def decided(self, status: str, n: int) -> None:
        self.decisions[status] = self.decisions.get(status, 0) + n


def failures(home: Path) -> list[tuple[Any, ...]]:
    columns = "partner, user_id, failed_at_us, experiment, variant, error"
    found: list[Any] = connect(home).execute(f"SELECT {columns} FROM failed_decisions ORDER BY seq").fetchall()
    return found


def test_a_variant_whose_profile_breaks_is_named(crowned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    champions, users = Promoted(crowned), [CANARY, *(f"u-{k}" for k in range(59))]
    key = partner_key(secret(crowned), "local")
    dealt = {user: assign(DYNAMIC_VS_STATIC, pseudonym(key, user)) for user in users}
    counted = Counted()
    app = build_app(
        Settings(home=crowned), authenticator=AdmitAll(), online=NoFeatures(), champions=champions, now_us=lambda: NOW_US,
        observer=counted,
    )  # fmt: skip
    with TestClient(app) as client:
        champions.now = replace(champions.now, weights=BROKEN)
        for user in users:
            answer = client.post("/v1/recommendations", json={"user_id": user, "session_data": {"events": [EVENT]}})
            assert answer.status_code == (500 if dealt[user] == "dynamic" else 200)
        unwilling = {"events": [EVENT], "context": {"consent": False}}
        for user in users:
            client.post("/v1/recommendations", json={"user_id": f"{user}-unwilling", "session_data": unwilling})
        assert client.post("/v1/recommendations", json={"user_id": ""}).status_code == 422  # the caller's fault, not ours

    dynamic = [user for user in users if dealt[user] == "dynamic"]
    assert failures(crowned) == [
        ("local", pseudonym(key, user), NOW_US, "dynamic_vs_static", "dynamic", "ValueError") for user in dynamic
    ]
    assert counted.decisions == {"logged": len(users) - len(dynamic), "failed": len(dynamic)}
    for path in crowned.glob(f"{layout.STORE}*"):
        assert CANARY.encode() not in path.read_bytes()

    monkeypatch.setenv("ATTUNE_HOME", str(crowned))
    report = json.loads(CliRunner().invoke(command_line, ["experiment", "report", "--json"]).stdout)
    assert report["verdict"] == "not enough data; guardrail: error_rate worse with dynamic"
    assert report["visitors"] == {"dynamic": len(dynamic), "static": len(users) - len(dynamic)}
    errors = report["guardrails"]["error_rate"]
    assert [errors["variants"][variant]["mean"] for variant in ("dynamic", "static")] == [1.0, 0.0]
    said = CliRunner().invoke(command_line, ["experiment", "report"]).stdout
    assert f"failed: dynamic {len(dynamic)} of {len(dynamic)} requests" in said
