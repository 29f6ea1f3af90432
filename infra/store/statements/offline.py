"""Statements over the offline tables: Parquet files that DuckDB reads, so this is its dialect."""

from typing import Final

from models.schema import INSTANT

# Rows of a table, its distinct keys and its newest instant in microseconds, by key column: (path).
SUMMARY: Final = {
    key: f"SELECT count(*), count(DISTINCT ({key}, {INSTANT})), coalesce(max(epoch_us({INSTANT})), 0) FROM read_parquet(?)"
    for key in ("session_id", "user_id", "item_id")
}
