"""Sessions: the newest visits with their intent as it moves; and one visit, event by event."""

import json
from collections import OrderedDict
from typing import Any, Final

from infra.store.statements.console import BEFORE_NEWEST, DECISIONS_OF, RECENT, SESSIONS, SIGNALS_OF
from models.live_session import LiveSession
from models.recommend import situate
from models.schema import EVENT_TYPES, INTENTS
from services.console.page import (
    FAIR,
    GOOD,
    NONE,
    Block,
    Cell,
    Column,
    Field,
    Form,
    Link,
    Mix,
    Moment,
    Page,
    Plot,
    Series,
    Share,
    State,
    Table,
)
from services.console.pages import again
from services.console.sources import Ask, Sources, shown, spoken
from services.console.visits import last_visit, visits, watched

N_SESSIONS: Final = 50
LONGEST_US: Final = 24 * 3600 * 1_000_000
KEPT: Final = 1_000
_known: OrderedDict[tuple[str, int], dict[str, float]] = OrderedDict()  # intents by user and newest event
_COLUMNS: Final = (
    Column("visitor", about="pseudonym"),
    Column("intent now"),
    Column("likeliest"),
    Column("events", True),
    Column("carts", True),
    Column("bought", True),
    Column("newest"),
    Column("shop"),
    Column("told by"),
)


def view(sources: Sources, ask: Ask) -> Page:
    """The page: all of them, or one visitor's."""
    user_id = ask.query.get("visitor", "")
    return _one(sources, ask, user_id) if user_id else _all(sources)


def _all(sources: Sources) -> Page:
    now_us = sources.now_us()
    rows = sources.read(SESSIONS, (*sources.read(BEFORE_NEWEST, (RECENT,))[0], N_SESSIONS))
    told = _intents(sources, {row[1]: row[6] for row in reversed(rows)}, now_us)
    cells: list[list[Cell]] = []
    for partner, user, _, n, _, received, seq, carts, bought, browser in rows:
        p = told.get((user, seq), {})
        likeliest = spoken(max(p, key=p.__getitem__)) if p else None
        cells.append(
            [
                Link(shown(user), f"/sessions?visitor={user}"),
                Mix(p) if p else None,
                likeliest,
                n,
                carts or None,
                bought or None,
                Moment(received),
                partner,
                "page" if browser else "server",
            ]
        )
    mix = {name: sum(p.get(name, 0.0) for p in told.values()) / max(len(told), 1) for name in INTENTS}
    lead = (
        "Nobody has come yet"
        if not rows
        else (f"The newest {len(rows)} visits: " + ", ".join(f"{100 * p:.0f} % {spoken(name)}" for name, p in mix.items()))
    )
    table = Table(
        "sessions",
        "Newest visits",
        _COLUMNS,
        cells,
        "Intent as the champion sees the visit so far.",
        "Nobody has come yet.",
        "attune visitors",
        INTENTS,
    )
    return Page("Sessions", f"{lead}.", [table], NONE, True, now_us)


def _intents(sources: Sources, newest: dict[str, int], now_us: int) -> dict[tuple[str, int], dict[str, float]]:
    """Intents by user and newest event; what was folded at the last look is not folded again."""
    models = sources.models()
    missing = {user: seq for user, seq in newest.items() if (user, seq) not in _known}
    for user, session in visits(sources, missing, now_us - LONGEST_US).items():
        p = situate(session, models, []).p_intent
        _known[user, missing[user]] = dict(zip(INTENTS, p.tolist(), strict=True))
    while len(_known) > KEPT:
        _known.popitem(last=False)
    return {(user, seq): _known[user, seq] for user, seq in newest.items() if (user, seq) in _known}


def _one(sources: Sources, ask: Ask, user_id: str) -> Page:
    now_us = sources.now_us()
    visit = last_visit(sources, user_id)
    title = f"Visit of {shown(user_id)}"
    if visit is None:
        empty = Table("events", "Events", [Column("event")], [], empty="Nobody of this name is in the log.")
        return Page(title, "Nobody of this name has been here, or all was erased.", [empty], NONE, False, now_us)
    partner, whole = visit
    models = sources.models()
    n = len(whole.events)
    until = round(ask.number("until", n, 1, n))
    session = whole._replace(events=whole.events[:until])
    seen = watched(session, models)
    now = dict(zip(INTENTS, seen.p_intent[-1].tolist(), strict=True))
    likeliest = max(now, key=now.__getitem__)
    decisions = sources.read(DECISIONS_OF, (user_id, 20))
    place = f"{until} of {n}" if until < n else str(n)
    lead = f"After {place} events the visit is {spoken(likeliest)}, with {100 * now[likeliest]:.0f} %"
    marks = [spoken(EVENT_TYPES[kind]) for kind in seen.session.events["event_type"]]
    first = len(session.events) - len(marks) + 1
    plot = Plot(
        "intent",
        "Intent, event by event",
        [float(first + k) for k in range(len(marks))],
        [Series(spoken(name), seen.p_intent[:, k].tolist()) for k, name in enumerate(INTENTS)],
        "event",
        "probability",
        marks,
        about="Each line is the probability after that event; which event it was, the table below says.",
    )
    is_asked = ask.query.get("again") == "yes"
    blocks: list[Block] = [
        *([again.table(sources, ask, user_id, partner, session, decisions)] if is_asked else []),
        again.form(user_id),
        plot,
        *([_scrubber(user_id, until, n)] if n > 1 else []),
        _events(sources, session, seen.p_intent),
        _decisions(sources, decisions),
        _signals(sources, user_id),
    ]
    is_live = until == n and not is_asked
    return Page(title, f"{lead}.", blocks, NONE, is_live, now_us, [Link("All visits", "/sessions")])


def _scrubber(user_id: str, until: int, n: int) -> Form:
    """A slider through the events of a visit."""
    return Form(
        "scrubber",
        "As it was after an event",
        "Show",
        [Field("until", "Event", "range", str(until), ("1", str(n))), Field("visitor", "", "hidden", user_id)],
        about="Move it, and the page is as it was then; load it again to see it move on.",
        is_live=True,
    )


def _events(sources: Sources, session: LiveSession, p_intent: Any) -> Table:
    titles = sources.titles(session.item_ids)
    rows: list[list[Cell]] = []
    for event, p in zip(session.events[-len(p_intent) :][::-1], p_intent[::-1], strict=True):
        item = session.item_ids[event["item"]] if event["item"] >= 0 else None
        dwell = float(event["dwell_ms"])
        category = session.categories[event["category"]] if event["category"] >= 0 else None
        rows.append(
            [
                Moment(int(event["occurred_at_us"])),
                spoken(EVENT_TYPES[event["event_type"]]),
                Link(titles[item], f"/associations?item={item}") if item else category,
                round(dwell / 1000, 1) if dwell == dwell else None,
                Mix(dict(zip(INTENTS, p.tolist(), strict=True))),
            ]
        )
    columns = [Column("when"), Column("event"), Column("item or category"), Column("dwell, s", True), Column("intent after it")]
    return Table("events", "Events, the newest first", columns, rows, key=INTENTS)


def _decisions(sources: Sources, decisions: list[tuple[Any, ...]]) -> Table:
    rows: list[list[Cell]] = []
    lists = [json.loads(row[5]) for row in decisions]
    titles = sources.titles(item for items in lists for item in items[:3])
    for row, items in zip(decisions, lists, strict=True):
        _, at_us, variant, profile, propensity, _, context, degraded, reward, revenue = row
        rows.append(
            [
                Moment(at_us),
                spoken(json.loads(context).get("intent", "")),
                ", ".join(titles[one] for one in items[:3]),
                variant,
                profile,
                Share(propensity),
                reward,
                revenue,
                ", ".join(map(spoken, json.loads(degraded))) or None,
            ]
        )
    columns = [
        Column("when"),
        Column("as"),
        Column("shown first"),
        Column("variant"),
        Column("profile"),
        Column("propensity", True),
        Column("reward", True),
        Column("revenue", True),
        Column("fallbacks"),
    ]
    empty = "No list is on record for this visitor: none was asked for, or a page asked without a token of its shop."
    return Table("decisions", "Lists that were shown", columns, rows, empty=empty)


def _signals(sources: Sources, user_id: str) -> Table:
    rows = [
        [Moment(at_us), spoken(kind), State(way, GOOD if way == "sent" else FAIR), score, spoken(action), silence or None]
        for at_us, kind, score, action, _, silence, way in sources.read(SIGNALS_OF, (user_id, 20))
    ]
    columns = [
        Column("when"),
        Column("signal"),
        Column("way"),
        Column("score", True),
        Column("foreseen"),
        Column("after silence, s", True),
    ]
    return Table("signals", "Signals", columns, rows, empty="No signal was called for.")
