"""Workflows of a partner: the language in which it says when they begin, and what is told."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.engagement.expressions import MOST_CHARACTERS, ExpressionError, Name, parse
from models.engagement.policy import Moment, SignalPolicy, Standing, nudge
from models.engagement.signals import Shelf, SignalThresholds, choose
from models.engagement.silence import PRESENT, Left, Silence
from models.engagement.workflows import NAMES, TemplateError, workflow
from models.schema import NEXT_ACTIONS, SESSION_FEATURES

NAMED = {"score": Name("number", 0, 1, is_noisy=True), "n": Name("number", 0), "left": Name("text")}
VALUES = {"score": 0.5, "n": 3.0, "left": "cart"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("score > 0.4", True),
        ("0.4 < score <= 0.5", True),
        ("score > 0.4 and n == 2", False),
        ("score > 0.9 or n >= 3", True),
        ("not score > 0.4", False),
        ("left == 'cart'", True),
        ("left in ('checkout', 'cart')", True),
        ("left not in ('checkout', 'cart')", False),
        ("n * 2 - 1 > 4 / 1", True),
        ("n / 0 > 1", False),
        ("not (n / 0 > 1)", True),
        ("-n < 0", True),
        ("True", True),
    ],
)
def test_an_expression_holds_as_it_reads(text, expected):
    assert parse(text, NAMED).holds(VALUES) is expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no expression"),
        ("score >", "no expression"),
        ("score > 0.5 left", "no expression near character"),
        ("score", "must be true or false"),
        ("score > 'a'", "a number is compared with a number"),
        ("left > 'a'", "texts are compared with =="),
        ("secret > 1", "at character 1: unknown name; known are score, n, left"),
        ("n and score", "and, or, not join"),
        ("left + 1 > 2", "take numbers"),
        ("n ** 9 > 1", "only numbers, texts"),
        ("__import__('os').system('ls') == 1", "only numbers, texts"),
        ("(lambda: 1)() == 1", "only numbers, texts"),
        ("[n for n in (1, 2)] == 1", "only numbers, texts"),
        ("score.real > 0", "only numbers, texts"),
        ("n > 1e400", "a constant must be"),
        ("n in (score, 1)", "constants of one kind"),
        ("n in ()", "a list of texts or numbers"),
        ("score > 0.5 and score < 0.4", "can never hold"),
        ("score > 1", "it can never hold: score is from 0 to 1"),
        ("n > 1 and " * 60 + "n > 1", f"{MOST_CHARACTERS} characters"),
        ("1+" * 120 + "1 > n", "100 parts"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_one_line(text, says):
    with pytest.raises(ExpressionError, match=says.replace("(", r"\(")) as caught:
        parse(text, NAMED)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def parse_or_refuse(text):
    with suppress(ExpressionError):
        parse(text, NAMED)


def test_parentheses_without_end_are_refused_or_read():
    parse_or_refuse("(" * 240 + "n > 1" + ")" * 240)


@given(st.text(alphabet="scoren left<>=()'.+-*/ 019andortw[]{}:,", max_size=60))
def test_nothing_but_a_refusal_comes_of_any_text(text):
    parse_or_refuse(text)


def test_a_column_of_moments_is_what_each_moment_is():
    found = parse("score > 0.4 and (left == 'cart' or n >= 3)", NAMED)
    columns = {"score": np.array([0.5, 0.5, 0.1]), "n": np.array([0, 3, 9]), "left": np.array(["cart", "", "cart"], object)}
    rows = [found.holds({name: column[k] for name, column in columns.items()}) for k in range(3)]
    assert found.holds(columns).tolist() == rows == [True, True, False]


@pytest.mark.parametrize(
    "template", ["{nobody}", "{score!r}", "{score:>9}", "{0}", "{", "{cart_item_ids} of us", "{a.b}", "x" * 501]
)
def test_a_template_names_what_is_known_and_nothing_else(template):
    with pytest.raises(TemplateError):
        workflow("call", "score > 0.5", {"text": template})


# ---- as signals ---------------------------------------------------------------------------------------------------------

CALL = workflow("call", "n_search_refine >= 2 and score >= 0.2", {"text": "{n_search_refine} searches in {category}"})
REMINDER = workflow(
    "cart_reminder",
    "left == 'cart' and silence_s >= 600",
    {"subject": "Your {cart_size} things ({cart_value})", "item_ids": "{cart_item_ids}", "more": "{product_ids}"},
)
SHELF = Shelf(["p1", "p2"], cart_ids=["k1"], cart_cents=1950, category="shoes")


def features(**values: float) -> np.ndarray:
    found = np.zeros(len(SESSION_FEATURES), dtype=np.float32)
    for name, value in values.items():
        found[SESSION_FEATURES.index(name)] = value
    return found


def leaving(p: float) -> np.ndarray:
    chances = np.zeros(len(NEXT_ACTIONS))
    chances[NEXT_ACTIONS.index("leave")] = p
    return chances


def chosen(session, silence=PRESENT, workflows=(CALL, REMINDER), score=0.3, p_leave=0.9, **more):
    return choose(
        score, leaving(p_leave), session, SignalThresholds(max_items=1), SHELF, silence=silence, workflows=workflows, **more
    )


def test_a_workflow_begins_where_its_partner_says_with_its_fields():
    found = chosen(features(n_search_refine=2))
    assert found == {"type": "start_workflow", "payload": {"workflow": "call", "fields": {"text": "2 searches in shoes"}}}
    assert chosen(features(n_search_refine=1))["type"] == "recommend_product"
    assert chosen(features(n_search_refine=4))["type"] == "proactive_support"


def test_the_partners_reminder_of_a_cart_takes_the_place_of_ours():
    session = features(cart_size=1)
    assert chosen(session, workflows=())["payload"]["workflow"] == "cart_reminder"
    assert chosen(session)["type"] == "recommend_product"  # the partner's begins in silence
    quiet = Silence(700.0, Left("cart", ["k1"]))
    fields = {"subject": "Your 1 things (19.5)", "item_ids": ["k1"], "more": ["p1"]}
    told = {"workflow": "cart_reminder", "fields": fields, "left": "cart", "silent_s": 700}
    assert chosen(session, quiet) == {"type": "start_workflow", "payload": told}
    assert chosen(session, Silence(500.0, Left("cart", ["k1"])))["type"] == "no_action"


def test_a_workflow_that_asks_for_no_silence_does_not_begin_in_one():
    assert chosen(features(n_search_refine=2), Silence(700.0, None))["type"] == "no_action"


def test_a_chance_that_no_model_tells_begins_nothing():
    call = workflow("call", "p_leave < 0.5 or p_leave >= 0.5", {})
    assert choose(0.05, None, features(), SignalThresholds(), SHELF, workflows=[call])["type"] == "no_action"


def test_a_workflow_goes_on_within_the_dead_band():
    policy = SignalPolicy(workflows=(CALL,), holdout_share=0.0)
    moment = Moment("shop", "u", 60_000_000, 0)
    begun = Standing(chosen="start_workflow", chosen_at_us=0)
    found = [
        nudge(score, None, features(n_search_refine=2), SHELF, policy, standing, moment).signal["type"]
        for score, standing in ((0.2, Standing()), (0.17, Standing()), (0.17, begun), (0.15, begun))
    ]
    assert found == ["start_workflow", "recommend_product", "start_workflow", "recommend_product"]


def test_every_feature_of_a_session_has_a_name():
    assert set(SESSION_FEATURES) < set(NAMES)
