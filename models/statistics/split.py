"""Which rows a model learns from, is calibrated on, and is judged on: whole sessions, in the order of time.

A model that is judged on the past of what it learned would look better than it will be; so every split is a cut in time, by the
instant at which a session began, and no session stands on both sides of a cut.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Flags, Ints


class Split(NamedTuple):
    """Three periods, one after the other; the flags of a row exclude each other and cover all rows.

    Attributes
    ----------
    fit, valid, test
        Shape (n_rows,).
    valid_from_us, test_from_us
        Sessions that began at or after these instants belong to the later period.
    """

    fit: Flags
    valid: Flags
    test: Flags
    valid_from_us: int
    test_from_us: int


def session_starts_us(at_us: Ints, starts: Flags) -> Ints:
    """Instant of the first event of each row's session, shape (n_rows,).

    Examples
    --------
    >>> session_starts_us(np.array([5, 7, 9]), np.array([True, False, True])).tolist()
    [5, 5, 9]
    """
    return at_us[np.flatnonzero(starts)][np.cumsum(starts) - 1] if len(at_us) else at_us


def by_time(started_us: Ints, valid_share: float = 0.15, test_share: float = 0.2) -> Split:
    """Cut rows into an early, a later and a last period.

    Parameters
    ----------
    started_us
        Start of each row's session, microseconds, shape (n_rows,).
    valid_share, test_share
        Share of the rows in the later periods; together below 1.

    Raises
    ------
    ValueError
        If the shares leave nothing to learn from.

    Examples
    --------
    >>> split = by_time(np.array([10, 10, 20, 30, 40]), 0.2, 0.2)
    >>> split.fit.tolist(), split.valid_from_us, split.test_from_us
    ([True, True, True, False, False], 30, 40)
    """
    if not (valid_share > 0 and test_share > 0 and valid_share + test_share < 1):
        raise ValueError(f"the shares must be positive and below 1 together, got {valid_share} and {test_share}")
    if len(started_us) == 0:
        none = np.zeros(0, dtype=np.bool_)
        return Split(none, none, none, 0, 0)
    edges = np.quantile(started_us, [1 - valid_share - test_share, 1 - test_share], method="higher").astype(np.int64)
    test = started_us >= edges[1]
    valid = (started_us >= edges[0]) & ~test
    return Split(~valid & ~test, valid, test, int(edges[0]), int(edges[1]))


def sample(starts: Flags, keys: npt.NDArray[np.uint64], at_most: int) -> Flags:
    """Choose whole sessions, the same ones every time, so that the chosen rows are at most so many.

    Sessions are taken in the order of their keys. A key that is a hash of the session id makes the choice random in everything
    else, and much the same when sessions are added.

    Parameters
    ----------
    starts
        First row of each session, shape (n_rows,).
    keys
        Key of each session, shape (n_sessions,).
    at_most
        Rows.

    Returns
    -------
    Whether each row is chosen, shape (n_rows,); all of them where they are few enough.

    Examples
    --------
    >>> sample(np.array([True, False, True, True]), np.array([3, 1, 2], dtype=np.uint64), 2).tolist()
    [False, False, True, True]
    """
    if len(starts) <= at_most:
        return np.ones(len(starts), dtype=np.bool_)
    session = np.cumsum(starts) - 1
    sizes = np.bincount(session)
    order = np.argsort(keys, kind="stable")
    chosen = np.zeros(len(sizes), dtype=np.bool_)
    chosen[order[np.cumsum(sizes[order]) <= at_most]] = True
    kept: Flags = chosen[session]
    return kept
