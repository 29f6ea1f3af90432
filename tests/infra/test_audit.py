"""The audit chain: what was written cannot be altered unseen."""

from hypothesis import given
from hypothesis import strategies as st

from infra.audit import GENESIS, chained, first_broken

Row = tuple[dict[str, int], str, str]


def chain_of(values: list[int]) -> list[Row]:
    rows: list[Row] = []
    previous = GENESIS
    for value in values:
        own = chained(previous, {"to": value})
        rows.append(({"to": value}, previous, own))
        previous = own
    return rows


@given(st.lists(st.integers(), max_size=8))
def test_an_untouched_chain_holds(values: list[int]) -> None:
    assert first_broken(chain_of(values)) is None


@given(st.lists(st.integers(), min_size=1, max_size=8), st.data())
def test_any_altered_row_is_found_at_its_position(values: list[int], data: st.DataObject) -> None:
    rows = chain_of(values)
    at = data.draw(st.integers(0, len(rows) - 1))
    rows[at] = ({"to": values[at] + 1}, *rows[at][1:])
    assert first_broken(rows) == at


def test_a_removed_row_is_found() -> None:
    rows = chain_of([1, 2, 3])
    del rows[1]
    assert first_broken(rows) == 1
