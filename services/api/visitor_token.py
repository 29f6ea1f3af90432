"""Visitor token: a partner's server tells a page, and through it us, who a visitor is.

``base64url({"user_id", "until"}) . base64url(HMAC-SHA-256)``, without padding; `until` is in seconds since 1970, at most
`LONGEST_S` from now. The key of the HMAC is the SHA-256 of a server key, in hexadecimal digits: the partner has the key itself,
and we keep nothing else of it. It ends with the server key. `services.client.Attune.visitor_token` makes one.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

import msgspec

from models.schema import MAX_ID_LENGTH

LONGEST_S: Final = 86_400
CLOCKS_S: Final = 300  # that the partner's clock may be ahead
PURPOSE: Final = b"attune visitor token\n"
MOST: Final = 8 * MAX_ID_LENGTH + 256  # characters of a token


class Claim(msgspec.Struct, forbid_unknown_fields=True):
    """Claim of a token: who, and until which second since 1970."""

    user_id: str
    until: int


_CLAIM: Final = msgspec.json.Decoder(Claim)


def user_of(token: str, hashes: Iterable[str], now_s: float) -> str | None:
    """The user that a token names; None for one that is forged, too old, or valid for too long.

    Parameters
    ----------
    hashes
        Of the partner's server keys.

    Examples
    --------
    >>> user_of("e30.AAAA", ["0" * 64], 0.0) is None
    True
    """
    body, _, seal = token.partition(".")
    if len(token) > MOST or not token.isascii():
        return None
    try:
        told, given = _bytes(body), _bytes(seal)
        signed = PURPOSE + body.encode()
        if not any([hmac.compare_digest(given, hmac.digest(one.encode(), signed, sha256)) for one in hashes]):
            return None
        claim = _CLAIM.decode(told)
    except (binascii.Error, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    fits = now_s < claim.until <= now_s + LONGEST_S + CLOCKS_S and 0 < len(claim.user_id) <= MAX_ID_LENGTH
    return claim.user_id if fits else None


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
