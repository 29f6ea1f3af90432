"""Inputs of the kinds that public reports tell of, each with what is right: envelopes, JSON in cells, clocks, numbers."""

import gzip
import io
import json
import tarfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.append import ingest_file
from flows.sample import form_of, map_text, sample
from models.events.sources.guess import guess
from tests.stores import read_events

HEADER = "user,time,action,item"
MAP = '[columns]\nuser_id = "user"\nts = "time"\ntype = "action"\nitem_id = "item"\n'


def event(i: int, **more: Any) -> dict[str, Any]:
    at = f"2023-11-01T10:00:{i % 60:02}Z"
    return {"event_id": f"e{i}", "user_id": "u", "type": "item_view", "item_id": f"i{i}", "ts": at, **more}


THREE = [event(i) for i in range(3)]
FRAME = pd.DataFrame(THREE)
GA4 = {
    "event_name": "purchase",
    "event_timestamp": "1698832800000000",
    "user_pseudo_id": "c1",
    "event_params": [{"key": "ga_session_id", "value": {"int_value": "5"}}],
    "items": [{"item_id": "p1", "price": 3.5}, {"item_id": "p2"}],
}
CALL = {"type": "track", "event": "Product Viewed", "messageId": "m", "anonymousId": "a", "timestamp": "2023-11-01T10:00:00Z"}
CALLS = [CALL | {"messageId": f"m{i}", "properties": {"product_id": f"p{i}"}} for i in range(2)]


def file(folder: Path, data: Any, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def read(folder: Path, data: Any, format: str = "attune") -> tuple[int, int, int]:
    return ingest_file(file(folder, data), format, folder / "home", progress=False)


def by_map(folder: Path, path: Path, text: str | None = None) -> Any:
    """Events of a table by a map; by a guessed one where none is given."""
    if text is None:
        guessed = guess(sample(path))
        text = map_text(guessed.table or guessed.format or "")
    (map_file := folder / "map.toml").write_text(text, encoding="utf-8")
    format, table = form_of(None, map_file)
    counts = ingest_file(path, format, folder / "home", progress=False, table=table)
    assert counts.quarantined == counts.duplicate == 0
    return read_events(folder / "home").sort_values("seq")


def utc(events: Any) -> list[str]:
    """Hours and minutes of events, UTC, in the order of the log."""
    return [datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%H:%M") for at in events["occurred_at_us"]]


# ---- JSON: envelopes, and documents over many lines ----------------------------------------------------------------------

HITS = [{"_index": "shop", "_id": str(i), "_source": one} for i, one in enumerate(THREE)]


@pytest.mark.parametrize(
    "data",
    [
        json.dumps({"data": THREE}),
        json.dumps({"events": THREE, "total": 3, "next": None}, indent=2),
        json.dumps({"count": 3, "results": THREE}),
        json.dumps({"status": "ok", "data": {"events": THREE}}),
        "\ufeff" + json.dumps({"meta": {"page": 1}, "records": THREE}, indent=1),
        json.dumps({"took": 1, "timed_out": False, "hits": {"total": {"value": 3}, "max_score": 1.0, "hits": HITS}}),
        "\n".join(map(json.dumps, HITS)),
        json.dumps({"-Nx1": THREE[0], "-Nx2": THREE[1], "-Nx3": THREE[2]}),
        *(FRAME.to_json(orient=way) for way in ("split", "columns", "index", "table", "records")),
        json.dumps(FRAME.to_dict("list")),
        json.dumps(THREE, indent=1).encode("utf-16"),
        json.dumps(THREE, indent=1)[:-2] + ",\n]",
        json.dumps(THREE, indent="\t").replace("\n", "\r\n"),
        gzip.compress(json.dumps({"data": THREE}, indent=2).encode()),
    ],
)
def test_rows_are_taken_out_of_their_envelope(tmp_path: Path, data: Any) -> None:
    assert read(tmp_path, data) == (3, 0, 0)
    assert read_events(tmp_path / "home")["item_id"].tolist() == ["i0", "i1", "i2"]


MANY = [event(i, note="x" * 80) for i in range(3_000)]  # more than is read at a time


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(MANY),
        json.dumps(MANY, indent=1),
        json.dumps({"meta": {"n": 1}, "data": MANY, "next": None}, indent=1),
        json.dumps({"data": {"events": MANY}}),
        "\n".join(json.dumps(one, indent=1) for one in MANY),
    ],
)
def test_a_document_that_is_larger_than_a_block_is_read_on(tmp_path: Path, data: str) -> None:
    assert read(tmp_path, data) == (3_000, 0, 0)


def test_a_damaged_entry_of_an_indented_list_costs_itself(tmp_path: Path) -> None:
    text = json.dumps(MANY[:5], indent=1).replace('"item_id": "i2"', '"item_id": i2')
    assert read(tmp_path, text) == (4, 0, 1)
    assert read(tmp_path, json.dumps(MANY, indent=1)[:-40]) == (2_999 - 4, 4, 1)


def test_what_is_no_envelope_stays_one_document(tmp_path: Path) -> None:
    session = {"session": 7, "events": [{"aid": 1, "ts": 1659304800025, "type": "clicks"}]}
    assert read(tmp_path, json.dumps(session, indent=1), "otto") == (1, 0, 0)
    assert read(tmp_path, json.dumps({"batch": CALLS, "sentAt": "2023-11-01T10:00:00Z", "context": {}}), "segment") == (2, 0, 0)


# ---- JSON in cells ---------------------------------------------------------------------------------------------------------


def with_texts(row: dict[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in row.items()}


@pytest.mark.parametrize("form", ["lines", "csv", "python", "parquet"])
def test_lists_and_objects_of_ga4_may_be_texts(tmp_path: Path, form: str) -> None:
    assert read(tmp_path, json.dumps(GA4), "ga4") == (2, 0, 0)
    if form == "parquet":
        pd.DataFrame([with_texts(GA4)]).to_parquet(tmp_path / "file")
        again = ingest_file(tmp_path / "file", "ga4", tmp_path / "home", progress=False)
    else:
        table = pd.DataFrame([GA4 if form == "python" else with_texts(GA4)])
        again = read(tmp_path, json.dumps(with_texts(GA4)) if form == "lines" else table.to_csv(index=False), "ga4")
    assert again == (0, 2, 0)  # the same events, whatever holds them


def test_calls_of_segment_may_be_rows_of_a_table(tmp_path: Path) -> None:
    assert read(tmp_path, pd.DataFrame(map(with_texts, CALLS)).to_csv(index=False), "segment") == (2, 0, 0)
    assert read_events(tmp_path / "home")["item_id"].tolist() == ["p0", "p1"]


@pytest.mark.parametrize(
    "table",
    [
        'event_id,user_id,type,item_id,ts,context\ne,u,item_view,i,2023-11-01T10:00:00Z,"{""device"": ""mobile""}"\n',
        "event_id,user_id,type,item_id,ts,context.device\ne,u,item_view,i,2023-11-01T10:00:00Z,mobile\n",
        json.dumps(event(1, context='{"device": "mobile"}')),
    ],
)
def test_a_context_may_be_a_text_or_columns(tmp_path: Path, table: str) -> None:
    assert read(tmp_path, table) == (1, 0, 0)
    assert read_events(tmp_path / "home")["device"].tolist() == ["mobile"]


def test_a_row_for_every_line_of_an_order_has_an_id_of_its_own(tmp_path: Path) -> None:
    order = {"no": "o1", "who": "c", "at": "2023-11-01T10:00:00Z", "lines": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}]}
    table = (
        'rows = "lines"\n[columns]\nevent_id = "no"\nuser_id = "who"\nts = "at"\nitem_id = "lines.sku"\n'
        'quantity = "lines.n"\n[defaults]\ntype = "purchase"\n'
    )
    events = by_map(tmp_path, file(tmp_path, json.dumps(order)), table)
    assert events[["event_id", "item_id"]].to_numpy().tolist() == [["o1", "a"], ["o1~2", "b"]]


def test_lists_in_a_parquet_file_are_rows_too(tmp_path: Path) -> None:
    lines = [{"sku": "a", "price": 2.5, "quantity": 1}, {"sku": "b", "price": 3.5, "quantity": 2}]
    row = {"order_id": "o", "customer_id": "c", "created_at": datetime(2023, 11, 1, 10), "line_items": lines}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "file")
    events = by_map(tmp_path, tmp_path / "file")
    assert events[["event_type", "item_id", "price"]].to_numpy().tolist() == [["purchase", "a", 2.5], ["purchase", "b", 3.5]]


# ---- clocks ----------------------------------------------------------------------------------------------------------------

NIGHT = ["01:50", "02:10", "02:50", "02:05", "02:55", "03:10"]  # of 27 October 2024 in Berlin: 2 to 3 twice
IN_UTC = ["23:50", "00:10", "00:50", "01:05", "01:55", "02:10"]


def night(clocks: list[str], users: int = 2) -> str:
    return f"{HEADER}\n" + "".join(f"u{i % users},2024-10-27 {at}:00,view,i{i}\n" for i, at in enumerate(clocks))


@pytest.mark.parametrize("order", [1, -1])
def test_the_hour_that_a_clock_shows_twice_is_told_by_the_order_of_rows(tmp_path: Path, order: int) -> None:
    events = by_map(tmp_path, file(tmp_path, night(NIGHT[::order])), f'zone = "Europe/Berlin"\n{MAP}')
    assert utc(events) == IN_UTC[::order]


def test_in_a_table_without_order_it_is_told_by_each_visitors_rows(tmp_path: Path) -> None:
    rows = [("a", "01:50"), ("b", "01:40"), ("a", "02:50"), ("c", "03:30"), ("a", "02:10"), ("b", "02:20"), ("c", "00:30")]
    text = f"{HEADER}\n" + "".join(f"{user},2024-10-27 {at}:00,view,i{i}\n" for i, (user, at) in enumerate(rows))
    events = by_map(tmp_path, file(tmp_path, text), f'zone = "Europe/Berlin"\n{MAP}')
    assert utc(events) == ["23:50", "23:40", "00:50", "02:30", "01:10", "00:20", "22:30"]


def test_a_time_in_the_hour_that_is_left_out_is_one_of_the_clock_before(tmp_path: Path) -> None:
    text = f"{HEADER}\nu,2024-03-31 01:59,view,a\nu,2024-03-31 02:30,view,b\n"
    assert utc(by_map(tmp_path, file(tmp_path, text), f'zone = "Europe/Berlin"\n{MAP}')) == ["00:59", "01:30"]


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("2024-10-27 01:59:00 Europe/Berlin", "23:59"),
        ("2024-10-27T02:30+01:00[Europe/Berlin]", "01:30"),
        ("2024-07-01 03:01:00 CEST", "01:01"),
        ("2024-07-01 03:01:00 PDT", "10:01"),
        ("1698832800.0", "10:00"),
        ("1.6988328E9", "10:00"),
        ("1698832800123.0", "10:00"),
        ('"1698832800,5"', "10:00"),
        ("2023-11-01 10:00:00.123456789", "10:00"),
        ('"2023-11-01 10:00:00,123"', "10:00"),
        ("11/13/2023 1:05 PM", "13:05"),
        ('"11/13/2023, 1:05:00\u202fPM"', "13:05"),
        ('"Wed, 01 Nov 2023 10:00:00 +0100"', "09:00"),
        ("Wed Nov 01 2023 10:00:00 GMT+0100 (Central European Standard Time)", "09:00"),
        ("13. Dezember 2023 10:00", "10:00"),
        ("13 de agosto de 2023 10:00", "10:00"),
        ('"45231,5"', "12:00"),
        ("45231.25", "06:00"),
    ],
)
def test_a_time_is_guessed_however_it_is_written(tmp_path: Path, written: str, at: str) -> None:
    assert utc(by_map(tmp_path, file(tmp_path, f"{HEADER}\n7,{written},view,a\n"))) == [at]


def test_a_column_may_mix_the_ways_of_writing_times(tmp_path: Path) -> None:
    written = ["2023-11-01 10:00:00", "01.11.2023 11:00", "1698836400", "11/30/2023 12:00", "2023-11-01T13:00:00+01:00"]
    text = f"{HEADER}\n" + "".join(f"7,{at},view,i{i}\n" for i, at in enumerate(written))
    assert utc(by_map(tmp_path, file(tmp_path, text))) == ["10:00", "11:00", "11:00", "12:00", "12:00"]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("date,time,user,action,item\n2023-11-01,10:00:07,7,view,a\n", "10:00"),
        ("Datum;Uhrzeit;Kunde;Artikel;Menge\n13.11.2023;7:05;7;a;1\n", "07:05"),
        ("Order Date,Order Time,Customer ID,SKU,Qty\n11/13/2023,1:00:09 PM,7,a,1\n", "13:00"),
        ("date,hour_time,user,action,item\n2023-11-01 00:00:00,10:00,7,view,a\n", "10:00"),
    ],
)
def test_the_time_of_day_may_stand_in_a_column_of_its_own(tmp_path: Path, text: str, at: str) -> None:
    assert utc(by_map(tmp_path, file(tmp_path, text))) == [at]


def test_day_and_month_are_told_by_the_order_of_rows(tmp_path: Path) -> None:
    text = f"{HEADER}\n7,01/11/2023 10:00,view,a\n7,02/11/2023 10:00,view,b\n7,03/10/2023 10:00,view,c\n"
    events = by_map(tmp_path, file(tmp_path, text))  # as days of January to March they are in order
    assert [datetime.fromtimestamp(at // 10**6, UTC).month for at in events["occurred_at_us"]] == [1, 2, 3]


# ---- tables ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [",", ";", "\t", "|", "::", "\x01"])
def test_a_table_is_guessed_whatever_stands_between_its_fields(tmp_path: Path, mark: str) -> None:
    text = f"{HEADER}\n7,2023-11-01 10:00,view,a\n8,2023-11-01 10:01,buy,b\n".replace(",", mark)
    assert by_map(tmp_path, file(tmp_path, text))["item_id"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("written", "price"),
    [
        ('"$1,299.50"', 1299.5),
        ("US$ 9.00", 9.0),
        ('"1.299,50"', 1299.5),
        ('"1 299,50 €"', 1299.5),
        ("CHF 1'299.50", 1299.5),
        ('"R$ 9,90"', 9.9),
        ("0.0508305084745762", 0.0508305084745762),
        (".5", 0.5),
        ("NaN", None),
        ("\\N", None),
    ],
)
def test_a_price_is_read_with_its_currency_and_in_the_marks_of_its_country(tmp_path: Path, written: str, price: Any) -> None:
    text = f"{HEADER},price\n7,2023-11-01 10:00,buy,a,{written}\n7,2023-11-01 10:01,buy,b,{written}\n"
    found = by_map(tmp_path, file(tmp_path, text))["price"].tolist()[0]
    assert found == price or (price is None and found != found)


@pytest.mark.parametrize(
    ("text", "encoding", "zone"),
    [
        ("用户,时间,行为,商品\n7,2023-11-01 10:00,浏览,a\n", "utf-8", None),
        ("Клиент;Дата;Действие;Товар\n7;2023-11-01 10:00;просмотр;a\n", "cp1251", "Действие"),
        ("顧客,日時,行動,商品\n7,2023-11-01 10:00,閲覧,a\n", "cp932", "行動"),
        ("العميل,الوقت,الحدث,المنتج\n7,2023-11-01 10:00,عرض,a\n", "utf-8", "الحدث"),
        ("müşteri,tarih,işlem,ürün\n7,2023-11-01 10:00,görüntüleme,a\n", "cp1254", "işlem"),
    ],
)
def test_columns_may_be_named_in_any_language(tmp_path: Path, text: str, encoding: str, zone: str | None) -> None:
    names = text.splitlines()[0].replace(";", ",").split(",")
    fields = zip(("user_id", "ts", "type", "item_id"), names, strict=True)
    table = f'encoding = "{encoding}"\n[columns]\n' + "".join(f'{ours} = "{theirs}"\n' for ours, theirs in fields)
    events = by_map(tmp_path, file(tmp_path, text.encode(encoding)), None if zone is None else table)
    assert events[["event_type", "item_id"]].to_numpy().tolist() == [["item_view", "a"]]


def test_types_of_columns_do_no_harm(tmp_path: Path) -> None:
    table = {
        "user": pa.array([7, 8], pa.decimal128(10, 0)),
        "time": pa.array([date(2023, 11, 1)] * 2, pa.date32()),
        "action": pa.array(["view", "buy"]).dictionary_encode(),
        "item": pa.array(["a", "b"], pa.large_string()),
        "price": pa.array([1, 2], pa.decimal128(10, 2)),
    }
    pq.write_table(pa.table(table), tmp_path / "file")
    assert by_map(tmp_path, tmp_path / "file")["price"].tolist() == [1.0, 2.0]


def test_an_arrow_stream_is_a_table(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(THREE)
    with pa.ipc.new_stream(str(tmp_path / "file"), table.schema) as stream:
        stream.write_table(table)
    assert ingest_file(tmp_path / "file", "attune", tmp_path / "home", progress=False) == (3, 0, 0)


def tar(text: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        (member := tarfile.TarInfo("a.jsonl")).size = len(text)
        archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "a workbook of the old form: save its sheet as CSV"),
        (b"%PDF-1.7\n", "a PDF file"),
        (b"\n<!DOCTYPE html><html><table></table></html>", "a web page"),
        (b"<?xml version='1.0'?><events/>", "an XML file"),
        (b"SQLite format 3\0" + bytes(600), "a SQLite database"),
        (b"Obj\x01\x04\x14avro.codec", "an Avro file"),
        (b"ORC\n\x03" + bytes(50), "an ORC file"),
        (b"\x80\x04\x95\x10" + bytes(9), "a pickle"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(30), "a 7-Zip archive: unpack it"),
        (tar("{}"), "a tar archive: unpack it"),
        (gzip.compress(tar("{}")), "a tar archive: unpack it"),
        (b"\x04\x22\x4d\x18" + bytes(20), "packed by lz4"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, data: bytes, says: str) -> None:
    for look in (lambda: read(tmp_path, data), lambda: sample(tmp_path / "file")):
        with pytest.raises(ValueError, match=says):
            look()
    assert not (tmp_path / "home").exists()
