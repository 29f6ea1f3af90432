"""Pacing of a budget over a day: what may have been spent by an instant, so that the morning does not take the evening's money.

The line is straight, with a small lead: half an hour's share may be spent ahead, so that the first visitors of a day get
something too. Where visitors want less than the line allows, what is left stays for later in the day.
"""

from typing import Final

from models.schema import DAY_US

LEAD_US: Final = DAY_US // 48


def allowed_cents(budget_cents: int, now_us: int) -> int:
    """Share of a day's budget that may have been spent by an instant of that day (UTC), hundredths of the currency.

    Never more than the budget, and all of it at the day's end.

    Examples
    --------
    >>> hour_us = 3_600_000_000
    >>> [allowed_cents(4_800, hour * hour_us) for hour in (0, 1, 12, 23, 24 + 12)]
    [100, 300, 2500, 4700, 2500]
    """
    if budget_cents < 0:
        raise ValueError(f"a budget must be 0 or more, got {budget_cents}")
    return min(budget_cents, budget_cents * (now_us % DAY_US + LEAD_US) // DAY_US)
