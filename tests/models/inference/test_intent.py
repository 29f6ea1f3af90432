"""The intent model on a simulated shop, where the truth is known."""

import numpy as np
import pytest

from models.evaluation import classification as report
from models.events.encode import encode
from models.features import sessions
from models.inference import intent, labels
from models.schema import INTENTS
from models.simulator import ShopConfig, simulate
from models.statistics import metrics, split


@pytest.fixture(scope="module")
def judged():
    """Probabilities after each event of later sessions, trained on weak labels of earlier ones, beside the latent truth."""
    shop = simulate(ShopConfig(n_users=1200, n_days=10, seed=204))
    frame = sessions.sessionize(shop.events)
    latent = shop.truth.set_index("event_id")["intent"].loc[frame["event_id"]]
    truth = latent.map({name: code for code, name in enumerate(INTENTS)}).to_numpy()
    rows, starts = encode(frame).events, sessions.starts(frame)
    features, weak = sessions.fold(rows, starts), labels.intent_probabilities(rows, starts)
    began_us = rows["occurred_at_us"][np.maximum.accumulate(np.where(starts, np.arange(len(rows)), 0))]
    cut = split.by_time(began_us, valid_share=0.12, test_share=0.4)
    test = cut.test
    model = intent.fit(features[~test], weak[~test], valid=cut.valid[~test])
    predictions = {
        "model": model.predict(features[test]),
        "rules": intent.by_rules(features[test]),
        "majority": np.tile(intent.majority(weak[~test]), (int(test.sum()), 1)),
    }
    return report.early_decision(predictions, truth[test], report.positions(starts)[test], INTENTS), weak, truth


@pytest.mark.parametrize(("after", "bar"), [("after_3", 0.50), ("after_10", 0.70)])
def test_the_latent_intent_is_found_early_from_weak_labels_alone(judged, after, bar):
    curve, _, _ = judged
    assert curve[after]["model"]["macro_f1"] > bar
    assert curve[after]["model"]["macro_f1"] > max(curve[after]["rules"]["macro_f1"], curve[after]["majority"]["macro_f1"])


def test_weak_labels_are_calibrated_against_the_truth(judged):
    _, weak, truth = judged
    assert metrics.macro_f1(truth, weak.argmax(axis=1), len(INTENTS)) > 0.75
    assert metrics.ece(weak, truth) < 0.05
