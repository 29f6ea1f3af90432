"""The sequence benchmark: files of any kind give a report or one line, and the peers do what their papers say."""

import gzip
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import next_item, peers
from benchmarks.sequences import read_test, read_train
from tests.strategies import lists_of

METHODS = {"associations", "with_neighbours", "with_ranker", "ranker_without_embeddings", "vmis_knn", "implicit_item_item"}


def write(path, rows):
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


@pytest.fixture
def report(tmp_path, capsys):
    def run(train, test):
        files = write(tmp_path / "train.gz", train), write(tmp_path / "test.gz", test)
        assert next_item.main([str(path) for path in files]) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.mark.parametrize(
    "train",
    [
        [[1, 2, 1, 1]],
        [[2**40, 2**63], [2**70]],
        [["a"], ["b"], ["a"]],
        [["a", "b", "c"]] * 30,
        [[], [7, 7], []],
        [[7] * 500],
        [[k % 40 for k in range(5000)], [1, 2]],
    ],
    ids=[
        "one session",
        "ids beyond 64 bits",
        "one-item sessions",
        "duplicates",
        "empty sessions",
        "one item 500 times",
        "5,000",
    ],
)
def test_small_files_are_reported(report, train):
    found = report(train, [{"prefix": train[-1][:1], "next": "b"}, {"prefix": [], "next": 1}, {"prefix": ["?"], "next": "!"}])
    assert found["methods"].keys() == METHODS
    assert found["n_test_cases"] == 3
    assert found["n_sessions"] == sum(bool(session) for session in train)
    for figures in found["methods"].values():
        assert 0 <= figures["mrr_at_20"] <= figures["hr_at_20"] <= 1
        assert figures["query_p50_us"] > 0
    assert found["methods"]["with_ranker"]["fallback"] == "too_few_questions"


def test_every_method_finds_what_always_follows(report):
    found = report([["a", "b", "c"]] * 30, [{"prefix": ["a"], "next": "b"}, {"prefix": ["b"], "next": "c"}])
    assert all(figures["hr_at_20"] == 1 for figures in found["methods"].values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "at least one session"),
        (b"[]\n", "at least one session"),
        (b"[1]\n{\n", "line 2: expected JSON"),
        (b'{"a": 1}\n', "line 1: expected a list of ids"),
        (b"[1.5]\n", "line 1: expected a list of ids"),
        (b"[true]\n", "line 1: expected a list of ids"),
        (b"\x1f\x8bdamaged", "damaged"),
        (b"\xff\xfe", "damaged"),
    ],
)
def test_a_file_that_cannot_be_used_gives_one_line(tmp_path, capsys, content, message):
    (tmp_path / "train").write_bytes(content)
    assert next_item.main([str(tmp_path / "train"), str(tmp_path / "train")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


def test_wrong_arguments_give_one_line(tmp_path, capsys):
    assert next_item.main(["only-one"]) == 2
    assert next_item.main([str(tmp_path / "none"), str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_numbers_and_texts_of_one_spelling_are_one_item(tmp_path):
    log = read_train(write(tmp_path / "train", [[7, "7", "x"]]))
    assert log.item_ids.tolist() == ["7", "x"]
    assert log.events["item"].tolist() == [0, 0, 1]
    cases = read_test(write(tmp_path / "test", [{"prefix": ["x", 9], "next": 7}]), log.item_ids)
    assert [(case.prefix.tolist(), case.following) for case in cases] == [([1, -1], 0)]


def slow_vmis(sessions, session, m, k):
    """The paper's algorithm, word for word: most recent sessions, most similar ones, their items."""
    likeness, match = {}, {}
    for number, past in enumerate(sessions):
        places = [1 + max(p for p, item in enumerate(session) if item == shared) for shared in set(past) & set(session)]
        if places:
            likeness[number] = sum(place / len(session) for place in places)
            match[number] = len(session) - max(places) + 1
    recent = sorted(likeness, reverse=True)[:m]
    near = sorted(recent, key=lambda number: (-likeness[number], -number))[:k]
    n_with = {item: sum(item in past for past in sessions) for past in sessions for item in past}
    scores: dict[int, float] = {}
    for number in near:
        for item in set(sessions[number]):
            idf = max(math.log(len(sessions) / n_with[item]), 1e-9)
            gain = likeness[number] * max(1 - match[number] / 10, 0) * idf
            scores[item] = scores.get(item, 0) + gain
    return scores


@given(lists_of(st.integers(0, 5), 5, 10, least=1), st.lists(st.integers(0, 5), min_size=1, max_size=5), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_vmis_knn_equals_its_description(sessions, session, k):
    offsets = np.cumsum([0, *map(len, sessions)])
    model = peers.VmisKnn(np.concatenate(sessions), offsets, 6, peers.VmisParams(m=20, k=k))
    found = model.recommend(np.array(session), 6).tolist()
    wanted = slow_vmis(sessions, session, 20, k)
    assert set(found) == {item for item, score in wanted.items() if score > 0}
    assert [round(wanted[item], 9) for item in found] == sorted((round(wanted[item], 9) for item in found), reverse=True)


def test_vmis_knn_keeps_the_most_recent_sessions_only():
    model = peers.VmisKnn(np.array([0, 1, 0, 2, 0, 3]), np.array([0, 2, 4, 6]), 4, peers.VmisParams(m=2, k=5))
    assert set(model.recommend(np.array([0]), 4).tolist()) == {0, 2, 3}
