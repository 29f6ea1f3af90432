"""Files as strangers have them: whatever holds the rows, however it is packed, and what is said of a file that is another."""

import bz2
import gzip
import io
import json
import lzma
import os
import zipfile
from contextlib import closing
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.append import ingest_file
from flows.look import look_at
from flows.quarantine import list_rows, replay
from infra.secret import secret
from infra.store import events as log
from infra.store.engines import open_store
from models.events.identity import partner_key, pseudonym
from models.events.sources import SOURCES, protect
from models.events.sources.frames import content_ids
from tests.stores import read_events

CASES = Path(os.environ.get("ATTUNE_TEST_CASES", Path(__file__).parents[2].parent / "shared" / "cases"))
HEADER = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
ROW = "2019-10-01 00:00:01 UTC,view,100,22,shoes.trail,acme,9.5,7,s1"
OTHER = "2019-10-01 00:00:02 UTC,view,101,22,shoes.trail,acme,9.5,7,s2"
TABLE = f"{HEADER}\n{ROW}\n{OTHER}\n"


def written(folder, data, name="file"):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def counted(folder, data, format="rees46"):
    return ingest_file(written(folder, data), format, folder / "home", progress=False)


def zipped(*members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in members:
            archive.writestr(name, text)
    return out.getvalue()


def zstd(data):
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return out.getvalue().to_pybytes()


@pytest.mark.parametrize(
    "data",
    [
        TABLE,
        TABLE.rstrip("\n"),
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\r"),
        "\ufeff" + TABLE,
        "\n\n" + TABLE,
        TABLE.replace("\n", "\n \n"),
        "# exported 2026\n# by us\n" + TABLE,
        "sep=,\n" + TABLE,
        "sep=;\r\n" + TABLE.replace(",", ";"),
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
        TABLE.replace(",", "|"),
        TABLE.replace(HEADER, HEADER.upper()),
        TABLE.replace(",", " , "),
        TABLE.replace(HEADER, "," + HEADER).replace("2019", "0,2019"),
        TABLE.replace("acme", '"ac\nme"'),
        TABLE.replace("acme", '"ac, ""the"" me"'),
        TABLE.replace("acme", "x" * 200_000),
        TABLE.replace("acme", "a\x0b\x0c\x85\u2028me"),
        TABLE.encode("utf-16"),
        TABLE.replace("\n", "\r\n").encode("utf-16"),
        b"\xfe\xff" + TABLE.replace(",", "\t").encode("utf-16-be"),
        gzip.compress(TABLE.encode()),
        gzip.compress(gzip.compress(TABLE.encode())),
        gzip.compress(f"{HEADER}\n{ROW[:20]}".encode()) + gzip.compress(f"{ROW[20:]}\n{OTHER}\n".encode()),
        gzip.compress(TABLE.encode()) + bytes(512),
        bz2.compress(TABLE.encode()),
        lzma.compress(TABLE.encode()),
        zstd(TABLE.encode()),
        zipped(("events.csv", TABLE)),
        zipped(("events.csv", TABLE), ("__MACOSX/._events.csv", "x")),
        zipped(("events.csv.gz", gzip.compress(TABLE.encode()))),
    ],
)
def test_a_table_is_read_however_it_is_written_and_packed(tmp_path, data):
    assert counted(tmp_path, data) == (2, 0, 0)
    assert read_events(tmp_path / "home")["item_id"].tolist() == ["100", "101"]


@pytest.mark.parametrize(
    ("data", "counts", "reason"),
    [
        (
            TABLE.replace("shoes.trail,acme,9.5,7,s2", "shoes.trail,a\0cme,9.5,7,s2"),
            (1, 0, 1),
            "the line holds a NUL character",
        ),
        (TABLE + f"{HEADER}\n", (2, 0, 1), "event_type: must be one of"),
        (TABLE.replace("7,s2", "7,s2,"), (1, 0, 1), "the line must have 9 fields, found 10"),
        (TABLE.replace("acme,9.5,7,s2", '"acme,9.5,7,s2'), (1, 0, 1), "the quotes of the line must be closed on it"),
        (TABLE.replace("9.5,7,s2", '"1,299.00",7,s2'), (1, 0, 1), "price: must be a number"),
        (TABLE.replace("9.5,7,s2", "-1,7,s2"), (1, 0, 1), "price: price must be a number from 0"),
        (TABLE.replace("acme,9.5,7,s2", "caf\xe9,9.5,7,s2").encode("latin-1"), (1, 0, 1), "the line must be UTF-8"),
        (TABLE.replace("2019-10-01 00:00:02 UTC", "43739.00002"), (1, 0, 1), "a spreadsheet's number of days"),
    ],
)
def test_one_bad_line_costs_itself_and_says_why(tmp_path, data, counts, reason):
    assert counted(tmp_path, data) == counts
    assert reason in list_rows(tmp_path / "home")[0]["reason"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (zipped(("a.csv", TABLE), ("b.csv", TABLE)), "zip archive of 2 files"),
        (zipped(("xl/workbook.xml", ""), ("[Content_Types].xml", "")), "is a workbook: save its sheet as CSV"),
        (zstd(TABLE.encode())[:30], "zstd file; the whole lines before"),
        (bz2.compress(TABLE.encode())[:30], "bzip2 file; the whole lines before"),
        (lzma.compress(TABLE.encode())[:40], "xz file; the whole lines before"),
        (gzip.compress(TABLE.encode()) + b"garbage", "gzip file; the whole lines before"),
        (b"ARROW1 but not really", "damaged Arrow file"),
        ("\n\n\n", "no rees46 file"),
        ("just a line of words\nand another\n", "no rees46 file"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, data, says):
    with pytest.raises(ValueError, match=says) as caught:
        counted(tmp_path, data)
    assert "\n" not in str(caught.value)


def event(i, **more):
    return json.dumps({"event_id": f"e{i}", "user_id": "u", "type": "search", "ts": "2023-11-01T00:00:00Z", **more})


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        (f"[{event(1)},{event(2)}]", (2, 0, 0)),
        (f"[\n{event(1)},\n{event(2)}\n]\n", (2, 0, 0)),
        (f"[{event(1)},\n{event(2)}]", (2, 0, 0)),
        (f"[\n{event(1)}\n,{event(2)}\n]", (2, 0, 0)),
        (f"{event(1)},\n{event(2)},\n", (2, 0, 0)),
        (f"{event(1)}{event(2)}\n{event(3)}", (3, 0, 0)),
        (f"{event(1)}\r{event(2)}\r", (2, 0, 0)),
        (f"{event(1)}\r\n{event(2)}\r\n", (2, 0, 0)),
        (f"\x1e{event(1)}\n\x1e{event(2)}\n", (2, 0, 0)),
        (f"\ufeff{event(1)}\n\n{event(2)}", (2, 0, 0)),
        (json.dumps(json.loads(event(1)), indent=2), (1, 0, 0)),
        (json.dumps([json.loads(event(1)), json.loads(event(2))], indent=2), (2, 0, 0)),
        (f"{json.dumps(json.loads(event(1)), indent=2)}\n{json.dumps(json.loads(event(2)), indent=2)}", (2, 0, 0)),
        (event(1, category="a\u2028b\nc"), (1, 0, 0)),
        (f"{event(1)}\n{event(2)[:-1]},\"price\": NaN}}\n", (1, 0, 1)),
        (f"{event(1)}\n{'[' * 50_000}\n", (1, 0, 1)),
        (event(1).replace('"', "'") + "\n" + event(2), (1, 0, 1)),
        (f"{event(1)}\n[1, 2]\n\"x\"\n", (1, 0, 2)),
    ],
)  # fmt: skip
def test_json_is_read_however_its_events_are_set(tmp_path, data, counts):
    assert counted(tmp_path, data, "attune") == counts


# ---- typed tables --------------------------------------------------------------------------------------------------------

TYPED = {
    "rees46": (TABLE, {"event_time": "datetime64[us, UTC]", "price": "float32", "product_id": "int64", "user_id": "float64"}),
    "jdata": (
        "user_id,sku_id,time,model_id,type,cate,brand\n7,9,2016-02-01 00:00:02,0.0,1,8,403\n8,9,2016-02-01 00:00:03,,6,8,403\n",
        {"time": "datetime64[us]", "user_id": "float64", "type": "int8"},
    ),
}


@pytest.mark.parametrize("name", TYPED)
@pytest.mark.parametrize("kind", ["parquet", "feather"])
def test_a_typed_table_gives_the_events_of_the_same_table_as_text(tmp_path, name, kind):
    text, types = TYPED[name]
    assert counted(tmp_path, text, name) == (2, 0, 0)
    frame = pd.read_csv(io.StringIO(text))
    for column, dtype in types.items():
        texts = frame[column].astype("str").str.replace(" UTC", "") if "datetime" in dtype else frame[column]
        frame[column] = texts.astype(pd.api.types.pandas_dtype(dtype))
    getattr(frame, f"to_{kind}")(tmp_path / "typed")
    assert ingest_file(tmp_path / "typed", name, tmp_path / "home", progress=False) == (0, 2, 0)


@pytest.mark.parametrize(
    ("name", "column", "unit", "text"),
    [
        ("retailrocket", "timestamp", "ms", "timestamp,visitorid,event,itemid,transactionid\n1433221332117,7,view,9,\n"),
        ("taobao", "timestamp", "s", "7,9,8,pv,1511544070\n"),
    ],
)
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Shanghai"])
def test_a_unix_time_that_was_typed_is_the_same_event(tmp_path, name, column, unit, text, zone):
    assert counted(tmp_path, text, name) == (1, 0, 0)
    header = SOURCES[name].columns if name == "taobao" else None
    frame = pd.read_csv(io.StringIO(text), names=header)
    at = pd.to_datetime(frame[column], unit=unit)
    frame[column] = at.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else at
    frame.to_parquet(tmp_path / "typed")
    assert ingest_file(tmp_path / "typed", name, tmp_path / "home", progress=False) == (0, 1, 0)


def test_our_own_form_in_a_typed_table_may_have_numbers_for_ids_and_typed_times(tmp_path):
    at = pd.Timestamp("2023-11-01")
    rows = {"event_id": ["a", "b"], "user_id": [7, 8], "item_id": [1.0, 2.0], "type": ["item_view"] * 2}
    pd.DataFrame(rows | {"ts": [at, at]}).to_parquet(tmp_path / "naive")
    pd.DataFrame(rows | {"ts": [at.tz_localize("UTC")] * 2}).to_parquet(tmp_path / "zoned")
    assert ingest_file(tmp_path / "naive", "attune", tmp_path, progress=False) == (2, 0, 0)
    assert ingest_file(tmp_path / "zoned", "attune", tmp_path, progress=False) == (0, 2, 0)
    assert read_events(tmp_path)["item_id"].tolist() == ["1", "2"]


def test_a_ga4_table_in_parquet_is_the_same_events_as_its_lines(tmp_path):
    term = {"string_value": None, "int_value": 2024, "double_value": None}
    row = {"event_name": "search", "event_timestamp": 1795000000000000, "user_pseudo_id": "1.1",
           "event_params": [{"key": "search_term", "value": term}], "items": [], "batch_event_index": 1}  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row, row | {"batch_event_index": 2}]), tmp_path / "t")
    assert ingest_file(tmp_path / "t", "ga4", tmp_path, progress=False) == (2, 0, 0)
    line = row | {
        "event_timestamp": "1795000000000000",
        "event_params": [{"key": "search_term", "value": {"int_value": "2024"}}],
    }
    assert ingest_file(written(tmp_path, json.dumps(line)), "ga4", tmp_path, progress=False) == (0, 1, 0)
    assert read_events(tmp_path)["query_length"].tolist() == [4.0, 4.0]


def test_a_row_of_a_table_may_stand_in_a_line_of_json(tmp_path):
    assert counted(tmp_path, TABLE) == (2, 0, 0)
    rows = pd.read_csv(io.StringIO(TABLE)).to_json(orient="records", lines=True)
    assert counted(tmp_path, rows) == (0, 2, 0)


def test_texts_that_are_bytes_are_texts_and_a_time_beyond_all_calendars_costs_its_row(tmp_path):
    """Hive and Impala write texts as bytes."""
    columns = {name: pa.array([b"7"] * 2) for name in ("user_id", "item_id", "category_id")}
    at = pa.array([1_511_544_070_000_000, 2**61], pa.timestamp("us"))
    pq.write_table(pa.table(columns | {"behavior": pa.array([b"pv"] * 2), "timestamp": at}), tmp_path / "t")
    assert ingest_file(tmp_path / "t", "taobao", tmp_path / "home", progress=False) == (1, 0, 1)
    assert read_events(tmp_path / "home")["item_id"].tolist() == ["7"]


# ---- a log that an earlier version made ------------------------------------------------------------------------------------


def test_a_log_that_an_earlier_version_made_does_not_double(tmp_path):
    """It had one id for two events of a batch at one instant, and took 7.0 for another user than 7."""
    key = partner_key(secret(tmp_path), "local")
    page = {"event_name": "page_view", "event_timestamp": "1795000000000000", "user_pseudo_id": "7.0"}
    path = written(tmp_path, "\n".join(json.dumps(page | {"batch_event_index": i}) for i in (1, 2)))
    source = SOURCES["ga4"]
    assert source.flatten is not None
    columns = source.flatten([page]).columns
    raw = pd.DataFrame(dict(zip(source.columns, columns, strict=True)), dtype=object).drop(columns="digest")
    earlier = raw.assign(user_pseudo_id=pseudonym(key, "7.0"))
    frame = source.to_events(protect(source, raw.assign(digest=""), key), 2**60).events
    frame["event_id"] = content_ids("ga4", earlier)
    with closing(open_store(tmp_path)) as store:
        store.write(lambda transaction: log.append_events(transaction, frame, "local", 1))
    assert ingest_file(path, "ga4", tmp_path, progress=False) == (1, 1, 0)  # the second of the two had been lost
    assert ingest_file(path, "ga4", tmp_path, progress=False) == (0, 2, 0)


def test_a_row_that_was_refused_for_how_it_was_written_is_accepted_by_a_replay(tmp_path):
    row = {"user_id": "f" * 32, "sku_id": "9", "time": "2016-02-01 00:00:02", "type": "4.0", "cate": "8.0"}
    refused = log.Refused("local", "a.csv", "jdata", 2, json.dumps(row), "type: must be one of 1, 2, 3, 4, 5, 6")
    with closing(open_store(tmp_path)) as store:
        store.write(lambda transaction: log.quarantine(transaction, [refused]))
    assert replay(tmp_path) == (1, 0, 0)
    assert read_events(tmp_path)[["event_type", "category"]].to_numpy().tolist() == [["purchase", "8"]]


# ---- the cases that real systems met --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "format", "counts"),
    [
        ("01-jdata-float-user/feb.csv", "jdata", (2, 0, 0)),
        ("01-jdata-float-user/apr.csv", "jdata", (2, 0, 0)),
        ("02-ga4-not-set-item/in.jsonl", "ga4", (0, 0, 6)),
        ("03-ga4-batch-same-instant/in.jsonl", "ga4", (4, 0, 0)),
        ("04-csv-cr-only/events.csv", "retailrocket", (2, 0, 0)),
        ("05-parquet-typed-times/rr.parquet", "retailrocket", (1, 0, 0)),
        ("05-parquet-typed-times/taobao.parquet", "taobao", (1, 0, 0)),
        ("05-parquet-typed-times/jdata_naive.parquet", "jdata", (1, 0, 0)),
        ("05-parquet-typed-times/rees46.parquet", "rees46", (1, 0, 0)),
        ("06-retailrocket-seconds/events.csv", "retailrocket", (0, 0, 3)),
        ("06-retailrocket-seconds/ga4_ms.jsonl", "ga4", (0, 0, 1)),
        ("07-time-with-offset/jdata.csv", "jdata", (3, 0, 0)),
        ("28-ga4-parquet/in.parquet", "ga4", (3, 0, 0)),
    ],
)
def test_a_case_that_a_real_system_met(tmp_path, name, format, counts):
    if not (CASES / name).exists():
        pytest.skip(f"no {CASES / name}: set ATTUNE_TEST_CASES to the folder of the cases")
    assert ingest_file(CASES / name, format, tmp_path, progress=False) == counts
    assert ingest_file(CASES / name, format, tmp_path, progress=False) == (0, counts[0], counts[2])


def said(path):
    """What a look at a file of a battery says, if it is not read."""
    try:
        look_at(path, "rees46" if "csv" in path.parent.name else "attune")
    except ValueError as error:
        return str(error)
    return ""


def test_no_file_of_the_batteries_ends_in_a_traceback():
    found = [path for name in ("16-csv-battery", "29-jsonl-battery") for path in sorted((CASES / name).glob("*"))]
    if not found:
        pytest.skip(f"no {CASES}: set ATTUNE_TEST_CASES to the folder of the cases")
    assert [path.name for path in found if "\n" in said(path)] == []
    assert sorted(path.name for path in found if said(path)) == [
        *("empty.csv", "gz_empty.csv.gz", "only_newlines.csv", "otto_edge.jsonl", "zip.csv"),
    ]
