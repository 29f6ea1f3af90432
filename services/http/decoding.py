"""JSON decoding: from the bytes of a body to a struct, or to a refusal that points at the fault."""

import re
from typing import Any, Final, TypeVar

import msgspec

from models.events.json_text import with_whole_characters
from services.http.problems import of_decoding

Body = TypeVar("Body")
_NUL: Final = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")  # JSON has no other way to write it
MENDED_BYTES: Final = 64 * 1024  # of a body that is searched for halves of characters; more would hold others up


def decode(decoder: "msgspec.json.Decoder[Body]", body: bytes) -> Body:
    """Decode a body.

    JSON knows one kind of number, so that ``20.0`` is as good an integer as ``20``; a body with such a one is read again. The
    character U+0000, which PostgreSQL keeps in no text, is read as U+FFFD.

    Raises
    ------
    Refusal
        400 for what is no JSON, 422 with a pointer for what has another shape.

    Examples
    --------
    >>> decode(msgspec.json.Decoder(list[int]), b"[1, 2.0]")
    [1, 2]
    >>> decode(msgspec.json.Decoder(list[int]), b"[1, 2.5]")
    Traceback (most recent call last):
    services.http.problems.Refusal: Expected `int`, got `float`
    """
    if holds_nul(body):
        body = _NUL.sub(rb"\1\\ufffd", body)
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        mended = _mended(body, error)
        if mended is not None:
            return decode(decoder, mended)
        if not (isinstance(error, msgspec.ValidationError) and "got `float`" in str(error)):
            raise of_decoding(error) from None
    try:
        return msgspec.convert(_with_integers(msgspec.json.decode(body)), decoder.type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise of_decoding(error) from None


def holds_nul(text: "bytes | msgspec.Raw") -> bool:
    r"""Whether a text within some JSON has the character U+0000.

    Examples
    --------
    >>> holds_nul(b'["\\u0000"]'), holds_nul(b'["\\\\u0000"]')
    (True, False)
    """
    body = bytes(text)
    return b"\\u0000" in body and _NUL.search(body) is not None


def _mended(body: bytes, error: Exception) -> bytes | None:
    """A body that could not be read, without halves of characters; None where that was not what is wrong with it."""
    if isinstance(error, msgspec.ValidationError) or not isinstance(error, msgspec.DecodeError) or len(body) > MENDED_BYTES:
        return None
    mended = with_whole_characters(body)
    return None if mended == body else mended


def _with_integers(value: Any) -> Any:
    """The same value with integers for the floats that are integers."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list):
        return [_with_integers(one) for one in value]
    return {name: _with_integers(one) for name, one in value.items()} if isinstance(value, dict) else value
