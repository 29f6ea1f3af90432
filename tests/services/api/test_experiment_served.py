"""The experiment's life, as visitors are served: a split that was started, what was shipped, and under which name it counts."""

from pathlib import Path

from starlette.testclient import TestClient

from infra import experiments
from infra.settings import Settings
from services.api.app import build_app
from services.local_keys import local_key
from tests.waiting import until

WHY = {"actor": "ada", "reason": "because"}


def test_services_follow_the_run(tmp_path: Path) -> None:
    client = TestClient(build_app(Settings(home=tmp_path)), headers={"authorization": f"Bearer {local_key(tmp_path)}"})

    def ask(user: str) -> dict[str, str]:
        told: dict[str, str] = client.post("/v1/recommendations", json={"user_id": user, "limit": 1}).json()["experiment"]
        return told

    users = [f"u-{k}" for k in range(30)]
    assert {ask(user)["name"] for user in users} == {"dynamic_vs_static"}
    assert {ask(user)["variant"] for user in users} == {"dynamic", "static"}
    experiments.start(tmp_path, 0.99, **WHY)
    until(lambda: ask("u-1")["name"] == "dynamic_vs_static.2")
    assert sum(ask(user)["variant"] == "dynamic" for user in users) >= 27
    experiments.ship(tmp_path, "static", **WHY)
    until(lambda: ask("u-1")["name"] == "dynamic_vs_static.2.shipped")
    assert {ask(user)["variant"] for user in users} == {"static"}
