"""Ask again: what a visit would be shown now, beside what it was shown last. Nothing goes on record, nothing is dealt."""

import json
from functools import partial
from typing import Any, Final

from infra.settings import Settings
from models import degraded
from models.item_ranking import AUTO, Asked
from models.known import Known
from models.live_session import LiveSession
from models.recommend import Recommendation, Who, recommend
from models.schema import GOALS
from services.console.page import Cell, Column, Field, Form, Link, Table
from services.console.sources import Ask, Sources, spoken
from services.serving.features import open_features
from services.serving.reads import read_or_name
from services.signals.catalog import Catalog

N_SHOWN: Final = 12
ABOUT: Final = "As a request of its shop would be answered now, by the same function: the weights that serve, no profile dealt."


def form(user_id: str) -> Form:
    """Form that asks."""
    goal = Field("goal", "Towards", "select", AUTO, [AUTO, *GOALS])
    return Form(
        "ask",
        "What would it be shown now?",
        "Ask again",
        [Field("visitor", "", "hidden", user_id), Field("again", "", "hidden", "yes"), goal],
        about="Nothing goes on record by it.",
    )


def table(
    sources: Sources, ask: Ask, user_id: str, partner: str, session: LiveSession, decisions: list[tuple[Any, ...]]
) -> Table:
    """The list, place by place.

    Parameters
    ----------
    decisions
        Of the visitor, as `DECISIONS_OF` reads them.
    """
    found = _answer(sources, ask, user_id, partner, session)
    last = json.loads(decisions[0][5]) if decisions else []
    before = {item: place for place, item in enumerate(last, 1)}
    ranking = found.ranking
    because = ranking.because or [[] for _ in ranking.item_ids]
    titles = sources.titles(ranking.item_ids + [str(why["item_id"]) for reasons in because for why in reasons])
    rows: list[list[Cell]] = [
        [
            place,
            Link(titles[item], f"/associations?item={item}"),
            round(float(score), 4),
            before.get(item) or ("was not there" if last else None),
            _why(reasons, titles) or "popular",
        ]
        for place, (item, score, reasons) in enumerate(zip(ranking.item_ids, ranking.scores, because, strict=True), 1)
    ]
    columns = [
        *(Column("place", True), Column("item"), Column("score", True)),
        *(Column("place in the newest list on record", True), Column("because")),
    ]
    told = f" Fallbacks: {', '.join(map(spoken, found.degraded))}." if found.degraded else ""
    about = f"{ABOUT} Variant {found.assignment.variant}.{told}"
    return Table("again", "Asked again", columns, rows, about, "There is nothing to show: no associations serve yet.")


def _answer(sources: Sources, ask: Ask, user_id: str, partner: str, session: LiveSession) -> Recommendation:
    now_us, goal, without = sources.now_us(), ask.query.get("goal", AUTO), list[str]()
    online, catalog = open_features(Settings(home=sources.home)), Catalog(sources.home)
    catalog.refresh(now_us / 1e6)
    history = read_or_name(lambda: online.history(user_id, now_us), degraded.HISTORY_UNKNOWN, without)
    known = Known(history=history, without_history=tuple(without), allowed=partial(catalog.allowed, partner))
    asked = Asked(None, N_SHOWN, True, goal=goal if goal in GOALS else AUTO)
    return recommend(asked, session, sources.models().of(partner), known, Who(user_id, ""), now_us)


def _why(reasons: list[Any], titles: dict[str, str]) -> str:
    return "; ".join(
        f"{100 * one['share']:.0f} %: {spoken(one['source_event'])} {titles[str(one['item_id'])]}, "
        f"then {spoken(one['target_event'])}"
        for one in reasons[:2]
    )
