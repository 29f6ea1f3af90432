"""Ids of decisions: UUID version 7, so that they sort by time."""

from typing import Final

_VERSION: Final = 0x7 << 76
_VARIANT: Final = 0x2 << 62
RANDOM_BITS: Final = 74


def decision_id(now_us: int, noise: int) -> str:
    """Build a UUID version 7 (RFC 9562) from an instant and random bits.

    Parameters
    ----------
    now_us
        Microseconds since 1970; the id holds milliseconds.
    noise
        `RANDOM_BITS` random bits.

    Examples
    --------
    >>> decision_id(1_645_557_742_000_000, 0xCC3 << 62 | 0x18C4DC0C0C07398F)
    '017f22e2-79b0-7cc3-98c4-dc0c0c07398f'
    """
    high, low = noise >> 62, noise & (2**62 - 1)
    text = f"{(now_us // 1000) << 80 | _VERSION | (high & 0xFFF) << 64 | _VARIANT | low:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
