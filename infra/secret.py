"""Secret of an installation: the key behind every pseudonym.

It comes from ``ATTUNE_SECRET``, or lies in the home. In the embedded profile whoever needs it first makes it there; the scale
profile never makes one, for each machine would make its own.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from infra import layout

SECRET_BYTES: Final = 32
SECRET: Final = "ATTUNE_SECRET"  # `infra.settings.Settings.secret`
PROFILE: Final = "ATTUNE_PROFILE"  # `infra.settings.Settings.profile`


def secret(home: Path) -> bytes:
    """Read the installation's secret. A file of it is readable by the owner only.

    Raises
    ------
    ValueError
        If there is none and none may be made, if it is not `SECRET_BYTES` bytes long, or if environment and home have two.
    """
    given, path = os.environ.get(SECRET), home / layout.SECRET
    if not given and not path.exists():
        if os.environ.get(PROFILE) == "scale":
            raise ValueError(
                f"the scale profile makes no secret: set {SECRET} to the same {2 * SECRET_BYTES} hexadecimal digits everywhere "
                f"(new ones: openssl rand -hex {SECRET_BYTES}), or put {layout.SECRET} of the home of before into {home}"
            )
        _make_secret(home, path)  # only here: the disk may be read-only by now
    found = path.read_bytes() if path.exists() else None
    if found is not None and len(found) != SECRET_BYTES:
        raise ValueError(f"{path} must hold {SECRET_BYTES} bytes, found {len(found)}: restore it from a backup")
    if given:
        told = _bytes_of(given)
        if found not in (None, told):
            raise ValueError(f"{SECRET} and {path} are two secrets: users are known by the first one, drop the other")
        return told
    assert found is not None
    return found


def _bytes_of(given: str) -> bytes:
    try:
        told = bytes.fromhex(given)
    except ValueError:
        told = b""
    if len(told) != SECRET_BYTES:
        raise ValueError(f"{SECRET} must be {2 * SECRET_BYTES} hexadecimal digits: openssl rand -hex {SECRET_BYTES}")
    return told


def _make_secret(home: Path, path: Path) -> None:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Written whole under another name and linked: whoever comes second reads a complete key.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
