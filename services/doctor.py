"""Doctor: the health of every part, and the mend for each that is not well."""

import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from infra import artifacts, layout, object_store, registry
from infra.modes import open_to_others
from infra.secret import SECRET_BYTES
from infra.settings import Settings
from infra.store import engines
from infra.store.engines import open_store
from infra.store.protocol import Store
from infra.store.statements.events import COUNT_NOT_BELIEVED, EVENTS_SINCE, N_EVENTS, NEWEST_INSTANT
from infra.store.statements.partners import COUNT_VALID
from infra.store.statements.quarantine import COUNT_WAITING
from models.schema import DAY_US

LEAST_DISK: Final = 1 << 30  # bytes
STALE_DAYS: Final = 7


class Finding(NamedTuple):
    """Finding about one part.

    Attributes
    ----------
    state
        ``ok``, ``warn`` (works, but look at it) or ``fail``.
    mend
        What to type or change; empty where nothing is needed.
    """

    part: str
    state: str
    says: str
    mend: str = ""


def examine(home: Path, url: str | None = None, *, whole: bool = False) -> list[Finding]:
    """Look at every part; never raises for what it finds. It takes no longer for a longer log.

    Parameters
    ----------
    url
        Address of a running service; None looks where the home's was started last.
    whole
        Whether to look at every page of the store as well, which takes seconds per million events.
    """
    findings = [*_machine(home)]
    if not engines.is_there(home):
        return [*findings, Finding("event log", "warn", "there is no store yet", "attune up")]
    revision = _revision(home)
    if revision.state != "ok":  # what its tables mean is not known here, or not yet
        return [*findings, revision, _service(url or _started_at(home))]
    findings.append(revision)
    parts: tuple[Callable[[Store, Path], Iterator[Finding]], ...] = (
        _log,
        _models,
        _features,
        _keys,
        *([_pages] if whole else ()),
    )
    try:
        store = open_store(home)
        for part in parts:
            findings.extend(part(store, home))
    except OSError as error:
        findings.append(Finding("store", "fail", f"cannot be read ({type(error).__name__})", f"restore {engines.place(home)}"))
    return [*findings, _service(url or _started_at(home))]


def _machine(home: Path) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", "ok" if sys.version_info >= (3, 11) else "fail", version, "")
    yield from (Finding(*found) for found in engines.health(home))
    folder = next(p for p in (home, *home.parents) if p.exists())
    writable = folder.is_dir() and os.access(folder, os.W_OK)
    yield Finding(
        "home", "ok" if writable else "fail", str(home), "" if writable else f"make {folder} writable, or set ATTUNE_HOME"
    )
    free = shutil.disk_usage(folder).free
    yield _disk(free, Settings(home=home).least_free_mib)
    if folder == home and (shown := [path.name for path in open_to_others(home)]):
        says = f"others may open {', '.join(shown)}"
        yield Finding("modes", "warn", says, f"chmod go= {home}, or start the service or the worker again")


def _disk(free: int, least_mib: int) -> Finding:
    if free < least_mib << 20:
        says = f"{free / 2**20:.0f} MiB free: events and other writes are refused, recommendations go on"
        return Finding("disk", "fail", says, f"free at least {least_mib} MiB")
    enough = free >= LEAST_DISK
    return Finding("disk", "ok" if enough else "warn", f"{free / 2**30:.1f} GiB free", "" if enough else "free at least 1 GiB")


def _revision(home: Path) -> Finding:
    """Look at the store's revision as it lies there: the doctor migrates nothing."""
    try:
        found, newest, _ = engines.revisions(home)
    except OSError as error:
        return Finding("store", "fail", f"cannot be read ({type(error).__name__})", f"restore {engines.place(home)}")
    if found > newest:
        return Finding("store", "fail", f"revision {found}; this Attune knows {newest}", "upgrade Attune")
    if found < newest:
        return Finding("store", "warn", f"revision {found} of {newest}", "attune migrate")
    return Finding("store", "ok", f"revision {found}")


def _log(store: Store, home: Path) -> Iterator[Finding]:
    ((n,),), ((newest_us,),) = store.read(N_EVENTS), store.read(NEWEST_INSTANT)
    if newest_us is None:
        yield Finding("event log", "warn", "empty", "attune ingest FILE --format F")
    else:
        days = (time.time() - newest_us / 1e6) / 86_400
        yield Finding("event log", "ok", f"the newest event, number {n}, is {max(days, 0):.1f} days old")
    ((refused,),) = store.read(COUNT_WAITING)
    yield Finding("quarantine", "warn" if refused else "ok", f"{refused} rows", "attune quarantine list" if refused else "")
    ((doubted,),) = store.read(COUNT_NOT_BELIEVED, (time.time_ns() // 1_000 - DAY_US,))
    if doubted:
        yield Finding("trust", "ok", f"{doubted} events of browser keys in the last day count for their own visitors only")
    yield from _secret(home / layout.SECRET)


def _pages(store: Store, home: Path) -> Iterator[Finding]:
    sound = store.is_sound()
    says = "every page is whole" if sound else "the file is damaged"
    yield Finding("pages", "ok" if sound else "fail", says, "" if sound else f"restore {engines.place(home)} from a backup")


def _secret(path: Path) -> Iterator[Finding]:
    if not path.exists():
        return
    if path.stat().st_size != SECRET_BYTES:
        yield Finding("secret", "fail", "the file is damaged", f"restore {path} from a backup")
    if path.stat().st_mode & 0o077:
        yield Finding("secret", "fail", "others may read it", f"chmod 600 {path}")


def _models(store: Store, home: Path) -> Iterator[Finding]:
    champions = registry.carriers(store.read, registry.CHAMPION)
    if not champions:
        yield Finding("models", "warn", "no champion yet", "attune retrain")
    for name, one in champions.items():
        yield _model(name, one.version, home, one.artifact)
    for name, says in registry.left_out(store.read).items():
        yield Finding(f"candidate {name}", "warn", says, f"more events, then attune retrain; by hand: attune promote {name}")
    yield from _learning(store, home, {name: one.version for name, one in champions.items()})
    n_moves, wrong = registry.audited(store.read)
    if wrong:
        yield Finding("audit", "fail", wrong, "compare with a backup of the store")
    elif n_moves:
        yield Finding("audit", "ok", f"{n_moves} rows, the chain holds")


def _learning(store: Store, home: Path, champions: Mapping[str, int]) -> Iterator[Finding]:
    """Since when nothing has been learned: up to which event the champions know the log, and how many came since."""
    rows = [one for one in registry.versions(home) if champions.get(one.name) == one.version and "window" in one.lineage]
    if not rows:
        return
    newest = max(rows, key=lambda one: int(one.lineage["window"]["last_seq"]))
    ((since,),) = store.read(EVENTS_SINCE, (int(newest.lineage["window"]["last_seq"]),))
    days = (time.time() - datetime.fromisoformat(newest.created_at).timestamp()) / 86_400
    last = datetime.fromisoformat(newest.created_at).date().isoformat()
    stale = since > 0 and days > STALE_DAYS
    says = f"nothing has been learned since {last} ({newest.name}:{newest.version}); {since} events came since"
    yield Finding("learning", "warn" if stale else "ok", says, "attune retrain" if stale else "")


def _model(name: str, version: int, home: Path, artifact: str) -> Finding:
    """Load a champion as a worker does, golden predictions and all."""
    from models.model_specs import FAULTS, made

    try:
        made(name, *artifacts.load(object_store.fetched(home, artifact)))
    except FAULTS as error:
        says = f"version {version} cannot be loaded ({type(error).__name__}): {error}"
        return Finding(f"model {name}", "fail", says, f"attune rollback {name}, or attune retrain")
    return Finding(f"model {name}", "ok", f"champion {version}")


def _features(store: Store, home: Path) -> Iterator[Finding]:
    online = home / layout.FEAST
    files = [p for p in online.rglob("*.db")] if online.exists() else []
    if not files:
        yield Finding("online features", "warn", "not materialized yet", "attune retrain")
        return
    days = (time.time() - max(p.stat().st_mtime for p in files)) / 86_400
    stale = days > STALE_DAYS
    yield Finding(
        "online features", "warn" if stale else "ok", f"written {days:.1f} days ago", "attune retrain" if stale else ""
    )


def _keys(store: Store, home: Path) -> Iterator[Finding]:
    ((n,),) = store.read(COUNT_VALID)
    yield Finding("api keys", "ok" if n else "warn", f"{n} valid", "" if n else "attune partner add NAME")


def _started_at(home: Path) -> str:
    try:
        return (home / layout.SERVICE_URL).read_text().strip()
    except FileNotFoundError:
        return "http://127.0.0.1:3000"


def _service(url: str) -> Finding:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=1) as reply:
            told = json.loads(reply.read())
            problems, writes = told.get("problems", {}), told.get("writes", "taken")
    except ValueError:
        return Finding("service", "warn", f"something else answers at {url}", "choose another port: attune up --port")
    except urllib.error.HTTPError as error:
        return Finding("service", "warn", f"answers {error.code} at {url}/readyz", "wait, or see what /readyz says")
    except OSError:
        return Finding("service", "warn", f"does not answer at {url}", "attune up")
    if problems:
        return Finding("service", "warn", f"ready at {url}, but {'; '.join(problems.values())}", "attune rollback NAME")
    if writes != "taken":
        return Finding("service", "warn", f"ready at {url}, but writes are {writes}", "free space on the disk of the home")
    return Finding("service", "ok", f"ready at {url}")
