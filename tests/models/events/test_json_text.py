"""Halves of characters in JSON: replaced where a text was cut, left where a document is full of them."""

import json

from hypothesis import given
from hypothesis import strategies as st

from models.events.json_text import MOST_HALVES, with_whole_characters

PIECES = ("\\", "u", "\\u", "\\ud83d", "\\ude00", "x", "d8", "\\n", "\\u0430", "\\ud8z", "\n", '"')


@given(st.lists(st.sampled_from('a\\u"é\n\ud83d\ude00\udfff😀'), max_size=12).map("".join))
def test_what_javascript_writes_becomes_unicode_and_whole_characters_stay(text: str) -> None:
    halves = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert json.loads(with_whole_characters(json.dumps(text).encode())) == halves


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_what_has_no_half_comes_back_as_it_is(text: str) -> None:
    document = text.encode()
    mended = with_whole_characters(document)
    assert with_whole_characters(mended) == mended
    if "\\ud83d" not in text and "\\ude00" not in text:
        assert mended == document


def test_a_document_full_of_halves_is_left_as_it_is() -> None:
    some, many = (b'["' + b"\\ud83d" * n + b'"]' for n in (MOST_HALVES, MOST_HALVES + 1))
    assert with_whole_characters(some) == b'["' + b"\\ufffd" * MOST_HALVES + b'"]'
    assert with_whole_characters(many) == many
