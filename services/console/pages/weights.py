"""Weights: what each event counts, learned beside assumed, and how the intent changes that."""

from typing import Final

import msgspec
import numpy as np

from infra.store.protocol import Transaction
from infra.store.statements.action_weights import FREEZE, SERVING, THAW
from infra.store.statements.console import PROFILES
from models.schema import EVENT_TYPES, INTENTS
from models.weight_profile import HEURISTIC, WeightProfile
from models.weights import action_report
from models.weights import actions as action_weights
from services.console.access import ADMIN, ML
from services.console.acts import Act, Doing
from services.console.page import FAIR, GOOD, NONE, Cell, Column, Facts, Form, Heat, Moment, Page, Share, Span, State, Table
from services.console.sources import Ask, Sources, spoken

N_DECISIONS: Final = 5_000


def view(sources: Sources, ask: Ask) -> Page:
    """The page."""
    found = sources.read(SERVING)
    frozen, seq, at_us, text = found[0] if found else (0, 0, None, b"[]")
    known = action_weights.posterior(action_weights.counts_from_lists(msgspec.json.decode(text)))
    rows = action_report.table(known)
    learned = sum(not row.fallback for row in rows)
    lead = (
        "Nothing has been counted yet: the heuristic weights serve"
        if not seq
        else f"{learned} of {len(rows)} event types have weights of their own observations{', held still' if frozen else ''}"
    )
    models = sources.models()
    profile = models.weights or HEURISTIC
    about = Facts(
        "about",
        "What serves",
        [
            ("follows the log up to event", seq or None),
            ("made", Moment(at_us) if at_us else None),
            ("state", State("held still", FAIR) if frozen else State("learning", GOOD) if seq else State("heuristic", NONE)),
            ("weights model", models.versions.get("weights")),
        ],
    )
    acts = [
        Form(
            "freeze",
            "Hold the weights still",
            "Freeze",
            action="freeze",
            about="What serves now goes on serving, whatever is learned.",
            blocked="They are held still already." if frozen else "" if seq else "Nothing has been learned yet.",
        ),
        Form("thaw", "Let them learn again", "Thaw", action="thaw", blocked="" if frozen else "They are not held."),
    ]
    return Page(
        "Weights",
        f"{lead}.",
        [_learned(rows), _segments(rows), _heat(profile), _profiles(sources), about, *acts],
        NONE,
        True,
        sources.now_us(),
    )


def _learned(rows: list[action_report.Row]) -> Table:
    cells: list[list[Cell]] = [
        [
            spoken(row.event_type),
            round(row.weight, 3),
            round(row.prior, 3),
            Span(row.low, row.p, row.high),
            round(row.n),
            State("own", GOOD) if not row.fallback else State("heuristic", NONE),
        ]
        for row in sorted(rows, key=lambda row: -row.weight)
    ]
    columns = [
        Column("event"),
        Column("weight", True),
        Column("heuristic", True),
        Column("P(purchase within the hour), 95 %"),
        Column("seen", True),
        Column("from"),
    ]
    return Table(
        "learned", "What an action leads to", columns, cells, "The dot is the posterior's mean, the line its 95 % interval."
    )


def _segments(rows: list[action_report.Row]) -> Table:
    names = list(rows[0].segments)
    cells: list[list[Cell]] = [
        [spoken(row.event_type), *(Heat(round(row.segments[name], 3), min(1.0, row.segments[name])) for name in names)]
        for row in sorted(rows, key=lambda row: -row.weight)
    ]
    return Table(
        "segments", "By segment of the visitor", [Column("event"), *(Column(spoken(name), True) for name in names)], cells
    )


def _heat(profile: WeightProfile) -> Table:
    factors = profile.factors
    highest = float(np.max(factors)) or 1.0
    cells: list[list[Cell]] = [
        [spoken(name), round(float(profile.base[e]), 3), *(Heat(round(float(f), 2), float(f) / highest) for f in factors[:, e])]
        for e, name in enumerate(EVENT_TYPES)
    ]
    columns = [Column("event"), Column("base", True), *(Column(spoken(name), True) for name in INTENTS)]
    about = "The factor by which an intent multiplies the base weight; several intents are mixed by their probabilities."
    return Table("factors", "How the intent changes it", columns, cells, about)


def _profiles(sources: Sources) -> Table:
    found = sources.read(PROFILES, (N_DECISIONS,))
    total = sum(row[1] for row in found) or 1
    cells: list[list[Cell]] = [[name, Share(n / total), n, Share(p), round(reward, 4)] for name, n, p, reward in found]
    columns = [
        Column("profile"),
        Column("share", True),
        Column("lists", True),
        Column("mean propensity", True),
        Column("reward a list", True),
    ]
    return Table(
        "profiles",
        "Profiles that the bandit deals",
        columns,
        cells,
        f"Of the newest {N_DECISIONS:,} lists of the dynamic variant.",
        "No list of the dynamic variant is on record yet.",
    )


def _freeze(doing: Doing) -> str:
    def work(transaction: Transaction) -> int:
        return transaction.execute(FREEZE, (doing.now_us,))

    doing.write(work)
    return "The weights are held still."


def _thaw(doing: Doing) -> str:
    doing.write(lambda transaction: transaction.execute(THAW))
    return "The weights learn again."


ACTS: Final = {"freeze": Act(_freeze, frozenset({ML, ADMIN})), "thaw": Act(_thaw, frozenset({ML, ADMIN}))}
