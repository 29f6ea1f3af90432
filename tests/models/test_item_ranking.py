"""Item ranking is the one place where models are asked for items: whoever judges asks what serves."""

import ast
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[2] / "models"
OWN = {"associations", "ranker"}  # what is asked
# The second is the first in one call; the third compiles kernels and looks at no answer; the fourth asks which articles go with
# an item: they are no list of items.
ASKS = {"item_ranking.py", "one_pass.py", "warm_up.py", "articles.py"}


def rankings(source: str) -> set[str]:
    """Methods of a store or a ranker that this module calls to get items, and weights mixed by hand."""
    tree = ast.parse(source)
    calls = {node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
    mixed = {
        "@ factors" for node in ast.walk(tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult) and "factors" in ast.unparse(node.right)
    }  # fmt: skip
    return (calls & {"recommend", "rank", "candidates"}) | mixed


def test_no_module_ranks_by_another_way() -> None:
    found = {
        str(path.relative_to(MODELS)): by_hand
        for path in MODELS.rglob("*.py")
        if path.parent.name not in OWN and path.name not in ASKS and (by_hand := rankings(path.read_text()))
    }
    # The table itself, and a test of the mean that shrunk factors keep.
    assert found == {"weight_profile.py": {"@ factors"}, "tuning/learning.py": {"@ factors"}}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def ranks(models): return models.associations.recommend(1)", {"recommend"}),
        ("def ranks(ranker): return ranker.rank(1)", {"rank"}),
        ("def scaled(arm, p): return arm.base * (p @ arm.factors)", {"@ factors"}),
        ("from models.recommend import recommend\nrecommend(1)", set()),
    ],
)
def test_another_way_would_be_seen(source: str, expected: set[str]) -> None:
    assert rankings(source) == expected
