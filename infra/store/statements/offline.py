"""Statements over the offline tables: Parquet files that DuckDB reads, so this is its dialect."""

from typing import Final

from models.schema import INSTANT, VIEW_FEATURES, VIEW_KEY

_TABLE: Final = "FROM read_parquet(?)"
_KEYS: Final = tuple(dict.fromkeys(VIEW_KEY.values()))
# Rows of a table, its distinct keys and its newest instant in microseconds, by key column: (path).
SUMMARY: Final = {
    key: f"SELECT count(*), count(DISTINCT ({key}, {INSTANT})), coalesce(max(epoch_us({INSTANT})), 0) {_TABLE}" for key in _KEYS
}
# Keys that fail a check, each with the first instant that does. Of rows that repeat, by key column: (path).
REPEATED: Final = {
    key: f"SELECT {key}, epoch_us(min({INSTANT})) FROM (SELECT {key}, {INSTANT} {_TABLE} GROUP BY {key}, {INSTANT} "
    f"HAVING count(*) > 1) GROUP BY {key}"
    for key in _KEYS
}
# Of rows after an instant: (path, instant in microseconds).
LATER: Final = {
    key: f"SELECT {key}, epoch_us(min({INSTANT})) {_TABLE} WHERE epoch_us({INSTANT}) > ? GROUP BY {key}" for key in _KEYS
}
# Of values that are missing, not finite or out of range, by view and feature: (path, lowest, highest).
OUT_OF_RANGE: Final = {
    (view, name): f"SELECT {key}, epoch_us(min({INSTANT})) {_TABLE} "
    f"WHERE {name} IS NULL OR NOT isfinite({name}) OR {name} NOT BETWEEN ? AND ? GROUP BY {key}"
    for view, key in VIEW_KEY.items()
    for name in VIEW_FEATURES[view]
}
