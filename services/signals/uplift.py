"""Uplift readout of a home: signals, hold-out group and purchases from the store, judged by `readout`."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from infra.store.engines import open_store
from infra.store.protocol import Read
from infra.store.statements.rehearsals import (
    FIRST_CAUSE_HELD,
    FIRST_CAUSE_SENT,
    FIRST_SCORE_HELD,
    FIRST_SCORE_SENT,
    GROUPS_OF,
    OCCURRED_AT,
)
from infra.store.statements.signals import DISCOUNTS_OF, FIRST_HELD_OUT, FIRST_SENT, PURCHASES_OF, SIGNAL_PARTNERS
from models.arrays import Floats32
from models.engagement.threshold_value import Suggestion, suggest
from models.events.encode import EventArray
from models.experiments.targeting import Targeting, targeting
from models.experiments.uplift import Money, UpliftParams, Users, by_group, readout
from models.features.sessions import features_of
from models.schema import DAY_US, SIGNAL_TYPES, VISITOR_GROUPS
from services.signals.policies import PolicyBook
from services.signals.sessions import sessions_at

USERS_A_READ: Final = 500


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
    aimed = targeted(read, partner, "offer_discount", params)
    told = {"verdict": aimed.verdict, "sentence": aimed.sentence, "value": aimed.value, "qini": aimed.qini}
    aims = {"discounts": told | {"coefficient": aimed.coefficient}, "by_group": by_groups}
    return {"partner": partner, **measured, "switched": len(switched), **aims}


def _groups(read: Read, partner: str, users: Sequence[str]) -> dict[str, list[str | None]]:
    """Group of each user by each name of `VISITOR_GROUPS`."""
    known: dict[str, list[str | None]] = {}
    for some in _chunks(users):
        known |= {user: said for user, *said in read(GROUPS_OF, (partner, json.dumps(some)))}
    return {name: [known[user][at] if user in known else None for user in users] for at, name in enumerate(VISITOR_GROUPS)}


def suggested(read: Read, partner: str, kind: str, params: UpliftParams) -> Suggestion:
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


def targeted(read: Read, partner: str, kind: str, params: UpliftParams) -> Targeting:
    """Whom to send a kind of signal, by the session in which the first was called for and what users paid since.

    Users who were sent some and held back others are left out, and such whose session is gone.
    """
    groups = [(held, read(statement, (partner, kind))) for held, statement in ((0, FIRST_CAUSE_SENT), (1, FIRST_CAUSE_HELD))]
    users = [{user for user, _, _ in group} for _, group in groups]
    switched = users[0] & users[1]
    rows = [(user, seq, at_us, held) for held, group in groups for user, seq, at_us in group if user not in switched]
    features: dict[str, Floats32] = {}
    for k in range(0, len(rows), USERS_A_READ):
        some = {user: seq for user, seq, _, _ in rows[k : k + USERS_A_READ]}
        since_us = min(at_us for _, _, at_us, _ in rows[k : k + USERS_A_READ]) - DAY_US
        for user, visit in sessions_at(read, some, 2**62, since_us).items():
            features[user] = features_of(_until(visit.session.events, read, some[user]))
    rows = [row for row in rows if row[0] in features]
    begun = {user: (place, at_us) for place, (user, _, at_us, _) in enumerate(rows)}
    paid, promised = (_money(read, partner, begun, params.window_us, of) for of in (PURCHASES_OF, DISCOUNTS_OF))
    money, cost = (
        np.bincount(one.user, weights=one.amount, minlength=len(rows)).astype(np.float64) for one in (paid, promised)
    )
    table = np.array([features[user] for user, *_ in rows], dtype=np.float32).reshape(len(rows), -1)
    p_sent = min(max(1.0 - PolicyBook().of(partner, read).holdout_share, 0.001), 0.999)
    return targeting(table, money - np.minimum(cost, money), np.array([not row[3] for row in rows], dtype=bool), p_sent)


def _until(events: EventArray, read: Read, seq: int) -> EventArray:
    """Events of a session up to the one that caused something."""
    found = read(OCCURRED_AT, (seq,))
    return events[events["occurred_at_us"] <= found[0][0]] if found else events


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
    lines.append(f"  {'discounts':21} {found['discounts']['sentence']}")
    return "\n".join(lines)
