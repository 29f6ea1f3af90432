"""Rows held out at the end of a period, whole sessions."""

import numpy as np

from models.arrays import Flags, Ints


def later_rows(started_us: Ints, share: float) -> Flags:
    """Rows whose session began after the (1 - share) quantile; no session stands on both sides.

    Parameters
    ----------
    started_us
        Start of each row's session, microseconds, shape (n_rows,).
    """
    if len(started_us) == 0:
        return np.zeros(0, np.bool_)
    return np.asarray(started_us > np.quantile(started_us, 1 - share, method="lower"))
