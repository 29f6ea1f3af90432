"""Guesses on the shapes of public exports, with rows of our own: the map or format reads every row as what it says."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.append import ingest_file
from flows.sample import form_of, map_text, sample
from models.events.sources.guess import guess, looks_like
from tests.stores import read_events


def lines(*documents: Any) -> str:
    return "\n".join(json.dumps(document) for document in documents)


def table(*rows: str) -> str:
    return "\n".join(rows) + "\n"


AT = "2023-11-01T10:00:00.000Z"
SEGMENT = {
    "type": "track",
    "messageId": "m1",
    "anonymousId": "a",
    "userId": None,
    "timestamp": AT,
    "context": {"library": {"name": "x"}},
}
POSTHOG = {"uuid": "0", "event": "Product Viewed", "distinct_id": "d", "timestamp": "2023-11-01 10:00:00.123000+00:00"}
SNOWPLOW_ACTION = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"
SNOWPLOW_PRODUCT = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1"
SNOWPLOW = {
    "app_id": "shop",
    "event_id": "e1",
    "collector_tstamp": "2023-11-01T10:00:00.000Z",
    "domain_userid": "d",
    "event": "unstruct",
}
ORDER = {
    "type": "ecommerceOrder",
    "timestamp": 1698832900,
    "itemDetails": [{"itemSKU": "a", "price": 5, "quantity": 1}, {"itemSKU": "b"}],
}
MATOMO = {
    "idVisit": "5",
    "visitorId": "v",
    "actionDetails": [{"type": "action", "timestamp": 1698832800, "productViewSku": "a"}, ORDER],
}
PROPERTIES = {"distinct_id": "d", "time": 1698832800, "$insert_id": "i1", "product_id": 7}
PIXEL = {"event": "Product Viewed", "properties": PROPERTIES}

KNOWN = {
    "retailrocket": table(
        "timestamp,visitorid,event,itemid,transactionid", "1433221332117,7,view,9,", "1433221392117,7,transaction,9,1"
    ),
    "rees46": table(
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session",
        "2019-10-01 00:00:01 UTC,view,9,2,,a,1,7,s",
        "2019-10-01 00:01:01 UTC,purchase,9,2,,a,1,7,s",
    ),
    "taobao": table("7,9,8,pv,1511544070", "7,9,8,buy,1511544170"),
    "jdata": table(
        "user_id,sku_id,time,model_id,type,cate,brand", "7,9,2016-02-01 00:00:02,,1,8,4", "7,9,2016-02-01 00:01:02,,4,8,4"
    ),
    "otto": lines({"session": 7, "events": [{"aid": 9, "ts": 1659304800025, "type": t} for t in ("clicks", "orders")]}),
    "trivago": table(
        "user_id,session_id,timestamp,step,action_type,reference,platform,city,device,current_filters,impressions,prices",
        "u,s,1541551426,1,interaction item info,9,DE,Ulm,mobile,,,",
        "u,s,1541551436,2,clickout item,9,DE,Ulm,mobile,,9|8,70|80",
    ),
    "ga4": lines(
        *(
            {"event_name": name, "event_timestamp": "1698832800000000", "user_pseudo_id": "1.2", "items": [{"item_id": "9"}]}
            for name in ("view_item", "purchase")
        )
    ),
    "segment": lines(
        SEGMENT | {"event": "Product Viewed", "properties": {"product_id": 9, "price": "5.5"}},
        SEGMENT
        | {"messageId": "m2", "event": "Order Completed", "properties": {"products": [{"product_id": "9"}, {"sku": "8"}]}},
    ),
    "posthog": lines(
        POSTHOG | {"properties": {"product_id": "9"}},
        POSTHOG | {"uuid": "1", "event": "Order Completed", "properties": {"products": [{"product_id": "9"}]}},
    ),
    "google_retail": lines(
        *(
            {"eventType": name, "visitorId": "v", "eventTime": AT, "productDetails": [{"product": {"id": "9"}, "quantity": 1}]}
            for name in ("detail-page-view", "purchase-complete")
        )
    ),
    "snowplow": lines(
        SNOWPLOW | {SNOWPLOW_ACTION: {"type": "product_view"}, SNOWPLOW_PRODUCT: [{"id": "9", "price": 5.5, "category": "c"}]},
        SNOWPLOW | {"event_id": "e2", SNOWPLOW_ACTION: {"type": "transaction"}, SNOWPLOW_PRODUCT: [{"id": "9"}, {"id": "8"}]},
    ),
    "matomo": json.dumps([MATOMO], indent=1),
    "attune": lines({"event_id": "e", "user_id": "u", "type": "item_view", "item_id": "a", "ts": AT}),
}

VIEW_AND_PURCHASE = {"item_view": 1, "purchase": 1}
# Rows, and how many events of which type they are.
SHAPES: dict[str, tuple[str, dict[str, int]]] = {
    "diginetica": (
        table("sessionId;userId;itemId;timeframe;eventdate", "1;NA;9654;500000;2016-05-09", "1;NA;33043;700000;2016-05-10"),
        {"item_view": 2},
    ),
    "yoochoose": (table("1,2014-04-07T10:51:09.277Z,214536502,0", "1,2014-04-07T10:54:09.868Z,214536500,0"), {"item_view": 2}),
    "tianchi": (
        table(
            "user_id,item_id,behavior_type,user_geohash,item_category,time",
            "7,9,1,,8,2014-12-06 02",
            "7,9,4,,8,2014-12-06 20",
        ),
        VIEW_AND_PURCHASE,
    ),
    "session clicks": (table("SessionId\tItemId\tTime", "1\t9\t1592337718.0", "1\t8\t1592337765.0"), {"item_view": 2}),
    "movie ratings": (table("userId,movieId,rating,timestamp", "1,31,2.5,1260759144", "1,32,3,1260759179"), {"item_view": 2}),
    "online retail": (
        table(
            "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
            '536365,85123A,"LANTERN, WHITE",6,12/1/2010 8:26,2.55,17850.0,United Kingdom',
            "536366,22633,HAND WARMER,6,12/13/2010 8:28,1.85,17850.0,United Kingdom",
        ),
        {"purchase": 2},
    ),
    "segment warehouse": (
        table(
            "id,anonymous_id,user_id,event,received_at,timestamp,product_id,price",
            "1,a,7,product_viewed,2023-11-01 10:00:01+00,2023-11-01 10:00:00+00,9,5.5",
            "2,a,7,order_completed,2023-11-01 10:01:01+00,2023-11-01 10:01:00+00,9,5.5",
        ),
        VIEW_AND_PURCHASE,
    ),
    "ga4 flattened": (
        table(
            "event_date,event_timestamp,event_name,user_pseudo_id,ga_session_id,item_id,item_category,price",
            "20231101,1698832800000000,view_item,1.2,5,9,Hats,5.5",
            "20231101,1698832860000000,purchase,1.2,5,9,Hats,5.5",
        ),
        VIEW_AND_PURCHASE,
    ),
    "snowplow flattened": (
        table(
            "app_id\tcollector_tstamp\tevent\tevent_id\tdomain_userid\tdomain_sessionid\tse_action\tse_label",
            "shop\t2023-11-01 10:00:00.000\tstruct\te1\td\ts\tview-product\t9",
            "shop\t2023-11-01 10:01:00.000\tstruct\te2\td\ts\tadd-to-basket\t9",
        ),
        {"item_view": 1, "add_to_cart": 1},
    ),
    "amplitude": (
        lines(
            *(
                {
                    "event_type": name,
                    "user_id": None,
                    "device_id": "d",
                    "event_time": "2023-11-01 10:00:00.123456",
                    "uuid": name,
                    "session_id": 1698832800123,
                    "event_properties": {"product_id": 9, "price": 5.5},
                }
                for name in ("Product Viewed", "Purchase")
            )
        ),
        VIEW_AND_PURCHASE,
    ),
    "mixpanel": (
        lines(PIXEL, PIXEL | {"event": "Purchase", "properties": {**PROPERTIES, "$insert_id": "i2"}}),
        VIEW_AND_PURCHASE,
    ),
    "german shop": (
        table(
            "Zeitpunkt;Kundennummer;Aktion;Artikelnummer;Kategorie;Preis",
            "24.12.2023 18:30;1;Ansicht;A-1;Hüte;1.299,50",
            "24.12.2023 18:31;1;In den Warenkorb;A-1;Hüte;1.299,50",
            "24.12.2023 18:32;1;Kauf;A-1;Hüte;12,00",
        ),
        {"item_view": 1, "add_to_cart": 1, "purchase": 1},
    ),
    "french shop": (
        table(
            "horodatage|id_client|evenement|produit|prix",
            "2023-12-24 18:30:00|1|vue|A|5,50",
            "2023-12-24 18:31:00|1|achat|A|5,50",
        ),
        VIEW_AND_PURCHASE,
    ),
    "milliseconds": (
        table("ts_ms,uid,action,sku", "1698832800000,1,click,a", "1698832860000,1,buy,a").replace("ts_ms", "ts"),
        VIEW_AND_PURCHASE,
    ),
    "microseconds": (table("ts,uid,action,sku", "1698832800000000,1,click,a", "1698832860000000,1,buy,a"), VIEW_AND_PURCHASE),
    "nanoseconds": (
        table("ts,uid,action,sku", "1698832800000000000,1,click,a", "1698832860000000000,1,buy,a"),
        VIEW_AND_PURCHASE,
    ),
    "a spreadsheet's days": (
        table("Datum;Kunde;Aktion;Artikel", "45231,5;1;Ansicht;A", "45231,75;1;Kauf;B"),
        VIEW_AND_PURCHASE,
    ),
    "no header, a time first": (
        table("user_000001\t2009-05-04T23:08:57Z\tf1b1\tone", "user_000001\t2009-05-04T13:54:10Z\ta7f7\ttwo"),
        {"item_view": 2},
    ),
    "hashed names": (
        table(
            "session_id_hash,product_action,product_sku_hash,server_timestamp_epoch_ms",
            "20c4,detail,d515,1550885213307",
            "20c4,purchase,d515,1550885213400",
        ),
        VIEW_AND_PURCHASE,
    ),
    "mongodb": (
        lines(
            *(
                {
                    "userId": {"$numberLong": "7"},
                    "itemId": "a",
                    "event": name,
                    "createdAt": {"$date": f"2023-11-01T10:0{n}:00Z"},
                }
                for n, name in enumerate(("view", "order"))
            )
        ),
        VIEW_AND_PURCHASE,
    ),
    "half of the clocks": (
        table("Date,Customer,Action,Product", "11/1/2023 3:05 PM,1,view,a", "11/13/2023 11:59 AM,1,purchase,a"),
        VIEW_AND_PURCHASE,
    ),
    "sessions where nobody is known": (
        table(
            "sessionId;userId;timeframe;eventdate;ordernumber;itemId", "7;NA;1;2016-05-06;1;25911", "7;NA;2;2016-05-06;2;25912"
        ),
        {"purchase": 2},
    ),
    "views and clicks": (
        table(
            "datetime,customer,event,item",
            "2023-11-01 10:00,1,view,a",
            "2023-11-01 10:01,1,click,a",
            "2023-11-01 10:02,1,order,a",
        ),
        {"item_view": 1, "item_engagement": 1, "purchase": 1},
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_shape_of_a_public_format_is_known_by_its_fields(name: str, tmp_path: Path) -> None:
    (path := tmp_path / "export").write_text(KNOWN[name])
    assert looks_like(sample(path)) == name
    (map_file := tmp_path / "map.toml").write_text(map_text(guess(sample(path)).format or ""))
    format, of_columns = form_of(None, map_file)
    counts = ingest_file(path, format, tmp_path / "home", progress=False, table=of_columns)
    assert counts.quarantined == counts.duplicate == 0
    events = read_events(tmp_path / "home")
    looked = "detail_view" if name == "trivago" else "item_view"
    assert set(events["event_type"]) == ({looked} if name == "attune" else {looked, "purchase"})
    assert set(events["item_id"]) <= {"9", "8", "a", "b"}


@pytest.mark.parametrize("name", SHAPES)
def test_a_guessed_map_reads_the_shape_of_a_public_export(name: str, tmp_path: Path) -> None:
    text, types = SHAPES[name]
    (path := tmp_path / "export").write_text(text)
    guessed = guess(sample(path))
    assert guessed.table is not None
    (map_file := tmp_path / "map.toml").write_text(map_text(guessed.table))
    format, of_columns = form_of(None, map_file)
    counts = ingest_file(path, format, tmp_path / "home", progress=False, table=of_columns)
    assert counts == (sum(types.values()), 0, 0)
    events = read_events(tmp_path / "home")
    assert events["event_type"].value_counts().to_dict() == types
    assert events["item_id"].notna().all()
    assert events["user_id"].nunique() == 1
    assert set(events["occurred_at_us"] // (365 * 86_400_000_000)) <= set(range(39, 55))  # 2009 to 2024


def test_a_guess_says_what_it_understood(tmp_path: Path) -> None:
    (path := tmp_path / "export").write_text(SHAPES["german shop"][0])
    notes = guess(sample(path)).notes
    assert "time: Zeitpunkt (%d.%m.%Y %H:%M)" in notes
    assert "user_id: Kundennummer" in notes
    assert any("UTC is taken" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "no column seems to be the time among a, b"),
        ("time,b\n2023-11-01 10:00,2\n", "no column seems to be the visitor"),
        ("one\ntwo\n", "is no table"),
        ("time,user,user,item\n2023-11-01 10:00,1,2,a\n", "has two columns 'user': give each a name of its own"),
        ("user_id,ts,type\n", "no rows"),
    ],
)
def test_what_cannot_be_guessed_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    (path := tmp_path / "export").write_text(text)
    with pytest.raises(ValueError, match=says):
        guess(sample(path))


def test_a_view_of_a_german_shop_is_a_view(tmp_path: Path) -> None:
    file = tmp_path / "shop.csv"
    told = [f"21.11.2023 10:0{n};4711;{action};A-1" for n, action in enumerate(("Produkt angesehen", "Artikelansicht"))]
    file.write_text(table("Zeitpunkt;Kunde;Aktion;Artikelnummer", *told))
    found = guess(sample(file))
    assert found.table is not None
    assert set(found.table.events.values()) == {"item_view"}
