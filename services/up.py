"""`attune up`: from events to an answered request, then service and worker until Ctrl-C.

The steps are `attune` commands of their own, run as child processes: a step that dies takes nothing with it, and what this
process does could be typed by hand.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from infra import layout, registry
from infra.store.engines import open_store
from infra.store.statements.events import BUSY_VISITOR, NEWEST_OF_VISITOR, SHOWN_COLUMNS
from models.schema import LOCAL_PARTNER
from services import companions
from services.local_keys import local_key
from services.processes import command, only_one, port_to_listen_on, put_behind, require_no_service, spawn, stop

UNREAD: Final = 2  # exit code where a file cannot be read
MANY_REFUSED: Final = 3  # exit code of attune ingest where more than half of the rows were refused
READY_S: Final = 180.0
POLL_S: Final = 0.1
GUESSED: Final = ("--guess", "")  # in place of a format or a map
SIMULATED: Final = "shop.jsonl"  # in a home, the events of the simulated shop
WORKER_NICENESS: Final = 5
SHOP_USERS: Final = 600  # of the simulated shop: enough to learn from in half a minute


class Plan(NamedTuple):
    """Plan of an `attune up`, as the operator asked for it."""

    home: Path
    events: Path | None
    form: tuple[str, str]  # --format NAME, --map FILE, or `GUESSED`
    host: str
    port: int
    workers: int
    open_page: bool
    once: bool
    partner: str = LOCAL_PARTNER
    beside: frozenset[str] = frozenset()  # of `services.companions.COMPANIONS`, those that start as well


def run(plan: Plan) -> int:
    """Do the main job; the exit code.

    Raises
    ------
    OSError
        If another `attune up` or a service holds the home, or the port is taken.
    ValueError
        If the events cannot be read.
    """
    if plan.events is not None and not plan.events.is_file():
        raise ValueError(f"no file {plan.events}; give a file of events, or leave --events out for a simulated shop")
    if plan.form == GUESSED and plan.events is not None:
        if (found := _guess(plan.events, plan.home)) is None:
            return UNREAD
        plan = plan._replace(form=("--map", str(found)))
    if plan.events is not None and (code := _check(plan.events, plan.form, plan.partner)):
        return code
    for number in (signal.SIGINT, signal.SIGTERM):  # also where whoever started us had them ignored
        signal.signal(number, signal.default_int_handler)
    with only_one(plan.home):
        require_no_service(plan.home)
        plan = plan._replace(port=port_to_listen_on(plan.host, plan.port))  # says so now, and not after the training
        crew = Crew(plan)
        try:
            return _bring_models(plan, crew) or _serve(plan, crew)
        except KeyboardInterrupt:
            say("stopping")
            return 0
        finally:
            stop(crew.children)


def _guess(events: Path, home: Path) -> Path | None:
    """Let `attune ingest` guess the map of a file and say what it understood; the map, or None where it cannot."""
    done = subprocess.run(command("ingest", str(events), "--guess"), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        return None
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (path := home / layout.GUESSED).write_bytes(done.stdout)
    say(f"read by this guess: {path}; if it is wrong, correct it, start with an empty home, and give it as --map")
    return path


def _check(events: Path, form: tuple[str, str], partner: str) -> int:
    """Let `attune ingest` say what is wrong with a file before anything else starts; its exit code."""
    words = command("ingest", str(events), *form, "--partner", partner, "--check")
    return subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode


class Crew:
    """Child processes: the kernel compiler of a fresh machine, then the service, at last the worker."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._compiler: subprocess.Popen[bytes] | None = None
        self.serving: list[subprocess.Popen[bytes]] = []
        self.companions: list[subprocess.Popen[bytes]] = []

    @property
    def children(self) -> list[subprocess.Popen[bytes]]:
        """All that must be stopped at the end; first who uses the others."""
        return [*self.companions, *self.serving, *([self._compiler] if self._compiler else [])]

    def compile_kernels(self) -> None:
        """Start to compile what a fresh machine has not compiled yet, seconds each; a no-op of a second elsewhere."""
        words = [sys.executable, "-m", "models.warm_up"]
        self._compiler = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def serve_when_compiled(self) -> None:
        """Start the service beside the training, but not while it would compile the same kernels once more."""
        if not self.serving and (self._compiler is None or self._compiler.poll() is not None):
            self.serve()

    def serve(self) -> None:
        """Start the service, if it does not run yet."""
        if not self.serving:
            plan = self._plan
            self._spawn("serve", "--host", plan.host, "--port", str(plan.port), "--workers", str(plan.workers))

    def work(self) -> None:
        """Start the worker; where the processor is short, answers come first, and what is learned from them after."""
        self._spawn("worker")
        put_behind(self.serving[-1], WORKER_NICENESS)

    def accompany(self, url: str) -> dict[str, str]:
        """Start what goes beside, and go on without whatever of it ends; addresses by name, in the order to be told."""
        plan, logs = self._plan, self._plan.home / layout.LOGS
        is_simulated = plan.events is None and (plan.home / SIMULATED).exists()
        wanted = plan.beside if is_simulated else plan.beside - companions.OF_SIMULATED
        self.companions, addresses = companions.start(plan.home, logs, plan.port, url, wanted)
        return addresses

    def _spawn(self, name: str, *words: str) -> None:
        logs = self._plan.home / layout.LOGS
        logs.mkdir(exist_ok=True)
        self.serving.append(spawn((name, *words), {"ATTUNE_HOME": str(self._plan.home)}, logs / f"{name}.log"))


def say(text: str) -> None:
    """Tell the person at the terminal; stdout is kept for the answer."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _bring_models(plan: Plan, crew: Crew) -> int:
    """Make sure that whatever can serve has seen the events; exit code of the step that failed, or 0."""
    left_out = registry.left_out(open_store(plan.home).read)
    was_judged = bool(registry.champions(plan.home) or left_out)
    if plan.events is None and was_judged:
        say("\n  ".join(("champion found; retrain whenever you like with: attune retrain", *left_out.values())))
        return 0
    if was_judged:
        code, counts = _step("ingest", str(plan.events), *plan.form, "--partner", plan.partner, passing=(MANY_REFUSED,))
        if code or counts["accepted"] == 0:
            say("" if code else "nothing new in the events; the champion serves")
            return code
        code, summary = _step("retrain", "--json", meanwhile=crew.serve)
        if not code:
            say(_about_gate(summary))
        return code
    crew.compile_kernels()
    events, form = (plan.events, plan.form) if plan.events else (plan.home / SIMULATED, ("--format", "attune"))
    if plan.events is None and not events.exists():
        code, _ = _step("simulate", "--users", str(SHOP_USERS), "--out", str(events))
        if code:
            return code
    words = ("retrain", "--events", str(events), *form, "--partner", plan.partner, "--json")
    code, summary = _step(*words, meanwhile=crew.serve_when_compiled)
    if not code:
        say(_about_gate(summary))
        if not all(one["promote"] for one in summary["models"].values()):
            say(
                f"see {plan.home / layout.REPORTS}; more events and attune retrain may change it; by hand: attune promote --all"
            )
    return code


def _about_gate(summary: dict[str, Any]) -> str:
    from models.evaluation.gate import in_lines

    return "\n".join(("gate:", *(f"  {line}" for line in in_lines(summary))))


def _step(
    *words: str, meanwhile: Callable[[], None] = lambda: None, passing: tuple[int, ...] = ()
) -> tuple[int, dict[str, Any]]:
    """Run one command to its end: exit code, and the JSON on the last line of its stdout.

    Parameters
    ----------
    meanwhile
        Called again and again while the command runs.
    passing
        Exit codes that are as good as 0: the command has said what it had to say.
    """
    say(f"attune {' '.join(words)}")
    started = time.monotonic()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(command(*words), stdout=out, start_new_session=True)
        try:
            while child.poll() is None:
                meanwhile()
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            stop([child])
            raise
        say(f"  {time.monotonic() - started:.1f} s")
        out.seek(0)
        lines = out.read().splitlines()
    code = 0 if child.returncode in passing else child.returncode
    return code, msgspec.json.decode(lines[-1]) if lines and not code else {}


def _serve(plan: Plan, crew: Crew) -> int:
    crew.serve()
    children = crew.serving
    url = f"http://{'127.0.0.1' if plan.host == '0.0.0.0' else plan.host}:{plan.port}"
    if not _ready(url, children):
        say(f"the service did not become ready; see {plan.home / layout.LOGS}, or run: attune doctor")
        return 1
    key = local_key(plan.home, plan.partner)
    addresses = {} if plan.once else crew.accompany(url)
    _show(url, key, sample_request(plan.home), addresses)
    if plan.once:
        return 0
    crew.work()
    if plan.open_page and sys.stdout.isatty() and (sys.platform != "linux" or os.environ.get("DISPLAY")):
        webbrowser.open(addresses.get("shop", f"{url}/docs"))
    say("serving until Ctrl-C")
    while all(child.poll() is None for child in children):
        time.sleep(0.5)
    say(f"a process ended by itself; see {plan.home / layout.LOGS}")
    return 1


def _ready(url: str, children: list[subprocess.Popen[bytes]]) -> bool:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and all(child.poll() is None for child in children):
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(POLL_S)
    return False


def sample_request(home: Path) -> dict[str, Any]:
    """A recommendation request made of a real session: the newest busy visitor of the log, at most 15 events."""
    read = open_store(home).read
    busy = read(BUSY_VISITOR, ())
    rows = read(NEWEST_OF_VISITOR, (busy[0][0] if busy else "",))
    events = [_public(dict(zip(SHOWN_COLUMNS, row, strict=True))) for row in reversed(rows)]
    session = {"session_id": "s-1", "events": events}
    return {"user_id": "visitor-1", "session_data": session, "limit": 5, "explain": True, "exclude_seen": True}


def _public(row: dict[str, Any]) -> dict[str, Any]:
    ts = datetime.fromtimestamp(row.pop("occurred_at_us") / 1e6, UTC).isoformat().replace("+00:00", "Z")
    return {"type": row.pop("event_type"), "ts": ts, **{name: value for name, value in row.items() if value is not None}}


def _show(url: str, key: str, request: dict[str, Any], addresses: Mapping[str, str]) -> None:
    call = urllib.request.Request(
        f"{url}/v1/recommendations",
        data=msgspec.json.encode(request),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(call, timeout=10) as reply:
        answer = reply.read()
    write = sys.stdout.write
    write(f"POST {url}/v1/recommendations\n{msgspec.json.format(msgspec.json.encode(request), indent=2).decode()}\n\n")
    write(f"{msgspec.json.format(answer, indent=2).decode()}\n\n")
    write("".join(f"{name:<6} {address}\n" for name, address in addresses.items()))
    write(f"key    {key}\nask    {url}/v1/recommendations\ndocs   {url}/docs\nready  {url}/readyz\n")
    sys.stdout.flush()
