"""Seals: what is needed to sign webhooks, encrypted where it is kept.

AES-256-GCM with a key derived from the installation's secret, so that a copy of the store alone signs nothing. A seal belongs
to one subscription: copied into another row it does not open.

Source: NIST SP 800-38D (GCM); a random nonce of 96 bits for each seal.
"""

import base64
import secrets
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.store.statements.signals import SEALED
from services.delivery.webhooks import Secrets

NONCE_BYTES: Final = 12


class Seals:
    """Seals of an installation.

    Parameters
    ----------
    secret
        The installation's.

    Examples
    --------
    >>> seals = Seals(bytes(32))
    >>> seals.opened("sub_1", seals.sealed("sub_1", "whsec_AAAA"))
    'whsec_AAAA'
    """

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(blake2b(b"webhook secrets", key=secret, digest_size=32).digest())

    def sealed(self, subscription_id: str, text: str) -> str:
        """A text as it is kept; other bytes each time."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        hidden = self._cipher.encrypt(nonce, text.encode(), subscription_id.encode())
        return SEALED + base64.b64encode(nonce + hidden).decode()

    def opened(self, subscription_id: str, kept: str) -> str:
        """The text behind a seal; what was kept before there were seals, as it is.

        Raises
        ------
        ValueError
            If it was sealed with another secret or for another subscription, or was altered.
        """
        if not kept.startswith(SEALED):
            return kept
        try:
            found = base64.b64decode(kept.removeprefix(SEALED), validate=True)
            return self._cipher.decrypt(found[:NONCE_BYTES], found[NONCE_BYTES:], subscription_id.encode()).decode()
        except InvalidTag:
            raise ValueError("a webhook secret cannot be opened with the secret of this installation") from None

    def signing(self, subscription_id: str, secrets: Secrets, now_us: int) -> tuple[str, ...]:
        """The secrets to sign with now, opened; raises as `opened`."""
        return tuple(self.opened(subscription_id, one) for one in secrets.valid(now_us))
