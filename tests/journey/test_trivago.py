from pathlib import Path

import pytest

from tests.journey.path import DATA, walk


@pytest.mark.slow
def test_a_log_of_trivago_goes_the_whole_way(tmp_path: Path) -> None:
    walk(tmp_path, DATA / "trivago_actions.csv.gz", "trivago")
