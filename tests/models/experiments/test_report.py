"""The readout on visitors whose truth is known, beside tea-tasting where it does the same, and on splits to be refused."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import tea_tasting  # type: ignore[import-untyped]

from flows.reports import experiment as experiment_page
from models.experiments import sequential
from models.experiments.assignment import DYNAMIC_VS_STATIC, Experiment, assign
from models.experiments.guardrails import ANY_SPLIT
from models.experiments.outcomes import Exposed, Purchases, adjusted, foreseeable, outcomes
from models.experiments.report import ReadoutParams, report
from models.schema import DAY_US, SIGNAL_TYPES
from models.simulator import Causes, p_purchase_with_signal, respond

NOW_US = 30 * DAY_US
QUICK = ReadoutParams(n_looks=5)


def shop(
    n: int, rates: tuple[float, ...], seed: int = 1, share: float = 0.5, degraded: float = 0.0, slower_us: float = 0.0
) -> tuple[Exposed, Purchases]:
    """Visitors over twenty days who buy with the rate of their variant, an hour after the exposure."""
    rng = np.random.default_rng(seed)
    variant = (rng.random(n) >= share).astype(np.int64) if len(rates) == 2 else rng.integers(len(rates), size=n)
    at_us = np.sort(rng.integers(20 * DAY_US, size=n))
    who = np.flatnonzero(rng.random(n) < np.array(rates)[variant])
    still = np.zeros(n)
    treated = np.where(variant == 0, 1.0, 0.0)
    latency_us = 900 + slower_us * treated + rng.normal(0, 50, n)
    exposed = Exposed(variant, at_us, np.zeros((n, 0)), degraded * treated, latency_us, still, still + 3, still)
    return exposed, Purchases(who, at_us[who] + DAY_US // 24, rng.lognormal(4, 1, len(who)))


def told(exposed: Exposed, purchases: Purchases, experiment: Experiment = DYNAMIC_VS_STATIC) -> dict[str, Any]:
    latencies = {name: np.array([800, 900, 5000]) for name in experiment.variants}
    return report(experiment, exposed, purchases, latencies, NOW_US, QUICK)


def test_a_better_variant_is_called_better() -> None:
    found = told(*shop(20_000, (0.08, 0.05)))
    assert (found["status"], found["verdict"]) == ("decided", "dynamic better")
    relative = found["metrics"]["conversion"]["comparisons"]["dynamic"]["relative"]
    assert 0 < relative["low"] < 0.6 < relative["high"]
    assert found["sentence"].startswith("dynamic better: conversion of dynamic +")


def test_a_worse_variant_means_that_the_control_is_better() -> None:
    assert told(*shop(20_000, (0.05, 0.08)))["verdict"] == "static better"


def test_no_difference_that_is_worth_finding_is_a_result_and_too_few_visitors_are_not() -> None:
    few, many = told(*shop(4_000, (0.05, 0.05))), told(*shop(60_000, (0.5, 0.5)))
    assert (few["status"], few["verdict"]) == ("undecided", "no difference yet")
    assert (many["status"], many["verdict"]) == ("decided", "no difference")
    assert few["power"]["dynamic"]["visitors_missing"] > 50_000
    assert few["power"]["dynamic"]["days_missing"] == pytest.approx(
        few["power"]["dynamic"]["visitors_missing"] / (4_000 / 30), rel=0.01
    )
    assert many["power"]["dynamic"]["visitors_missing"] == 0


@pytest.mark.parametrize(
    ("helps", "verdict"), [(("recommend_product", "offer_discount", "start_workflow", "recommend_content"), "dynamic better"),
                           (("no_action",) * 4, "no difference yet")],
)  # fmt: skip
def test_the_simulated_shop_is_read_as_it_is(helps: tuple[str, ...], verdict: str) -> None:
    """The dynamic arm sends each intent's own signal, or nothing as the other arm; the shop's truth decides who buys."""
    rng, n = np.random.default_rng(8), 6_000
    intents, variant = rng.integers(4, size=n), np.array([assign(DYNAMIC_VS_STATIC, f"u-{k}") == "static" for k in range(n)])
    sent = np.where(variant, 0, np.array([SIGNAL_TYPES.index(name) for name in helps])[intents])
    bought = respond(p_purchase_with_signal(rng.beta(1, 12, n), intents, sent, Causes()), rng)
    at_us, still = np.sort(rng.integers(20 * DAY_US, size=n)), np.zeros(n)
    who = np.flatnonzero(bought)
    exposed = Exposed(variant.astype(np.int64), at_us, np.zeros((n, 0)), *[still] * 5)
    assert told(exposed, Purchases(who, at_us[who] + 5, np.full(len(who), 40.0)))["verdict"] == verdict


def test_a_split_that_was_not_delivered_as_dealt_withholds_everything() -> None:
    exposed, purchases = shop(20_000, (0.08, 0.05))
    variant = np.repeat([0, 1], [9_600, 10_400])
    found = told(exposed._replace(variant=np.random.default_rng(1).permutation(variant)), purchases)
    assert (found["status"], found["verdict"]) == ("withheld", "withheld: sample ratio 48/52")
    assert [found[name] for name in ("metrics", "power", "path")] == [None] * 3
    assert list(found["guardrails"]) == ["error_rate"]
    assert found["sample_ratio"]["p_value"] < 1e-5


@pytest.mark.parametrize(
    ("n", "rates", "why"),
    [
        (150, (0.5, 0.5), "100 are needed in each variant"),
        (1000, (0.01, 0.01), "visitors bought, 25 are needed"),
        (0, (0.0, 0.0), "0"),
    ],
)
def test_too_little_to_say_anything_is_said_with_the_reason(n: int, rates: tuple[float, float], why: str) -> None:
    found = told(*shop(n, rates))
    assert found["verdict"] == "not enough data"
    assert why in found["sentence"]
    assert experiment_page.text({**found, "left_out": {}})


def test_the_adjustment_and_the_interval_of_one_look_are_tea_tastings() -> None:
    rng = np.random.default_rng(4)
    n = 4_000
    variant, past = rng.integers(2, size=n), rng.normal(size=n)
    y = past + rng.normal(size=n) + 0.1 * (variant == 0)
    better = adjusted(y, past[:, None], variant)
    ours = sequential.effect(*(sequential.moments(better[variant == code]) for code in (0, 1)))
    frame = pd.DataFrame({"variant": variant, "y": y, "past": past, "explained": foreseeable(y, past[:, None], variant)})
    for covariate in ("past", "explained"):
        metric = tea_tasting.Mean("y", covariate, use_t=False)
        theirs: Any = tea_tasting.Experiment({"y": metric}).analyze(frame, control=1)["y"]
        assert ours.difference == pytest.approx(theirs.effect_size, abs=0.02 * ours.variance**0.5)
        half = (theirs.effect_size_ci_upper - theirs.effect_size_ci_lower) / 2
        assert 1.959964 * ours.variance**0.5 == pytest.approx(half, rel=0.01)
    without: Any = tea_tasting.Experiment({"y": tea_tasting.Mean("y", use_t=False)}).analyze(frame, control=1)["y"]
    plain = sequential.effect(*(sequential.moments(y[variant == code]) for code in (0, 1)))
    assert plain.difference == pytest.approx(without.effect_size)
    assert ours.variance < 0.6 * plain.variance


def test_the_relative_effect_and_the_sample_ratio_of_one_look_are_tea_tastings() -> None:
    exposed, purchases = shop(20_000, (0.08, 0.05), share=0.51)
    done = outcomes(purchases, 20_000, 1.0)
    frame = pd.DataFrame({"variant": exposed.variant, **done})
    asked: dict[str, Any] = {
        "revenue_per_visitor": tea_tasting.Mean("revenue_per_visitor", use_t=False),
        "ratio": tea_tasting.SampleRatio(method="norm", correction=False),
    }
    theirs: Any = tea_tasting.Experiment(asked).analyze(frame, control=1)
    values = done["revenue_per_visitor"]
    ours = sequential.relative_effect(*(sequential.moments(values[exposed.variant == code]) for code in (0, 1)))
    assert ours is not None
    assert ours.difference == pytest.approx(theirs["revenue_per_visitor"].rel_effect_size)
    found = told(exposed, purchases)["sample_ratio"]
    assert found["p_value_fixed_horizon"] == pytest.approx(theirs["ratio"].pvalue, rel=1e-6)


def test_power_of_one_look_is_tea_tastings() -> None:
    """With the multiplier of one look in the place of the sequence's, the formula is the textbook's."""
    sd, effect = 1.3, 0.1
    metric = tea_tasting.Mean("y", effect_size=effect, power=0.8, use_t=False)
    theirs = metric.solve_power(pd.DataFrame({"y": sd * np.sqrt(1000 / 1001) * np.tile([-1.0, 1.0], 1000)}), "n_obs")
    textbook = 4 * sd**2 * ((1.959964 + 0.841621) / effect) ** 2
    assert float(theirs[0].n_obs) == pytest.approx(textbook, rel=0.01)
    ours = sequential.n_needed(effect, 4 * sd**2, sequential.SequenceParams())
    assert ours is not None
    assert 1.5 < ours / textbook < 2.5  # the price of looking any time


def test_one_visitor_who_buys_the_shop_moves_little() -> None:
    _, purchases = shop(20_000, (0.05, 0.05))
    dear = purchases.price.copy()
    dear[0] = 1e9
    plain, bought = (
        outcomes(purchases._replace(price=price), 20_000, 0.99)["revenue_per_visitor"] for price in (purchases.price, dear)
    )
    assert bought.max() < 2 * plain.max()
    assert bought.sum() < 1.05 * plain.sum()


def test_a_guardrail_that_got_worse_is_named_beside_the_verdict() -> None:
    found = told(*shop(20_000, (0.08, 0.05), degraded=0.4))
    assert found["guardrails"]["degraded_rate"]["worse"] == ["dynamic"]
    assert found["guardrails"]["latency_ms"]["worse"] == found["guardrails"]["error_rate"]["worse"] == []
    assert found["guardrails"]["latency_ms"]["variants"]["static"]["p50"] == 0.9
    assert found["verdict"] == "dynamic better; guardrail: degraded_rate worse with dynamic"
    assert found["sentence"].endswith("guardrail: degraded_rate worse with dynamic")


@pytest.mark.parametrize(("slower_us", "worse"), [(16.0, []), (3_000.0, ["dynamic"])])
def test_latency_is_worse_only_where_somebody_could_notice(slower_us: float, worse: list[str]) -> None:
    found = told(*shop(20_000, (0.05, 0.05), slower_us=slower_us))["guardrails"]["latency_ms"]
    assert found["comparisons"]["dynamic"]["difference"]["low"] > 0
    assert found["worse"] == worse


def failing(exposed: Exposed, n_failed: tuple[int, int]) -> Exposed:
    """The first visitors of each variant with two failed requests of three."""
    failed = np.zeros(len(exposed.variant))
    for code, n in enumerate(n_failed):
        failed[np.flatnonzero(exposed.variant == code)[:n]] = 2
    return exposed._replace(n_failed=failed)


@pytest.mark.parametrize(("n_failed", "worse"), [((12, 0), ["dynamic"]), ((12, 9), []), ((0, 12), []), ((0, 0), [])])
def test_failures_of_one_variant_break_the_guardrail_even_before_there_is_a_result(
    n_failed: tuple[int, int], worse: list[str]
) -> None:
    exposed, purchases = shop(90, (0.5, 0.5))
    found = told(failing(exposed, n_failed), purchases)
    errors = found["guardrails"]["error_rate"]
    assert errors["worse"] == worse
    assert errors["variants"]["dynamic"]["n_failed"] == 2 * n_failed[0]
    assert errors["variants"]["dynamic"]["n_visitors_failed"] == n_failed[0]
    named = ["guardrail: error_rate worse with dynamic"] if worse else []
    assert found["verdict"] == "; ".join(["not enough data", *named])


def test_a_broken_split_still_tells_which_variant_fails() -> None:
    exposed, purchases = shop(20_000, (0.05, 0.05), share=0.46)
    found = told(failing(exposed, (200, 0)), purchases)
    assert found["status"] == "withheld"
    assert found["verdict"].endswith("guardrail: error_rate worse with dynamic")
    text = experiment_page.text({**found, "left_out": {}})
    assert "failed: dynamic 400 of" in text
    assert "static 0 of" in text


def test_failures_that_have_nothing_to_do_with_the_variant_rarely_break_the_guardrail() -> None:
    """A/A: five in a hundred runs may, over all looks; the exact test looks after every failing visitor."""
    rng, broken = np.random.default_rng(3), 0
    for _ in range(400):
        treated = np.cumsum(rng.random(150) < 0.5)
        broken += any(
            sequential.p_counts([n, k + 1 - n], [0.5, 0.5], ANY_SPLIT) <= 0.05 and 2 * n > k + 1
            for k, n in enumerate(treated.tolist())
        )
    assert broken <= 20


def test_a_visitor_whose_requests_all_failed_has_no_part_in_degraded_answers_and_latency() -> None:
    exposed, purchases = shop(400, (0.5, 0.5))
    unanswered = np.arange(400) < 40
    lost = exposed._replace(
        degraded_rate=np.where(unanswered, np.nan, 0.25), latency_us=np.where(unanswered, np.nan, 900.0),
        n_failed=np.where(unanswered, 3.0, 0.0),
    )  # fmt: skip
    found = told(lost, purchases)["guardrails"]
    assert found["degraded_rate"]["variants"]["dynamic"]["mean"] == 0.25
    assert found["latency_ms"]["variants"]["static"]["mean"] == pytest.approx(0.9)
    assert found["error_rate"]["variants"]["static"]["n_visitors_failed"] == int(unanswered[exposed.variant == 1].sum())


def test_several_treatments_share_the_error_and_the_best_one_is_named() -> None:
    three = Experiment("three", "s", ("a", "b", "c"), (1 / 3, 1 / 3, 1 / 3))
    found = told(*shop(30_000, (0.05, 0.09, 0.05)), experiment=three)
    assert found["verdict"] == "b better"
    assert set(found["metrics"]["conversion"]["comparisons"]) == {"a", "b"}


def test_the_path_ends_at_the_result_and_gets_narrower() -> None:
    found = told(*shop(20_000, (0.08, 0.05)))
    points = found["path"]["dynamic"]
    last = found["metrics"]["conversion"]["comparisons"]["dynamic"]["difference"]
    assert {name: points[-1][name] for name in last} == last
    assert points[-1]["high"] - points[-1]["low"] < points[0]["high"] - points[0]["low"]


def test_the_page_and_the_text_escape_and_begin_with_the_sentence() -> None:
    named = Experiment("<b>", "s", ("x<", "y"), (0.5, 0.5))
    found = {**told(*shop(20_000, (0.08, 0.05)), experiment=named), "left_out": {"saw more than one variant": 2}}
    page, text = experiment_page.page(found), experiment_page.text(found)
    assert "<b>" not in page
    assert "x&lt; better" in page
    assert page.count("<svg") == 1
    assert "http" not in page
    assert text.startswith("x< better: conversion of x< +")
    assert "2 saw more than one variant" in text
