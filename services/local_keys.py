"""Local keys: those that `attune up` makes for whoever tries it, kept beside the secret of the home."""

import json
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from infra import layout
from models.schema import LOCAL_PARTNER
from services.http import partners

DEMO: Final = "demo"
PAGE_KEY: Final = f"{DEMO}.page.key"  # in the home: the browser key, and the origins it is for


def service_url(home: Path) -> str:
    """Address of the service of a home.

    Raises
    ------
    ValueError
        If none was ever started there.
    """
    path = home / layout.SERVICE_URL
    if not path.exists():
        raise ValueError("no service of this home is known; start one with attune up, or give its --url and --key")
    return path.read_text().strip()


def page_key(home: Path, origins: Sequence[str]) -> str:
    """Browser key of the demo shop for some origins: the one of last time, or else a new one."""
    path = home / PAGE_KEY
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["origins"] == list(origins) and partners.Keys(home).authenticate(kept["key"], time.time()) is not None:
            return str(kept["key"])
    scopes = partners.BROWSER_SCOPES
    key = partners.add(home, DEMO, time.time_ns() // 1000, "pk", scopes=scopes, origins=origins)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"key": key, "origins": list(origins)}, file)
    return key


def local_key(home: Path, partner: str = LOCAL_PARTNER) -> str:
    """The key of a partner here; made on first use and kept beside the secret, so that a restart does not break scripts."""
    path = home / layout.LOCAL_KEY
    if partner != LOCAL_PARTNER:
        path = path.with_name(f"{partner}.{path.name}")
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"sk_{secrets.token_urlsafe(32)}")
    key = path.read_text()
    partners.keep(home, partner, key, time.time_ns() // 1000)
    return key
