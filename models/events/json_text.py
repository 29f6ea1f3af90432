"""Repair of JSON that programs write and parsers refuse: halves of characters.

JavaScript cuts texts between the two halves of a character (``query.slice(0, 40)``), and `JSON.stringify` writes the half that
is left as an escape. That is JSON by its grammar, but no Unicode, and a strict parser refuses the whole document for it.

Source: RFC 8259, section 8.2; ECMA-262, "Well-formed JSON.stringify".
"""

import re
from typing import Final

REPLACEMENT: Final = rb"\ufffd"
# A whole character, half of one, and any other escape; in this order, so that what an escaped backslash precedes stays a text.
_escape: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)


def with_whole_characters(document: bytes) -> bytes:
    r"""The same document with U+FFFD, the replacement character, for every half of one.

    Examples
    --------
    >>> with_whole_characters(rb'["shoes \ud83d", "\ud83d\ude00", "\\ud83d"]')
    b'["shoes \\ufffd", "\\ud83d\\ude00", "\\\\ud83d"]'
    """
    return _escape.sub(lambda found: REPLACEMENT if found["half"] else found[0], document)
