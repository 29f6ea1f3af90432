"""Promotion of each model by itself: on logs with hardly anything in them, and with one model spoiled on purpose."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows import evaluate, promote, train
from flows.reports import evaluation as evaluation_page
from infra import layout, registry
from infra.artifacts import read_parts, write_parts, write_report
from infra.store.engines import open_store
from models.artifact import Parts
from models.inference import examples
from models.inference.examples import ExampleParams
from models.model_specs import MODEL_NAMES, SPEC
from models.simulator import ShopConfig, simulate
from tests.fitted import made_up
from tests.stores import copied
from tests.training import write_run

TRAINED = {"passed": True}  # what validation said
NOT_JUDGED = {"verdict": "not enough data", "reason": "no decisions", "n_decisions": 0, "n_visitors": 0}


def trained(home: Path, name: str, frame: pd.DataFrame, first: bool = True) -> Path:
    """A working folder as `flows.train` leaves it; what the feature store knew is made up."""
    log, frame = examples.read_log(frame)
    rows = examples.choose(log, frame, ExampleParams())
    found = examples.assemble(log, rows, made_up(log, np.random.default_rng(0)).iloc[rows])
    split = found.split(ExampleParams())
    window = {"as_of_us": None, "last_seq": len(frame), "last_event_us": int(log.events["occurred_at_us"].max())}
    periods = {"valid_from_us": split.valid_from_us, "test_from_us": split.test_from_us}
    judged_from_us = train.judged_from_us(found, split, first)
    params = asdict(ExampleParams())
    folder = write_run(home / name, found, log, window=window, params=params, judged_from_us=judged_from_us, **periods)
    for model in MODEL_NAMES:
        train.fit.fn(str(folder), model, 0)
    return folder


def decided(home: Path, folder: Path, full: bool = False) -> dict[str, Any]:
    """Keep the models of a working folder, evaluate (also the slower half) and judge them, move the aliases; the verdict."""
    versions = train.keep.fn(str(home), str(folder), 0, TRAINED)
    report = evaluate.measure.fn(str(home), versions, str(folder))
    if full:
        report["full"] = {**evaluate.measure_fully.fn(str(home), versions, str(folder)), "off_policy": NOT_JUDGED}
        assert evaluation_page.page(report)
    write_report(home / layout.REPORTS / evaluate.REPORT, report)
    verdict = promote.judge.fn(str(home), versions, str(folder))
    promote.apply.fn(str(home), versions, verdict)
    return verdict


@pytest.fixture(scope="module")
def shop() -> pd.DataFrame:
    return simulate(ShopConfig(n_users=40, n_days=3, n_items=12, n_categories=3, seed=2)).events.iloc[:400]


def one_item_a_session(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(item_id="sku-" + (pd.factorize(frame["session_id"])[0] % 7).astype(str))


THIN: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "one event": lambda frame: frame[frame["item_id"].notna()].iloc[:1],
    "one item": lambda frame: frame[frame["event_type"] == "item_view"].assign(item_id="a"),
    "one instant": lambda frame: frame.assign(occurred_at_us=int(frame["occurred_at_us"].iloc[0])),
    "one visitor in one session": lambda frame: frame.iloc[:150].assign(user_id="u", session_id="s"),
    "no second item in any session": one_item_a_session,
}


@pytest.mark.parametrize("make", THIN.values(), ids=THIN)
def test_a_log_with_hardly_anything_in_it_ends_with_what_can_serve(
    shop: pd.DataFrame, make: Callable[[pd.DataFrame], pd.DataFrame], tmp_path: Path
) -> None:
    folder = trained(tmp_path, "run", make(shop).reset_index(drop=True))
    verdict = decided(tmp_path, folder, full=True)
    champions = registry.champions(tmp_path)
    assert champions.get("associations") == 1  # popular items, at least
    for name in MODEL_NAMES:
        one = verdict["models"][name]
        assert (name in champions) == one["promote"] == (not one["why"])
        assert name not in champions or SPEC[name].learned(registry.load(tmp_path, name))
    thin = [one["why"] for one in verdict["models"].values() if one["why"].startswith("not enough data: ")]
    assert thin
    assert set(registry.left_out(open_store(tmp_path).read)) == set(MODEL_NAMES) - set(champions)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A home whose first models serve, and the working folder of their training."""
    home = tmp_path_factory.mktemp("grown")
    frame = simulate(ShopConfig(n_users=150, n_days=4, n_items=40, n_categories=4, seed=1)).events
    folder = trained(home, "first", frame)
    decided(home, folder)
    return home, folder


def test_one_spoiled_model_is_left_out_with_what_was_fitted_to_it_and_the_others_serve(grown: tuple[Path, Path]) -> None:
    home, folder = grown
    before = registry.champions(home)
    assert {"intent", "next_action", "associations"} <= set(before)
    spoil(folder / train.MODELS / "next_action")
    verdict = decided(home, folder)
    after, models = registry.champions(home), verdict["models"]
    assert (verdict["verdict"], verdict["promote"]) == ("fail", True)
    assert after["next_action"] == before["next_action"]
    assert (after["intent"], after["associations"]) == (2, 2)
    assert "next action log loss, short term is worse by" in models["next_action"]["why"]
    assert "is tolerated" in models["next_action"]["why"]
    assert models["next_action"]["instead"] == "the champion stays"
    assert not models["engagement"]["promote"]
    kept = {one.name: one.verdict for one in registry.versions(home) if one.version == 2}
    assert (kept["next_action"], kept["intent"]) == ("fail", "pass")


def test_a_champion_that_cannot_be_read_is_judged_by_nobody(grown: tuple[Path, Path], tmp_path: Path) -> None:
    home = copied(grown[0], tmp_path / "home")
    serves = registry.champions(home)
    assert evaluate.readable(home, serves) == serves
    sums = registry.folder_of(home, "next_action", registry.CHAMPION) / layout.SUMS_FILE
    sums.write_text(sums.read_text().replace('"format": 2', '"format": 3'))
    assert evaluate.readable(home, serves) == {name: v for name, v in serves.items() if name != "next_action"}


def spoil(folder: Path) -> None:
    """Let the likeliest next action be called the least likely."""
    parts = read_parts(folder)
    for horizon in parts.meta["classifiers"].values():
        horizon["action"]["scale"] *= -1.0
    write_parts(folder, Parts(parts.meta, parts.arrays))


def test_probabilities_of_first_models_are_calibrated_on_rows_that_do_not_judge_them(grown: tuple[Path, Path]) -> None:
    _, folder = grown
    data = train.training_input(folder, SPEC["intent"], 0)
    judging = evaluate.load_held_out(folder)[0]
    assert 0 < data.unjudged.sum() < data.split.test.sum()
    assert not (data.unjudged & judging.rows).any()
    assert ((data.unjudged | judging.rows) == data.split.test).all()
