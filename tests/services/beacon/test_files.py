"""The beacon's files: what is committed is what is built, small, in our own words, and served to every page."""

import gzip
import json
import shlex
import subprocess
from pathlib import Path

import pytest

from models.events.names import NAMES
from models.schema import EVENT_TYPES, MEASURES
from services.beacon import vocabulary
from services.beacon.files import DIST
from tests.services.shop_door import Service, service

__all__ = ["service"]

WEB = DIST.parent
ESBUILD = WEB / "node_modules" / ".bin" / "esbuild"
MOST_BYTES = 6 * 1024


def test_the_script_is_small_and_asks_for_nothing_that_a_strict_page_forbids() -> None:
    script = (DIST / "attune.js").read_bytes()
    assert len(gzip.compress(script, 9, mtime=0)) <= MOST_BYTES
    for word in (b"eval(", b"new Function", b"innerHTML", b"document.write", b'"unload"', b"EventSource", b"document.cookie"):
        assert word not in script, word
    assert b"://" not in script


def test_the_sources_are_short_and_the_lock_names_no_host() -> None:
    sources = list((WEB / "src").glob("*.js"))
    assert len(sources) >= 9
    assert {p.name: n for p in sources if (n := len(p.read_text().splitlines())) > 200} == {}
    lock = (WEB / "package-lock.json").read_text()
    assert "://" not in lock
    assert json.loads(lock)["packages"]["node_modules/esbuild"]["version"] == "0.28.2"


def test_names_and_types_are_those_of_the_schema() -> None:
    assert vocabulary.MODULE.read_text() == vocabulary.module()
    assert vocabulary.TYPES.read_text() == vocabulary.declarations()
    assert all(f'"{name}"' in vocabulary.declarations() for name in EVENT_TYPES)
    assert set(MEASURES) < set(vocabulary.FIELDS)
    assert NAMES["view_item"] in vocabulary.module()


@pytest.mark.parametrize(("name", "of"), [("attune.js", "classic"), ("attune.mjs", "module")])
def test_what_is_committed_is_what_is_built(name: str, of: str, tmp_path: Path) -> None:
    if not ESBUILD.exists():
        pytest.skip("esbuild is not here, so the beacon was not rebuilt; to have it: cd services/beacon/web && npm ci")
    command = json.loads((WEB / "package.json").read_text())["scripts"][of].replace(f"dist/{name}", str(tmp_path / name))
    _, *words = shlex.split(command)
    subprocess.run([str(ESBUILD), *words, "--log-level=error"], cwd=WEB, check=True)
    assert (tmp_path / name).read_bytes() == (DIST / name).read_bytes()


def test_every_page_may_have_the_script_and_keeps_it(service: Service) -> None:
    for name in ("attune.js", "attune.mjs"):
        answer = service.client.get(f"/attune/{name}")
        assert (answer.status_code, answer.content) == (200, (DIST / name).read_bytes())
        assert answer.headers["content-type"].startswith("text/javascript")
        assert "max-age" in answer.headers["cache-control"]
        assert answer.headers["access-control-allow-origin"] == "*"
        again = service.client.get(f"/attune/{name}", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert service.client.get(f"/attune/{name}", headers={"if-none-match": '"other"'}).status_code == 200
    assert service.client.get("/.well-known/gpc.json").json()["gpc"] is True
    assert service.client.post("/attune/attune.js").status_code == 405
