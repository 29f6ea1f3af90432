"""What a service compiles or loads, it does before it is ready."""

import subprocess
import sys
from pathlib import Path

ASK = """
import sys
from pathlib import Path

from numba.core.dispatcher import Dispatcher
from starlette.testclient import TestClient

from infra.settings import Settings
from models.schema import EVENT_TYPES
from services.api.app import build_app
from services.http.guard import AdmitAll


def compiled() -> set[tuple[str, str]]:
    ours = [module for name, module in sys.modules.items() if name.startswith("models.")]
    kernels = {id(one): one for module in ours for one in vars(module).values() if isinstance(one, Dispatcher)}
    return {(one.py_func.__qualname__, str(signature)[:90]) for one in kernels.values() for signature in one.signatures}


app = build_app(Settings(home=Path(sys.argv[1])), authenticator=AdmitAll())
with TestClient(app) as client:
    before = compiled()
    events = [
        {"type": kind, "ts": f"2025-11-21T09:{minute:02d}:00Z", "item_id": f"sku-{minute:05d}", "category": "c-1"}
        for minute, kind in enumerate(EVENT_TYPES, 1)
    ]
    body = {"user_id": "u", "session_data": {"context": {"timezone": "Europe/Berlin"}, "events": events}}
    for more in ({}, {"explain": True}, {"ranker": True}, {"exclude_seen": True, "goal": "view"}, {"item_id": "sku-00003"}):
        for user in ("u", "u-1", "u-2", "u-3"):
            assert client.post("/v1/recommendations", json={**body, **more, "user_id": user}).status_code == 200
    assert client.post("/v1/engagement", json=body).status_code == 200
    print(sorted(compiled() - before))
"""


def test_no_request_waits_for_a_compiler(crowned: Path) -> None:
    told = subprocess.run([sys.executable, "-c", ASK, str(crowned)], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"
