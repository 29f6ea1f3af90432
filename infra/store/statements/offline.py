"""Statements over the offline tables: lists of Parquet files that DuckDB reads, so this is its dialect."""

from typing import Final

from infra.store.statements.materialization import ITEM_COLUMNS
from models.schema import INSTANT, SESSIONS_VIEW, VIEW_FEATURES, VIEW_KEY

_TABLE: Final = "FROM read_parquet(?)"
_KEYS: Final = tuple(dict.fromkeys(VIEW_KEY.values()))
# Rows of a table, its distinct keys and its newest instant in microseconds, by key column: (files).
SUMMARY: Final = {
    key: f"SELECT count(*), count(DISTINCT ({key}, {INSTANT})), coalesce(max(epoch_us({INSTANT})), 0) {_TABLE}" for key in _KEYS
}
# Keys that fail a check, each with the first instant that does. Of rows that repeat, by key column: (files).
REPEATED: Final = {
    key: f"SELECT {key}, epoch_us(min({INSTANT})) FROM (SELECT {key}, {INSTANT} {_TABLE} GROUP BY {key}, {INSTANT} "
    f"HAVING count(*) > 1) GROUP BY {key}"
    for key in _KEYS
}
# Of rows after an instant: (files, instant in microseconds).
LATER: Final = {
    key: f"SELECT {key}, epoch_us(min({INSTANT})) {_TABLE} WHERE epoch_us({INSTANT}) > ? GROUP BY {key}" for key in _KEYS
}
# Of values that are missing, not finite or out of range, by view and feature: (files, lowest, highest).
OUT_OF_RANGE: Final = {
    (view, name): f"SELECT {key}, epoch_us(min({INSTANT})) {_TABLE} "
    f"WHERE {name} IS NULL OR NOT isfinite({name}) OR {name} NOT BETWEEN ? AND ? GROUP BY {key}"
    for view, key in VIEW_KEY.items()
    for name in VIEW_FEATURES[view]
}
# Rows of some files whose key and instant others have as well, by key column: (files, others).
CLASHES: Final = {
    key: f"SELECT count(*) {_TABLE} AS kept SEMI JOIN read_parquet(?) AS new USING ({key}, {INSTANT})" for key in _KEYS
}
_OWNER: Final = {
    view: f"split_part({key}, '/', 2)" if view == SESSIONS_VIEW else f"replace(replace({key}, '%', '%25'), '/', '%2F')"
    for view, key in VIEW_KEY.items()
}
# Files that hold rows of some visitors, as `models.features.sessions.owner_key` writes them: (files, owners).
FILES_WITH: Final = {
    view: f"SELECT DISTINCT filename FROM read_parquet(?, filename = true) WHERE {owner} IN (SELECT unnest(?::VARCHAR[]))"
    for view, owner in _OWNER.items()
}
_WITHIN: Final = "($after IS NULL OR {0} > $after) AND ($until IS NULL OR {0} <= $until)"
# Events of the log as `flows.shuffle` spills them, visitor by visitor, and those about items in the order of time; of a stretch
# of visitors or of time, whose ends may be open: (files, after, until).
BY_VISITOR: Final = (
    f"SELECT * EXCLUDE (believed) FROM read_parquet($files) WHERE {_WITHIN.format('user_id')} ORDER BY user_id, seq"
)
BY_INSTANT: Final = (
    f"SELECT {', '.join(ITEM_COLUMNS)} FROM read_parquet($files) "
    f"WHERE {_WITHIN.format('occurred_at_us')} AND believed = 1 AND item_id IS NOT NULL ORDER BY occurred_at_us, seq"
)
