"""Secret of an installation: the key behind every pseudonym, made by whoever needs it first."""

import os
import secrets
from pathlib import Path
from typing import Final

from infra import layout

SECRET_BYTES: Final = 32


def secret(home: Path) -> bytes:
    """Read the installation's secret; the first caller makes it. Readable by the owner only.

    Raises
    ------
    ValueError
        If the file does not hold `SECRET_BYTES` bytes.
    """
    path = home / layout.SECRET
    if not path.exists():  # else nothing is written: the disk may be read-only by now
        _make_secret(home, path)
    found = path.read_bytes()
    if len(found) != SECRET_BYTES:
        raise ValueError(f"{path} must hold {SECRET_BYTES} bytes, found {len(found)}: restore it from a backup")
    return found


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
