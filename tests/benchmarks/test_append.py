"""Groups of the append's benchmark have what they say: one event in fifty is of the group before."""

from benchmarks.append import GROUP, group
from infra.store.statements.events import APPEND_COLUMNS

_ID = APPEND_COLUMNS.index("event_id")


def test_one_event_in_fifty_is_of_the_group_before() -> None:
    before, now = ({row[_ID] for row in group(0, number)} for number in (7, 8))
    assert (len(now), len(before & now)) == (GROUP, GROUP // 50)
