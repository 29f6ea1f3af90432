"""Logs of sessions, each a list of item ids: generated ones, and any of them as events that the associations read."""

import numpy as np
import numpy.typing as npt

from models.events.encode import EVENT_DTYPE

Case = tuple[list[str], str]  # the items of a session so far, and the one that follows


def generated(n_sessions: int = 126_000, n_items: int = 40_000) -> tuple[list[list[str]], list[Case]]:
    """Sessions that wander near a popular start, to measure speed with."""
    rng = np.random.default_rng(7)
    lengths = 2 + rng.geometric(0.29, n_sessions)
    near = np.repeat((n_items * rng.random(n_sessions) ** 3).astype(int), lengths)
    flat = ((near + rng.integers(0, 40, len(near))) % n_items).astype(str).tolist()
    ends = np.cumsum(lengths).tolist()
    sessions = [flat[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True)]
    n_train = int(0.95 * n_sessions)
    return sessions[:n_train], [(session[:-1], session[-1]) for session in sessions[n_train:]]


def encode(sessions: list[list[str]]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.bool_], npt.NDArray[np.object_]]:
    """Views, thirty days of them, session after session: the files hold an order but no times."""
    ids = {item: code for code, item in enumerate(dict.fromkeys(item for session in sessions for item in session))}
    lengths = np.array([len(session) for session in sessions])
    starts = np.zeros(lengths.sum(), dtype=bool)
    starts[np.cumsum(lengths) - lengths] = True
    events = np.zeros(len(starts), dtype=EVENT_DTYPE)
    events["item"] = [ids[item] for session in sessions for item in session]
    events["occurred_at_us"] = np.cumsum(starts) * (30 * 86_400_000_000 // len(sessions))
    return events, starts, np.array(list(ids), dtype=object)
