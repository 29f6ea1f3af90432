"""Shards of users: 64 that never change, so that several workers each do a part of a duty for users of their own.

Whose shard is whose is told by the pseudonym alone; all that one user does is in one shard, so nothing has to be put together
again. A part is a run of shards that lie side by side.
"""

from typing import Final, NamedTuple
from zlib import crc32

N_SHARDS: Final = 64


def shard_of(user_id: str) -> int:
    """Shard of a user, 0 to 63.

    Examples
    --------
    >>> shard_of("u-1"), shard_of("u-2")
    (60, 6)
    """
    return crc32(user_id.encode()) % N_SHARDS


class Part(NamedTuple):
    """Part of all users.

    Attributes
    ----------
    number
        From 0.
    n_parts
        A divisor of the number of shards.
    """

    number: int = 0
    n_parts: int = 1

    def has(self, user_id: str) -> bool:
        """Whether a user is of this part.

        Examples
        --------
        >>> [Part(k, 4).has("u-1") for k in range(4)], Part().has("u-1")
        ([False, False, False, True], True)
        """
        return shard_of(user_id) * self.n_parts // N_SHARDS == self.number

    def named(self, name: str) -> str:
        """Name of this part of something; the first part has that of the whole.

        Examples
        --------
        >>> Part(0, 4).named("features"), Part(3, 4).named("features")
        ('features', 'features 3')
        """
        return f"{name} {self.number}" if self.number else name


EVERYBODY: Final = Part()
