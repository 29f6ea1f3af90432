"""Statements of rehearsals: what a policy would have done in a partner's last days."""

from typing import Final

from infra.store.statements.dialect import firsts, one_of

NEWEST_INSTANT: Final = "SELECT max(occurred_at_us) FROM events WHERE partner = ? AND occurred_at_us <= ?"
# Visitors of a partner and their numbers of events within a span, by pseudonym, which is as good as chance:
# (partner, since_us, until_us).
VISITORS_WITHIN: Final = (
    "SELECT user_id, count(*) FROM events WHERE partner = ? AND occurred_at_us >= ? AND occurred_at_us <= ? "
    "GROUP BY user_id ORDER BY user_id"
)
_OF_KIND: Final = "partner = ? AND type = ?"
# Score of each user's first signal of a kind, sent or held back: (partner, type).
FIRST_SCORE_SENT: Final = firsts("user_id, score, created_at_us", "signals", _OF_KIND)
FIRST_SCORE_HELD: Final = firsts("user_id, score, created_at_us", "holdout", _OF_KIND)
# Whom the shop takes some users for, as it said last: (partner, users).
GROUPS_OF: Final = (
    "SELECT user_id, segment, region, customer_group, seq FROM (SELECT user_id, segment, region, customer_group, seq, "
    "row_number() OVER (PARTITION BY user_id ORDER BY seq DESC) AS nth FROM events WHERE partner = ? "
    f"AND user_id {one_of()} AND coalesce(segment, region, customer_group) IS NOT NULL) AS each_one WHERE nth = 1"
)
