from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from services.api.wire import RecommendationRequest
from services.http.problems import json_pointer, of_decoding

DECODE = msgspec.json.Decoder(RecommendationRequest).decode
EVENT = b'{"user_id":"u","session_data":{"events":[{"type":"search","ts":"x",%s}]}}'


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b"[]", 422, ""),
        (b'{"user_id":"u"} x', 400, None),
        (b'{"user_id":"\xff"}', 400, None),
        (b'{"user_id":"\\ud800"}', 400, None),
        (b'{"user_id":"u","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, None),
        (b"{}", 422, "/user_id"),
        (b'{"user_id":7}', 422, "/user_id"),
        (b'{"user_id":""}', 422, "/user_id"),
        (b'{"user_id":"%s"}' % (b"u" * 257), 422, "/user_id"),
        (b'{"user_id":"u","limit":0}', 422, "/limit"),
        (b'{"user_id":"u","limit":101}', 422, "/limit"),
        (b'{"user_id":"u","limit":1.5}', 422, "/limit"),
        (b'{"user_id":"u","explain":"secret"}', 422, "/explain"),
        (EVENT % b'"price":-1', 422, "/session_data/events/0/price"),
        (EVENT % b'"price":NaN', 400, None),
        (EVENT % b'"price":Infinity', 400, None),
        (EVENT % b'"price":1e999', 422, "/session_data/events/0/price"),
        (EVENT % b'"price":true', 422, "/session_data/events/0/price"),
        (EVENT % b'"scroll_depth":1.01', 422, "/session_data/events/0/scroll_depth"),
        (EVENT % b'"item_id":["secret"]', 422, "/session_data/events/0/item_id"),
        (b'{"user_id":"u","session_data":{"events":[{"type":"search"}]}}', 422, "/session_data/events/0/ts"),
        (b'{"user_id":"u","session_data":{"events":"secret"}}', 422, "/session_data/events"),
    ],
)
def test_what_cannot_be_decoded_is_explained_and_pointed_to(body: bytes, status: int, pointer: str | None) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)) as failed:
        DECODE(body)
    problem = of_decoding(failed.value).problem
    assert (problem.status, problem.pointer) == (status, pointer)
    assert "secret" not in problem.detail
    assert "`$" not in problem.detail


def test_a_path_into_a_mapping_ends_before_the_senders_key() -> None:
    assert json_pointer(".payload[...].x") == "/payload"
    assert json_pointer("[2].a.b[0]") == "/2/a/b/0"


def test_a_value_in_quotes_never_leaves() -> None:
    refusal = of_decoding(msgspec.ValidationError("Invalid enum value 'secret' - at `$.kind`"))
    assert refusal.problem.detail == "Invalid enum value a value"
    assert refusal.problem.pointer == "/kind"


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """Texts of the client that msgspec repeats."""

    kind: Literal["a", "b"] = "a"
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "EUR"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"kind":"x\'secret\\n\\"\'y"}', "Invalid enum value a value"),
        (b'{"sec`ret":1}', "Object contains unknown fields"),
        (b'{"currency":"secret"}', "Expected `str` matching regex '^[A-Z]{3}$'"),
    ],
)
def test_names_and_values_of_the_client_never_leave_whatever_they_look_like(body: bytes, detail: str) -> None:
    with pytest.raises(msgspec.ValidationError) as failed:
        msgspec.json.decode(body, type=Strict)
    assert of_decoding(failed.value).problem.detail == detail


def test_of_two_same_keys_the_last_counts() -> None:
    assert DECODE(b'{"user_id":"a","user_id":"b"}').user_id == "b"
