"""What a person tries in the console before it counts: a policy on the last days, and a list for a visit once more."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.secret import secret
from infra.store.engines import open_store
from infra.store.statements.console import POLICIES
from models.events.identity import partner_key, pseudonym
from services.console import access
from services.console.pages import policies
from services.signals.policies import DEFAULT_BODY, DiscountBudget, PolicyBody
from tests.services.console.desk import Desk
from tests.services.console.test_pages import visit

FIELDS = {"shop": "local", "max_per_day": "3", "cool_down_s": "0", "holdout_share": "0", "type_recommend_product": "on"}


@pytest.fixture(scope="module")
def desk(crowned: Path) -> Iterator[Desk]:
    made = Desk(crowned)
    visit(crowned, "u-rehearsed", 8)
    yield made
    made.close()


def cells(text: str, table: str) -> list[dict[str, str]]:
    """Rows of a table of a page, by the names of their columns."""
    section = re.findall(rf'<section id="{table}".*?</section>', text, re.DOTALL)[0]
    rows = re.findall(r"<tr>(.*?)</tr>", section.split("<tbody>")[1], re.DOTALL)
    found = [re.findall(r'data-name="([^"]*)">(.*?)</td>', row, re.DOTALL) for row in rows]
    return [{name: re.sub(r"<[^>]*>", "", value).strip() for name, value in row} for row in found]


def rehearsed(desk: Desk, **fields: str) -> dict[str, dict[str, str]]:
    told = desk.post("operator", "/signals/do/rehearse", **{**FIELDS, **fields})
    assert told.status_code == 200
    return {row["signal"]: row for row in cells(told.text, "rehearsed")}


def test_a_changed_policy_is_rehearsed_beside_the_one_that_holds_and_sets_nothing(desk: Desk) -> None:
    before = open_store(desk.home).read(POLICIES)
    some = rehearsed(desk, min_score_product="0")
    assert float(some["recommend product"]["sent then"]) >= 1, "whoever looks gets one, from a score of 0 on"
    none = rehearsed(desk, min_score_product="1")
    assert none["recommend product"]["sent then"] == "0"
    assert none["recommend product"]["sent now"] == some["recommend product"]["sent now"], "the same days, the same policy"
    assert {row["sent then"] for kind, row in some.items() if kind != "recommend product"} == {"0"}, "they may not be sent"
    assert open_store(desk.home).read(POLICIES) == before
    assert open_store(desk.home).read("SELECT count(*) FROM signals") == [(0,)]
    noted = [row for row in access.audited(open_store(desk.home).read)[0] if row["action"] == "Signals rehearse"]
    assert [(row["subject"], row["outcome"]) for row in noted] == [("local", "done")] * 2


def test_the_policy_that_holds_tried_again_does_the_same(desk: Desk) -> None:
    shown = {one.name: one.value for one in policies.form("local", DEFAULT_BODY).fields}
    for row in cells(desk.post("operator", "/signals/do/rehearse", **shown).text, "rehearsed"):
        assert (row["sent then"], row["visitors then"]) == (row["sent now"], row["visitors now"])


def test_the_form_keeps_what_was_tried_and_tells_hours_and_thresholds(desk: Desk) -> None:
    tried = {**FIELDS, "min_score_product": "0.25", "type_offer_discount": "on", "per_day": "1234567.5"}
    told = desk.post("operator", "/signals/do/rehearse", **tried)
    assert 'name="min_score_product" value="0.25"' in told.text
    assert 'name="per_day" value="1234567.5"' in told.text
    assert 'id="hours"' in told.text
    rows = {row["signal"]: row for row in cells(told.text, "suggested")}
    assert rows["offer discount"]["from score now"] == f"{DEFAULT_BODY.thresholds.min_score_discount:g}"
    assert rows["proactive support"]["by those held out"] == "It may not be sent."
    assert "table=rehearsed" not in told.text, "what only an answer has is in no twin"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"shop": "nobody"}, "no such shop"), ({"min_score_product": "2"}, "&lt;= 1.0"), ({"per_day": "5"}, "discount_budget")],
)
def test_a_policy_that_cannot_be_followed_is_refused_with_a_reason(desk: Desk, wrong: dict[str, str], said: str) -> None:
    for act in ("rehearse", "policy"):
        answer = desk.post("operator", f"/signals/do/{act}", **{**FIELDS, **wrong})
        assert (answer.status_code, said in answer.text) == (422, True), act


def test_what_a_form_leaves_out_stays() -> None:
    own = PolicyBody(max_per_day=9, discount_budget=DiscountBudget(per_day=1234567.25, total=None), margin_share=0.4)
    shown = {one.name: one.value for one in policies.form("shop", own).fields}
    assert policies.changed(own, shown) == own
    assert policies.changed(own, {**shown, "per_day": ""}).discount_budget == DiscountBudget()


def test_a_visit_is_asked_for_once_more_and_nothing_goes_on_record(desk: Desk) -> None:
    user = pseudonym(partner_key(secret(desk.home), "local"), "u-rehearsed")
    before = open_store(desk.home).read("SELECT count(*) FROM decisions")
    client, asked = desk.client("viewer"), {"visitor": user, "again": "yes"}
    told = client.get("/sessions.json", params=asked).json()["blocks"]
    assert len(told["again"]) == 12
    assert [row["place"] for row in told["again"]] == list(range(1, 13))
    scores = [row["score"] for row in told["again"]]
    assert scores == sorted(scores, reverse=True)
    assert open_store(desk.home).read("SELECT count(*) FROM decisions") == before
    page = client.get("/sessions", params=asked)
    assert 'name="again" value="yes"' in page.text
    assert 'data-live="' not in page.text  # the page stays as it was asked for
    assert client.get("/sessions", params={**asked, "goal": "nonsense"}).status_code == 200
    assert "again" not in client.get("/sessions.json", params={"visitor": user}).json()["blocks"]
