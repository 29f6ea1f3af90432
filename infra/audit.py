"""Audit of the aliases: a chain of hashes, which whoever changes, drops or reorders a row breaks from there on.

Dropping the newest rows breaks no hash; but then the aliases are not where the list ends, which `what_is_wrong` sees as well.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any, Final

GENESIS: Final = "0" * 64  # what the first row names as the hash before it


@dataclass(frozen=True)
class AuditEntry:
    """Audit entry of one alias: who moved it from which version to which, when and why; None is no version."""

    at_us: int
    action: str
    name: str
    alias: str
    from_version: int | None
    to_version: int | None
    actor: str
    reason: str


@dataclass(frozen=True)
class AuditRow(AuditEntry):
    """An entry in its place: with the hash of the row before, and its own."""

    previous_hash: str
    hash: str

    @property
    def entry(self) -> dict[str, Any]:
        """Entry of the row, without its hashes."""
        return {name: value for name, value in asdict(self).items() if name not in ("previous_hash", "hash")}


def linked(previous_hash: str, entry: AuditEntry) -> AuditRow:
    """The row that an entry becomes behind the row with this hash."""
    said = asdict(entry)
    return AuditRow(**said, previous_hash=previous_hash, hash=chained(previous_hash, said))


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


def what_is_wrong(rows: Sequence[AuditRow], aliases: Iterable[tuple[str, str, int]]) -> str | None:
    """Why an audit cannot be trusted, in a few words, or None.

    Parameters
    ----------
    rows
        All of it, oldest first.
    aliases
        Name, alias and version as they are now: each must be where its last row left it.
    """
    broken = first_broken((row.entry, row.previous_hash, row.hash) for row in rows)
    if broken is not None:
        return f"altered at row {broken + 1} of {len(rows)}"
    told = {(row.name, row.alias): row.to_version for row in rows}
    now = {(name, alias): version for name, alias, version in aliases}
    for name, alias in sorted({*told, *now}):
        if told.get((name, alias)) != now.get((name, alias)):
            return f"{alias} of {name} is not where the last row left it"
    return None
