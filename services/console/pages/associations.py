"""Associations: what goes with an item, why, and how the order changes with what the visitor is about."""

from typing import Any, Final

import numpy as np

from infra.store.statements.console import FOUND_ITEMS
from models.associations.arrays import TYPE_BITS, TYPE_MASK
from models.associations.model import AssociationStore
from models.events.encode import EVENT_DTYPE
from models.item_ranking import AUTO, Asked, rank_items, weigh
from models.known import Known
from models.live_session import LiveSession
from models.model_set import ModelSet
from models.recommend import profile_of
from models.schema import EVENT_TYPES, INTENTS, LOCAL_PARTNER, MEASURES, EventType
from services.console.page import NONE, Block, Cell, Column, Field, Form, Link, Page, Table
from services.console.sources import Ask, Sources, spoken

N_SHOWN: Final = 12
N_PAIRS: Final = 25
EVEN: Final = 25.0


def view(sources: Sources, ask: Ask) -> Page:
    """The page."""
    item, words = ask.query.get("item", "").strip(), ask.query.get("q", "").strip().lower()[:60]
    models = sources.models().of(ask.query.get("partner") or LOCAL_PARTNER)
    store = models.associations
    search = Form("find", "Find an item", "Find", [Field("q", "Part of its id or title", value=words)])
    if store is None:
        empty = Table(
            "ranked", "What goes with it", [Column("item")], [], empty="No associations serve yet.", mend="attune retrain"
        )
        return Page("Associations", "No associations serve yet.", [empty], NONE, False, sources.now_us())
    found = _found(sources, store, words)
    if not item and found.rows:
        item = words if words in {str(one.text) for row in found.rows for one in row if isinstance(one, Link)} else ""
    blocks: list[Block] = [search, found] if words or not item else [search]
    if not item:
        lead = f"{store.n_items:,} items are known. Look for one, or take one of the most popular."
        return Page("Associations", lead, blocks, NONE, False, sources.now_us())
    return _of_item(sources, models, store, item, ask, blocks)


def _found(sources: Sources, store: AssociationStore, words: str) -> Table:
    rows = sources.read(FOUND_ITEMS, (words, N_SHOWN)) if words else []
    if words and not rows:  # without a catalogue
        rows = [(one, None) for one in store.item_ids if words in one.lower()][:N_SHOWN]
    if not words:
        popular = [store.item_ids[code] for code in store.popular(N_SHOWN).items.tolist()]
        rows = list(sources.titles(popular).items())
    cells: list[list[Cell]] = [[Link(one, f"/associations?item={one}"), title or None] for one, title in rows]
    title = f"Items with “{words}”" if words else "Most popular"
    return Table("found", title, [Column("item"), Column("title")], cells, empty="No item of that name is known.")


def _of_item(sources: Sources, models: ModelSet, store: AssociationStore, item: str, ask: Ask, blocks: list[Block]) -> Page:
    shares = np.array([ask.number(name, EVEN, 0.0, 100.0) for name in INTENTS])
    p = shares / shares.sum() if shares.sum() > 0 else np.full(len(INTENTS), 1 / len(INTENTS))
    title = sources.titles([item])[item]
    partner = ask.query.get("partner", "")
    now_us = sources.now_us()
    listed, even = (_ranked(models, item, mix, now_us) for mix in (p, np.full(len(INTENTS), 1 / len(INTENTS))))
    slider = Form(
        "mix",
        "What is the visitor about?",
        "Show",
        [
            *(Field(name, spoken(name), "range", f"{share:.0f}") for name, share in zip(INTENTS, shares, strict=True)),
            Field("item", "", "hidden", item),
            *([Field("partner", "", "hidden", partner)] if partner else []),
        ],
        about="Move one, and the list below is made anew, by the function that answers requests.",
        is_live=True,
    )
    mix = ", ".join(f"{100 * value:.0f} % {spoken(name)}" for name, value in zip(INTENTS, p, strict=True))
    lead = f"What goes with {title}, for a visitor who has looked at it and is {mix}."
    more: list[Block] = [slider, _list(sources, listed, even), _pairs(sources, store, item)]
    return Page("Associations", lead, [*blocks, *more], NONE, False, now_us, [Link("Other items", "/associations")])


def _ranked(models: ModelSet, item: str, p_intent: Any, now_us: int) -> Any:
    event = np.zeros(1, dtype=EVENT_DTYPE)
    for name in MEASURES:
        event[name] = np.nan
    event["event_type"], event["occurred_at_us"], event["category"] = EventType.ITEM_VIEW, now_us, -1
    session, told = LiveSession(event, [item], []), list[str]()
    weighing = weigh(profile_of(models, told), models.actions, event, p_intent, now_us, AUTO)
    return rank_items(Asked(item, N_SHOWN, True), session, models, Known(), weighing, told)


def _list(sources: Sources, listed: Any, even: Any) -> Table:
    before = {one: place for place, one in enumerate(even.item_ids)}
    titles = sources.titles(listed.item_ids)
    rows: list[list[Cell]] = []
    for place, (one, score) in enumerate(zip(listed.item_ids, listed.scores, strict=True)):
        was = before.get(one)
        moved = "new" if was is None else "" if was == place else f"{'up' if was > place else 'down'} {abs(was - place)}"
        reasons = listed.because[place] if listed.because else []
        why = "; ".join(
            f"{100 * r['share']:.0f} %: {spoken(r['source_event'])} here, then {spoken(r['target_event'])} there"
            for r in reasons[:2]
        )
        rows.append(
            [place + 1, Link(titles[one], f"/associations?item={one}"), round(score, 4), moved or None, why or "popular"]
        )
    columns = [Column("place", True), Column("item"), Column("score", True), Column("against even intents"), Column("because")]
    return Table("ranked", "What goes with it", columns, rows, empty="Nothing goes with it yet.")


def _pairs(sources: Sources, store: AssociationStore, item: str) -> Table:
    """The strongest associations of the item as they were built, each by its pair of event types."""
    code = store.code(item)
    index = store.index
    columns = [
        Column("item"),
        Column("event on this item"),
        Column("event on the other"),
        Column("strength", True),
        Column("sessions", True),
    ]
    title, about = (
        "Pairs behind it",
        "Strength is decayed by age and gated by the log-likelihood ratio; sessions have the pair.",
    )
    if not 0 <= code < len(index.offsets) - 1:
        return Table(
            "pairs", title, columns, [], about, "The item was not there when the associations were built.", "attune retrain"
        )
    begin, end = int(index.offsets[code]), int(index.offsets[code + 1])
    best = begin + np.argsort(-index.strength[begin:end])[:N_PAIRS]
    names = [store.item_ids[k] for k in index.target[best].tolist()]
    titles = sources.titles(names)
    rows: list[list[Cell]] = [
        [
            Link(titles[name], f"/associations?item={name}"),
            _kind(int(index.types[k]) >> TYPE_BITS),
            _kind(int(index.types[k]) & TYPE_MASK),
            round(float(index.strength[k]), 4),
            int(store.ledger.support[k]) if store.ledger is not None else None,
        ]
        for name, k in zip(names, best.tolist(), strict=True)
    ]
    return Table("pairs", title, columns, rows, about, "Nothing has been seen together with it yet.")


def _kind(code: int) -> str:
    return spoken(EVENT_TYPES[code]) if code < len(EVENT_TYPES) else "–"
