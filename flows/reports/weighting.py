"""The ablation of `models.evaluation.ablation` for a reader: the verdict in words, pictures with intervals, tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from flows.reports.page import about, cell, folded, interval, section, table
from flows.reports.plots import Bar, bars
from models.questions.rest_of_session import MEASURES, TARGETS
from models.statistics.bootstrap import NO_DIFFERENCE

Found = Mapping[str, Any]
NAMES: Final = {"recall_20": "Recall@20", "mrr_20": "MRR@20", "ndcg_20": "NDCG@20"}
SHOWN: Final = ("intent_weighted", "learned", "served", "ranker")  # in the parts, where five arms would be too many


def sentence(found: Found | None) -> str:
    """Which weighting wins, in words.

    Examples
    --------
    >>> sentence({"n_prefixes": 9, "winner": {"view": "learned", "purchase": "no difference", "add_to_cart": "no difference"}})
    'Which weighting: learned for the next view; no difference for the next purchase, add to cart.'
    """
    if not found or not found.get("n_prefixes"):
        return "Which weighting: not measured here; attune evaluate does."
    kinds: dict[str, list[str]] = {}
    for kind, name in found["winner"].items():
        kinds.setdefault(name, []).append(kind.replace("_", " "))
    told = [
        f"{name} for the next {', '.join(of)}" for name, of in sorted(kinds.items(), key=lambda one: one[0] == NO_DIFFERENCE)
    ]
    return f"Which weighting: {'; '.join(told)}."


def markdown(found: Found | None) -> str:
    """The verdict, and a table of the arms; nothing where it was not measured.

    Examples
    --------
    >>> arms = {"n_prefixes": 9, "static": {"recall_20": 0.5, "mrr_20": 0.25, "ndcg_20": 0.125}}
    >>> empty = {"n_prefixes": 0}
    >>> found = {"n_prefixes": 9, "verdict": "view: no difference"}
    >>> found |= {"overall": {"view": arms, "add_to_cart": empty, "purchase": empty}}
    >>> print(markdown(found).splitlines()[-1])
    | view | static | 0.500 | 0.250 | 0.125 |  |
    """
    if not found or not found.get("n_prefixes"):
        return ""
    rows = [f"\nWhich weighting: {found['verdict']}\n", f"| target | arm | {' | '.join(NAMES.values())} | NDCG@20 - static |"]
    rows.append(f"|{' --- |' * (len(MEASURES) + 3)}")
    for kind, one in found["overall"].items():
        for name, arm in _arms(one):
            gain = interval(arm.get("decides")) or ""
            rows.append(f"| {kind} | {name} | {' | '.join(cell(arm[m]) for m in MEASURES)} | {gain} |")
    return "\n".join(rows)


def part(found: Found | None) -> str:
    """The part of the page."""
    if not found or not found.get("n_prefixes"):
        return ""
    rule = (
        f"{found['n_prefixes']:,} prefixes of {found['n_users']:,} users, the same for every arm; whole users are drawn. An "
        "arm wins where its interval of NDCG@20 against static, widened for the number of arms, lies above zero (filled dot)."
    )
    told = [_kind(kind, found["overall"][kind], found["winner"][kind]) for kind in TARGETS if kind in found["winner"]]
    lists = [[name, one["coverage"], one["mean_popularity"], one["gini"]] for name, one in found["lists"].items()]
    return (
        section("Which weighting", about(rule), *told)
        + section(
            "What is shown",
            table(["arm", "share of the catalogue shown", "popularity of what is shown", "Gini"], lists),
            about("Popularity: 1 is as popular as the mean item. Gini: 0 shows every item equally often, 1 a single one."),
        )
        + section("By intent, session length and cold items", *_slices(found))
    )


def _kind(kind: str, found: Found, winner: str) -> str:
    """One kind of target: the picture of the deciding interval, and all measures with theirs."""
    if found["n_prefixes"] == 0:
        return ""
    title = f"Next {kind.replace('_', ' ')}: {winner}"
    rows = [_bar(name, arm, name == winner, *(arm[m] for m in MEASURES)) for name, arm in _arms(found)]
    drawn = bars(title, rows, list(NAMES.values()), "minus static", f"{found['n_prefixes']:,} prefixes")
    told = [
        [name, *(interval(arm["against_static"].get(m)) for m in MEASURES)] for name, arm in _arms(found) if "decides" in arm
    ]
    return drawn + folded("Every measure against static, 95 %", table(["arm minus static", *NAMES.values()], told))


def _arms(found: Found) -> Iterator[tuple[str, Found]]:
    return ((name, arm) for name, arm in found.items() if isinstance(arm, Mapping))


def _bar(label: str, arm: Found, strong: bool, *cells: object) -> Bar:
    one = arm.get("decides", {"mean": 0.0, "low": 0.0, "high": 0.0})  # static itself, which the others are compared with
    return Bar(label, one["mean"], one["low"], one["high"], strong or one["high"] < 0, cells)


def _slices(found: Found) -> Sequence[str]:
    parts = {**found["by_intent"], **{f"events seen: {name}": one for name, one in found["by_length"].items()}}
    parts |= {"cold items": found["cold_items"], "items not met before": found["new_items"]}
    drawn: list[str] = []
    for kind in TARGETS:
        rows = [row for name, one in parts.items() for row in _part(name, one.get(kind, {}))]
        title = f"Next {kind.replace('_', ' ')}"
        picture = bars(title, rows, ["arm", "prefixes", "NDCG@20"], "minus static", "part") if rows else ""
        drawn.append(folded(title, picture, unfolded=not drawn))
    return drawn


def _part(name: str, found: Found) -> list[Bar]:
    """Rows of one part, its name and size in the first of them only."""
    arms = [arm for arm in SHOWN if arm in found]
    heads = [(name, found["n_prefixes"])] + [("", None)] * len(arms)
    return [_bar(label, found[arm], False, arm, n, found[arm]["ndcg_20"]) for arm, (label, n) in zip(arms, heads, strict=False)]
