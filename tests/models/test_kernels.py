"""The disk cache of compiled kernels must notice an edit of whatever a kernel was compiled from, in its own file or another."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.associations import query
from models.features import kernel as session_kernel
from models.kernels import kernel, nth_smallest, sources_of

ROOT = Path(__file__).parents[2]
SHOP = {
    "prices": "FLOOR = 2.0",
    "taxes": "from models.kernels import kernel\n\n\n@kernel\ndef tax(x):\n    return 3.0 * x\n",
    "sales": "from models.kernels import kernel\nfrom shop.prices import FLOOR\nfrom shop.taxes import tax\n\n\n"
    "@kernel\ndef sale(x):\n    return tax(x) + FLOOR\n",
}


@kernel
def half(x: float) -> float:
    return x / 2


@kernel
def quotient(x: float, y: float) -> float:
    return x / y


@pytest.fixture
def shop(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, source in {"__init__": "", **SHOP}.items():
        (folder / f"{name}.py").write_text(source)
    return folder


def answer(shop):
    """What the kernels say in a new process, and which of them it had to compile."""
    code = (
        f"import sys; sys.path[:0] = {[str(shop.parent), str(ROOT)]!r}\n"
        "from shop.sales import sale, tax\n"
        "print(sale(1.0), tax(1.0), *[name for name in ('sale', 'tax') if globals()[name].stats.cache_misses])"
    )
    own_cache = {**os.environ, "NUMBA_CACHE_DIR": str(shop.parent / "cache")}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=own_cache)
    sale, tax, *compiled = ran.stdout.split()
    return float(sale), float(tax), compiled


def test_an_edit_compiles_again_what_can_see_it_and_nothing_else(shop):
    assert answer(shop) == (5.0, 3.0, ["sale", "tax"])
    assert answer(shop) == (5.0, 3.0, [])
    (shop / "prices.py").write_text("FLOOR = 7.0")
    assert answer(shop) == (10.0, 3.0, ["sale"])
    (shop / "taxes.py").write_text(SHOP["taxes"].replace("3.0", "4.0"))
    assert answer(shop) == (11.0, 4.0, ["sale", "tax"])


def test_a_kernel_is_compiled_from_its_module_and_what_that_imports_of_ours():
    sources = sources_of(query.__name__)
    assert {"models.associations.query", "models.associations.arrays", "models.kernels"} <= sources
    assert "models.schema" in sources_of(session_kernel.__name__)
    assert all(name.startswith("models.") for name in sources)


def test_a_kernel_is_a_plain_function_to_its_caller() -> None:
    assert half(3.0) == 1.5


def test_division_by_zero_is_numpys() -> None:
    assert np.isinf(quotient(1.0, 0.0))


@given(st.lists(st.floats(0, 9), min_size=1, max_size=40), st.data())
def test_quickselect_agrees_with_sorting(values: list[float], data: st.DataObject) -> None:
    n = data.draw(st.integers(0, len(values) - 1))
    assert nth_smallest(np.array(values), n) == sorted(values)[n]
