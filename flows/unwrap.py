"""JSON that is written over many lines, or all in one, as one document a line.

A list of 100,000 events in one line, the same list indented, an envelope around it, or indented objects one after another: none
of them can be cut into blocks at the ends of lines. They are read on as a stream, so that their size does not matter.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from io import BufferedReader
from typing import Final

from models.events.sources.opened import stands_beside

HEAD_LINES: Final = 3  # of which one that is an object says that every line is
MOST_CHARACTERS: Final = 8 << 20  # of one document
READ_BYTES: Final = 256 << 10
_DECODER: Final = json.JSONDecoder()
_blank: Final = re.compile(r"[\s,\x1e]*")
_rows: Final = re.compile(r"\[\s*\{")
_next: Final = re.compile(r"\}\s*,?\s*(?=\{)")
_key: Final = re.compile(r'\s*,?\s*("(?:[^"\\]|\\.)*")\s*:\s*')


def is_spread(head: bytes) -> bool:
    """Whether the head of a file is JSON whose lines are no documents.

    Examples
    --------
    >>> is_spread(b'{"a": 1}\\n{"a": 2}\\n'), is_spread(b'[{"a": 1},\\n{"a": 2}]'), is_spread(b'{\\n "a": 1\\n}\\n')
    (False, False, True)
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\x1e \r\n\t")
    if not text.startswith((b"{", b"[")):
        return False
    lines = [line for line in re.split(rb"[\r\n]+", text) if line.strip(b"[] \t,\x1e")]
    return bool(lines) and not any(map(_is_object, lines[:HEAD_LINES])) and _begins_well(text.decode("utf-8", "replace"))


def _is_object(line: bytes) -> bool:
    text = line.decode("utf-8", "replace").strip("\x1e \t,")
    for whole in (text, text.removeprefix("["), text.removesuffix("]")):
        try:
            found, end = _DECODER.raw_decode(whole.strip())
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return True
        if isinstance(found, list) and found and isinstance(found[0], dict) and end == len(whole.strip()):
            return True
    return False


def _begins_well(text: str) -> bool:
    """Whether the first object, or the first of a list, in an envelope or not, is whole."""
    at: int | None = 0
    if text.startswith("["):
        at = _blank.match(text, 1).end()  # type: ignore[union-attr]
    elif not _decodes(text, 0):
        at = _list_inside(text, 0)
    return at is not None and text[at : at + 1] in ("{", "[") and _decodes(text, at)


def _decodes(text: str, at: int) -> bool:
    try:
        return isinstance(_DECODER.raw_decode(text, at)[0], dict)
    except (ValueError, RecursionError):
        return False


def in_lines(stream: BufferedReader) -> Callable[[int], bytes]:
    """Reader of a stream of spread JSON, as UTF-8 with one document a line; what cannot be read on follows as it is."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def more() -> str:
        while data := stream.read1(READ_BYTES):
            if text := decoder.decode(data):
                return text
        return ""

    documents = _elements(more)
    pending = bytearray()

    def read(n_bytes: int) -> bytes:
        while len(pending) < n_bytes and (document := next(documents, None)) is not None:
            pending.extend(document.encode("utf-8", "surrogateescape") + b"\n")
        found = bytes(pending[:n_bytes])
        del pending[:n_bytes]
        return found

    return read


def _elements(more: Callable[[], str]) -> Iterator[str]:
    """Documents of a text that comes in pieces: objects one after another, or the entries of a list, in an envelope or not."""
    text = more().removeprefix("\ufeff")
    at, inner, n_found = 0, False, 0
    while True:
        at = _blank.match(text, at).end()  # type: ignore[union-attr]
        if at == len(text):
            text, at = more(), 0
            if not text:
                return
            continue
        if text[at] == "[" and not inner:
            at, inner = at + 1, True
            continue
        if text[at] == "]" and inner:
            return  # what follows in an envelope is no row
        try:
            _, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            is_long = not inner and not n_found and len(text) - at > READ_BYTES
            place = _list_inside(text, at) if is_long else None
            if place is not None:
                at, inner = place, True
                continue
            rest = more() if len(text) - at <= MOST_CHARACTERS else ""
            if not rest:  # one that is damaged, up to where the next one could begin
                place = found.end() if (found := _next.search(text, at)) else len(text)
                yield re.sub(r"[\r\n]", " ", text[at:place])
                at = place
                continue
            text, at = text[at:] + rest, 0
            continue
        yield re.sub(r"[\r\n]", " ", text[at:end])
        n_found += 1
        text, at = (text[end:], 0) if end > READ_BYTES else (text, end)


def _list_inside(text: str, at: int) -> int | None:
    """Where the list of objects of an envelope begins that is too long to be read as a whole; None where there is none."""
    if text[at : at + 1] != "{":
        return None
    at += 1
    while (key := _key.match(text, at)) is not None:
        at = key.end()
        if rows := _rows.match(text, at):
            return rows.end() - 1
        try:
            _, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return _list_inside(text, at)
        if not stands_beside(json.loads(key[1])):
            return None  # the list is a part of this document
    return None
