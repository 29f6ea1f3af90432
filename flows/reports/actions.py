"""What actions and sequences of actions are worth, as a part of the evaluation report: of its page, and of its text."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from flows.reports.page import Row, about, section, table

SHORT: Final = 10  # pairs in the text


def part(told: Mapping[str, Any] | None) -> str:
    """The weights with their posterior intervals, removal effects and lifts; nothing where they were not measured.

    Parameters
    ----------
    told
        As `models.evaluation.full.action_tables` has it.
    """
    if not told:
        return ""
    paths = told["sequences"]
    return section(
        "Actions and sequences",
        about(
            f"A purchase within {told['horizon_s']:g} s of an action, with the posterior's 95 % interval, and the weight that "
            "follows from it. An action with fewer observations than its prior counts keeps the heuristic weight."
        ),
        table(("action", "weight", "heuristic", "P(purchase)", "low", "high", "n", ""), _weights(told["weights"])),
        about(
            f"{paths['n_sessions']:,} sessions as an absorbing Markov chain; {paths['p_purchase']:.1%} end in a purchase. "
            "Removal effect: the share of the purchases that is lost where the action leads away instead."
        ),
        table(
            ("action", "seen", "P(purchase) from here", "removal effect", "95 % interval"),
            _lines(paths["actions"], "removal_effect"),
        ),
        about("Lift: how much likelier a purchase is after two actions in a row than at a session's start."),
        table(("first", "then", "seen", "P(purchase)", "lift", "95 % interval"), _lines(paths["pairs"], "lift")),
    )


def markdown(told: Mapping[str, Any] | None) -> str:
    """Weights with removal effects, and the strongest pairs, as Markdown; nothing where they were not measured."""
    if not told:
        return ""
    paths = told["sequences"]
    lines = [f"\n\n| action | weight | purchase within {told['horizon_s']:g} s | removal effect |", f"|{' --- |' * 4}"]
    for weight, path in zip(told["weights"], paths["actions"], strict=True):
        p, effect = _bounded(weight, "p", 4), _bounded(path, "removal_effect", 3)
        lines.append(f"| {weight['event_type']} | {weight['weight']:.3f} | {p} | {effect} |")
    lines += ["\n| first | then | lift of P(purchase) |", f"|{' --- |' * 3}"]
    lines += [f"| {row['before']} | {row['last']} | {_bounded(row, 'lift', 2)} |" for row in paths["pairs"][:SHORT]]
    return "\n".join(lines) + "\n"


def _bounded(row: Mapping[str, Any], measure: str, digits: int) -> str:
    return f"{row[measure]:.{digits}f} [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"


def _weights(rows: list[dict[str, Any]]) -> Iterator[Row]:
    for row in rows:
        numbers = (row[name] for name in ("weight", "prior", "p", "low", "high"))
        yield row["event_type"], *numbers, round(row["n"]), "too few: heuristic" if row["fallback"] else ""


def _lines(rows: list[dict[str, Any]], measure: str) -> Iterator[Row]:
    for row in rows:
        names = (row["event_type"],) if "event_type" in row else (row["before"], row["last"])
        yield *names, row["n"], row["p_purchase"], row[measure], f"{row['low']:.3f} to {row['high']:.3f}"
