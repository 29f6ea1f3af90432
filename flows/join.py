"""Join: what the feature store knew about the session, user and item of a row at its instant, and nothing later."""

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from feature_repo.store import Profile, open_store
from infra.layout import OFFLINE
from models.features import tables as feature_tables
from models.schema import INSTANT, ITEMS_VIEW, LAST_EVENT_AT, SESSIONS_VIEW, USERS_VIEW, VIEW_FEATURES, VIEW_KEY

if TYPE_CHECKING:
    from feast import FeatureStore

ENTITY_COLUMNS: Final = ("row_id", "session_id", "user_id", "item_id")
ROWS_AT_ONCE: Final = 200_000  # bounds the memory of one join
_JUST_BEFORE: Final = pd.Timedelta(1, "us")
_VIEWS: Final = {
    SESSIONS_VIEW: VIEW_FEATURES[SESSIONS_VIEW],
    USERS_VIEW: (*VIEW_FEATURES[USERS_VIEW], LAST_EVENT_AT),
    ITEMS_VIEW: VIEW_FEATURES[ITEMS_VIEW],
}


def training_set(
    home: Path, entities: pd.DataFrame, *, profile: Profile = "embedded", postgres_url: str | None = None
) -> pd.DataFrame:
    """Join features to rows, point in time correct, through Feast.

    The session stands as it did *after* the row's event, as in a request that carries it; the user and the item as they did
    strictly *before* it. Values come as they were stored: a user still has to age to the row's instant
    (`models.features.users.as_of`).

    Parameters
    ----------
    entities
        Columns ``row_id`` (unique), `session_id` (as `models.features.sessions.sessionize` makes it), `user_id`, `item_id`
        (None where there is none), and the instant: ``occurred_at`` (UTC timestamps) or ``occurred_at_us`` (int64).

    Returns
    -------
    ``row_id``, then `NEXT_ACTION_FEATURES` (float32; NaN where the store knew nothing) and `LAST_EVENT_AT` (float64), in the
    order of `entities`.

    Raises
    ------
    ValueError
        If a column is missing, row ids repeat, or the store lost a row.
    """
    missing = [name for name in ENTITY_COLUMNS if name not in entities]
    if missing or not entities["row_id"].is_unique:
        raise ValueError(f"the rows need unique row_id and the columns {', '.join(ENTITY_COLUMNS)}; missing: {missing}")
    store = open_store(home, profile, postgres_url=postgres_url)
    _declare_here(store, home)
    slices = [entities.iloc[at : at + ROWS_AT_ONCE] for at in range(0, len(entities), ROWS_AT_ONCE)] or [entities]
    return pd.concat([_joined(store, rows) for rows in slices], ignore_index=True, copy=False)


def _declare_here(store: "FeatureStore", home: Path) -> None:
    """Declare the views anew where the registry has them at another folder: a home that was moved, or restored elsewhere."""
    from feature_repo.features import declare

    declared = declare(home / OFFLINE)
    known = {view.name: view.batch_source for view in store.list_feature_views()}
    if any(known.get(view.name) != view.batch_source for view in declared.views):
        with redirect_stdout(StringIO()):  # Feast prints its progress, stdout belongs to our commands' results
            store.apply([*declared.entities, *declared.views, *declared.services])


def _joined(store: "FeatureStore", rows: pd.DataFrame) -> pd.DataFrame:
    parts: list[pd.DataFrame] = [rows[["row_id"]].reset_index(drop=True)]
    at = rows[INSTANT] if INSTANT in rows else feature_tables.instants(rows["occurred_at_us"].to_numpy())
    for view, names in _VIEWS.items():
        key = VIEW_KEY[view]
        instant = at if view == SESSIONS_VIEW else at - _JUST_BEFORE
        wanted = pd.DataFrame(
            {"row_id": rows["row_id"].to_numpy(), key: rows[key].to_numpy(dtype=object), "event_timestamp": instant.array}
        )
        found = store.get_historical_features(wanted, features=[f"{view}:{name}" for name in names]).to_df()
        parts.append(_in_order(found, rows["row_id"], view)[list(names)])
    return pd.concat(parts, axis=1, copy=False)


def _in_order(found: pd.DataFrame, row_ids: "pd.Series[int]", view: str) -> pd.DataFrame:
    if len(found) != len(row_ids):
        raise ValueError(f"the point-in-time join of {view} returned {len(found)} rows for {len(row_ids)}")
    return found.set_index("row_id").loc[row_ids].reset_index(drop=True)
