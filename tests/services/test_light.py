"""A service stays light: it loads no library that only learning or files need, whatever it is asked."""

import os
import subprocess
import sys
from pathlib import Path

from tests.tree import ROOT

LEARNING = ("pandas", "pyarrow", "lightgbm", "scipy.special", "scipy.optimize", "scipy.linalg", "scipy.sparse", "scipy.stats")
HEAVY = (*LEARNING, "feast", "prefect", "great_expectations", "aiohttp")
SERVED = f"""
import sys, time
from pathlib import Path

import services.service
services.service.without_blas()
from infra.settings import Settings
from services.api.app import build_app
from services.api.wire import EXAMPLE_SESSION
from services.http.guard import AdmitAll
from starlette.testclient import TestClient

app = build_app(Settings(home=Path(sys.argv[1])), authenticator=AdmitAll())
visit = {{"user_id": "u", "session_data": EXAMPLE_SESSION}}
event = {{"event_id": "e", "user_id": "u", "type": "item_view", "item_id": "new", "ts": "2026-11-27T10:00:00Z"}}
with TestClient(app) as door:
    for path, body in {{
        "recommendations": {{**visit, "explain": True}}, "intent": {{"session_data": EXAMPLE_SESSION}}, "engagement": visit,
        "events": {{"events": [event, {{"event_id": "no"}}]}},
    }}.items():
        assert door.post(f"/v1/{{path}}", json=body).status_code in (200, 202), path
    for _ in range(300):
        if app.shared.champions.current().associations.built_to_seq:
            break
        time.sleep(0.1)
    print(app.shared.champions.current().associations.code("new") >= 0, [m for m in {HEAVY} if m in sys.modules])
"""


def test_a_service_that_answers_and_follows_the_log_loads_no_library_of_learning(crowned: Path) -> None:
    given = {**os.environ, "ATTUNE_HOME": str(crowned)}
    run = subprocess.run([sys.executable, "-c", SERVED, crowned], capture_output=True, text=True, cwd=ROOT, env=given)
    assert run.stdout.splitlines()[-1:] == ["True []"], run.stderr
