"""Uplift readout of a home: signals, hold-out group and purchases from the store, judged by `readout`."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from infra.aims import AimBook
from infra.store.engines import open_store
from infra.store.protocol import Read
from infra.store.statements.rehearsals import FIRST_SCORE_HELD, FIRST_SCORE_SENT, GROUPS_OF
from infra.store.statements.signals import DISCOUNTS_OF, FIRST_HELD_OUT, FIRST_SENT, PURCHASES_OF, SIGNAL_PARTNERS
from models.engagement.threshold_value import SuggestedThreshold, suggest
from models.experiments.uplift import Money, UpliftParams, Users, by_group, readout
from models.schema import SIGNAL_TYPES, VISITOR_GROUPS
from models.statistics.verdict import NOT_ENOUGH
from services.signals.policies import PolicyBook

USERS_A_READ: Final = 500
_NOTHING_LEARNED: Final[dict[str, Any]] = {
    "verdict": NOT_ENOUGH, "sentence": f"{NOT_ENOUGH}: nothing was learned yet; attune retrain learns from what signals did",
    "value": {}, "margin": {}, "qini": [], "coefficient": None,
}  # fmt: skip


def of_home(home: Path, partner: str | None, since_us: int, params: UpliftParams) -> list[dict[str, Any]]:
    """Read out one partner, or all that have sent signals, by name.

    Parameters
    ----------
    since_us
        Users whose first signal is older are left out: for a policy that was changed since.

    Raises
    ------
    KeyError
        If the partner has neither sent signals nor held any back.
    """
    read = open_store(home).read
    known = [name for (name,) in read(SIGNAL_PARTNERS, ())]
    if partner is not None and partner not in known:
        raise KeyError(f"no signals of a partner called {partner!r} yet; with signals are: {', '.join(known) or 'none'}")
    return [of_partner(read, name, since_us, params) for name in known if partner in (None, name)]


def of_partner(read: Read, partner: str, since_us: int, params: UpliftParams) -> dict[str, Any]:
    """Read out one partner.

    Returns
    -------
    As `models.experiments.uplift.readout`, with ``partner`` and ``switched``: users left out because the policy moved them
    between groups.
    """
    first = {
        held_out: {user: (SIGNAL_TYPES.index(kind), at_us) for user, kind, at_us in read(statement, (partner,))}
        for held_out, statement in ((False, FIRST_SENT), (True, FIRST_HELD_OUT))
    }
    switched = first[False].keys() & first[True].keys()
    counted = [
        (user, held_out, kind, at_us)
        for held_out, group in first.items()
        for user, (kind, at_us) in group.items()
        if user not in switched and at_us >= since_us
    ]
    users = Users(np.array([row[1] for row in counted], dtype=bool), np.array([row[2] for row in counted], dtype=np.int64))
    begun = {user: (place, at_us) for place, (user, _, _, at_us) in enumerate(counted)}
    money = partial(_money, read, partner, begun, params.window_us)
    share = PolicyBook().of(partner, read).holdout_share
    paid, promised = money(PURCHASES_OF), money(DISCOUNTS_OF)
    measured = readout(users, paid, promised, share, params)
    groups = _groups(read, partner, list(begun))
    by_groups = {name: by_group(users, paid, promised, groups[name], params) for name in VISITOR_GROUPS}
    aims = _aims(read, partner)
    told = {"discounts": aims.get("offer_discount", _NOTHING_LEARNED), "aims": aims, "by_group": by_groups}
    return {"partner": partner, **measured, "switched": len(switched), **told}


def _aims(read: Read, partner: str) -> dict[str, dict[str, Any]]:
    """What was learned of each kind of signal, as the worker goes by it."""
    found = AimBook().of(partner, read)
    return {
        kind: {name: value for name, value in aim._asdict().items() if name not in ("effects", "groups")}
        for kind, aim in found.items()
    }


def _groups(read: Read, partner: str, users: Sequence[str]) -> dict[str, list[str | None]]:
    """Group of each user by each name of `VISITOR_GROUPS`."""
    known: dict[str, list[str | None]] = {}
    for some in _chunks(users):
        known |= {user: said for user, *said in read(GROUPS_OF, (partner, json.dumps(some)))}
    return {name: [known[user][at] if user in known else None for user in users] for at, name in enumerate(VISITOR_GROUPS)}


def suggested(read: Read, partner: str, kind: str, params: UpliftParams) -> SuggestedThreshold:
    """From which score on a kind of signal pays, by what users paid within the window behind the first that was called for."""
    groups = [(held, read(statement, (partner, kind))) for held, statement in ((0, FIRST_SCORE_SENT), (1, FIRST_SCORE_HELD))]
    rows = [(user, score, at_us, held) for held, group in groups for user, score, at_us in group]
    begun = {user: (place, at_us) for place, (user, _, at_us, _) in enumerate(rows)}
    paid, promised = (_money(read, partner, begun, params.window_us, of) for of in (PURCHASES_OF, DISCOUNTS_OF))
    money, cost = (
        np.bincount(one.user, weights=one.amount, minlength=len(rows)).astype(np.float64) for one in (paid, promised)
    )
    score, held = (np.array([row[at] for row in rows], dtype=np.float64) for at in (1, 3))
    share = PolicyBook().of(partner, read).holdout_share
    return suggest(score, money - np.minimum(cost, money), held > 0, share, np.random.default_rng(0))


def _money(read: Read, partner: str, begun: dict[str, tuple[int, int]], window_us: int, statement: str) -> Money:
    """What happened to users within their windows."""
    places: list[int] = []
    amounts: list[float] = []
    for some in _chunks(list(begun)):
        for user, at_us, amount in read(statement, (partner, json.dumps(some))):
            place, since_us = begun[user]
            if since_us <= at_us <= since_us + window_us:
                places.append(place)
                amounts.append(amount or 0.0)
    return Money(np.array(places, dtype=np.int64), np.array(amounts, dtype=np.float64))


def _chunks(users: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(users), USERS_A_READ):
        yield users[start : start + USERS_A_READ]


def text(found: dict[str, Any]) -> str:
    """A readout for the eye."""
    n = found["users"]
    switched = f"{found['switched']} changed groups and are left out"
    lines = [
        f"{found['partner']}: {found['sentence']}",
        f"  {'users':21} {n['sent']} sent, {n['held_out']} held out, {switched}",
    ]
    for name, one in found["measures"].items():
        lines.append(f"  {name:21} sent {one['sent']:.4f}, held out {one['held_out']:.4f}")
    for name, measures in found["by_signal"].items():
        one = measures["conversion"]
        lines.append(f"  {name:21} conversion sent {one['sent']:.4f}, held out {one['held_out']:.4f}, if it was the first")
    for name, groups in found["by_group"].items():
        for group, told in groups.items():
            one = told["measures"]["conversion"]
            rates = f"conversion sent {one['sent']:.4f}, held out {one['held_out']:.4f}"
            lines.append(f"  {name} {group}: {told['users']} users, {rates}")
    aims = found["aims"] or {"offer_discount": found["discounts"]}
    lines += [f"  {kind:21} {one['sentence']}" for kind, one in aims.items()]
    return "\n".join(lines)
