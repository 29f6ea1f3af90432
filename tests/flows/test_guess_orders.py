"""Guesses of the columns of orders, on the shapes of public tables of orders, with rows of our own."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows.append import ingest_file
from flows.sample import form_of, map_text, sample
from models.events.sources.guess import guess
from tests.stores import connect


def table(*rows: str) -> str:
    return "\n".join(rows) + "\n"


GA4_HEAD = (
    "event_timestamp,event_name,user_pseudo_id,transaction_id,currency,purchase_revenue,item_id,price,quantity,item_revenue"
)
SHOPIFY_HEAD = "Name,Email,Financial Status,Currency,Subtotal,Total,Created at,Lineitem quantity,Lineitem price,Lineitem sku"
OLIST_HEAD = "order_id,customer_unique_id,order_status,order_purchase_timestamp,order_item_id,product_id,price,freight_value"

# Rows, and what the log must say of the first purchase: order, pieces, price of one, revenue of all pieces, currency.
ORDERS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "UCI online retail": (
        table(
            "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
            "536365,85123A,LANTERN,6,12/13/2010 8:26,2.55,17850.0,United Kingdom",
            "536366,22633,WARMER,4,12/13/2010 8:28,1.85,17851.0,United Kingdom",
        ),
        ("536365", 6, 2.55, None, None),
    ),
    "UCI online retail II": (
        table(
            "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country",
            "489434,85048,LIGHTS,12,2009-12-01 07:45:00,6.95,13085,United Kingdom",
            "489434,79323P,LIGHTS,3,2009-12-01 07:45:00,6.75,13085,United Kingdom",
        ),
        ("489434", 12, 6.95, None, None),
    ),
    "Olist": (
        table(
            OLIST_HEAD,
            "o1,c1,delivered,2017-10-02 10:56:33,1,p1,29.99,8.72",
            "o1,c1,delivered,2017-10-02 10:56:33,2,p2,118.70,22.76",
        ),
        ("o1", None, 29.99, None, None),
    ),
    "Shopify": (
        table(
            SHOPIFY_HEAD,
            "#1001,a@example.org,paid,EUR,35.00,39.90,2023-11-01 10:00:00 +0100,2,10.00,H-1",
            "#1001,a@example.org,,,,,2023-11-01 10:00:00 +0100,1,15.00,S-1",
        ),
        ("#1001", 2, 10.0, None, "EUR"),
    ),
    "WooCommerce": (
        table(
            "Order Number,Order Date,Customer User ID,Order Total Amount,SKU,Item Name,Quantity,Item Cost,Order Currency",
            "812,2023-11-01 10:00,7,49.90,H-1,Hat,2,10.00,EUR",
            "812,2023-11-01 10:00,7,49.90,S-1,Scarf,1,29.90,EUR",
        ),
        ("812", 2, 10.0, None, "EUR"),
    ),
    "completejourney": (
        table(
            "household_id,store_id,basket_id,product_id,quantity,sales_value,retail_disc,week,transaction_timestamp",
            "900,330,31198570044,1095275,1,0.5,0,1,2017-01-01 11:53:26",
            "906,330,31198570047,9878513,2,1.98,0.1,1,2017-01-01 12:10:28",
        ),
        ("31198570044", 1, None, 0.5, None),
    ),
    "electronics store": (
        table(
            "event_time,order_id,product_id,category_id,category_code,brand,price,user_id",
            "2020-04-24 11:50:39 UTC,2294359932054536986,1515966223509089906,22,electronics.tablet,samsung,162.01,15155",
            "2020-04-24 11:50:39 UTC,2294359932054536986,1515966223509089907,22,electronics.tablet,samsung,77.52,15155",
        ),
        ("2294359932054536986", None, 162.01, None, None),
    ),
    "open e-commerce": (
        table(
            "Order Date,Purchase Price Per Unit,Quantity,Title,ASIN/ISBN (Product Code),Category,Survey ResponseID",
            "2018-12-04,7.98,1.0,Card,B0143RTB1E,FLASH_MEMORY,R_01",
            "2018-12-22,13.99,3.0,Pads,B01MA1MJ6H,PADS,R_02",
        ),
        (None, 1, 7.98, None, None),
    ),
    "H&M": (
        table(
            "t_dat,customer_id,article_id,price,sales_channel_id",
            "2018-09-20,000058a1,0663713001,0.0508,2",
            "2018-09-21,000058a2,0541518023,0.0304,2",
        ),
        (None, None, 0.0508, None, None),
    ),
    "Ta-Feng": (
        table(
            "TRANSACTION_DT,CUSTOMER_ID,AGE_GROUP,PIN_CODE,PRODUCT_SUBCLASS,PRODUCT_ID,AMOUNT,ASSET,SALES_PRICE",
            "11/21/2000,01104905,45-49,115,110411,4710199010372,2,24,30",
            "11/21/2000,00418683,45-49,115,120107,4710857472535,1,48,46",
        ),
        (None, None, 30.0, None, None),
    ),
    "GA4 flattened": (
        table(
            GA4_HEAD,
            "1698832800000000,purchase,1.2,T1,EUR,50,9,10,2,20",
            "1698832800000000,purchase,1.2,T1,EUR,50,8,30,1,30",
        ),
        ("T1", 2, 10.0, 20.0, "EUR"),
    ),
    "valued shoppers": (
        table(
            "id,chain,dept,category,company,brand,date,productsize,productmeasure,purchasequantity,purchaseamount",
            "86246,205,7,707,1078778070,12564,2012-03-02,12,OZ,1,7.59",
            "86252,205,63,6319,107654575,17876,2012-03-02,64,OZ,2,3.18",
        ),
        (None, 1, None, 7.59, None),
    ),
    "German shop": (
        table(
            "Bestellnummer;Bestelldatum;Kundennummer;Artikelnummer;Menge;Einzelpreis;Gesamtpreis;Währung",
            "4711;24.12.2023 18:30;1;A-1;2;1.299,50;2.599,00;EUR",
            "4711;24.12.2023 18:30;1;A-2;1;9,90;9,90;EUR",
        ),
        ("4711", 2, 1299.5, 2599.0, "EUR"),
    ),
    "etsy sold items": (
        table(
            "Sale Date,Item Name,Buyer,Quantity,Price,Item Total,Currency,Transaction ID,Listing ID,Order ID",
            "01/13/22,Ring,anna,2,12.50,25.00,USD,99,777,555",
            "01/14/22,Ring,bert,1,12.50,12.50,USD,98,777,556",
        ),
        ("555", 2, 12.5, 25.0, "USD"),
    ),
    "amazon fbm report": (
        table(
            "order-id\torder-item-id\tpurchase-date\tbuyer-email\tsku\tquantity-purchased\tcurrency\titem-price",
            "111-1\t22\t2023-11-01T10:00:00+00:00\ta@b.c\tX-1\t2\tUSD\t20.00",
            "111-2\t23\t2023-11-01T11:00:00+00:00\td@b.c\tX-2\t1\tUSD\t9.00",
        ),
        ("111-1", 2, 20.0, None, "USD"),
    ),
    "prestashop": (
        table(
            "id_order;id_customer;date_add;product_id;product_quantity;unit_price_tax_incl;total_price_tax_incl",
            "5;2;2023-11-01 10:00:00;9;2;11,90;23,80",
            "6;3;2023-11-01 11:00:00;9;1;11,90;11,90",
        ),
        ("5", 2, 11.9, 23.8, None),
    ),
    "magento": (
        table(
            "order_id,increment_id,created_at,customer_id,sku,qty_ordered,price,row_total,order_currency_code",
            "1,100000001,2023-11-01 10:00:00,7,A,2,10.0,20.0,EUR",
            "1,100000001,2023-11-01 10:00:00,7,B,1,5.0,5.0,EUR",
        ),
        ("1", 2, 10.0, 20.0, "EUR"),
    ),
    "spanish": (
        table(
            "fecha|cliente|pedido|producto|cantidad|precio|importe|moneda",
            "24/12/2023 10:00|1|P1|A|2|10,50|21,00|EUR",
            "24/12/2023 10:05|2|P2|B|1|9,90|9,90|EUR",
        ),
        ("P1", 2, 10.5, 21.0, "EUR"),
    ),
    "bigcommerce-ish jsonl": (
        table(
            '{"order":{"id":100,"currency_code":"EUR","total":30.0},"customer_id":3,"date_created":"2023-11-01T10:00:00Z","product":{"id":77,"price":"10.00","quantity":2}}',
            '{"order":{"id":101,"currency_code":"EUR","total":10.0},"customer_id":4,"date_created":"2023-11-01T10:10:00Z","product":{"id":77,"price":"10.00","quantity":1}}',
        ),
        ("100", 2, 10.0, None, "EUR"),
    ),
    "olist items only": (
        table(
            "order_id,order_item_id,product_id,seller_id,shipping_limit_date,price,freight_value",
            "o1,1,p1,s1,2017-09-19 09:45:35,58.90,13.29",
            "o2,1,p2,s2,2017-05-03 11:05:13,239.90,19.93",
        ),
        ("o1", None, 58.9, None, None),
    ),
    "contoso": (
        table(
            "OrderKey,LineNumber,OrderDate,CustomerKey,StoreKey,ProductKey,Quantity,UnitPrice,NetPrice,CurrencyCode",
            "1,0,2023-11-01,7,1,55,2,10.0,9.0,USD",
            "1,1,2023-11-01,7,1,56,1,20.0,18.0,USD",
        ),
        ("1", 2, 10.0, None, "USD"),
    ),
}


def read(text: str, folder: Path) -> tuple[Any, ...]:
    """What a guess makes of the first purchase: order, pieces, price, revenue, currency; the reason, if there is none."""
    (path := folder / "export").write_text(text)
    try:
        guessed = guess(sample(path))
    except ValueError as error:
        return (str(error),)
    if guessed.table is None:
        return ("no table",)
    (map_file := folder / "map.toml").write_text(map_text(guessed.table))
    format, of_columns = form_of(None, map_file)
    counts = ingest_file(path, format, folder / "home", progress=False, table=of_columns)
    with closing(connect(folder / "home")) as connection:
        found = connection.execute(
            "SELECT event_type, item_id, order_id, quantity, price, revenue, currency FROM events"
        ).fetchall()
    if counts != (2, 0, 0) or {row[0] for row in found} != {"purchase"} or None in {row[1] for row in found}:
        return ("rows lost", counts)
    return tuple(found[0][2:])


def test_the_columns_of_orders_are_guessed_on_public_shapes_but_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    wrong = {}
    for name, (text, expected) in ORDERS.items():
        if (found := read(text, tmp_path_factory.mktemp("orders"))) != expected:
            wrong[name] = (found, expected)
    assert len(ORDERS) >= 20
    assert list(wrong) == ["valued shoppers"], wrong  # it calls its visitors "id", which may be anything
