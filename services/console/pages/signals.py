"""Signals: what was sent and what came of it, beside those who were held out; and the policy that decides."""

from typing import Final

import msgspec

from infra.store.protocol import Transaction
from infra.store.statements.console import FUNNEL, HELD_OUT, POLICIES, SPENT
from infra.store.statements.partners import LIST_KEYS
from infra.store.statements.signals import PUT_POLICY, SIGNAL_PARTNERS
from models.engagement.policy import SENDABLE
from models.experiments.uplift import UpliftParams
from models.schema import DAY_US
from services.console.access import ADMIN, OPERATOR
from services.console.acts import Act, Doing
from services.console.page import GOOD, NONE, Block, Cell, Column, Field, Form, Page, State, Table, Text
from services.console.sources import Ask, Sources, spoken
from services.signals import uplift
from services.signals.policies import DECODER, DEFAULT_BODY, PolicyBody, to_policy

DAYS: Final = 28


def view(sources: Sources, ask: Ask) -> Page:
    """The page."""
    now_us = sources.now_us()
    since_us = now_us - DAYS * DAY_US
    rows = sources.read(FUNNEL, (since_us,))
    held = {(partner, kind): n for partner, kind, n in sources.read(HELD_OUT, (since_us,))}
    kinds = sorted({(row[0], row[1]) for row in rows} | set(held))
    told = {(row[0], row[1]): row[2:] for row in rows}
    cells: list[list[Cell]] = []
    for key in kinds:
        sent, users, delivered, failed = told.get(key, (0, 0, 0, 0))
        cells.append(
            [
                key[0],
                spoken(key[1]),
                sent + held.get(key, 0),
                held.get(key, 0) or None,
                sent,
                delivered or None,
                failed or None,
                users,
            ]
        )
    sent = sum(row[2] for row in rows)
    columns = [
        Column("shop"),
        Column("signal"),
        Column("called for", True),
        Column("held out", True),
        Column("sent", True),
        Column("delivered by webhook", True),
        Column("given up", True),
        Column("visitors", True),
    ]
    funnel = Table(
        "funnel",
        f"From called for to delivered, {DAYS} days",
        columns,
        cells,
        "Held out: visitors who never get a signal, so that its worth can be told.",
        "No signal has been called for yet.",
        "attune worker",
    )
    lead = (
        f"{sent:,} signals were sent in {DAYS} days, {sum(held.values()):,} were held out."
        if kinds
        else "No signal has been called for yet."
    )
    blocks: list[Block] = [funnel, _worth(sources), _spent(sources), *_policies(sources, ask)]
    return Page("Signals", lead, blocks, NONE, False, now_us)


def _worth(sources: Sources) -> Table:
    cells: list[list[Cell]] = []
    for (partner,) in sources.read(SIGNAL_PARTNERS):
        told = uplift.of_partner(sources.read, partner, 0, UpliftParams())
        cells.append([partner, uplift.text(told).splitlines()[0]])
    return Table(
        "worth",
        "Are they worth it?",
        [Column("shop"), Column("sent against held out")],
        cells,
        "As attune signals uplift has it.",
        "Nothing to compare yet.",
    )


def _spent(sources: Sources) -> Table:
    cells: list[list[Cell]] = [
        [partner, offer, round(cents / 100, 2), n] for partner, offer, cents, n, _ in sources.read(SPENT)
    ]
    columns = [Column("shop"), Column("offer"), Column("promised", True), Column("signals", True)]
    return Table("spent", "Discounts promised", columns, cells, empty="No discount has been promised.")


def _policies(sources: Sources, ask: Ask) -> list[Block]:
    kept = {partner: DECODER.decode(text) for partner, text, *_ in sources.read(POLICIES)}
    shops = sorted({str(row[0]) for row in sources.read(LIST_KEYS)} | set(kept))
    cells: list[list[Cell]] = []
    for shop in shops:
        body = kept.get(shop, DEFAULT_BODY)
        quiet = f"{body.quiet_hours.begin} to {body.quiet_hours.end}" if body.quiet_hours else None
        state = State("own", GOOD) if shop in kept else State("default", NONE)
        cells.append(
            [
                shop,
                state,
                body.max_per_day,
                body.cool_down_s,
                quiet,
                body.holdout_share,
                ", ".join(map(spoken, body.signal_types)),
            ]
        )
    columns = [
        Column("shop"),
        Column("policy"),
        Column("most a day", True),
        Column("pause, s", True),
        Column("quiet"),
        Column("held out", True),
        Column("may be sent"),
    ]
    chosen = ask.query.get("shop") if ask.query.get("shop") in shops else (shops[0] if shops else None)
    table = Table("policies", "Policies", columns, cells, empty="There is no shop yet.", mend="attune partner add NAME")
    if chosen is None:
        return [table]
    choose = Form("choose", "Whose policy", "Show", [Field("shop", "Shop", "select", chosen, shops)])
    return [table, choose, _form(chosen, kept.get(chosen, DEFAULT_BODY)), _json(chosen, kept.get(chosen, DEFAULT_BODY))]


def _form(shop: str, body: PolicyBody) -> Form:
    quiet = body.quiet_hours
    return Form(
        "policy",
        f"Policy of {shop}",
        "Save the policy",
        [
            Field("shop", "", "hidden", shop),
            Field("max_per_day", "Signals of a visitor a day, at most", "number", str(body.max_per_day)),
            Field("cool_down_s", "Pause between two, seconds", "number", str(body.cool_down_s)),
            Field("quiet_from", "Quiet from (HH:MM, the visitor's clock)", "text", quiet.begin if quiet else ""),
            Field("quiet_to", "Quiet until", "text", quiet.end if quiet else ""),
            Field("holdout_share", "Share of visitors held out, 0 to 1", "number", f"{body.holdout_share:g}"),
            *(Field(f"type_{name}", spoken(name), "check", "on" if name in body.signal_types else "") for name in SENDABLE),
            Field("reason", "Why", "text"),
        ],
        action="policy",
        about="What is not shown here, such as thresholds, stays as it is; PUT /v1/signals/policy sets all of it.",
    )


def _json(shop: str, body: PolicyBody) -> Text:
    return Text("whole", f"All of {shop}'s policy", msgspec.json.format(msgspec.json.encode(body), indent=2).decode(), True)


def _save(doing: Doing) -> str:
    shop, fields = doing.required("shop"), doing.fields

    def work(transaction: Transaction) -> None:
        if shop not in {row[0] for row in transaction.read(LIST_KEYS)}:
            raise ValueError("there is no such shop")
        kept = {partner: text for partner, text, *_ in transaction.read(POLICIES)}
        told = msgspec.json.decode(kept.get(shop) or msgspec.json.encode(DEFAULT_BODY))
        quiet = {"from": fields.get("quiet_from", ""), "to": fields.get("quiet_to", "")}
        told |= {
            "max_per_day": _whole(fields.get("max_per_day"), "signals a day"),
            "cool_down_s": _whole(fields.get("cool_down_s"), "pause"),
            "holdout_share": _number(fields.get("holdout_share"), "share held out"),
            "quiet_hours": quiet if any(quiet.values()) else None,
            "signal_types": [name for name in SENDABLE if fields.get(f"type_{name}")],
        }
        try:
            body = DECODER.decode(msgspec.json.encode(told))
            to_policy(body)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None
        transaction.execute(PUT_POLICY, (shop, msgspec.json.encode(body).decode(), doing.now_us))

    doing.write(work)
    return f"The policy of {shop} is saved; it holds from now on."


def _whole(text: str | None, name: str) -> int:
    number = _number(text, name)
    if number != int(number):
        raise ValueError(f"{name} must be a whole number")
    return int(number)


def _number(text: str | None, name: str) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise ValueError(f"{name} must be a number") from None


ACTS: Final = {"policy": Act(_save, frozenset({OPERATOR, ADMIN}), "shop")}
