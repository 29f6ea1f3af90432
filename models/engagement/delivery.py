"""When a webhook is tried again, how much an endpoint gets at once, and when it has failed for too long.

Source: the Standard Webhooks specification (schedule); D.-M. Chiu and R. Jain, Analysis of the Increase and Decrease Algorithms
for Congestion Avoidance in Computer Networks, 1989 (additive increase, multiplicative decrease); A. K. Choudhury and E. L.
Hahne, Dynamic Queue Length Thresholds for Shared-Memory Packet Switches, 1998 (a share of what is free).
"""

from typing import Final, NamedTuple

# Before each attempt, seconds after the one before: immediately, 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 hours.
SCHEDULE_S: Final = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
MAX_ATTEMPTS: Final = len(SCHEDULE_S)
LONG_FAILURE_S: Final = sum(SCHEDULE_S)  # as long as a message that never gets through is tried: 75 h 35 min
JITTER: Final = 0.1  # at most this share is added to a wait
LONGEST_PAUSE_S: Final = 86_400.0  # an endpoint may ask for, by Retry-After

FAILING, SLOW = "failing", "slow"
FIRST_SLOTS: Final = 2
MOST_SLOTS: Final = 16
SLOW_S: Final = 1.0  # an endpoint whose last answer took longer is slow


def next_due_us(n_attempts: int, ended_at_us: int, retry_after_s: float, jitter: float) -> int | None:
    """When to try again after a failed attempt.

    Parameters
    ----------
    n_attempts
        Made so far, at least 1.
    ended_at_us
        When the last one ended, microseconds since 1970.
    retry_after_s
        What the endpoint asks for, seconds; it never shortens the wait.
    jitter
        Uniform in [0, 1): spreads what failed together.

    Returns
    -------
    Microseconds since 1970, or None after the last attempt.

    Examples
    --------
    >>> next_due_us(1, 0, 0, 0.0), next_due_us(2, 0, 0, 0.5), next_due_us(1, 0, 60, 0.0), next_due_us(10, 0, 0, 0.0)
    (5000000, 315000000, 60000000, None)
    """
    if n_attempts >= MAX_ATTEMPTS:
        return None
    wait_s = max(SCHEDULE_S[n_attempts], min(retry_after_s, LONGEST_PAUSE_S)) * (1 + JITTER * jitter)
    return ended_at_us + int(wait_s * 1e6)


def is_long_failure(failing_since_us: int, changed_at_us: int, now_us: int) -> bool:
    """Whether an endpoint has failed for so long that it is left alone until its partner looks at it.

    Parameters
    ----------
    failing_since_us
        The first failure after the last success.
    changed_at_us
        When the partner last touched the subscription: the time counts from there.

    Examples
    --------
    >>> is_long_failure(0, 0, LONG_FAILURE_S * 1_000_000), is_long_failure(0, 1, LONG_FAILURE_S * 1_000_000)
    (True, False)
    """
    return now_us - max(failing_since_us, changed_at_us) >= LONG_FAILURE_S * 1_000_000


class Slots(NamedTuple):
    """Slots of one endpoint, messages under way at most: one more after each success, one alone after a failure.

    Attributes
    ----------
    trouble
        What its last answer was, if not well: `FAILING` or `SLOW`.

    Examples
    --------
    >>> Slots().after(0.1, delivered=True), Slots().after(14.0, delivered=True), Slots().after(0.1, delivered=False)
    (Slots(n=3, trouble=''), Slots(n=3, trouble='slow'), Slots(n=1, trouble='failing'))
    """

    n: int = FIRST_SLOTS
    trouble: str = ""

    def after(self, seconds: float, *, delivered: bool) -> "Slots":
        """The same after one more attempt, which took some seconds."""
        if not delivered:
            return Slots(1, FAILING)
        return Slots(min(self.n + 1, MOST_SLOTS), SLOW if seconds > SLOW_S else "")


def room(n_free: int, n_held: int, n_held_alike: int = 0) -> int:
    """Room for more messages of one partner under way: as many as it then holds must still be free for all others.

    So one partner alone holds half of all at most, n partners each one part of n + 1, and whoever comes next finds a place.

    Parameters
    ----------
    n_free
        Slots that nobody holds.
    n_held
        Slots that the partner holds.
    n_held_alike
        Of them, those of endpoints in the same trouble; counted once more, so that the partner's other endpoints find room too.

    Returns
    -------
    At least 1 for a partner that holds none, while any is free.

    Examples
    --------
    >>> room(256, 0), room(128, 128), room(128, 0), room(1, 0), room(0, 0), room(171, 85, 85)
    (128, 0, 64, 1, 0, 0)
    """
    return max((n_free - n_held - n_held_alike) // 2, int(n_free > 0 and n_held == 0), 0)
