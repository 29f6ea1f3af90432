"""One row through a LightGBM booster by its C interface, for requests that cannot wait for a batch call.

``Booster.predict`` on one row spends most of its time in Python (24 µs for 200 small trees where this call takes 11).
LightGBM's Python package does not offer the call, so its library handle is reached through two private names; the version is
pinned for that reason, and the tests compare every answer with ``Booster.predict``.
"""

import ctypes
import weakref
from typing import Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from lightgbm.basic import _LIB  # type: ignore[attr-defined]

Floats = npt.NDArray[np.float64]

_FLOAT64: Final = 1  # C_API_DTYPE_FLOAT64
_RAW_SCORE: Final = 1  # C_API_PREDICT_RAW_SCORE


class SingleRow:
    """Raw scores of one row at a time; one instance per thread, because it owns its two buffers.

    Parameters
    ----------
    booster
        A trained or loaded booster. It is kept alive as long as this object.
    n_features
        Columns of a row; must equal what the booster was trained on.

    Raises
    ------
    ValueError
        If the booster has another number of features.

    Examples
    --------
    >>> data = lgb.Dataset(np.arange(90.0).reshape(90, 1), label=np.arange(90) > 30)
    >>> booster = lgb.train({"objective": "binary", "verbose": -1}, data, 3)
    >>> row = np.array([30.0])
    >>> bool(SingleRow(booster, 1)(row)[0] == booster.predict(row[None, :], raw_score=True)[0])
    True
    """

    def __init__(self, booster: lgb.Booster, n_features: int) -> None:
        if booster.num_feature() != n_features:
            raise ValueError(f"the booster has {booster.num_feature()} features, expected {n_features}")
        self._booster = booster
        self._row = np.zeros(n_features)
        self._scores = np.zeros(booster.num_model_per_iteration())
        self._n_written = ctypes.c_int64()
        config = ctypes.c_void_p()
        failed = _LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
            booster._handle, _RAW_SCORE, 0, -1, _FLOAT64, ctypes.c_int32(n_features), b"num_threads=1", ctypes.byref(config)
        )
        if failed:
            raise RuntimeError(f"LightGBM refused the single-row call: {_LIB.LGBM_GetLastError().decode()}")
        weakref.finalize(self, _LIB.LGBM_FastConfigFree, config)
        self._arguments = (
            config,
            self._row.ctypes.data_as(ctypes.c_void_p),
            ctypes.byref(self._n_written),
            self._scores.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
        )

    def __call__(self, row: npt.NDArray[np.floating]) -> Floats:
        """Raw scores of one row.

        Parameters
        ----------
        row
            Shape (n_features,); NaN is a missing value.

        Returns
        -------
        Shape (n_scores,): one for a binary booster, else one per class. A fresh array.
        """
        self._row[:] = row
        if _LIB.LGBM_BoosterPredictForMatSingleRowFast(*self._arguments):
            raise RuntimeError(f"LightGBM could not score the row: {_LIB.LGBM_GetLastError().decode()}")
        return self._scores.copy()
