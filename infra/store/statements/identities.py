"""Statements of identities: an anonymous visitor and a user are one, and what the log holds of the first is the second's."""

from typing import Final

from infra.store.statements.dialect import one_of

KNOWN_AS: Final = "SELECT user_id FROM identities WHERE anonymous_id = ?"
# Anonymous visitors among some pseudonyms, and who they are: (pseudonyms as a JSON list).
KNOWN_AMONG: Final = f"SELECT anonymous_id, user_id FROM identities WHERE anonymous_id {one_of()}"
# Whom a visitor's answers go on being dealt as: (user_id).
DEALT_AS: Final = "SELECT anonymous_id FROM identities WHERE user_id = ? AND deals = 1"
ANONYMOUS_OF: Final = "SELECT anonymous_id FROM identities WHERE user_id = ? ORDER BY id"
ANY_IDENTITY: Final = "SELECT 1 FROM identities LIMIT 1"
# (partner, anonymous_id, user_id, joined_at_us); reads what the two have done, so it goes first.
JOIN: Final = (
    "INSERT INTO identities (partner, anonymous_id, user_id, joined_at_us, first_us, is_split, deals) SELECT ?1, ?2, ?3, ?4, "
    "(SELECT min(occurred_at_us) FROM events WHERE user_id = ?2), "
    "CASE WHEN EXISTS (SELECT 1 FROM events WHERE user_id = ?2 AND coalesce(session_id, '') IN "
    "(SELECT coalesce(session_id, '') FROM events WHERE user_id = ?3)) THEN 1 ELSE 0 END, "
    "CASE WHEN EXISTS (SELECT 1 FROM decisions WHERE user_id = ?2) "
    "AND NOT EXISTS (SELECT 1 FROM decisions WHERE user_id = ?3) THEN 1 ELSE 0 END"
)
# What an erased user had done before as an anonymous visitor is erased too: (anonymous_id, user_id).
_UNTIL_ERASED: Final = "(SELECT erased_at_us FROM tombstones WHERE user_id = ?2)"
_OLD: Final = f"seq IN (SELECT seq FROM events WHERE user_id = ?1 AND occurred_at_us <= {_UNTIL_ERASED})"
FORGET_OLD: Final = (
    f"DELETE FROM quarantine WHERE {_OLD}",
    f"DELETE FROM reward_events WHERE {_OLD}",
    f"DELETE FROM events WHERE user_id = ?1 AND occurred_at_us <= {_UNTIL_ERASED}",
    f"DELETE FROM decisions WHERE user_id = ?1 AND decided_at_us <= {_UNTIL_ERASED}",
)
# (anonymous_id, user_id); what of both is kept under a key of its own is made anew, or stays to be erased with the user.
MOVE: Final = (
    "UPDATE events SET user_id = ?2 WHERE user_id = ?1",
    "UPDATE decisions SET dealt_as = coalesce(dealt_as, user_id), user_id = ?2 WHERE user_id = ?1",
    "UPDATE failed_decisions SET user_id = ?2 WHERE user_id = ?1",
    "DELETE FROM action_observations WHERE user_id IN (?1, ?2)",
    "DELETE FROM action_due WHERE user_id IN (?1, ?2)",
    # Of two silences the younger goes on.
    "INSERT INTO silences (user_id, partner, cause_seq, since_us, utc_offset_min, due_at_us) SELECT ?2, partner, cause_seq, "
    "since_us, utc_offset_min, due_at_us FROM silences WHERE user_id = ?1 ON CONFLICT (user_id) DO UPDATE SET "
    "cause_seq = excluded.cause_seq, since_us = excluded.since_us, utc_offset_min = excluded.utc_offset_min, "
    "due_at_us = excluded.due_at_us WHERE excluded.since_us >= silences.since_us",
    "DELETE FROM silences WHERE user_id = ?1 AND user_id <> ?2",
    # A cap and a pause hold on: the user's next signal knows of those that the anonymous visitor was sent.
    "INSERT INTO signal_users (partner, user_id, score, predicted_action, scored_at_us, sequence, last_signal_at_us, "
    "local_day, n_that_day) SELECT partner, ?2, score, predicted_action, scored_at_us, 0, last_signal_at_us, local_day, "
    "n_that_day FROM signal_users WHERE user_id = ?1 ON CONFLICT (partner, user_id) DO UPDATE SET "
    "n_that_day = CASE WHEN excluded.local_day > coalesce(signal_users.local_day, -1) THEN excluded.n_that_day "
    "WHEN excluded.local_day = signal_users.local_day THEN signal_users.n_that_day + excluded.n_that_day "
    "ELSE signal_users.n_that_day END, "
    "local_day = max(coalesce(signal_users.local_day, -1), coalesce(excluded.local_day, -1)), "
    "last_signal_at_us = max(coalesce(signal_users.last_signal_at_us, 0), coalesce(excluded.last_signal_at_us, 0)) "
    "WHERE excluded.last_signal_at_us IS NOT NULL",
)
DUE_NOW: Final = "INSERT INTO action_due (user_id, due_us) VALUES (?, ?)"
NEWEST_JOIN: Final = "SELECT coalesce(max(id), 0) FROM identities"
# Behind a join: (after_id).
JOINED_SINCE: Final = "SELECT id, anonymous_id, user_id FROM identities WHERE id > ? ORDER BY id"
N_SPLIT: Final = "SELECT count(*) FROM identities WHERE is_split = 1"
SPLIT_SINCE: Final = "SELECT user_id FROM identities WHERE id > ? AND is_split = 1"
