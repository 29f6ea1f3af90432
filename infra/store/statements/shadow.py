"""Statements of the shadow: what a challenger would have answered, summed up; no request and no visitor is found in it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

SUMS: Final = (
    "n_requests",
    "n_failed",
    "n_same_label",
    "sum_overlap",
    "sum_distance",
    "sum_champion_us",
    "sum_challenger_us",
)
COLUMNS: Final = ("written_at_us", "kind", "champion", "challenger", *SUMS)
WRITE: Final = f"INSERT INTO shadow ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
# SQLite only (`json_each` over an object, `IS NOT` between values); PostgreSQL: ``challenger @> wanted``.
# Sums by kind of what a set of versions answered, whatever other models served with it: (the set as `named` writes it).
READ: Final = (
    f"SELECT kind, {', '.join(f'sum({name})' for name in SUMS)} FROM shadow WHERE NOT EXISTS "
    "(SELECT 1 FROM json_each(?) AS wanted WHERE json_extract(challenger, '$.' || wanted.key) IS NOT wanted.value) "
    "GROUP BY kind ORDER BY kind DESC"
)


def named(versions: Mapping[str, int]) -> str:
    """A set of versions as the table names it.

    Examples
    --------
    >>> named({"weights": 2, "intent": 1})
    '{"intent": 1, "weights": 2}'
    """
    return json.dumps(dict(versions), sort_keys=True)


def summary(sums: Sequence[Any]) -> dict[str, float | int | None]:
    """Shares and means of one kind of request, from `SUMS` in their order.

    Examples
    --------
    >>> summary((10, 2, 6, 4.0, 0.8, 800.0, 1600.0))["label_agreement"]
    0.75
    """
    n, n_failed, n_same, overlap, distance, champion_us, challenger_us = sums
    n_both = n - n_failed

    def mean(total: float) -> float | None:
        return round(total / n_both, 4) if n_both else None

    return {
        "n_requests": n,
        "n_failed": n_failed,
        "label_agreement": mean(n_same),
        "top_20_overlap": mean(overlap),
        "probability_distance": mean(distance),
        "champion_ms": mean(champion_us / 1000),
        "challenger_ms": mean(challenger_us / 1000),
    }
