"""A rehearsal says what the worker then does."""

import zlib
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmarks import dry_run_replay
from infra import registry
from infra.store.engines import open_store
from infra.store.statements.signals import PUT_POLICY
from models.model_set import ModelSet
from models.simulator.config import ShopConfig
from models.simulator.simulation import simulate
from services.signals import rehearsal
from services.signals.policies import PolicyBody, Thresholds, WorkflowBody, to_policy
from services.signals.rehearsal import RehearsalAnswer, rehearse, text
from services.signals.shelf import NoCatalogs, VisitorShelf
from tests.stores import connect

POLICY = PolicyBody(
    Thresholds(min_score_product=0.02, min_score_content=0.01, min_p_leave=0.05, n_reading_events_content=1),
    cool_down_s=300,
    max_per_day=4,
    holdout_share=0.2,
    workflows=[WorkflowBody("browse_help", "n_events >= 6 and score < 0.1 and silence_s < 60")],
)


@pytest.fixture(scope="module")
def models(crowned: Path) -> ModelSet:
    found = {name: registry.load_model(crowned, name, 1) for name in ("intent", "next_action", "associations")}
    return ModelSet(**found, versions=dict.fromkeys(found, 1))


@pytest.fixture(scope="module")
def lived(models: ModelSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A home whose worker followed some visitors from event to event and from silence to silence, and its newest instant."""
    tmp_path = tmp_path_factory.mktemp("lived")
    frame = simulate(ShopConfig(n_users=30, n_days=2, n_items=100, n_categories=5, seed=11)).events
    with closing(open_store(tmp_path)) as store:
        store.write(lambda to: to.execute(PUT_POLICY, ("shop", msgspec.json.encode(POLICY).decode(), 1)))
        dry_run_replay.lived(tmp_path, store, frame, models)
    return tmp_path, int(frame["occurred_at_us"].iloc[-1])


def test_what_is_rehearsed_is_what_the_worker_does(lived: tuple[Path, int], models: ModelSet) -> None:
    home, until_us = lived
    with closing(open_store(home)) as store:
        found = rehearse(store.read, to_policy(POLICY), "shop", models, lambda _: None, NoCatalogs(), until_us)
    connection = connect(home)
    sent: Counter[str] = Counter(dict(connection.execute("SELECT type, count(*) FROM signals GROUP BY type")))
    held: Counter[str] = Counter(dict(connection.execute("SELECT type, count(*) FROM holdout GROUP BY type")))
    told: Any = {kind: (one.count, one.held_out) for kind, one in found.signals.items()}
    assert sum(sent.values()) > 50
    assert len(sent) >= 2
    for kind, (count, held_out) in told.items():
        assert abs(count - sent[kind]) <= 0.05 * sent[kind] + 1, (kind, told, sent)
        assert abs(held_out - held[kind]) <= 0.05 * held[kind] + 1, (kind, told, held)
    assert found.visitors == found.sampled_visitors
    assert sum(map(sum, (one.by_hour for one in found.signals.values()))) == pytest.approx(
        sum(one.count for one in found.signals.values())
    )
    assert "nothing was set or sent" in text(found)


def test_a_sample_of_the_visitors_stands_for_all(
    lived: tuple[Path, int], models: ModelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, until_us = lived
    monkeypatch.setattr("services.signals.rehearsal.USERS_A_READ", 10)
    with closing(open_store(home)) as store:
        whole, part = (
            rehearse(store.read, to_policy(POLICY), "shop", models, lambda _: None, NoCatalogs(), until_us, most=most)
            for most in (10**6, 100)
        )
    assert part.sampled_visitors < part.visitors == whole.visitors
    counts = np.array([[one.low, whole.signals[kind].count, one.high] for kind, one in part.signals.items() if one.count])
    assert len(counts)
    assert (counts[:, 0] <= counts[:, 1] * 1.5).all()
    assert any("stand for all" in note for note in part.notes)
    n = part.sampled_visitors
    with closing(open_store(home)) as store:
        same = rehearse(store.read, to_policy(POLICY), "shop", models, lambda _: None, NoCatalogs(), until_us, most_visitors=n)
    assert (same.sampled_visitors, same.signals) == (n, part.signals), "the same visitors, whatever ends the sample"


class SoldOut(NoCatalogs):
    """Catalogue of a shop in which every n-th of the items that it knows is sold out."""

    def __init__(self, n: int) -> None:
        self._n = n

    def in_stock(self, partner: str, item_id: str) -> bool | None:
        return zlib.crc32(item_id.encode()) % self._n > 0


@pytest.mark.parametrize(
    ("catalogs", "has_some"), [(NoCatalogs(), True), (SoldOut(30), True), (SoldOut(2), True), (SoldOut(1), False)]
)
def test_what_decides_nothing_is_not_looked_up(
    lived: tuple[Path, int], models: ModelSet, catalogs: NoCatalogs, has_some: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, until_us = lived
    with closing(open_store(home)) as store:

        def found() -> RehearsalAnswer:
            return rehearse(store.read, to_policy(POLICY), "shop", models, lambda _: None, catalogs, until_us)

        quick = found()
        monkeypatch.setattr(rehearsal, "_Assured", lambda one, *given: VisitorShelf(one, lambda: one.session, *given[2:]))
        assert quick == found()
        assert (quick.signals["recommend_product"].count > 0) == has_some


def test_machines_are_passed_over(lived: tuple[Path, int], models: ModelSet, monkeypatch: pytest.MonkeyPatch) -> None:
    home, until_us = lived
    monkeypatch.setattr("services.signals.rehearsal.MOST_EVENTS", 0)
    with closing(open_store(home)) as store:
        found = rehearse(store.read, to_policy(POLICY), "shop", models, lambda _: None, NoCatalogs(), until_us)
    assert found.visitors == found.sampled_visitors > 0
    assert {one.count for one in found.signals.values()} == {0}


def test_a_partner_without_events_is_told_so(models: ModelSet, tmp_path: Path) -> None:
    with closing(open_store(tmp_path)) as store:
        found = rehearse(store.read, to_policy(PolicyBody()), "nobody", models, lambda _: None, NoCatalogs(), 10**15)
    assert (found.events, found.visitors) == (0, 0)
    assert {one.count for one in found.signals.values()} == {0}
