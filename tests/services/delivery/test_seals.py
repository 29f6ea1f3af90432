"""Seals: only the installation opens them, and only where they belong."""

import pytest

from services.delivery.seals import Seals
from services.delivery.webhooks import Secrets
from tests.services.receivers import OLD_SECRET, SECRET


def test_a_seal_opens_for_its_subscription_and_installation_alone() -> None:
    seals = Seals(bytes(32))
    kept = seals.sealed("sub_1", SECRET)
    assert SECRET not in kept
    assert kept != seals.sealed("sub_1", SECRET)
    assert seals.opened("sub_1", kept) == SECRET
    altered = kept[:-2] + ("A" if kept[-2] != "A" else "B") + kept[-1]
    for other, name, text in ((seals, "sub_2", kept), (Seals(b"1" * 32), "sub_1", kept), (seals, "sub_1", altered)):
        with pytest.raises(ValueError, match="webhook secret"):
            other.opened(name, text)


def test_what_signs_is_opened_whether_it_was_sealed_or_kept_in_clear() -> None:
    seals = Seals(bytes(32))
    secrets = Secrets(seals.sealed("s", SECRET), OLD_SECRET, 100)
    assert seals.signing("s", secrets, 99) == (SECRET, OLD_SECRET)
    assert seals.signing("s", secrets, 100) == (SECRET,)
