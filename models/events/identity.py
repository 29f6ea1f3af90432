"""Pseudonyms: the only form in which Attune keeps a user.

A partner's user id goes through a keyed hash before anything is stored. The key is derived per partner, so two partners
cannot join their users, and whoever holds the store without the key cannot test guesses.
"""

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b

PSEUDONYM_BYTES = 16


def partner_key(secret: bytes, partner: str) -> bytes:
    """Derive one partner's pseudonym key from the installation's secret.

    Parameters
    ----------
    secret
        Exactly 32 bytes.

    Raises
    ------
    ValueError
        If the secret has another length.

    Examples
    --------
    >>> partner_key(bytes(32), "shop") == partner_key(bytes(32), "other")
    False
    """
    if len(secret) != 32:
        raise ValueError(f"the secret must be 32 bytes, got {len(secret)}")
    return blake2b(partner.encode(), key=secret, digest_size=32, person=b"attune-partner").digest()


def partner_keys(secret: bytes) -> Callable[[str], bytes]:
    """`partner_key` of one installation; the keys of the partners asked about last are kept."""
    return lru_cache(maxsize=1024)(lambda partner: partner_key(secret, partner))


def pseudonym(key: bytes, user_id: str) -> str:
    """Hash a user id under a partner's key: 32 hexadecimal digits, the same for the same user every time.

    Examples
    --------
    >>> key = partner_key(bytes(32), "shop")
    >>> pseudonym(key, "u-1") == pseudonym(key, "u-1"), pseudonym(key, "u-1") == pseudonym(key, "u-2")
    (True, False)
    >>> len(pseudonym(key, "u-1"))
    32
    """
    return blake2b(user_id.encode("utf-8", "surrogatepass"), key=key, digest_size=PSEUDONYM_BYTES).hexdigest()
