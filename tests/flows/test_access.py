"""Prefect's server is for us only: the requests of a web page of elsewhere, replayed, run nothing."""

import base64
import http.client
import json
import stat
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from flows import access
from flows.server import Server

SHELL = {"pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "touch PWNED"}}]}
SOME_ID = "00000000-0000-4000-8000-000000000000"
CHANGES = [
    ("POST", "/api/deployments/filter", {}),
    ("POST", "/api/flows/", {"name": "f"}),
    ("POST", "/api/deployments/", {"name": "d", "flow_id": SOME_ID, **SHELL}),
    ("PATCH", f"/api/deployments/{SOME_ID}", SHELL),
    ("POST", f"/api/deployments/{SOME_ID}/create_flow_run", {}),
    ("DELETE", f"/api/deployments/{SOME_ID}", {}),
]


def sent(server: Server, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer; `Host` and all others as given."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    names = {"Host": f"127.0.0.1:{server.port}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, None if body is None else json.dumps(body), names | {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}


def signed_in(server: Server) -> str:
    return f"Basic {base64.b64encode(server.secret.encode()).decode()}"


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_a_page_of_elsewhere_changes_nothing_and_is_allowed_nothing(
    prefect_server: Server, method: str, path: str, body: Any
) -> None:
    evil = "https://evil.example"
    refused = [
        sent(prefect_server, method, path, body, Origin=evil),
        sent(prefect_server, method, path, body, Origin="null"),
        sent(prefect_server, method, path, body),
        sent(prefect_server, method, path, body, Authorization="Basic YXR0dW5lOmd1ZXNzZWQ="),
        sent(prefect_server, method, path, body, Host=f"evil.example:{prefect_server.port}"),
        sent(prefect_server, method, path, body, Host="127.0.0.1:1", Authorization=signed_in(prefect_server)),
        sent(prefect_server, method, path, body, Origin=evil, Authorization=signed_in(prefect_server)),
        sent(prefect_server, method, path, body, Authorization=signed_in(prefect_server)),  # without a token
        sent(prefect_server, "OPTIONS", path, Origin=evil, Access_Control_Request_Method=method),
    ]
    assert {status for status, _ in refused} <= {401, 403}
    assert not any("access-control-allow-origin" in headers for _, headers in refused)


def test_without_the_secret_nothing_can_be_read_but_that_it_is_alive(prefect_server: Server) -> None:
    for path in (
        "/api/csrf-token?client=a",
        "/api/admin/settings",
        "/api/admin/version",
        "/api/version",
        "/api/collections/views/x",
    ):
        assert sent(prefect_server, "GET", path)[0] == 401, path
    assert sent(prefect_server, "GET", "/api/health")[0] == 200
    assert sent(prefect_server, "GET", "/api/health", Host="evil.example")[0] == 403


def test_web_sockets_are_refused_to_pages_of_elsewhere(prefect_server: Server) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    upgrade |= {"Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec_WebSocket_Protocol": "prefect"}
    for path in ("/api/events/in", "/api/events/out", "/api/logs/out"):
        assert sent(prefect_server, "GET", path, **upgrade, Origin="https://evil.example")[0] == 403
        assert sent(prefect_server, "GET", path, **upgrade, Host="evil.example")[0] == 403


def test_with_the_secret_it_works_from_our_own_pages_too(prefect_server: Server) -> None:
    assert access.post(prefect_server.url, "deployments/filter", {}, prefect_server.secret) == []
    own = f"http://localhost:{prefect_server.port}"
    status, headers = sent(prefect_server, "OPTIONS", "/api/flows/", Origin=own, Access_Control_Request_Method="POST")
    assert (status, headers["access-control-allow-origin"]) == (200, own)
    with pytest.raises(HTTPError, match="401"):
        access.post(prefect_server.url, "deployments/filter", {}, None)


def test_a_secret_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "auth"
    assert access.kept(path) is None
    path.write_text("of before")
    path.chmod(0o644)
    secret = access.new_secret()
    access.keep(path, secret)
    assert (access.kept(path), stat.S_IMODE(path.stat().st_mode)) == (secret, 0o600)
    assert access.new_secret() != secret
