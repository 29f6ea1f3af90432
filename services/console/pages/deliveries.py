"""Deliveries: where signals go, what became of them, and sending them again."""

import asyncio
import secrets
from contextlib import closing
from typing import Final
from urllib.parse import urlsplit

from infra.secret import secret
from infra.settings import Settings
from infra.store.engines import open_store
from infra.store.protocol import Transaction
from infra.store.statements import deliveries as sql
from infra.store.statements.console import ATTEMPTS, DELIVERIES, SUBSCRIPTIONS
from infra.store.statements.signals import ROTATE_SECRET, SUBSCRIPTION, SUBSCRIPTION_COLUMNS
from services.api.subscriptions import OVERLAP_S, new_secret
from services.console.access import ADMIN, OPERATOR
from services.console.acts import Act, Doing
from services.console.page import BAD, FAIR, GOOD, NONE, Block, Cell, Column, Field, Form, Link, Moment, Page, State, Table
from services.console.sources import Ask, Sources, spoken
from services.delivery import webhooks
from services.delivery.outbound import Outbound
from services.delivery.seals import Seals
from services.delivery.webhooks import Secrets

N_SHOWN: Final = 100
TEST_S: Final = 4.0
MOST_REPLAYED: Final = 10_000
_STATES: Final = {"delivered": GOOD, "pending": NONE, "failed": BAD, "cancelled": FAIR}


def view(sources: Sources, ask: Ask) -> Page:
    """The page."""
    where = sources.read(SUBSCRIPTIONS)
    chosen = ask.query.get("to") or None
    state = ask.query.get("state") if ask.query.get("state") in _STATES else None
    before = int(ask.number("before", 2**53, 1, 2**53))
    rows = sources.read(DELIVERIES, (chosen, state, before, N_SHOWN))
    failing = [row for row in where if row[6] or row[3] != "active"]
    lead = (
        "Nobody has asked for webhooks; signals are there to be pulled or streamed."
        if not where
        else f"{len(failing)} of {len(where)} endpoints fail or are disabled."
        if failing
        else f"All {len(where)} endpoints do well."
    )
    known = [str(row[0]) for row in where]
    choose = Form(
        "filter",
        "Which",
        "Show",
        [
            Field("to", "Endpoint", "select", chosen or "", ["", *known]),
            Field("state", "State", "select", state or "", ["", *_STATES]),
        ],
    )
    listed: list[Block] = [choose, _list(rows)] if where else []
    blocks: list[Block] = [_endpoints(where), *listed, *_attempts(sources, ask)]
    if where:
        blocks += _acts(known, chosen)
    more = f"/deliveries?to={chosen or ''}&state={state or ''}&before={rows[-1][0]}" if len(rows) == N_SHOWN else ""
    return Page(
        "Deliveries",
        lead,
        blocks,
        BAD if failing else GOOD if where else NONE,
        True,
        sources.now_us(),
        [Link("Older ones", more)] if more else [],
    )


def _endpoints(where: list[tuple]) -> Table:  # type: ignore[type-arg]
    cells: list[list[Cell]] = []
    for id_, partner, url, state, why, succeeded, failing, n, pending in where:
        kind = State("disabled", BAD) if state != "active" else State("fails", BAD) if failing else State("well", GOOD)
        cells.append(
            [
                Link(urlsplit(url).netloc, f"/deliveries?to={id_}"),
                partner,
                kind,
                Moment(succeeded) if succeeded else None,
                Moment(failing) if failing else None,
                n or None,
                pending or None,
                why or None,
            ]
        )
    columns = [
        Column("endpoint"),
        Column("shop"),
        Column("state"),
        Column("last success"),
        Column("failing since"),
        Column("failures", True),
        Column("waiting", True),
        Column("why disabled"),
    ]
    return Table("endpoints", "Endpoints", columns, cells, empty="None yet: POST /v1/subscriptions makes one.")


def _list(rows: list[tuple]) -> Table:  # type: ignore[type-arg]
    cells: list[list[Cell]] = []
    for id_, to, partner, kind, cause, state, n, created, _, outcome, status, latency, signal_id in rows:
        cells.append(
            [
                Link(f"#{id_}", f"/deliveries?to={to}&attempts={id_}"),
                Moment(created),
                spoken(kind),
                partner,
                State(state, _STATES[state]),
                status,
                outcome,
                round(latency / 1000, 1) if latency is not None else None,
                n,
                cause,
                signal_id,
            ]
        )
    columns = [
        Column("delivery"),
        Column("made"),
        Column("signal"),
        Column("shop"),
        Column("state"),
        Column("status", True),
        Column("outcome"),
        Column("ms", True),
        Column("attempts", True),
        Column("cause"),
        Column("signal id"),
    ]
    return Table("deliveries", "Deliveries, the newest first", columns, cells, empty="None of this kind.")


def _attempts(sources: Sources, ask: Ask) -> list[Block]:
    wanted = int(ask.number("attempts", 0, 0, 2**53))
    if not wanted:
        return []
    cells: list[list[Cell]] = [
        [Moment(at), outcome, status, round(us / 1000, 1)] for at, us, outcome, status in sources.read(ATTEMPTS, (wanted,))
    ]
    columns = [Column("when"), Column("outcome"), Column("status", True), Column("ms", True)]
    return [Table("attempts", f"Attempts of #{wanted}", columns, cells, empty="None yet.")]


def _acts(known: list[str], chosen: str | None) -> list[Block]:
    to = Field("to", "Endpoint", "select", chosen or known[0], known)
    reason = Field("reason", "Why", "text")
    return [
        Form(
            "replay",
            "Send signals once more",
            "Replay",
            [
                to,
                Field("signal_id", "Signal id (one)", "text"),
                Field("minutes", "or all of the last minutes", "number"),
                reason,
            ],
            action="replay",
            about="Whoever receives tells repeats by the webhook-id.",
        ),
        Form("test", "Send a test message", "Send the test", [to], action="test"),
        Form(
            "rotate",
            "New secret",
            "Rotate the secret",
            [to, reason],
            action="rotate",
            about="Shown once. For a day messages are signed with the old one, too.",
        ),
    ]


def _one(transaction: Transaction, id_: str) -> dict[str, object]:
    for partner in {row[1] for row in transaction.read(SUBSCRIPTIONS) if row[0] == id_}:
        found = transaction.read(SUBSCRIPTION, (partner, id_))
        if found:
            return dict(zip(SUBSCRIPTION_COLUMNS, found[0], strict=True))
    raise ValueError("there is no such endpoint any more")


def _replay(doing: Doing) -> str:
    id_, one, minutes = doing.required("to"), doing.fields.get("signal_id", "").strip(), doing.fields.get("minutes", "").strip()
    if bool(one) == bool(minutes):
        raise ValueError("give either a signal id, or minutes")
    if minutes and not (minutes.isdecimal() and 0 < int(minutes) <= 60 * 24 * 30):
        raise ValueError("minutes must be a number, of 30 days at most")
    run = f"rpl_{secrets.token_hex(8)}"

    def work(transaction: Transaction) -> int:
        if _one(transaction, id_)["state"] != "active":
            raise ValueError("the endpoint is disabled; its shop must make it active first")
        made = (run, doing.now_us, doing.now_us, id_)
        if one:
            n = transaction.execute(
                sql.REPLAY_IDS, (*made, f'["{one}"]' if one.isascii() and one.replace("_", "").isalnum() else "[]")
            )
        else:
            n = transaction.execute(
                sql.REPLAY_SPAN, (*made, doing.now_us - int(minutes) * 60_000_000, doing.now_us, MOST_REPLAYED + 1)
            )
        if n > MOST_REPLAYED:
            raise ValueError(f"{MOST_REPLAYED:,} signals at most; ask for fewer minutes")
        return n

    n = doing.write(work)
    return f"{n} signals will be sent once more." if n else "No signal fits."


def _test(doing: Doing) -> str:
    id_, now_us = doing.required("to"), doing.now_us
    one = doing.write(lambda transaction: _one(transaction, id_))
    message_id = f"test_{secrets.token_hex(12)}"
    body = webhooks.of_test(message_id, now_us)
    signing = Secrets(str(one["secret"]), one["previous_secret"], one["previous_secret_until_us"])  # type: ignore[arg-type]
    headers = webhooks.headers(message_id, now_us, body, Seals(secret(doing.home)).signing(id_, signing, now_us))

    async def sent() -> object:
        outbound = Outbound(Settings(home=doing.home).allow_private_webhooks, TEST_S)
        try:
            return await outbound.post(str(one["url"]), body, headers)
        finally:
            await outbound.close()

    answer: object = asyncio.run(sent())
    delivered, outcome, status, latency_us, text = (
        getattr(answer, name) for name in ("delivered", "outcome", "status", "latency_us", "text")
    )

    def keep(transaction: Transaction) -> None:
        state = "delivered" if delivered else "failed"
        trial = (id_, one["partner"], message_id, message_id, state, now_us, now_us, now_us + latency_us)
        ((delivery_id,),) = transaction.read(sql.TESTED, trial)
        transaction.execute(sql.ATTEMPT, (delivery_id, now_us, latency_us, outcome, status, text))

    with closing(open_store(doing.home)) as store:
        store.write(keep)
    return f"Answered {status} after {latency_us / 1000:.0f} ms." if delivered else f"Not delivered: {outcome} {status or ''}."


def _rotate(doing: Doing) -> str:
    id_, fresh = doing.required("to"), new_secret()
    sealed = Seals(secret(doing.home)).sealed(id_, fresh)

    def work(transaction: Transaction) -> None:
        one = _one(transaction, id_)
        transaction.execute(ROTATE_SECRET, (doing.now_us + OVERLAP_S * 1_000_000, sealed, doing.now_us, one["partner"], id_))

    doing.write(work)
    return f"New secret, shown this once: {fresh}"


ACTS: Final = {
    "rotate": Act(_rotate, frozenset({ADMIN}), "to"),
    "replay": Act(_replay, frozenset({OPERATOR, ADMIN}), "to"),
    "test": Act(_test, frozenset({OPERATOR, ADMIN}), "to"),
}
