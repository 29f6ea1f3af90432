"""Statements of decisions and what they led to: one row per answer, its reward, and the posteriors that were learned from both.

A row in `decisions` is also the exposure of its experiment, since it is written when the answer is used. A request that failed
leaves a row in `failed_decisions` instead: its visitor was dealt a variant all the same. `user_id` is the pseudonym in all of
them.
"""

from typing import Final

from infra.store.statements.dialect import field, field_if_json, one_of
from infra.store.statements.events import IS_BELIEVED
from infra.store.statements.trust import PAID
from models.experiments.assignment import INTERLEAVED

DECISION_COLUMNS: Final = (
    "decision_id",
    "partner",
    "user_id",
    "session_id",
    "decided_at_us",
    "experiment",
    "variant",
    "profile",
    "propensity",
    "context",
    "models",
    "items",
    "latency_us",
    "degraded",
    "snapshot",
    "dealt_as",
)

LOG_DECISION: Final = (
    f"INSERT INTO decisions ({', '.join(DECISION_COLUMNS)}) VALUES ({', '.join('?' * len(DECISION_COLUMNS))}) "
    "ON CONFLICT (decision_id) DO NOTHING"
)
# Whether a decision that a page asked for goes on record: (user_id, from_us, most, is_recognized, utc_day). Each visitor has so
# many a day. Unless the partner's server vouched for the visitor, it must not have spoken of that user (a page could take what
# others earn), and the visitor must be one who counts today (`infra.store.trust`).
IS_PAGE_RECORDED: Final = (
    "SELECT (SELECT count(*) FROM decisions WHERE user_id = ?1 AND decided_at_us >= ?2) < ?3 AND (?4 = 1 OR "
    "(EXISTS (SELECT 1 FROM trust_visitors WHERE user_id = ?1 AND utc_day = ?5) "
    "AND NOT EXISTS (SELECT 1 FROM events WHERE user_id = ?1 AND browser = 0)))"
)
# (partner, user_id, failed_at_us, experiment, variant, error).
LOG_FAILURE: Final = (
    "INSERT INTO failed_decisions (partner, user_id, failed_at_us, experiment, variant, error) VALUES (?, ?, ?, ?, ?, ?)"
)
_REWARDING: Final = (
    f"SELECT seq, partner, user_id, event_type, occurred_at_us, item_id, {PAID}, decision_id FROM events "
    f"WHERE event_type IN ('add_to_cart', 'purchase') AND {IS_BELIEVED}"
)
# Events that may be a reward, with the decision that they name: (after_seq, until_seq); and one of them: (seq).
REWARDING: Final = f"{_REWARDING} AND seq > ? AND seq <= ? ORDER BY seq"
REWARDING_ONE: Final = f"{_REWARDING} AND seq = ?"
# The decision that an event names, if it was taken for that user in that time: (decision_id, partner, user_id, from_us, to_us).
NAMED: Final = (
    "SELECT decision_id FROM decisions WHERE decision_id = ? AND partner = ? AND user_id = ? AND decided_at_us BETWEEN ? AND ?"
)
# The last decision in that time that showed the user an item: (partner, user_id, from_us, to_us, item_id).
LAST_SHOWN: Final = (
    "SELECT decision_id FROM (SELECT seq, decision_id, decided_at_us, items FROM decisions "
    "WHERE partner = ? AND user_id = ? AND decided_at_us BETWEEN ? AND ? ORDER BY decided_at_us DESC LIMIT 200) AS lately "
    f"WHERE ? {one_of('items')} ORDER BY decided_at_us DESC, seq DESC LIMIT 1"
)
# (seq of the event, decision_id, reward, revenue).
CREDIT: Final = "INSERT INTO reward_events (seq, decision_id, reward, revenue) VALUES (?, ?, ?, ?) ON CONFLICT (seq) DO NOTHING"
# Credits of events that are superseded: (seqs as a JSON list).
FORGET_CREDITS: Final = f"DELETE FROM reward_events WHERE seq {one_of()}"
# A decision's reward made anew from all its events: (joined_at_us, decision_id).
REWARD: Final = (
    "INSERT INTO rewards (decision_id, reward, revenue, joined_at_us) "
    "SELECT decision_id, max(reward), sum(revenue), ? FROM reward_events WHERE decision_id = ? GROUP BY decision_id "
    "ON CONFLICT (decision_id) DO UPDATE SET reward = excluded.reward, revenue = excluded.revenue, "
    "joined_at_us = excluded.joined_at_us"
)
# What tells of a profile: the bandit dealt it, and the list was its own; half of an interleaved one is the ranker's.
_DEALT: Final = f"snapshot IS NOT NULL AND experiment <> '{INTERLEAVED}'"
STRETCH: Final = 200  # decisions that the bandit looks at together
MOST_OF_ONE_USER: Final = 10  # decisions that count in a stretch: no visitor alone moves the posteriors
# Decisions of the bandit that count, of each visitor's the first of a stretch: (after_seq, until_seq).
DEALT: Final = (
    "SELECT seq, decided_at_us, profile, context FROM (SELECT seq, decided_at_us, profile, context, "
    f"row_number() OVER (PARTITION BY user_id, seq / {STRETCH} ORDER BY seq) AS nth "
    f"FROM decisions WHERE {_DEALT} AND seq > ? AND seq <= ?) AS each_one WHERE nth <= {MOST_OF_ONE_USER} ORDER BY seq"
)
# What counts for them, and when we learned of it: (after_seq, until_seq).
EARNED: Final = (
    "SELECT decisions.seq, coalesce(received_at_us, joined_at_us), reward_events.reward FROM decisions "
    "JOIN reward_events USING (decision_id) JOIN rewards USING (decision_id) "
    "LEFT JOIN events ON events.seq = reward_events.seq WHERE decisions.seq > ? AND decisions.seq <= ?"
)
# When we learned of the first event behind a position: (after_seq).
NEXT_RECEIVED: Final = "SELECT received_at_us FROM events WHERE seq > ? ORDER BY seq LIMIT 1"
NEWEST_DECISION: Final = "SELECT coalesce(max(seq), 0) FROM decisions"
SEQ_OF_DECISION: Final = "SELECT seq FROM decisions WHERE decision_id = ?"
# Rewards of the decisions of a span, in the order of time, 0 where there was none: (after_us, until_us).
REWARDS_BETWEEN: Final = (
    "SELECT coalesce(rewards.reward, 0) FROM decisions LEFT JOIN rewards USING (decision_id) "
    "WHERE decided_at_us > ? AND decided_at_us <= ? ORDER BY decided_at_us, seq"
)
NEWEST_SNAPSHOT: Final = "SELECT max(version) FROM profile_snapshots"
READ_SNAPSHOT: Final = "SELECT body FROM profile_snapshots WHERE version = ?"
# (body, last_decision_seq, created_at_us); the version is given by the store.
KEEP_SNAPSHOT: Final = (
    "INSERT INTO profile_snapshots (body, last_decision_seq, created_at_us) VALUES (?, ?, ?) RETURNING version"
)
# Of before the newest so many, some at a time: (n_kept, limit).
FORGET_SNAPSHOTS: Final = (
    "DELETE FROM profile_snapshots WHERE version IN (SELECT version FROM profile_snapshots "
    "WHERE version <= (SELECT max(version) FROM profile_snapshots) - ? ORDER BY version LIMIT ?)"
)
_WINDOW, _TRIAL = "'$.params.window_s'", "'$.params.trial'"
# Seconds after a decision within which the worker counts an event for it.
REWARD_WINDOW: Final = f"SELECT {field('body', _WINDOW)} FROM profile_snapshots ORDER BY version DESC LIMIT 1"
# Probability with which the worker deals each profile on trial; NULL or no row where it deals none.
TRIAL_SHARE: Final = f"SELECT {field_if_json('body', _TRIAL)} FROM profile_snapshots ORDER BY version DESC LIMIT 1"
# The newest decisions of the bandit whose time is over, with what came of them: (decided_until_us, limit).
JUDGED: Final = (
    "SELECT user_id, context, profile, propensity, snapshot, coalesce(reward, 0.0) "
    f"FROM decisions LEFT JOIN rewards USING (decision_id) WHERE {_DEALT} AND decided_at_us <= ? "
    "ORDER BY seq DESC LIMIT ?"
)
# Decisions that the bandit took, for a replay, as far back as its snapshots reach: (after_seq, limit).
BANDIT_DECISIONS: Final = (
    "SELECT seq, decision_id, snapshot, context, profile, propensity, coalesce(dealt_as, user_id) FROM decisions "
    "WHERE snapshot >= (SELECT min(version) FROM profile_snapshots) AND seq > ? ORDER BY seq LIMIT ?"
)
