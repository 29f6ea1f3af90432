import numpy as np
import pytest
from scipy.special import expit, logit

from models.engagement import from_log as log_engagement
from models.engagement import model as engagement_model
from models.engagement.model import ISOTONIC, PLATT, Calibration, EngagementModel, Rows
from models.features import sessions
from models.inference import labels
from models.inference.examples import Log, read_log
from models.schema import SESSION_FEATURES, EventType
from models.simulator import ShopConfig, simulate
from models.statistics import metrics
from models.weight_profile import STATIC
from models.weights.markov import START

VIEW, CART, CHECKOUT = EventType.ITEM_VIEW, EventType.ADD_TO_CART, EventType.CHECKOUT_VIEW
PREDICTED = 0.9
PLATT_BY_HAND = Calibration(PLATT, np.array([-4.0, 2.0]), np.array([-5.0, 1.0]))


@pytest.fixture(scope="module")
def log() -> Log:
    frame = simulate(ShopConfig(n_users=1000, n_days=6, n_items=200, n_categories=8, seed=5)).events
    return read_log(frame.assign(seq=np.arange(len(frame))))[0]


@pytest.fixture(scope="module")
def rows(log: Log) -> Rows:
    features = sessions.fold(log.events, log.starts)
    bought = labels.purchase_within(log.events, log.user_codes, 3600)
    return Rows(features, bought, log.started_us >= np.quantile(log.started_us, 0.5), log.started_us)


@pytest.fixture(scope="module")
def model(log: Log, rows: Rows) -> EngagementModel:
    """Learned from the first half and calibrated on the third quarter; the last one is for testing."""
    cut_us, end_us = (int(np.quantile(log.started_us, at)) for at in (0.5, 0.75))
    kept = log.started_us < end_us
    early = Rows(rows.features[kept], rows.bought[kept], rows.later[kept], rows.at_us[kept])
    found = log_engagement.learn(log.before(cut_us), early, cut_us)
    assert found is not None
    return found


def session(*kinds: int) -> np.ndarray:
    """Features of a session that just did this, one after the other."""
    features = np.zeros((1, len(SESSION_FEATURES)), dtype=np.float32)
    for kind in kinds:
        name = EventType(kind).name.lower()
        features[0, [SESSION_FEATURES.index(f"n_{name}"), SESSION_FEATURES.index(f"recent_{name}")]] += 1
    last, before = (kinds[-1], kinds[-2] if len(kinds) > 1 else -1) if kinds else (-1, -1)
    features[0, SESSION_FEATURES.index("last_event_type")] = last
    features[0, SESSION_FEATURES.index("previous_event_type")] = before
    return features


def immediate(model: EngagementModel, *kinds: int) -> float:
    return float(model.immediate(session(*kinds), STATIC.base)[0])


def test_the_compiled_score_is_to_the_last_bit_what_numpy_and_scipy_say(model, rows):
    features, weights = rows.features[:3000], np.random.default_rng(0).random((3000, len(EventType)))
    named = [[SESSION_FEATURES.index(f"{part}_{kind.name.lower()}") for kind in EventType] for part in ("recent", "n")]
    counts = [np.ascontiguousarray(features[:, columns], np.float64) for columns in named]
    sums = [(np.fmax(each, 0.0) * weights).sum(axis=1) for each in counts]
    last, before = (features[:, SESSION_FEATURES.index(f"{which}_event_type")].astype(int) for which in ("last", "previous"))
    pair = np.where(last >= 0, model.sequence[np.where(before >= 0, before, START), np.maximum(last, 0)], model.at_start)
    p = model.regression.predict(np.column_stack([*np.log1p(sums), pair]))
    log_odds = logit(np.clip(p, 1e-8, 1 - 1e-8))
    for points in (model.calibration, PLATT_BY_HAND):
        expected = expit(np.interp(log_odds, points.x, points.y))
        assert np.array_equal(model._replace(calibration=points).immediate(features, weights), expected)


def test_later_sessions_buy_as_often_as_the_score_says_and_in_its_order(model, log, rows):
    test = log.started_us >= np.quantile(log.started_us, 0.75)
    p = model.immediate(rows.features[test], STATIC.base)
    count = rows.features[test, : len(STATIC.base)].astype(float) @ STATIC.base
    assert metrics.ece(p, rows.bought[test]) < 0.03
    assert metrics.roc_auc(p, rows.bought[test]) > metrics.roc_auc(count, rows.bought[test]) + 0.03
    assert model.calibration.kind in (PLATT, ISOTONIC)


def test_view_then_cart_counts_more_than_either_alone(model):
    assert immediate(model, VIEW, CART) > max(immediate(model, VIEW), immediate(model, CART))
    assert immediate(model, CART, CHECKOUT) > immediate(model, VIEW, CART) > immediate(model)


def test_a_row_of_weights_for_each_session_is_the_same_as_one_by_one(model, rows):
    w = np.tile(STATIC.base, (5, 1)) * np.arange(1, 6)[:, None]
    one_by_one = [model.immediate(rows.features[k : k + 1], w[k])[0] for k in range(5)]
    assert model.immediate(rows.features[:5], w) == pytest.approx(one_by_one)


def test_the_score_mixes_immediate_and_predicted_as_later_sessions_tell(log, rows):
    cut_us = int(np.quantile(log.started_us, 0.5))
    rows = rows.where(np.arange(len(rows.bought)) % 4 == 0)
    oracle = rows._replace(predicted=np.where(rows.bought, PREDICTED, 0.02))
    noise = rows._replace(predicted=np.random.default_rng(0).random(len(rows.bought)))
    trusting, doubting = (log_engagement.learn(log.before(cut_us), one, cut_us) for one in (oracle, noise))
    assert trusting is not None
    assert doubting is not None
    assert trusting.predicted_share > 0.9
    assert doubting.predicted_share < 0.1
    assert trusting.score(0.1, PREDICTED) == pytest.approx(0.1 + trusting.predicted_share * (PREDICTED - 0.1))
    assert trusting.score(0.1, None) == 0.1


@pytest.mark.parametrize("kind", [PLATT, ISOTONIC])
def test_calibrations_rise_and_mean_what_they_say(kind):
    rng = np.random.default_rng(0)
    raw = rng.normal(size=4000)
    true = 1 / (1 + np.exp(-(0.5 * raw - 1)))
    bought = rng.random(4000) < true
    fitted = {PLATT: engagement_model._platt, ISOTONIC: engagement_model._isotonic}[kind](raw, bought, engagement_model.PARAMS)
    p = fitted(np.sort(raw))
    assert (np.diff(p) >= 0).all()
    assert np.abs(p - np.sort(true)).mean() < 0.03
    assert ((fitted(np.array([-1e6, 1e6])) > 0) & (fitted(np.array([-1e6, 1e6])) < 1)).all()


def test_the_calibration_that_fits_later_rows_is_chosen():
    rng = np.random.default_rng(1)
    raw, at_us = rng.normal(size=6000), np.arange(6000)
    line = rng.random(6000) < 1 / (1 + np.exp(-raw))
    step = rng.random(6000) < np.where(raw > 1, 0.9, 0.1)
    assert engagement_model.calibrate(raw, line, at_us).kind == PLATT
    assert engagement_model.calibrate(raw, step, at_us).kind == ISOTONIC


def test_a_model_comes_back_from_its_file_and_so_does_none(model, rows):
    back = engagement_model.from_parts(engagement_model.to_parts(model))
    assert back is not None
    assert np.array_equal(back.immediate(rows.features[:50], STATIC.base), model.immediate(rows.features[:50], STATIC.base))
    assert back.params == model.params
    assert engagement_model.from_parts(engagement_model.to_parts(None)) is None
    parts = engagement_model.to_parts(model)
    with pytest.raises(ValueError, match="event types"):
        engagement_model.from_parts(parts._replace(meta={**parts.meta, "event_types": ["item_view"]}))


def test_too_few_purchases_give_no_model(log, rows):
    nobody = rows._replace(bought=np.zeros_like(rows.bought))
    assert log_engagement.learn(log, nobody, 2**60) is None
