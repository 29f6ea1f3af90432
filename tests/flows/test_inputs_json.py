"""JSON of the kinds that public reports tell of: envelopes, documents over many lines, lists in cells and as rows."""

import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.append import ingest_file
from tests.inputs import by_map, file, read
from tests.stores import read_events


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


WRAPPED = [
    lambda one: {"key": "k", "offset": 3, "partition": 0, "value": json.dumps(one)},
    lambda one: {"timestamp": 1698832800000, "message": json.dumps(one)},
    lambda one: {"RECORD_CONTENT": one, "RECORD_METADATA": {"offset": 1}},
    lambda one: {"_airbyte_ab_id": "x", "_airbyte_emitted_at": 1698832800000, "_airbyte_data": one},
]


@pytest.mark.parametrize("wrap", WRAPPED)
def test_a_row_is_taken_out_of_what_a_queue_or_a_loader_puts_around_it(tmp_path: Path, wrap: Any) -> None:
    assert read(tmp_path, "".join(f"{json.dumps(wrap(one))}\n" for one in THREE)) == (3, 0, 0)


def test_a_map_that_leads_into_a_wrapper_goes_on_doing_so(tmp_path: Path) -> None:
    row = {"key": "k", "value": {"who": "u", "at": 1698832800, "what": "view", "sku": "a"}}
    table = '[columns]\nuser_id = "value.who"\nts = "value.at"\ntype = "value.what"\nitem_id = "value.sku"\n'
    assert by_map(tmp_path, file(tmp_path, json.dumps(row)), table)["item_id"].tolist() == ["a"]


def test_fields_may_be_in_capitals_as_some_warehouses_write_them(tmp_path: Path) -> None:
    upper = {name.upper(): value for name, value in GA4.items()}
    assert read(tmp_path, json.dumps(GA4), "ga4") == (2, 0, 0)
    assert read(tmp_path, json.dumps(upper), "ga4") == (0, 2, 0)


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
        again = tuple(ingest_file(tmp_path / "file", "ga4", tmp_path / "home", progress=False))
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


def test_one_item_of_ga4_may_stand_without_a_list(tmp_path: Path) -> None:
    assert read(tmp_path, json.dumps(GA4 | {"items": {"item_id": "p1"}}), "ga4") == (1, 0, 0)
