"""A chain of hashes over an append-only list: whoever changes, drops or reorders a row breaks every hash after it.

Dropping the newest rows breaks no hash; but then the aliases are not where the list ends, which `what_is_wrong` sees as well.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

COLUMNS: Final = ("at_us", "action", "name", "alias", "from_version", "to_version", "actor", "reason")  # what a row says
AUDIT: Final = f"SELECT {', '.join(COLUMNS)}, previous_hash, hash FROM model_audit ORDER BY id"
ALIASES_NOW: Final = "SELECT name, alias, version FROM model_aliases"
GENESIS: Final = "0" * 64  # what the first row names as the hash before it


def chained(previous_hash: str, entry: Mapping[str, Any]) -> str:
    """Hash of one row: blake2b over the hash before it and the row as canonical JSON; 64 hexadecimal digits.

    Parameters
    ----------
    previous_hash
        Hash of the row before, `GENESIS` for the first one.
    entry
        What the row says; only what JSON can hold.

    Examples
    --------
    >>> a = chained(GENESIS, {"name": "intent", "to": 1})
    >>> a == chained(GENESIS, {"to": 1, "name": "intent"}), a == chained(a, {"name": "intent", "to": 1})
    (True, False)
    """
    text = json.dumps(dict(entry), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return blake2b(previous_hash.encode() + text.encode(), digest_size=32, person=b"attune-audit").hexdigest()


def first_broken(rows: Iterable[tuple[Mapping[str, Any], str, str]]) -> int | None:
    """Position of the first row whose hashes do not fit, or None.

    Parameters
    ----------
    rows
        In order: (what the row says, the hash it names as the one before, its own hash).

    Examples
    --------
    >>> one = chained(GENESIS, {"to": 1})
    >>> first_broken([({"to": 1}, GENESIS, one)]), first_broken([({"to": 2}, GENESIS, one)])
    (None, 0)
    """
    previous = GENESIS
    for position, (entry, named, own) in enumerate(rows):
        if named != previous or chained(previous, entry) != own:
            return position
        previous = own
    return None


def what_is_wrong(rows: Sequence[Sequence[Any]], aliases: Iterable[Sequence[Any]]) -> str | None:
    """Why an audit cannot be trusted, in a few words, or None.

    Parameters
    ----------
    rows
        What `AUDIT` selects.
    aliases
        What `ALIASES_NOW` selects: each must be where its last row left it.
    """
    broken = first_broken((dict(zip(COLUMNS, row, strict=False)), row[-2], row[-1]) for row in rows)
    if broken is not None:
        return f"altered at row {broken + 1} of {len(rows)}"
    told = {(row[2], row[3]): row[5] for row in rows}  # name, alias: to_version
    now = {(name, alias): version for name, alias, version in aliases}
    for name, alias in sorted({*told, *now}):
        if told.get((name, alias)) != now.get((name, alias)):
            return f"{alias} of {name} is not where the last row left it"
    return None
