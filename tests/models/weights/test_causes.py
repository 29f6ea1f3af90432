"""What actions cause is told from who acts: latent decisions and moods add up, and a wrong heuristic is not believed."""

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import spearmanr

from models.inference import examples
from models.inference.examples import Log
from models.schema import N_EVENT_TYPES, N_INTENTS, EventType
from models.simulator import Causes, ShopConfig, simulate
from models.weights import cause_kernels, causes
from models.weights.stretches import FUNNEL, item_in_hand, stretches_of


def shop(n_users: int, seed: int, effects: Causes) -> Log:
    frame = simulate(ShopConfig(n_users=n_users, n_days=7, seed=seed, causes=effects)).events
    return examples.read_log(frame.assign(seq=np.arange(len(frame))))[0]


@pytest.mark.parametrize("buys", [True, False])
def test_what_is_latent_adds_up_as_if_every_path_had_been_counted(buys: bool) -> None:
    rng, n, k = np.random.default_rng(4), 5, 2
    seen, hazard = rng.random((n, k)), rng.random((n, k)) * 0.5
    first, move = np.array([0.3, 0.7]), np.array([[0.8, 0.2], [0.4, 0.6]])
    decided = np.array([0.0, 0.0, 0.0, 0.7, 0.4])
    open_, decides = np.zeros((n, k)), np.zeros((n, k))
    for moods in product(range(k), repeat=n):
        for last in range(n) if buys else [n]:  # decides behind this event, or never
            until = min(last + 1, n)
            p = first[moods[0]] * np.prod([move[a, b] for a, b in pairwise(moods[:until])])
            p *= np.prod([seen[i, moods[i]] for i in range(until)]) * np.prod(decided[until:])
            p *= np.prod([1 - hazard[i, moods[i]] for i in range(min(last, n))])
            p /= k ** (n - until)  # behind the decision there are no moods
            if buys:
                p *= hazard[last, moods[last]]
                decides[last, moods[last]] += p
            for i in range(until):
                open_[i, moods[i]] += p
    total = open_[0].sum()
    ends = np.array([n])
    found = cause_kernels.expectations(seen, first, move, hazard, decided, ends - n, ends, np.array([buys]))
    np.testing.assert_allclose(found[0], open_ / total, atol=1e-12)
    np.testing.assert_allclose(found[1], decides / total, atol=1e-12)
    assert found[3] == pytest.approx(np.log(total))


def test_sessions_are_cut_at_their_purchases() -> None:
    log = shop(40, 3, Causes(base=-3.0))
    cut, kind = stretches_of(log), log.events["event_type"]
    assert (kind[cut.row] != EventType.PURCHASE).all()
    assert len(cut.row) + int((kind == EventType.PURCHASE).sum()) == len(kind)
    follows, session = cut.row[cut.ends - 1] + 1, np.cumsum(log.starts)
    for k in range(len(cut.begins)):
        inside = follows[k] < len(kind) and session[follows[k]] == session[cut.row[cut.ends[k] - 1]]
        assert cut.buys[k] == (inside and kind[follows[k]] == EventType.PURCHASE)
        assert len(set(session[cut.row[cut.begins[k] : cut.ends[k]]])) == 1
    assert cut.buys.sum() > 10
    without = np.logical_and.accumulate(log.events["item"][cut.row][: cut.ends[0]] < 0)
    assert (item_in_hand(log, cut)[: cut.ends[0]][without] == -1).all()


def test_a_heuristic_that_the_data_contradict_is_not_leaned_on_and_one_that_they_confirm_is() -> None:
    line = causes.HEURISTIC - causes.HEURISTIC.mean()
    noise, covariance = np.random.default_rng(2).normal(0, 0.3, len(line)), np.eye(len(line)) * 0.3**2
    other = np.random.default_rng(3).permutation(line)
    right, wrong = causes.shrunk(0.5 * line + noise, covariance), causes.shrunk(0.5 * other + noise, covariance)
    assert right[2] > 0.3
    assert abs(right[0] - 0.5 * line).mean() < 0.7 * abs(noise).mean()
    assert wrong[2] < right[2]
    assert spearmanr(wrong[0], other)[0] > 0.8


def test_where_too_few_buy_nothing_is_said() -> None:
    log = shop(30, 1, Causes())
    assert causes.fit(log) is None
    assert causes.fit(log.before(0)) is None


@pytest.mark.slow
def test_causes_are_found_where_the_heuristic_is_wrong() -> None:
    usual = np.array(Causes().event)
    usual[causes.TYPES] = np.random.default_rng(5).permutation(usual[causes.TYPES])
    log = shop(4_000, 60, replace(Causes(), event=tuple(usual.tolist())))
    found, again = causes.fit(log), causes.fit(log)
    assert found is not None
    assert again is not None
    assert spearmanr(found.mean, usual[causes.TYPES])[0] > 0.6
    assert (found.mean == again.mean).all()


def test_scores_are_the_slopes_of_the_likelihood() -> None:
    log, rng = shop(60, 3, Causes(base=-3.0)), np.random.default_rng(1)
    cut = stretches_of(log)
    seen = causes._Seen(cut, np.zeros((len(cut.row), 0)), item_in_hand(log, cut) >= 0, np.isin(cut.kind, FUNNEL))
    seen = seen._replace(cut=cut._replace(buys=cut.buys & np.logical_or.reduceat(causes._candidates(seen), cut.begins)))
    design = causes._design(seen, 0.6)
    kinds = (N_EVENT_TYPES + 1, N_EVENT_TYPES)
    tables = ((N_INTENTS, *kinds), kinds, (N_INTENTS, N_INTENTS), (1, N_INTENTS))

    def state_of(logits: np.ndarray) -> causes._State:
        parts = np.split(logits, np.cumsum([np.prod(shape) for shape in tables])[:-1])
        habits, funnel, move, first = (softmax(part.reshape(s), axis=-1) for part, s in zip(parts, tables, strict=True))
        return causes._State(coefficients, first[0], move, habits, funnel)

    def log_likelihood(logits: np.ndarray) -> float:
        return float(causes._passed(seen, design, state_of(logits))[3])

    n_logits = int(sum(np.prod(shape) for shape in tables))
    coefficients = np.append(rng.normal(0, 0.2, len(causes.TYPES)), [-4.0, -3.0, -3.5, -4.5])
    logits = rng.normal(0, 0.5, n_logits)
    latent = causes._expected(seen, design, state_of(logits))
    told = np.concatenate([part.sum(axis=0).A1 for part in causes._other_scores(seen, latent, state_of(logits))])
    for place in rng.choice(n_logits, 40, replace=False).tolist():
        step = np.zeros(n_logits)
        step[place] = 1e-4
        slope = (log_likelihood(logits + step) - log_likelihood(logits - step)) / 2e-4
        assert told[place] == pytest.approx(slope, abs=1e-3 + 1e-4 * abs(slope))
