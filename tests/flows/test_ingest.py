"""Files into the log: every row is accepted, a duplicate, or in quarantine; bad files end in one sentence."""

import ast
import gzip
import json
import os
from collections import Counter
from contextlib import closing
from itertools import islice
from pathlib import Path

import pandas as pd
import pytest

from flows import append, read
from flows.append import Counts, ingest_file
from flows.quarantine import list_rows
from infra.secret import secret
from infra.store.engines import open_store
from models.events.identity import partner_key, pseudonym
from models.events.sources import SOURCES
from tests.stores import read_events

DATA = Path(os.environ.get("ATTUNE_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
TAOBAO = "1,2268318,2520377,pv,1511544070\n1,2333346,2520771,buy,1511561733\n"
REES46 = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"


def written(folder, name, data):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def event(i, **more):
    return {"event_id": f"e{i}", "user_id": f"u{i}", "session_id": "s", "type": "search", "ts": "2023-11-01T00:00:00Z"} | more


def jsonl(*events):
    return "".join(json.dumps(e) + "\n" for e in events)


@pytest.mark.parametrize(
    ("name", "format", "n_rows", "counts"),
    [
        ("trivago_actions.csv.gz", "trivago", 75_026, (75_023, 0, 3)),
        ("taobao_user_behavior.csv.gz", "taobao", 61_910, (61_910, 0, 0)),
        ("rees46_2019_oct.csv.gz", "rees46", 17_434, (17_429, 5, 0)),
        ("jdata_action_200rows.csv", "jdata", 200, (150, 50, 0)),
        ("otto_20sessions.jsonl", "otto", 862, (862, 0, 0)),
    ],
)
def test_a_real_file_is_read_whole_and_the_second_time_adds_nothing(tmp_path, name, format, n_rows, counts):
    if not (DATA / name).exists():
        pytest.skip(f"no {DATA / name}: set ATTUNE_TEST_DATA to the folder of the public data sets")
    found = ingest_file(DATA / name, format, tmp_path, progress=False)
    assert found == counts
    assert sum(found) == n_rows
    events = read_events(tmp_path)
    assert len(events) == found.accepted
    assert events["user_id"].str.fullmatch("[0-9a-f]{32}").all()
    assert ingest_file(DATA / name, format, tmp_path, progress=False) == (0, n_rows - found.quarantined, found.quarantined)
    assert len(read_events(tmp_path)) == found.accepted
    assert len(list_rows(tmp_path, 100)) == found.quarantined


def test_no_typed_text_of_trivago_reaches_the_disk(tmp_path):
    name = "trivago_actions.csv.gz"
    if not (DATA / name).exists():
        pytest.skip(f"no {DATA / name}: set ATTUNE_TEST_DATA to the folder of the public data sets")
    with gzip.open(DATA / name, "rt") as whole:
        path = written(tmp_path, "head.csv", "".join(islice(whole, 5_000)))
    rows = pd.read_csv(path, dtype=str, usecols=["action_type", "reference", "city"])
    texts = set(rows.loc[rows["action_type"].str.startswith("search for"), "reference"]) | set(rows["city"].dropna())
    texts = {t for t in texts if not t.isdecimal() and len(t) > 8}
    assert len(texts) > 100
    ingest_file(path, "trivago", tmp_path, progress=False)
    kept = b"".join(p.read_bytes() for p in tmp_path.glob("attune.db*"))
    assert [t for t in texts if t.encode() in kept] == []


def test_gzip_and_parquet_are_told_by_their_content(tmp_path):
    plain = written(tmp_path, "a.csv", TAOBAO)
    packed = written(tmp_path, "b.csv", gzip.compress(TAOBAO.encode(), mtime=0))
    columns = ["user_id", "item_id", "category_id", "behavior", "timestamp"]
    pd.read_csv(plain, names=columns).to_parquet(tmp_path / "c.csv")
    assert ingest_file(plain, "taobao", tmp_path) == (2, 0, 0)
    assert ingest_file(packed, "taobao", tmp_path) == (0, 2, 0)
    assert ingest_file(tmp_path / "c.csv", "taobao", tmp_path) == (0, 2, 0)


def test_our_own_form_comes_from_parquet_too(tmp_path):
    pd.DataFrame([event(1, context={"device": "mobile"}), event(2, price=3.5, context=None)]).to_parquet(tmp_path / "e.parquet")
    assert ingest_file(tmp_path / "e.parquet", "attune", tmp_path) == (2, 0, 0)
    assert read_events(tmp_path)["device"].tolist() == ["mobile", "unknown"]


def test_a_byte_order_mark_windows_lines_and_blank_lines_do_no_harm(tmp_path):
    row = "2019-10-01 00:00:01 UTC,view,9,205,,acme,35.79,u,s-1\n"
    text = (REES46 + "\n" + row + "\n \n").replace("\n", "\r\n")
    assert ingest_file(written(tmp_path, "a.csv", b"\xef\xbb\xbf" + text.encode()), "rees46", tmp_path) == (1, 0, 0)


def test_columns_may_stand_in_any_order_with_others_between(tmp_path):
    text = "note,user_session,user_id,price,brand,category_code,category_id,product_id,event_type,event_time\n"
    text += '"a, b",s-1,u,35.79,acme,,205,9,view,2019-10-01 00:00:01 UTC\n'
    assert ingest_file(written(tmp_path, "a.csv", text), "rees46", tmp_path) == (1, 0, 0)
    assert read_events(tmp_path)["item_id"].tolist() == ["9"]


def test_each_bad_line_is_kept_with_its_number_and_reason(tmp_path):
    lines = [
        b"1,2,3,pv,1511544070",
        b"1,2,3,pv",
        b'1,"2,3,pv,1511544071',
        b"1,\xff,3,pv,1511544072",
        b"1,2,3,steal,1511544073",
        b"1,2,3,pv,7258118400",
        b"7,2,3,pv,1511544074",
    ]
    counts = ingest_file(written(tmp_path, "bad.csv", b"\n".join(lines)), "taobao", tmp_path)
    assert counts == (2, 0, 5)
    rows = {row["line"]: row for row in list_rows(tmp_path, 10)}
    assert {line: row["reason"][:36] for line, row in rows.items()} == {
        2: "the line must have 5 fields, found 4",
        3: "the quotes of the line must be close",
        4: "the line must be UTF-8",
        5: "behavior: must be one of pv, fav, ca",
        6: "occurred_at_us: ts must not be more ",
    }
    assert {(row["source"], row["format"], row["partner"]) for row in rows.values()} == {("bad.csv", "taobao", "local")}
    assert json.loads(rows[5]["raw"])["user_id"] == pseudonym(partner_key(secret(tmp_path), "local"), "1")


def test_each_bad_json_line_is_kept_with_its_number_and_reason(tmp_path):
    good = jsonl(event(1)).encode()
    bad = [b"{oops", b"[1, 2]", b'{"price": NaN}', b'"\xff"', b'{"a": "\\ud800"}', b"[" * 100_000]
    bad += [jsonl(event(9, price=-1)).encode().strip(), jsonl(event(9, item_id="x" * 300)).encode().strip()]
    bad += [jsonl(event(9, price=10**400)).encode().strip(), jsonl(event(9, user_id=[2**70])).encode().strip()]
    path = written(tmp_path, "e.jsonl", good + b"\n".join(bad) + b"\n\n" + jsonl(event(2)).encode())
    assert ingest_file(path, "attune", tmp_path) == (2, 0, 10)
    assert sorted(row["line"] for row in list_rows(tmp_path, 20)) == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert ingest_file(path, "attune", tmp_path) == (0, 2, 10)
    assert len(list_rows(tmp_path, 20)) == 10


def test_the_same_event_id_twice_is_a_duplicate(tmp_path):
    path = written(tmp_path, "e.jsonl", jsonl(event(1), event(1), event(2)))
    assert ingest_file(path, "attune", tmp_path) == (2, 1, 0)


def test_no_user_id_reaches_the_disk_where_the_row_could_be_parsed(tmp_path):
    rows = [event(i, user_id=f"secret-{i}", type="search" if i % 2 else "dance") for i in range(10)]
    ingest_file(written(tmp_path, "e.jsonl", jsonl(*rows)), "attune", tmp_path / "home")
    kept = b"".join(p.read_bytes() for p in (tmp_path / "home").glob("attune.db*"))
    assert b"secret-" not in kept


def test_a_truncated_gzip_keeps_what_came_before_the_break(tmp_path):
    text = jsonl(*(event(i) for i in range(5_000)))
    whole = gzip.compress(text.encode(), mtime=0)
    path = written(tmp_path, "e.jsonl.gz", whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="truncated gzip file; the whole lines before the damage are in the log"):
        ingest_file(path, "attune", tmp_path)
    n_kept = len(read_events(tmp_path))
    assert 0 < n_kept < 5_000
    path.write_bytes(whole)
    assert ingest_file(path, "attune", tmp_path) == (5_000 - n_kept, n_kept, 0)


def test_an_interrupted_ingest_leaves_whole_chunks_and_can_be_repeated(tmp_path):
    path = written(tmp_path, "e.jsonl", jsonl(*(event(i) for i in range(100))))
    chunks = list(read.batches(path, SOURCES["attune"], lambda _: None, block_bytes=4_096))
    assert len(chunks) > 1
    assert sum(len(chunk.raw) for chunk in chunks) == 100
    context = append.FileContext(
        SOURCES["attune"], "local", path.name, partner_key(secret(tmp_path), "local"), set(), Counter()
    )
    with closing(open_store(tmp_path)) as store:
        n_first = append.append_batch(store, context, chunks[0]).accepted
    assert n_first == len(chunks[0].raw)
    assert ingest_file(path, "attune", tmp_path) == (100 - n_first, n_first, 0)


@pytest.mark.parametrize(
    ("data", "format", "says"),
    [
        (b"", "attune", "is empty"),
        (gzip.compress(b"", mtime=0), "taobao", "is empty"),
        (TAOBAO, "trivago", "expected a header with the columns user_id, .*; missing: user_id.*; this looks like taobao"),
        (REES46.replace("price", "cost"), "rees46", "; missing: price; for another table, .*--guess$"),
        (TAOBAO, "attune", "expected JSON lines.*; this looks like taobao: use --format taobao"),
        (jsonl(event(1, price=1)), "taobao", "none of its first 1 rows is taobao; this looks like attune: use --format attune"),
        (b"PK\x03\x04....", "attune", "is a zip file that cannot be opened"),
        (b"PAR1 but not really", "attune", "damaged Parquet"),
        (b"x" * (9 << 20), "attune", "line of more than 8 MiB"),
        (gzip.compress(b"hello", mtime=0)[:12], "attune", "truncated gzip"),
        (b"\x1f\x8b\x08\x00garbage garbage garbage", "attune", "truncated gzip"),
    ],
)
def test_a_bad_file_ends_in_one_sentence(tmp_path, data, format, says):
    with pytest.raises(ValueError, match=says) as caught:
        ingest_file(written(tmp_path, "file", data), format, tmp_path / "home")
    assert "\n" not in str(caught.value)


def test_a_parquet_file_without_a_column_is_refused(tmp_path):
    pd.DataFrame({"user_id": [1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="the columns item_id, category_id, behavior, timestamp are missing"):
        ingest_file(tmp_path / "a.parquet", "taobao", tmp_path)
    with pytest.raises(ValueError, match="the columns event_id, type, ts are missing"):
        ingest_file(tmp_path / "a.parquet", "attune", tmp_path)


def test_a_wrong_path_or_format_leaves_no_home_behind(tmp_path):
    with pytest.raises(FileNotFoundError, match="give the path of a file"):
        ingest_file(tmp_path / "none.csv", "taobao", tmp_path / "home")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        ingest_file(tmp_path, "taobao", tmp_path / "home")
    with pytest.raises(ValueError, match="unknown format 'csv'"):
        ingest_file(tmp_path, "csv", tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_header_alone_is_a_file_without_rows(tmp_path):
    assert ingest_file(written(tmp_path, "a.csv", REES46), "rees46", tmp_path) == Counts(0, 0, 0)


def test_the_plain_function_needs_no_prefect():
    for name in ("append", "read", "parse", "quarantine"):
        tree = ast.parse((Path(append.__file__).parent / f"{name}.py").read_text())
        imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert not any((module or "").startswith("prefect") for module in imported)


def test_the_flow_task_is_the_plain_function(tmp_path):
    from flows.ingest import append_file

    assert append_file.fn(written(tmp_path, "a.csv", TAOBAO), "taobao", tmp_path) == (2, 0, 0)
