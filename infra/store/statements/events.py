"""Statements of the event log. Times are integer microseconds since 1970 UTC; an event's position is its `seq` here."""

from typing import Final

from infra.store.statements.dialect import one_of
from models.schema import EVENT_COLUMNS, GROUPS, MEASURES, SAID_COLUMNS, VISITOR_GROUPS

LOG_COLUMNS: Final = ("partner", *EVENT_COLUMNS, "received_at_us")
# With 1 for an event that came with a browser key, whether it counts in what is learned for others (`models.trust`), and what
# its sender said beside.
APPEND_COLUMNS: Final = (*LOG_COLUMNS, "browser", "believed", *SAID_COLUMNS)
NOTHING_SAID: Final = (None,) * len(SAID_COLUMNS)
FROM_SERVER: Final = (0, 1, *NOTHING_SAID)  # the last of them, for an event of which nothing is said
_SEQ_AND_LOG: Final = f"seq, {', '.join(LOG_COLUMNS)}"
_HELD_BACK: Final = "SELECT seq FROM quarantine WHERE seq IS NOT NULL AND replayed_at_us IS NULL"
# Of one event, where few are looked at: neither validation holds it back nor is it more than browser keys may add.
IS_BELIEVED: Final = (
    "events.believed = 1 AND NOT EXISTS (SELECT 1 FROM quarantine WHERE quarantine.seq = events.seq AND replayed_at_us IS NULL)"
)

APPEND_EVENT: Final = (
    f"INSERT INTO events ({', '.join(APPEND_COLUMNS)}) VALUES ({', '.join('?' * len(APPEND_COLUMNS))}) "
    "ON CONFLICT DO NOTHING"  # of its id, or of its item in an order
)
# Whether a server or a file has told of an item of an order: (partner, order_id, item_id).
TOLD_OF_ORDER: Final = (
    "SELECT 1 FROM events WHERE partner = ? AND order_id = ? AND item_id = ? AND event_type = 'purchase' AND browser = 0"
)
# Purchases that pages told of and servers tell of too: (partner, order ids as a JSON list).
_OF_PAGES: Final = (
    f"FROM events AS page WHERE partner = ? AND order_id {one_of()} AND browser = 1 AND event_type = 'purchase' AND EXISTS "
    "(SELECT 1 FROM events AS own WHERE own.partner = page.partner AND own.order_id = page.order_id "
    "AND own.item_id = page.item_id AND own.event_type = 'purchase' AND own.browser = 0)"
)
TOLD_BY_PAGES: Final = f"SELECT seq {_OF_PAGES}"
# Which of some ids a partner's log has: (partner, ids as a JSON list).
KNOWN_IDS: Final = f"SELECT event_id FROM events WHERE partner = ? AND event_id {one_of()}"
# The events that a transaction has appended for a file: (partner, source, the newest before).
NOTE_SOURCE: Final = (
    "INSERT INTO ingested (partner, source, first_seq, last_seq) SELECT ?1, ?2, ?3 + 1, max(seq) FROM events "
    "HAVING max(seq) > ?3"
)
# About so many, quickly: events that were erased count as well.
N_EVENTS: Final = "SELECT coalesce(max(seq), 0) FROM events WHERE seq > 0"
EVENTS_SINCE: Final = "SELECT count(*) FROM events WHERE seq > ?"  # (after_seq)
NEWEST_EVENT: Final = "SELECT coalesce(max(seq), 0) FROM events"
NEWEST_WRITTEN: Final = "SELECT max(seq) FROM events"  # whether it may be read yet or not
ANY_EVENT: Final = "SELECT 1 FROM events LIMIT 1"
ANY_ITEM: Final = "SELECT 1 FROM events WHERE item_id IS NOT NULL LIMIT 1"
ANY_EVENT_OF: Final = "SELECT 1 FROM events WHERE user_id = ? LIMIT 1"
NEWEST_INSTANT: Final = "SELECT max(occurred_at_us) FROM events"
# Valid events in log order, for any fold: (after_seq, until_us, limit).
_VALID: Final = f"FROM events WHERE seq > ? AND occurred_at_us <= ? AND seq NOT IN ({_HELD_BACK})"
READ_EVENTS: Final = f"SELECT {_SEQ_AND_LOG} {_VALID} ORDER BY seq LIMIT ?"
# The same without what is not believed, and with 1 for what a browser key told: for whatever is learned for others.
READ_BELIEVED: Final = f"SELECT {_SEQ_AND_LOG}, browser {_VALID} AND believed = 1 ORDER BY seq LIMIT ?"
# What is learned from of those: all but what tells one event from another.
LEARNED_COLUMNS: Final = (
    *("seq", *(name for name in LOG_COLUMNS if name not in ("event_id", "received_at_us")), "browser", GROUPS),
)
_BETWEEN: Final = "\x1f"  # `models.visitor_groups.packed`
_GROUPS: Final = f" || '{_BETWEEN}' || ".join(f"coalesce({name}, '')" for name in VISITOR_GROUPS)
GROUPS_AS_TEXT: Final = f"nullif({_GROUPS}, '{_BETWEEN * (len(VISITOR_GROUPS) - 1)}')"
_LEARNED: Final = ", ".join((*LEARNED_COLUMNS[:-1], GROUPS_AS_TEXT))
# The same of a span of time: (since_us, until_us). The index of instants tells between which numbers they are; with the signs
# these are read in the order of the log, where otherwise all that was found would be sorted.
BELIEVED_WITHIN: Final = (
    f"SELECT {_LEARNED} FROM events WHERE +occurred_at_us >= ?1 AND +occurred_at_us <= ?2 "
    "AND seq >= (SELECT min(seq) FROM events WHERE occurred_at_us >= ?1 AND occurred_at_us <= ?2) "
    "AND seq <= (SELECT max(seq) FROM events WHERE occurred_at_us >= ?1 AND occurred_at_us <= ?2) "
    f"AND seq NOT IN ({_HELD_BACK}) AND believed = 1 ORDER BY seq"
)
# The same of a partner: (partner, since_us, until_us).
BELIEVED_OF_PARTNER: Final = (
    f"SELECT {_LEARNED} FROM events WHERE partner = ? AND occurred_at_us >= ? AND occurred_at_us <= ? "
    f"AND seq NOT IN ({_HELD_BACK}) AND believed = 1 ORDER BY seq"
)
# Instant of the event that a number of newer ones follow: (until_us, number).
NTH_NEWEST: Final = "SELECT occurred_at_us FROM events WHERE occurred_at_us <= ? ORDER BY occurred_at_us DESC LIMIT 1 OFFSET ?"
# The same of one partner; with the sign the events stay in the order of time: (until_us, partner, number).
NTH_NEWEST_OF: Final = (
    "SELECT occurred_at_us FROM events WHERE occurred_at_us <= ? AND +partner = ? ORDER BY occurred_at_us DESC LIMIT 1 OFFSET ?"
)
COUNT_BY_PARTNER: Final = "SELECT partner, count(*) FROM events GROUP BY partner"
_OF_SOME: Final = f"FROM events WHERE user_id {one_of()} AND seq <= ? AND seq NOT IN ({_HELD_BACK})"
_OF_USERS: Final = f"SELECT {_SEQ_AND_LOG} {_OF_SOME}"
# Valid events of some users, given as a JSON list: (users, until_seq).
READ_USERS: Final = f"{_OF_USERS} ORDER BY seq"
BELIEVED_OF_USERS: Final = f"SELECT {_SEQ_AND_LOG}, browser {_OF_SOME} AND believed = 1 ORDER BY seq"
# The same since an instant, with 1 for what a browser key told, and the visitor's groups: (users, until_seq, since_us).
READ_RECENT: Final = f"SELECT {_SEQ_AND_LOG}, browser, {GROUPS_AS_TEXT} {_OF_SOME} AND occurred_at_us >= ? ORDER BY seq"
# Who did something between two events, and how much: (after_seq, until_seq).
USERS_BETWEEN: Final = "SELECT user_id, count(*) FROM events WHERE seq > ? AND seq <= ? GROUP BY user_id"
# The same of what a fold of the log up to an event and an instant does not have: (after_seq, until_seq, seq, instant).
USERS_SINCE: Final = (
    "SELECT user_id, count(*) FROM events WHERE seq > ? AND seq <= ? AND (seq > ? OR occurred_at_us > ?) GROUP BY user_id"
)
# The same of some partners; of one more, whoever did anything: (after_seq, until_seq, seq, instant, partners, one more).
USERS_SINCE_OF: Final = (
    "SELECT user_id, count(*) FROM events WHERE seq > ? AND seq <= ? "
    f"AND ((seq > ? OR occurred_at_us > ?) AND partner {one_of()} OR partner = ?) GROUP BY user_id"
)
# The first partner, by name, behind another: (partner).
NEXT_PARTNER: Final = "SELECT min(partner) FROM events WHERE partner > ?"
# Events of a partner; without the sign, the whole log would be read in its own order. The first behind an event, and the one
# that a number of newer ones follow: (partner, after_seq), (partner, until_seq, number).
FIRST_OF_PARTNER: Final = "SELECT min(+seq) FROM events WHERE partner = ? AND seq > ?"
NTH_OF_PARTNER: Final = "SELECT seq FROM events WHERE partner = ? AND seq <= ? ORDER BY +seq DESC LIMIT 1 OFFSET ?"
# How many events some users have: (users). Whoever asks again and again remembers it (`infra.store.lengths`).
COUNT_OF_USERS: Final = f"SELECT user_id, count(*) FROM events WHERE user_id {one_of()} GROUP BY user_id"
# The same of believed events.
COUNT_BELIEVED: Final = f"SELECT user_id, count(*) FROM events WHERE user_id {one_of()} AND believed = 1 GROUP BY user_id"
# Events of browser keys that came since an instant and are not believed: (since_us).
COUNT_NOT_BELIEVED: Final = "SELECT count(*) FROM events WHERE believed = 0 AND received_at_us >= ?"
# What associations need of all events of some users: (users, until_seq).
TOUCH_COLUMNS: Final = (
    *("seq", "partner", "user_id", "session_id", "event_type", "occurred_at_us", "item_id", "category", "browser"),
)
READ_TOUCHES: Final = (
    f"SELECT {', '.join(TOUCH_COLUMNS)} FROM events WHERE user_id {one_of()} AND seq <= ? AND {IS_BELIEVED} ORDER BY seq"
)
# The same of everybody's events between two: (after_seq, until_seq).
TOUCHES_BETWEEN: Final = (
    f"SELECT {', '.join(TOUCH_COLUMNS)} FROM events WHERE seq > ? AND seq <= ? AND {IS_BELIEVED} ORDER BY seq"
)
# What may cause a signal, in log order: (after_seq, limit).
CAUSE_COLUMNS: Final = ("seq", "partner", "user_id", "occurred_at_us", "received_at_us", "utc_offset_min")
READ_CAUSES: Final = f"SELECT {', '.join(CAUSE_COLUMNS)} FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
# When the events of a stretch were received, in log order: (after_seq, until_seq, limit).
RECEIVED: Final = "SELECT seq, received_at_us FROM events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
# The newest visitor with a session worth showing, and the newest events of one: (user_id).
BUSY_VISITOR: Final = (
    "SELECT user_id FROM (SELECT user_id, item_id FROM events ORDER BY seq DESC LIMIT 5000) AS newest "
    "WHERE item_id IS NOT NULL GROUP BY user_id ORDER BY count(*) BETWEEN 5 AND 40 DESC, count(*) DESC, user_id LIMIT 1"
)
SHOWN_COLUMNS: Final = ("event_type", "occurred_at_us", "item_id", "category", *MEASURES)
NEWEST_OF_VISITOR: Final = (
    f"SELECT {', '.join(SHOWN_COLUMNS)} FROM events WHERE user_id = ? ORDER BY occurred_at_us DESC LIMIT 15"
)
