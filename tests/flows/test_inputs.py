"""Tables of the kinds that public reports tell of, each with what is right: clocks, numbers, letters, archives, other kinds."""

import gzip
import io
import tarfile
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.append import ingest_file
from flows.files import files_of
from flows.sample import sample
from tests.inputs import HEADER, MAP, by_map, file, read


def utc(events: Any) -> list[str]:
    """Hours and minutes of events, UTC, in the order of the log."""
    return [datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%H:%M") for at in events["occurred_at_us"]]


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


@pytest.mark.parametrize(("days", "month"), [(("01/05", "01/06", "01/07"), 1), (("05/01", "06/01", "07/01"), 1)])
def test_day_and_month_are_told_by_how_long_a_log_is(tmp_path: Path, days: tuple[str, ...], month: int) -> None:
    text = f"{HEADER}\n" + "".join(f"7,{day}/2023 10:00,view,i{i}\n" for i, day in enumerate(days))
    events = by_map(tmp_path, file(tmp_path, text))
    assert {datetime.fromtimestamp(at // 10**6, UTC).month for at in events["occurred_at_us"]} == {month}


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


ROWS = f"{HEADER},price\n7,2023-11-01 10:00,view,a,5\n8,2023-11-01 10:01,buy,b,6\n"


@pytest.mark.parametrize(
    "data",
    [
        f"Report: events\nGenerated 2023-11-02\n\n{ROWS}",
        ROWS.replace("\n7", '\n"1",7').replace("\n8", '\n"2",8'),
        ROWS.encode("utf-16-le"),
        ROWS.encode("utf-16-be"),
        ROWS.encode("utf-32"),
        ROWS.replace(",price", ",price,").replace(",5\n", ",5,\n").replace(",6\n", ",6,\n"),
    ],
)
def test_a_table_is_found_behind_a_title_and_in_any_letters(tmp_path: Path, data: Any) -> None:
    assert by_map(tmp_path, file(tmp_path, data))["item_id"].tolist() == ["a", "b"]


def test_a_quote_may_be_quoted_by_a_stroke(tmp_path: Path) -> None:
    rows = [line.split(",") for line in ROWS.splitlines()]
    notes = ["note", '"say \\"a, b\\""', "x"]
    text = "\n".join(",".join([note, *row]) for note, row in zip(notes, rows, strict=True))
    assert by_map(tmp_path, file(tmp_path, text))["item_id"].tolist() == ["a", "b"]


def test_an_id_that_a_spreadsheet_wrote_with_a_comma_is_the_integer(tmp_path: Path) -> None:
    text = (
        "Kunde;Zeit;Aktion;Artikel;Preis\n512301,0;01.11.2023 10:00;Kauf;77,0;1,5\n512301;01.11.2023 10:01;Kauf;7,7E+01;2,5\n"
    )
    events = by_map(tmp_path, file(tmp_path, text))
    assert events["item_id"].tolist() == ["77", "77"]
    assert len(set(events["user_id"])) == 1


@pytest.mark.parametrize("word", ["<null>", "#REF!", "n.a.", "not set", "(not provided)", "::unspecified::", "(blank)", "k.A."])
def test_more_words_for_nothing(tmp_path: Path, word: str) -> None:
    header = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
    assert read(tmp_path, f"{header}\n2019-10-01 00:00:00 UTC,view,{word},2,,,3.5,9,s\n", "rees46") == (0, 0, 1)


def test_capitals_of_an_action_do_no_harm(tmp_path: Path) -> None:
    assert read(tmp_path, "7,9,8,PV,1511544070\n7,9,8,Buy,1511544071\n", "taobao") == (2, 0, 0)


def zipped(*members: tuple[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in members:
            archive.writestr(name, text)
    return out.getvalue()


def test_an_archive_of_several_files_is_each_of_them(tmp_path: Path) -> None:
    path = file(tmp_path, zipped(("x/feb.csv", ROWS), ("x/jan.csv", ROWS), ("x/README.txt", "hello"), ("__MACOSX/a.csv", "")))
    with files_of([str(path)]) as found:
        assert [one.name for one in found] == ["feb.csv", "jan.csv"]
        assert found[0].read_text() == ROWS
    path = file(tmp_path, zipped(("x/jan.csv", ROWS), ("x/README.txt", "hello")))
    assert by_map(tmp_path, path)["item_id"].tolist() == ["a", "b"]


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
    row = {"event_id": "e", "user_id": "u", "type": "item_view", "item_id": "i", "ts": "2023-11-01T10:00:00Z"}
    table = pa.Table.from_pylist([row, row | {"event_id": "f"}])
    with pa.ipc.new_stream(str(tmp_path / "file"), table.schema) as stream:
        stream.write_table(table)
    assert ingest_file(tmp_path / "file", "attune", tmp_path / "home", progress=False) == (2, 0, 0)


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
