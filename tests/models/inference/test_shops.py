"""What is learned of items, shop by shop: of the operator's events and the partner's own, as if there were no others."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from models.artifact import Parts
from models.associations import from_log as log_associations
from models.associations import model as associations
from models.inference import examples, shops
from models.inference.examples import Log
from models.ranker import from_log as log_ranker
from models.ranker import model as ranker
from models.schema import LOCAL_PARTNER
from models.shops import LEAST_EVENTS, apart
from models.simulator import ShopConfig, simulate

NEW = "only a knows it"


def told(seed: int, n_users: int = 70) -> pd.DataFrame:
    return simulate(ShopConfig(n_users=n_users, n_days=2, n_items=40, n_categories=4, seed=seed)).events


BASE, OURS, THEIRS = (told(seed) for seed in range(3))
PUSHED = THEIRS.assign(item_id=np.where(np.arange(len(THEIRS)) % 2 == 0, NEW, OURS["item_id"].value_counts().index[-1]))


def log_of(**sent: pd.DataFrame) -> Log:
    """The log of an installation, in which events of all partners came in the order of time."""
    parts = [
        events.assign(partner=partner, event_id=partner + "/" + events["event_id"], user_id=partner + events["user_id"])
        for partner, events in sent.items()
    ]
    frame = pd.concat(parts).sort_values("occurred_at_us", kind="stable", ignore_index=True)
    return examples.read_log(frame.assign(seq=np.arange(len(frame))))[0]


def _associations(log: Log) -> Parts:
    return associations.to_parts(log_associations.built(log, {}))


def _ranker(log: Log) -> Parts:
    return ranker.to_parts(log_ranker.fit(log))


def as_bytes(parts: Parts) -> tuple[str, dict[str, bytes]]:
    return repr(parts.meta), {name: np.ascontiguousarray(array).tobytes() for name, array in parts.arrays.items()}


@pytest.mark.parametrize("one", [_associations, _ranker])
def test_what_another_partner_sends_changes_no_bit(one: Callable[[Log], Parts]) -> None:
    without, pushed = (shops.fit(log, one) for log in (log_of(local=BASE, b=OURS), log_of(local=BASE, b=OURS, a=PUSHED)))
    (base, (b,)), (base_pushed, found) = (apart(without)[0], (apart(without)[1] or {}).values()), apart(pushed)
    assert found is not None
    assert as_bytes(base_pushed) == as_bytes(base)
    assert as_bytes(found["b"]) == as_bytes(b)
    assert as_bytes(found["a"]) != as_bytes(b)


def test_as_one_shop_they_share() -> None:
    log = log_of(local=BASE, b=OURS, a=PUSHED)._replace(senders=None)
    assert as_bytes(shops.fit(log, _associations)) == as_bytes(_associations(log))
    assert apart(shops.fit(log, _associations))[1] is None


def test_an_installation_of_one_partner_has_what_it_had() -> None:
    ours, everybodys = log_of(b=OURS), log_of(b=OURS)._replace(senders=None)
    base, found = apart(shops.fit(ours, _associations))
    assert found is not None
    found_b = found["b"]
    assert as_bytes(found_b) == as_bytes(_associations(everybodys))
    assert associations.from_parts(base).n_items == 0
    assert ours.of_shop("b") is ours
    base, found = apart(shops.fit(log_of(local=OURS), _associations))
    assert found == {}
    assert as_bytes(base) == as_bytes(found_b)


def test_a_partner_with_few_events_has_the_base_unless_that_is_as_small() -> None:
    few, many = OURS[: LEAST_EVENTS - 1], OURS[:LEAST_EVENTS]
    assert shops.with_their_own(log_of(local=BASE, few=few, many=many)) == ["many"]
    assert shops.with_their_own(log_of(local=BASE[: LEAST_EVENTS - 1], few=few, many=many)) == ["few", "many"]
    assert shops.with_their_own(log_of(local=BASE)) == []


def test_what_is_judged_has_the_shops_of_what_serves() -> None:
    log = log_of(local=BASE, b=OURS, a=PUSHED)
    earlier = log.before(int(np.quantile(log.started_us, 0.5)))
    judged = shops.rebuilt(shops.fit(log, _associations), earlier, lambda parts, part, shop: log_associations.built(part, {}))
    assert set(judged.shops or {}) == {"a", "b"}
    assert as_bytes(associations.to_parts(judged.of("b"))) == as_bytes(_associations(earlier.of_shop("b")))
    assert (judged.of("a").code(NEW), judged.of("b").code(NEW), judged.code(NEW)) == (judged.of("a").code(NEW), -1, -1)
    assert shops.rebuilt(_associations(log), earlier, lambda parts, part, shop: log_associations.built(part, {})).shops is None


def test_a_log_as_files_knows_who_sent_what() -> None:
    log = log_of(local=BASE, b=OURS)
    again = examples.log_from_parts(examples.log_to_parts(log))
    assert again.senders is not None
    assert again.senders.n_events() == {LOCAL_PARTNER: len(BASE), "b": len(OURS)}
    assert as_bytes(_associations(again.of_shop("b"))) == as_bytes(_associations(log.of_shop("b")))
