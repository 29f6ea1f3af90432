"""The console's doors: who gets where, from which page and by which name; generated from the table of pages."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.console.access import ROLES
from services.console.pages.all import ENTRIES
from tests.services.console.desk import BASE, Desk

TWINS = {entry.path: "/now" if entry.path == "/" else entry.path for entry in ENTRIES}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(tmp_path_factory.mktemp("home"))
    yield made
    made.close()


@pytest.mark.parametrize("role", [None, *ROLES])
def test_every_page_and_twin_is_for_its_roles_only(desk: Desk, role: str | None) -> None:
    client = desk.client(role)
    for entry in ENTRIES:
        wanted = 401 if role is None else 200 if role in entry.roles else 403
        for path in (entry.path, f"{TWINS[entry.path]}.json"):
            assert client.get(path).status_code == wanted, (role, path)
        if wanted != 200:
            assert client.get(f"{TWINS[entry.path]}.csv").status_code == wanted
            assert client.get("/live", params={"page": entry.path}).status_code == wanted
    assert client.get("/reports/file/evaluation.html").status_code == (401 if role is None else 404)


@pytest.mark.parametrize("role", [None, *ROLES])
def test_every_act_is_for_its_roles_only(desk: Desk, role: str | None) -> None:
    for entry in ENTRIES:
        for name, act in entry.acts.items():
            path = f"{TWINS[entry.path]}/do/{name}"
            if role is None:
                assert desk.client().post(path, data={}).status_code == 401
                continue
            assert desk.client(role).post(path, data={"form_token": "forged"}).status_code == 403, "a forged form"
            if role not in act.roles:
                assert desk.post(role, path).status_code == 403, (role, path)
            assert desk.client(role).get(path).status_code == 405


def test_a_form_of_another_session_is_refused(desk: Desk) -> None:
    token = desk.form_token("viewer")
    assert desk.client("admin").post("/weights/do/freeze", data={"form_token": token}).status_code == 403


@pytest.mark.parametrize(
    "origin", ["http://elsewhere.example", "null", f"{BASE}.elsewhere.example", "http://127.0.0.1:3002", ""]
)
def test_another_page_can_send_nothing(desk: Desk, origin: str) -> None:
    form = {"form_token": desk.form_token("admin")}
    for path in ("/weights/do/freeze", "/leave", "/enter"):
        assert desk.client("admin").post(path, data=form, headers={"origin": origin}).status_code == 403
    assert desk.client("admin").get("/weights").status_code == 200


@pytest.mark.parametrize("host", ["elsewhere.example", "127.0.0.1", "127.0.0.1:80", "attacker.example:3001", ""])
def test_another_name_that_leads_here_is_refused(desk: Desk, host: str) -> None:
    for path in ("/", "/enter", "/static/live.js", "/livez"):
        assert desk.client("admin").get(path, headers={"host": host}).status_code == 421


def test_cookies_and_headers_are_strict(desk: Desk) -> None:
    from services.console import access
    from tests.services.console.desk import now_us

    answer = desk.client().post(f"/enter/{access.add(desk.home, 'new', 'viewer', now_us())}")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    desk.client().cookies.clear()
    page = desk.client("viewer").get("/")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe-eval" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-frame-options"] == "DENY"


def test_too_much_and_odd_methods_are_refused(desk: Desk) -> None:
    client = desk.client("admin")
    assert client.post("/enter", content=b"x" * 70_000).status_code == 413
    assert client.put("/weights", content=b"").status_code == 405
    assert client.get("/static/console.py").status_code == 404
    for path in ("..%2fattune.db", "..%2f..%2fetc%2fpasswd", "latest%2f..%2f..%2fsecret.key", "x.py"):
        assert client.get(f"/reports/file/{path}").status_code == 404


def test_signing_out_ends_the_session(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    client = desk.client("viewer")
    assert client.get("/").status_code == 200
    kept = dict(client.cookies)
    assert desk.post("viewer", "/leave").headers["location"] == "/enter"
    client.cookies.update(kept)
    assert client.get("/").status_code == 401
    desk.close()


def test_the_sign_in_page_says_what_to_do(desk: Desk) -> None:
    nobody = desk.client()
    assert "attune operator add" in nobody.get("/").text
    assert nobody.post("/enter", data={"name": "nobody", "password": "a long password"}).status_code == 401
    assert nobody.get("/enter/forged").status_code == 410
    for _ in range(5):
        nobody.post("/enter", data={"name": "eve", "password": "guess"})
    answer = nobody.post("/enter", data={"name": "eve", "password": "guess"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
