"""Policies of signals: the form that changes one, and its rehearsal on the shop's last days, beside the policy that holds."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from infra.settings import Settings
from infra.store.protocol import Transaction
from infra.store.statements.console import POLICIES
from infra.store.statements.partners import LIST_KEYS
from infra.store.statements.signals import PUT_POLICY
from models.engagement.policy import SENDABLE
from services.console.access import ADMIN, OPERATOR
from services.console.acts import Act, Doing, Seen
from services.console.page import GOOD, NONE, Block, Cell, Column, Field, Form, Plot, Series, State, Table, Text
from services.console.sources import Sources, spoken
from services.rehearsals import of_home
from services.signals.policies import DECODER, DEFAULT_BODY, PolicyBody, contradiction, to_policy
from services.signals.rehearsal import RehearsalAnswer

MOST_MOMENTS: Final = 5_000  # of each of the two policies
WITHIN_S: Final = 5.0
LONGEST_S: Final = 30.0  # of the second one, which looks at as many visitors as the first one came to
THRESHOLDS: Final = {
    "min_score_product": "Products from a score of",
    "min_score_content": "Articles from a score of",
    "min_score_discount": "Discounts from a score of",
    "min_score_support": "Support from a score of",
    "min_score_workflow": "Workflows from a score of",
    "min_p_leave": "Discounts from a chance of leaving of",
    "max_p_purchase_discount": "Discounts up to a chance of buying of",
}
BUDGET: Final = {"per_day": "Discounts of a day, at most", "total": "Discounts in all, at most"}
_THRESHOLD_OF: Final = dict(zip(SENDABLE, ("min_score_product", "min_score_content", "min_score_discount",
                                           "min_score_support", "min_score_workflow"), strict=True))  # fmt: skip
_rehearsing: Final = threading.Lock()


def blocks(sources: Sources, asked: str | None) -> list[Block]:
    """All policies, and the form of the one that is asked for."""
    kept = {partner: DECODER.decode(text) for partner, text, *_ in sources.read(POLICIES)}
    shops = sorted({str(row[0]) for row in sources.read(LIST_KEYS)} | set(kept))
    cells: list[list[Cell]] = []
    for shop in shops:
        body = kept.get(shop, DEFAULT_BODY)
        quiet = f"{body.quiet_hours.begin} to {body.quiet_hours.end}" if body.quiet_hours else None
        state = State("own", GOOD) if shop in kept else State("default", NONE)
        may = ", ".join(map(spoken, body.signal_types))
        cells.append([shop, state, body.max_per_day, body.cool_down_s, quiet, body.holdout_share, may])
    columns = [
        *(Column("shop"), Column("policy"), Column("most a day", True), Column("pause, s", True), Column("quiet")),
        *(Column("held out", True), Column("may be sent")),
    ]
    table = Table("policies", "Policies", columns, cells, empty="There is no shop yet.", mend="attune partner add NAME")
    if not shops:
        return [table]
    chosen = asked if asked is not None and asked in shops else shops[0]
    choose = Form("choose", "Whose policy", "Show", [Field("shop", "Shop", "select", chosen, shops)])
    body = kept.get(chosen, DEFAULT_BODY)
    return [table, choose, form(chosen, body), _json(chosen, body)]


def form(shop: str, body: PolicyBody) -> Form:
    """Form of a policy, filled with it."""
    quiet, budget = body.quiet_hours, msgspec.structs.asdict(body.discount_budget)
    thresholds = msgspec.structs.asdict(body.thresholds)
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
            *(Field(name, label, "number", str(thresholds[name])) for name, label in THRESHOLDS.items()),
            *(Field(name, label, "number", _amount(budget[name])) for name, label in BUDGET.items()),
            *(Field(f"type_{name}", spoken(name), "check", "on" if name in body.signal_types else "") for name in SENDABLE),
            Field("reason", "Why", "text"),
        ],
        action="policy",
        about="Rehearse first: nothing is set or sent, and it takes some seconds. What is not shown here stays as it is; "
        "PUT /v1/signals/policy sets all of it.",
        before=("rehearse", "Rehearse on the last days"),
    )  # fmt: skip


def _amount(value: float | None) -> str:
    return "" if value is None else str(value)


def _json(shop: str, body: PolicyBody) -> Text:
    return Text("whole", f"All of {shop}'s policy", msgspec.json.format(msgspec.json.encode(body), indent=2).decode(), True)


def changed(present: PolicyBody, fields: Mapping[str, str]) -> PolicyBody:
    """A policy with what a form says of it; what the form leaves out stays.

    Raises
    ------
    ValueError
        Where it cannot be followed.
    """
    told: dict[str, Any] = msgspec.to_builtins(present)
    quiet = {"from": fields.get("quiet_from", ""), "to": fields.get("quiet_to", "")}
    told |= {
        "max_per_day": _whole(fields.get("max_per_day"), "signals a day"),
        "cool_down_s": _whole(fields.get("cool_down_s"), "pause"),
        "holdout_share": _number(fields.get("holdout_share"), "share held out"),
        "quiet_hours": quiet if any(quiet.values()) else None,
        "signal_types": [name for name in SENDABLE if fields.get(f"type_{name}")],
    }
    told["thresholds"] |= {name: _number(fields[name], label) for name, label in THRESHOLDS.items() if name in fields}
    told["discount_budget"] |= {
        name: _number(fields[name], label) if fields[name].strip() else None for name, label in BUDGET.items() if name in fields
    }
    try:
        body = msgspec.convert(told, PolicyBody)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    if wrong := contradiction(body):
        raise ValueError(f"{wrong.pointer}: {wrong.reason}")
    to_policy(body)
    return body


def _present(rows: Sequence[Sequence[Any]], shops: Sequence[Sequence[Any]], shop: str) -> PolicyBody:
    if shop not in {row[0] for row in shops}:
        raise ValueError("there is no such shop")
    kept = {row[0]: row[1] for row in rows}
    return DECODER.decode(kept[shop]) if shop in kept else DEFAULT_BODY


def _save(doing: Doing) -> Seen:
    shop = doing.required("shop")

    def work(transaction: Transaction) -> None:
        body = changed(_present(transaction.read(POLICIES), transaction.read(LIST_KEYS), shop), doing.fields)
        transaction.execute(PUT_POLICY, (shop, msgspec.json.encode(body).decode(), doing.now_us))

    doing.write(work)
    return Seen(f"The policy of {shop} is saved; it holds from now on.", query={"shop": shop})


def _rehearse(doing: Doing) -> Seen:
    """Both policies on the same days; one rehearsal at a time.

    Raises
    ------
    ValueError
        While another is under way.
    """
    shop, sources = doing.required("shop"), doing.sources
    present = _present(sources.read(POLICIES), sources.read(LIST_KEYS), shop)
    other = changed(present, doing.fields)
    if not _rehearsing.acquire(blocking=False):
        raise ValueError("another rehearsal is under way; try again in some seconds")
    try:
        settings, models = Settings(home=doing.home), sources.models()
        now = of_home(settings, shop, to_policy(present), models, doing.now_us, MOST_MOMENTS, WITHIN_S)
        looked_at = now.sampled_visitors  # by both: what differs is the policy's doing, not the sample's
        then = of_home(
            settings, shop, to_policy(other), models, doing.now_us, 2**62, LONGEST_S, most_visitors=max(looked_at, 1)
        )
    finally:
        _rehearsing.release()
    totals = [sum(one.count for one in found.signals.values()) for found in (now, then)]
    told = (
        f"Rehearsed on {then.events:,} events of {then.visitors:,} visitors, {then.since[:10]} to {then.until[:10]}: "
        f"{totals[1]:,.0f} signals, {totals[0]:,.0f} with the policy that holds. Nothing was set, nothing was sent."
    )
    return Seen(told, [*_compared(now, then), _suggested(present, other, then), form(shop, other)], {"shop": shop})


def _compared(now: RehearsalAnswer, then: RehearsalAnswer) -> list[Block]:
    rows: list[list[Cell]] = []
    for kind in SENDABLE:
        was, would = now.signals[kind], then.signals[kind]
        kept = ", ".join(f"{n:,.0f} {spoken(why)}" for why, n in would.withheld.items())
        sure = f"{would.low:,.0f} to {would.high:,.0f}"
        rows.append(
            [
                *(spoken(kind), round(was.count), round(would.count), sure, round(was.visitors), round(would.visitors)),
                *(round(would.held_out) or None, kept or None, was.cost or None, would.cost or None),
                would.bought_within_hour,
            ]
        )
    columns = [
        *(Column("signal"), Column("sent now", True), Column("sent then", True), Column("95 %", True)),
        *(
            Column("visitors now", True),
            Column("visitors then", True),
            Column("held out", True),
            Column("kept back by"),
            Column("promised now", True),
        ),
        *(Column("promised then", True), Column("bought within the hour, unsent", True)),
    ]
    about = "Now is the policy that holds, then the one of the form; both on the same days, by the functions of the worker."
    notes = " ".join(f"{note}." for note in then.notes)
    hours = [[sum(one.by_hour[hour] for one in found.signals.values()) for hour in range(24)] for found in (now, then)]
    series = [Series("now", hours[0]), Series("then", hours[1])]
    return [
        Table("rehearsed", "What it would have sent", columns, rows, f"{about} {notes}".strip()),
        Plot("hours", "When, by the visitors' clocks", [float(hour) for hour in range(24)], series, "hour", "signals"),
    ]


def _suggested(present: PolicyBody, other: PolicyBody, found: RehearsalAnswer) -> Table:
    rows: list[list[Cell]] = []
    for kind in SENDABLE:
        one = found.suggested.get(kind)
        name = _THRESHOLD_OF[kind]
        holds, tried = getattr(present.thresholds, name), getattr(other.thresholds, name)
        rows.append(
            [
                *(spoken(kind), holds, tried, one.threshold if one else None),
                *(one.value if one else None, one.sentence if one else "It may not be sent."),
            ]
        )
    columns = [
        *(Column("signal"), Column("from score now", True), Column("from score then", True), Column("suggested", True)),
        *(Column("worth per visitor", True), Column("by those held out")),
    ]
    about = "From which score on a signal pays, by what the visitors who were held out did without it."
    return Table("suggested", "Thresholds that pay", columns, rows, about)


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


_ROLES: Final = frozenset({OPERATOR, ADMIN})
ACTS: Final = {"policy": Act(_save, _ROLES, "shop"), "rehearse": Act(_rehearse, _ROLES, "shop")}
