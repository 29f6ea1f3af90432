"""Baselines of a shop's first models, as predictions: what would answer without them, or needs no training."""

import numpy as np

from models.evaluation.held_out import HeldOut
from models.evaluation.predictions import MEDIUM, Predictions
from models.inference import intent
from models.schema import HORIZONS_S, NEXT_ACTIONS


def predict(on: HeldOut, ours: Predictions) -> Predictions:
    """Predictions of the baselines about the held-out rows.

    Intent by the labelling rules on the prefix; the shares of the next actions and of purchases before; the ranker against the
    associations.

    Parameters
    ----------
    ours
        Of the candidate, of which the ranks that the associations gave are taken.
    """
    found, n_held = on.examples, int(on.rows.sum())
    p_action, p_purchase = {}, {}
    for k, name in enumerate(HORIZONS_S):
        before = found.covered[:, k] & (found.started_us < on.from_us)
        counts = np.bincount(found.next_action[before, k], minlength=len(NEXT_ACTIONS)) + 1.0
        p_action[name] = np.tile(counts / counts.sum(), (n_held, 1))
        rate = (found.purchase[before, k].sum() + 1.0) / (before.sum() + 2.0)
        p_purchase[name] = np.full(n_held, float(rate))
    ranks = {"ranker": ours.ranks["dynamic"]} if "ranker" in ours.ranks else {}
    p_intent = intent.by_rules(np.asarray(found.session_features[on.rows]))
    return Predictions(p_intent, p_action, p_purchase, ranks, p_purchase[MEDIUM])
