"""The partner guide, executed: every snippet in its order, against the application and the duties of a home with champions."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvicorn

from infra.settings import Settings
from services.api.app import build_app
from services.worker import delivery, signals
from services.worker.runner import follow_all
from tests.stores import copied
from tests.waiting import PATIENCE_S, free_port, until

GUIDE = Path(__file__).parents[2] / "docs" / "partner-guide.md"
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<code>.*?)^```\n(?:\n```text\n(?P<said>.*?)^```\n)?", re.MULTILINE | re.DOTALL)


class Snippet(NamedTuple):
    """One block of the guide, and what it says comes of it."""

    line: int
    kind: str
    code: str
    said: str | None


def snippets() -> list[Snippet]:
    text = GUIDE.read_text()
    found = [Snippet(text.count("\n", 0, m.start()) + 1, m["kind"], m["code"], m["said"]) for m in BLOCK.finditer(text)]
    assert sum(text.count(f"```{kind}\n") for kind in ("python", "bash", "console", "text")) * 2 == text.count("```")
    return found


def shell(code: str) -> str:
    run = subprocess.run(["bash", "-euc", code], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert run.returncode == 0, run.stderr
    return run.stdout


def said(snippet: Snippet, names: dict[str, Any]) -> str:
    """What a snippet prints."""
    if snippet.kind == "bash":
        return shell(snippet.code)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile("\n" * snippet.line + snippet.code, str(GUIDE), "exec"), names)
    return out.getvalue()


def pattern(text: str) -> str:
    return ".*?".join(map(re.escape, text.strip().split("…")))


def console(snippet: Snippet) -> str:
    """Type the command of a block; its output is what stands below it."""
    command, _, expected = snippet.code.removeprefix("$ ").partition("\n")
    out = shell(command).strip()
    assert re.fullmatch(pattern(expected), out, re.DOTALL), out
    return out


@contextlib.contextmanager
def serving(home: Path) -> Iterator[str]:
    """The application and the duties that signals need, in threads: what `attune serve` and `attune worker` run."""
    settings = Settings(home=home, allow_private_webhooks=True)
    server = uvicorn.Server(uvicorn.Config(build_app(settings), "127.0.0.1", free_port(), log_level="warning"))
    stopped = threading.Event()
    now = [signals.open_duty(settings), delivery.open_duty(settings)]
    threads = [threading.Thread(target=server.run), threading.Thread(target=follow_all, args=(now, stopped, (OSError,)))]
    for thread in threads:
        thread.start()
    try:
        until(lambda: server.started, "the server does not answer")
        yield f"http://127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = True
        stopped.set()
        for thread in threads:
            thread.join(PATIENCE_S)


def test_every_snippet_of_the_guide_does_what_the_guide_says(
    crowned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("the guide's snippets need bash and curl, which are not here")
    home = copied(crowned, tmp_path / "home")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    names: dict[str, Any] = {"__name__": "guide"}
    kinds = []
    with serving(home) as url:
        monkeypatch.setenv("API_URL", url)
        for snippet in snippets():
            kinds.append(snippet.kind)
            if snippet.kind == "console":
                monkeypatch.setenv("ATTUNE_HOME", str(home))
                monkeypatch.setenv("API_KEY", console(snippet))
            else:
                out = said(snippet, names).strip()
                assert re.fullmatch(pattern(snippet.said or ""), out, re.DOTALL), f"line {snippet.line}: {out}"
    assert set(kinds) == {"console", "bash", "python"}
    assert len(kinds) >= 15
