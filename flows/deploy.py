"""Deploy: pack the champions with the service into a Bento, try it in a process of its own, and put it on record.

What is tried is what ships: the Bento is served from an empty home, as in a fresh container, so it must bring models, packages'
sources and compiled kernels itself. A Bento that does not answer with the very versions that were packed is deleted again.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from flows.server import Server, bound, connected, running
from infra import layout, release
from infra.lock import held
from infra.release import Release
from infra.settings import PREFIX, prepare

ROOT: Final = Path(layout.__file__).parents[1]
BENTOFILE: Final = "bentofile.yaml"
PACKED: Final = ("models", "infra", "feature_repo", "services")  # folders that the Bento's list of files takes from
REQUIREMENTS: Final = "requirements.services.lock"
NAME: Final = "attune"
READY_S: Final = 300.0  # a machine that the kernels were not compiled for compiles them first
POLL_S: Final = 0.2
CALL_S: Final = 30.0


def run(home: Path) -> Release:
    """Deploy in this process, with a Prefect server of its own unless ``attune schedule`` serves this home.

    Raises
    ------
    ValueError, OSError
        In one line that says what to do: nothing serves, no checkout, the Bento cannot be built or does not answer.
    """
    home = prepare(home)
    require_checkout()
    release.require_champions(home)  # said before a Prefect server is started
    server = None if running(home) else Server(home)
    try:
        with connected(home, server):
            return Release(**deploy(str(home)))
    finally:
        if server:
            server.stop()


def require_checkout(root: Path = ROOT) -> None:
    """Refuse to go on where the list of what a Bento holds is not beside the packages.

    Raises
    ------
    ValueError
        If it is not: in an installation from a wheel.
    """
    missing = [name for name in (BENTOFILE, REQUIREMENTS) if not (root / name).exists()]
    if missing:
        raise ValueError(f"there is no {missing[0]} in {root}: deploy from a checkout of the repository")


@flow(name="deploy")
def deploy(home: str) -> dict[str, Any]:
    """Build a Bento with the champions inside, try it, and record it.

    Returns
    -------
    An `infra.release.Release` as a dictionary.
    """
    require_checkout()
    at = Path(home)
    with tempfile.TemporaryDirectory(prefix="attune-deploy-") as scratch:
        context = Path(scratch) / "context"
        with held(at / layout.RETRAIN_LOCK, "retrain"):  # so that no sweep and no promotion comes in between
            packed = pack(at, context)
        tag = build(at, context, packed.id)
        try:
            seen = smoke_test(at, tag, dict(packed.models), Path(scratch))
        except BaseException:  # Ctrl-C too: what was not tried is not kept
            _bentoml(at, "delete", "--yes", tag)
            raise
    done = packed._replace(bento=tag, smoke=seen, made_at_us=time.time_ns() // 1000)
    release.record(at, done)
    create_markdown_artifact(_markdown(done), key="release", description=f"Release {done.id}")
    return done._asdict()


@task(name="pack", cache_policy=NO_CACHE)
def pack(home: Path, context: Path) -> Release:
    """Lay out what a Bento is built from: sources, lock, models, compiled kernels."""
    for name in PACKED:
        shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns(release.CACHE))
    for name in (BENTOFILE, REQUIREMENTS):
        shutil.copyfile(ROOT / name, context / name)
    packed = release.pack(home, context / release.FOLDER)
    release.pack_kernels(ROOT / "models", context / release.FOLDER)
    return packed


@task(name="build", cache_policy=NO_CACHE)
def build(home: Path, context: Path, version: str) -> str:
    """Build the Bento into the home's store of Bentos; its tag. One of the same release is built anew: its sources may differ.

    Raises
    ------
    OSError
        If BentoML cannot build it; with its last words.
    """
    tag = f"{NAME}:{version}"
    if tag in _bentoml(home, "list", "--output", "json"):
        _bentoml(home, "delete", "--yes", tag)
    _bentoml(home, "build", "--version", version, at=context)
    return tag


@task(name="smoke test", cache_policy=NO_CACHE)
def smoke_test(home: Path, tag: str, models: dict[str, int], scratch: Path) -> dict[str, Any]:
    """Serve a Bento from an empty home and ask it.

    Parameters
    ----------
    models
        Versions that its answer must name.
    scratch
        Folder for the home, the log, and the place from which it is started: nothing of ours can be imported there.

    Returns
    -------
    ``{"ready_s", "models", "items", "degraded"}``

    Raises
    ------
    OSError
        If it does not get ready, does not answer, or answers with other models; with its last words.
    """
    empty = scratch / "home"
    key = _attune(empty, "partner", "add", "smoke")
    with bound(0) as free:
        port = int(free.getsockname()[1])
    log = scratch / "service.log"
    url = f"http://127.0.0.1:{port}"
    started = time.monotonic()
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", tag, "--host", "127.0.0.1", "--port", str(port)],
            env=_environment(home) | {f"{PREFIX}HOME": str(empty), f"{PREFIX}WORKERS": "1"},
            cwd=scratch,
            stdout=out,
            stderr=out,
        )
    try:
        while not _is_ready(url):
            if child.poll() is not None or time.monotonic() - started > READY_S:
                raise OSError(f"{tag} does not get ready: {_last_words(log.read_text(errors='replace'))}")
            time.sleep(POLL_S)
        ready_s = time.monotonic() - started
        answer = _asked(url, key)
    finally:
        child.terminate()
        child.wait()
    serving = {name: version for name, version in answer["models"].items() if name in models}
    if different := {name for name, version in serving.items() if models[name] != version}:
        raise OSError(f"{tag} answers with another version of {', '.join(sorted(different))} than was packed")
    return {
        "ready_s": round(ready_s, 1),
        "models": answer["models"],
        "items": len(answer["items"]),
        "degraded": answer["degraded"],
    }


def _asked(url: str, key: str) -> dict[str, Any]:
    """Answer to a session about an item that the Bento itself recommends to a stranger, if it knows any."""
    popular = _ask(url, key, [])["items"]
    viewed = [{"type": "item_view", "item_id": one["item_id"], "ts": "2026-01-01T00:00:00Z"} for one in popular[:1]]
    return _ask(url, key, viewed)


def _ask(url: str, key: str, events: list[dict[str, str]]) -> dict[str, Any]:
    session = {"session_id": "smoke", "events": events}
    body = json.dumps({"user_id": "smoke", "session_data": session}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}/v1/recommendations", body, headers), timeout=CALL_S
        ) as reply:
            answer: dict[str, Any] = json.load(reply)
            return answer
    except urllib.error.HTTPError as refused:
        raise OSError(f"the Bento answers {refused.code} to a recommendation: {refused.read(500).decode()}") from None


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=CALL_S) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def _environment(home: Path) -> dict[str, str]:
    """What BentoML's own commands see: this home's Bentos, and no packages but the Bento's and the installed ones."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return own | {"BENTOML_HOME": str(home / layout.BENTOML)}


def _bentoml(home: Path, *words: str, at: Path | None = None) -> str:
    command = [sys.executable, "-m", "bentoml", *words]
    done = subprocess.run(command, env=_environment(home), cwd=at, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"bentoml {words[0]} failed: {_last_words(done.stderr or done.stdout)}")
    return done.stdout


def _attune(home: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", *words],
        env=os.environ | {f"{PREFIX}HOME": str(home)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise OSError(_last_words(done.stderr))
    return done.stdout.strip()


def _last_words(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-3:]) or "it said nothing"


def _markdown(done: Release) -> str:
    rows = "\n".join(f"| {name} | {version} |" for name, version in done.models.items())
    return f"`{done.bento}`, ready after {done.smoke['ready_s']} s\n\n| model | version |\n| --- | --- |\n{rows}\n"
