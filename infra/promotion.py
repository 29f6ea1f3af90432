"""Promotion and rollback by hand: a person moves the champion, and the audit names who and why.

Before an alias moves, the version is loaded as a service would load it: nobody ever meets a champion that cannot serve.
"""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from infra.audit import AuditRow
from infra.registry import (
    CHALLENGER,
    CHAMPION,
    Reason,
    aliased,
    audit,
    audit_rows,
    change,
    load_model,
    require_model,
    set_alias,
    set_champions,
    versions,
)
from infra.store.engines import open_store
from infra.store.protocol import Transaction


@dataclass(frozen=True)
class Move:
    """Move of a model's champion; None where there was none."""

    name: str
    from_version: int | None
    to_version: int


def promote(home: Path, model: str, *, actor: str = "operator", reason: str = "by hand") -> Move:
    """Make ``NAME[:VERSION]`` the champion; without a version the newest one.

    No gate is asked.

    Raises
    ------
    ValueError
        If there is no such model or version, or its files are damaged; then nothing has moved.
    """
    name, colon, wanted = model.partition(":")
    known = [one.version for one in versions(home, name)]
    if not known or (colon and not wanted.isdecimal()) or (wanted and int(wanted) not in known):
        raise ValueError(f"there is no {model}; see what there is with: attune models")
    version = int(wanted) if wanted else known[0]
    require_sound(home, name, version)
    before = set_alias(home, CHAMPION, {name: version}, action="promote", actor=actor, reason=reason)
    if aliased(home, CHALLENGER).get(name) == version:  # else it would be tried again when it is taken back
        set_alias(home, CHALLENGER, {name: None}, action="promote", actor=actor, reason=reason)
    return Move(name, before[name], version)


def promote_all(home: Path, *, actor: str = "operator", reason: str = "by hand") -> list[Move]:
    """Make the newest version of every model the champion, all in one transaction; those that serve already stay.

    No gate is asked.

    Raises
    ------
    ValueError
        If there is no version, or one cannot serve; then nothing has moved.
    """
    from models.model_specs import MODEL_NAMES

    newest: dict[str, int] = {}
    for one in versions(home):
        if one.name in MODEL_NAMES:
            newest.setdefault(one.name, one.version)
    if not newest:
        raise ValueError("there are no models yet; train them with: attune retrain")
    serves = aliased(home, CHAMPION)
    moved = {name: version for name, version in newest.items() if serves.get(name) != version}
    for name, version in moved.items():
        require_sound(home, name, version)
    if moved:
        set_champions(home, moved, actor=actor, reason=reason)
    return [Move(name, serves.get(name), version) for name, version in moved.items()]


def rollback(home: Path, name: str, *, actor: str = "operator", reason: str = "by hand") -> Move:
    """Return to the champion before the present one; again, to the one before that.

    Raises
    ------
    ValueError
        If there is no such model, no earlier champion is known, or its files are damaged; then nothing has moved.
    """
    require_model(name)
    history = _champion_history(audit(home), name)
    if len(history) < 2:
        raise ValueError(f"{name} has no earlier champion to return to; see what there is with: attune models")
    require_sound(home, name, history[-2])
    return _moved_back(home, name, history, Reason("rollback", actor, reason))


def _moved_back(home: Path, name: str, history: list[int], why: Reason) -> Move:
    def move(transaction: Transaction) -> int | None:
        if _champion_history(audit_rows(transaction.read), name) != history:  # loading took a while
            raise ValueError(f"the champion of {name} was moved meanwhile; look with attune models, then try again")
        return change(transaction, CHAMPION, {name: history[-2]}, why)[name]

    with closing(open_store(home)) as store:
        return Move(name, store.write(move), history[-2])


def _champion_history(moves: list[AuditRow], name: str) -> list[int]:
    history: list[int] = []
    for move in moves:
        if move.name != name or move.alias != CHAMPION or move.to_version is None:
            continue
        if move.action == "rollback":
            history.pop()
        elif not history or history[-1] != move.to_version:
            history.append(move.to_version)
    return history


def require_sound(home: Path, name: str, version: int) -> None:
    """Load a version as a service would: a champion that no worker can load is refused before anybody tries.

    Raises
    ------
    ValueError
        If a file is missing or damaged, or the golden predictions are not repeated.
    """
    from models.model_specs import FAULTS

    try:
        load_model(home, name, version)
    except FAULTS as error:
        raise ValueError(f"{name}:{version} cannot serve, nothing has moved: {type(error).__name__}: {error}") from None
