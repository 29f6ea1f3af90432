"""Groups of a visitor are the same to a request, to the worker and to a training."""

from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import pandas as pd

from infra.store.engines import open_store
from infra.store.events import append_events, newest_believed
from models.inference.examples import read_log
from models.simulator import ShopConfig, simulate
from models.visitor_groups import groups_at
from services.api.session_data import live_session
from services.api.wire import SessionData
from services.signals.sessions import sessions_at
from tests.stores import settled

NOW_US = 1_800_000_000_000_000


def visits() -> pd.DataFrame:
    """Events of some visitors: of every other one the shop names a segment, of some a region too."""
    frame = simulate(ShopConfig(n_users=12, n_days=1, seed=4)).events
    user = frame["user_id"].str.rsplit("-", n=1).str[1].astype(int)
    frame["segment"] = [f"s{n % 3}" if n % 2 else None for n in user]
    frame["region"] = ["north, by the sea" if n % 4 == 1 else None for n in user]
    return frame


def test_a_request_the_worker_and_a_training_read_the_same_groups(tmp_path: Path) -> None:
    frame, context = visits(), ("segment", "region")
    with closing(open_store(tmp_path)) as store:
        store.write(partial(append_events, frame=frame, partner="shop", received_at_us=NOW_US))
        settled(tmp_path)
        log, rows = read_log(newest_believed(store, 10_000))
        newest = {str(user): int(seq) for user, seq in rows.groupby("user_id")["seq"].max().items()}
        worked = sessions_at(store.read, newest, 2**62, 0)
    told = {user: groups_at(log.groups, at) for user, at in rows.reset_index().groupby("user_id")["index"].max().items()}
    for user, own in frame.groupby("user_id"):
        said = {name: value for name in context if isinstance(value := own[name].iloc[0], str)}
        event = {"type": "search", "ts": "2027-01-01T00:00:00Z"}
        asked = live_session(msgspec.convert({"events": [event], "context": said}, SessionData), NOW_US).groups
        assert asked == worked[str(user)].session.groups == told[user]
        assert asked == (said.get("segment"), said.get("region"), None)
