"""Repair of JSON that programs write and parsers refuse: halves of characters.

JavaScript cuts texts between the two halves of a character (``query.slice(0, 40)``), and `JSON.stringify` writes the half that
is left as an escape. That is JSON by its grammar, but no Unicode, and a strict parser refuses the whole document for it.

Source: RFC 8259, section 8.2; ECMA-262, "Well-formed JSON.stringify".
"""

import re
from typing import Final

REPLACEMENT: Final = rb"\ufffd"
MOST_HALVES: Final = 1_000  # of one document; more is no text that was cut, and mending it would hold others up
# What is whole (text, escapes, characters of two halves), then a half, or an escape that is none, or the end. Every document
# matches from its beginning to its end, and nothing is tried twice: the time is linear.
_piece: Final = re.compile(
    rb"((?:[^\\]++|(?:\\(?:[^u]|u[^dD\\])[^\\]*+)++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+)"
    rb"(?:(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|(?P<none>\\.?)|\Z)",
    re.DOTALL,
)


def with_whole_characters(document: bytes) -> bytes:
    r"""The same document with U+FFFD, the replacement character, for every half of one.

    A document with more than `MOST_HALVES` of them comes back as it is.

    Examples
    --------
    >>> with_whole_characters(rb'["shoes \ud83d", "\ud83d\ude00", "\\ud83d"]')
    b'["shoes \\ufffd", "\\ud83d\\ude00", "\\\\ud83d"]'
    """
    most = MOST_HALVES + 3  # the rest behind the last half is a piece, and the end may be one more
    mended, n = _piece.subn(_whole, document, count=most)
    return mended if n < most else document


def _whole(found: re.Match[bytes]) -> bytes:
    return found[1] + (REPLACEMENT if found["half"] else found["none"] or b"")
