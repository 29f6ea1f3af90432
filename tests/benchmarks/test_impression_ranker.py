import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import impression_ranker as impressions
from benchmarks.impression_ranker import COLUMNS

DATA = Path(os.environ.get("ATTUNE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
HEAD = ("user_id", "session_id", "timestamp", "action_type", "reference", "device", "current_filters", "impressions", "prices")


def action(user, at_s, kind, reference, shown="", prices=""):
    return (user, f"s-{user}", str(at_s), kind, reference, "mobile", "", shown, prices)


def table(*rows):
    return pd.DataFrame(rows, columns=HEAD, dtype=object)


def column(lists, name):
    return lists.features[:, COLUMNS.index(name)].tolist()


def test_rows_say_where_an_item_stands_and_what_was_done_with_it_before():
    lists = impressions.read(
        table(
            action("ann", 10, "interaction item image", "8"),
            action("ann", 40, "clickout item", "9", "7|8|9", "70|90|80"),
        )
    )
    assert lists.clicked.tolist() == [False, False, True]
    assert column(lists, "position") == [0, 1, 2]
    assert column(lists, "price_rank") == [0, 2, 1]
    assert column(lists, "is_last") == [0, 1, 0]
    assert column(lists, "n_interaction_item_image") == [0, 1, 0]
    assert column(lists, "from_last") == [-1, 0, 1]
    assert column(lists, "since_s")[1] == 30
    assert (lists.baseline_rank.tolist(), lists.list_rank.tolist()) == ([3], [3])


def test_click_is_known_to_the_next_list_only_and_own_counts_are_not_the_others():
    lists = impressions.read(
        table(
            action("ann", 10, "clickout item", "7", "7|8", "1|2"),
            action("bob", 20, "clickout item", "8", "7|8", "1|2"),
            action("ann", 30, "clickout item", "7", "7|8", "1|2"),
        )
    )
    assert column(lists, "others_clicks") == [0, 0, 1, 0, 0, 1]
    assert column(lists, "n_clickout_item") == [0, 0, 0, 0, 1, 0]
    assert column(lists, "is_last_click") == [0, 0, 0, 0, 1, 0]


def test_order_of_the_file_does_not_let_the_future_in():
    rows = [
        action("ann", 10, "clickout item", "7", "7|8", "1|2"),
        action("bob", 20, "clickout item", "8", "7|8", "1|2"),
    ]
    forwards, backwards = impressions.read(table(*rows)), impressions.read(table(*reversed(rows)))
    np.testing.assert_array_equal(forwards.features, backwards.features)


def test_clicked_item_that_was_not_shown_makes_no_list():
    with pytest.raises(ValueError, match="no list with a clicked item"):
        impressions.read(table(action("ann", 10, "clickout item", "5", "7|8", "1|2")))


def test_equal_scores_keep_the_order_of_the_list():
    ranks = impressions.reciprocal_ranks(np.zeros(3), np.array([False, True, False]), np.array([3]))
    assert ranks.tolist() == [0.5]


@pytest.mark.skipif(not (DATA / "trivago_actions.csv.gz").exists(), reason="the trivago sample is not there (ATTUNE_TEST_DATA)")
def test_items_met_last_first_beats_the_order_of_the_list_on_real_sessions():
    raw = pd.read_csv(DATA / "trivago_actions.csv.gz", dtype=str, keep_default_na=False, nrows=8_000)
    lists = impressions.read(raw)
    assert lists.sizes.sum() == len(lists.clicked) == len(lists.features)
    assert lists.clicked.sum() == len(lists.sizes)
    assert (1 / lists.baseline_rank).mean() > (1 / lists.list_rank).mean() + 0.05
