"""The disk cache of compiled kernels must notice a changed vocabulary."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numba import float64
from numba.core.registry import cpu_target

from models.kernels import VOCABULARY, VocabularyCache, kernel, nth_smallest


@kernel
def half(x: float) -> float:
    return x / 2


@kernel
def quotient(x: float, y: float) -> float:
    return x / y


def test_the_vocabulary_is_part_of_the_cache_key() -> None:
    cache = VocabularyCache(half.py_func)  # type: ignore[attr-defined]
    assert VOCABULARY in cache._index_key((float64,), cpu_target.target_context.codegen())


def test_a_kernel_is_a_plain_function_to_its_caller() -> None:
    assert half(3.0) == 1.5


def test_division_by_zero_is_numpys() -> None:
    assert np.isinf(quotient(1.0, 0.0))


@given(st.lists(st.floats(0, 9), min_size=1, max_size=40), st.data())
def test_quickselect_agrees_with_sorting(values: list[float], data: st.DataObject) -> None:
    n = data.draw(st.integers(0, len(values) - 1))
    assert nth_smallest(np.array(values), n) == sorted(values)[n]
