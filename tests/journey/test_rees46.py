from pathlib import Path

from tests.journey.path import DATA, walk


def test_a_log_of_rees46_goes_the_whole_way(tmp_path: Path) -> None:
    walk(tmp_path, DATA / "rees46_2019_oct.csv.gz", "rees46", without=frozenset({"engagement"}))
