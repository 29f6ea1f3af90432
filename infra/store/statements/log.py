"""The store's tables as SQL text, for both edges: the flows' and the services' connections run the same statements.

Times are integer microseconds since 1970 UTC. The dialect is SQLite's, kept to what PostgreSQL also understands where it costs
nothing. Statements are idempotent: an edge runs `SCHEMA` when it opens a store whose `user_version` is not `SCHEMA_MARK`.
"""

from typing import Final
from zlib import crc32

from infra.store.statements import action_weights as action_weight_tables
from infra.store.statements import catalog as catalog_tables
from infra.store.statements import decisions as decision_tables
from infra.store.statements import deliveries as delivery_tables
from infra.store.statements import erasure as erasure_tables
from infra.store.statements import idempotency as door_tables
from infra.store.statements import shadow as shadow_tables
from infra.store.statements import signals as signal_tables
from models.schema import EVENT_COLUMNS

LOG_COLUMNS: Final = ("partner", *EVENT_COLUMNS, "received_at_us")

SCHEMA: Final = (
    """
    CREATE TABLE IF NOT EXISTS events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice, so that no tail reader passes over an event
        partner TEXT NOT NULL,
        event_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        session_id TEXT,
        event_type TEXT NOT NULL,
        occurred_at_us INTEGER NOT NULL,
        item_id TEXT,
        category TEXT,
        price REAL,
        dwell_ms REAL,
        scroll_depth REAL,
        zoom_level REAL,
        cursor_distance_px REAL,
        query_length REAL,
        device TEXT,
        referrer TEXT,
        utc_offset_min INTEGER NOT NULL DEFAULT 0,
        received_at_us INTEGER NOT NULL,
        UNIQUE (partner, event_id)
    )
    """,
    "CREATE INDEX IF NOT EXISTS events_by_user ON events (user_id)",  # the live user fold, and erasure
    # Rows that were refused at the door (raw text kept, seq NULL) or by validation (seq of the event, left out of every fold).
    """
    CREATE TABLE IF NOT EXISTS quarantine (
        id INTEGER PRIMARY KEY,
        partner TEXT NOT NULL,
        source TEXT NOT NULL,
        format TEXT NOT NULL,
        line INTEGER,
        raw TEXT,
        seq INTEGER UNIQUE REFERENCES events (seq),
        reason TEXT NOT NULL,
        content_key TEXT NOT NULL UNIQUE,
        quarantined_at_us INTEGER NOT NULL,
        replayed_at_us INTEGER
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS partners (
        name TEXT PRIMARY KEY,
        created_at_us INTEGER NOT NULL
    )
    """,
    # A key is shown once; only its hash is kept.
    """
    CREATE TABLE IF NOT EXISTS api_keys (
        id INTEGER PRIMARY KEY,
        partner TEXT NOT NULL REFERENCES partners (name),
        kind TEXT NOT NULL CHECK (kind IN ('sk', 'pk')),
        key_hash TEXT NOT NULL UNIQUE,
        hint TEXT NOT NULL,
        scopes TEXT NOT NULL,
        created_at_us INTEGER NOT NULL,
        expires_at_us INTEGER,
        revoked_at_us INTEGER
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS model_versions (
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        artifact TEXT NOT NULL,
        lineage TEXT NOT NULL,
        metrics TEXT NOT NULL,
        verdict TEXT NOT NULL,
        created_at_us INTEGER NOT NULL,
        PRIMARY KEY (name, version)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS model_aliases (
        name TEXT NOT NULL,
        alias TEXT NOT NULL,
        version INTEGER NOT NULL,
        set_at_us INTEGER NOT NULL,
        PRIMARY KEY (name, alias),
        FOREIGN KEY (name, version) REFERENCES model_versions (name, version)
    )
    """,
    # Append-only; each row carries the hash of the row before.
    """
    CREATE TABLE IF NOT EXISTS model_audit (
        id INTEGER PRIMARY KEY,
        at_us INTEGER NOT NULL,
        action TEXT NOT NULL,
        name TEXT NOT NULL,
        alias TEXT NOT NULL,
        from_version INTEGER,
        to_version INTEGER,
        actor TEXT NOT NULL,
        reason TEXT NOT NULL,
        previous_hash TEXT NOT NULL,
        hash TEXT NOT NULL
    )
    """,
    *(
        f"CREATE TRIGGER IF NOT EXISTS model_audit_no_{verb.lower()} BEFORE {verb} ON model_audit "
        "BEGIN SELECT RAISE (ABORT, 'the audit is append-only'); END"
        for verb in ("UPDATE", "DELETE")
    ),
    # Where a tail reader stands: worker folds, materialization.
    """
    CREATE TABLE IF NOT EXISTS cursors (
        name TEXT PRIMARY KEY,
        seq INTEGER NOT NULL,
        moved_at_us INTEGER NOT NULL
    )
    """,
    *action_weight_tables.SCHEMA,
    *catalog_tables.SCHEMA,
    *decision_tables.SCHEMA,
    *delivery_tables.SCHEMA,
    *door_tables.SCHEMA,
    *erasure_tables.SCHEMA,
    *shadow_tables.SCHEMA,
    *signal_tables.SCHEMA,
)
SCHEMA_MARK: Final = crc32("".join(SCHEMA).encode()) & 0x7FFF_FFFF  # `user_version` of a store that has these tables

APPEND_EVENT: Final = (
    f"INSERT INTO events ({', '.join(LOG_COLUMNS)}) VALUES ({', '.join('?' * len(LOG_COLUMNS))}) "
    "ON CONFLICT (partner, event_id) DO NOTHING"
)
# Valid events in log order, for any fold: (after_seq, until_us, limit).
READ_EVENTS: Final = (
    f"SELECT seq, {', '.join(LOG_COLUMNS)} FROM events "
    "WHERE seq > ? AND occurred_at_us <= ? "
    "AND seq NOT IN (SELECT seq FROM quarantine WHERE seq IS NOT NULL AND replayed_at_us IS NULL) "
    "ORDER BY seq LIMIT ?"
)
# A row refused at the door: (partner, source, format, line, raw, reason, content_key, quarantined_at_us).
QUARANTINE_ROW: Final = (
    "INSERT INTO quarantine (partner, source, format, line, raw, reason, content_key, quarantined_at_us) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (content_key) DO NOTHING"
)
# An event of the log refused by validation: (reason, content_key, quarantined_at_us, seq). Released ones are held back again.
QUARANTINE_EVENT: Final = (
    "INSERT INTO quarantine (partner, source, format, line, raw, seq, reason, content_key, quarantined_at_us) "
    "SELECT partner, 'validation', 'log', NULL, NULL, seq, ?, ?, ? FROM events WHERE seq = ? "
    "ON CONFLICT (seq) DO UPDATE SET reason = excluded.reason, quarantined_at_us = excluded.quarantined_at_us, "
    "replayed_at_us = NULL WHERE quarantine.replayed_at_us IS NOT NULL OR quarantine.reason <> excluded.reason"
)
# The same of some users, given as a JSON list: (users, until_seq).
READ_USERS: Final = (
    f"SELECT seq, {', '.join(LOG_COLUMNS)} FROM events WHERE user_id IN (SELECT value FROM json_each(?)) AND seq <= ? "
    "AND seq NOT IN (SELECT seq FROM quarantine WHERE seq IS NOT NULL AND replayed_at_us IS NULL) ORDER BY seq"
)
# Who did something that a fold of the log up to an event and an instant does not have: (after_seq, until_seq, seq, instant).
USERS_SINCE: Final = "SELECT DISTINCT user_id FROM events WHERE seq > ? AND seq <= ? AND (seq > ? OR occurred_at_us > ?)"
# Those of some users who have more events than a number: (users, number).
BUSY_USERS: Final = (
    "SELECT user_id FROM events WHERE user_id IN (SELECT value FROM json_each(?)) GROUP BY user_id HAVING count(*) > ?"
)
# What associations need of all events of some users: (users, until_seq).
TOUCH_COLUMNS: Final = ("seq", "partner", "user_id", "session_id", "event_type", "occurred_at_us", "item_id")
READ_TOUCHES: Final = (
    f"SELECT {', '.join(TOUCH_COLUMNS)} FROM events WHERE user_id IN (SELECT value FROM json_each(?)) AND seq <= ? "
    "AND NOT EXISTS (SELECT 1 FROM quarantine WHERE quarantine.seq = events.seq AND replayed_at_us IS NULL) ORDER BY seq"
)
# Rows of one partner, format and door that wait for a replay: (partner, format, at_door, after_id, limit).
QUARANTINED_ROWS: Final = (
    "SELECT id, raw, reason, quarantined_at_us FROM quarantine WHERE partner = ? AND format = ? "
    f"AND (source = '{door_tables.REJECTED_SOURCE}') = ? AND seq IS NULL AND replayed_at_us IS NULL "
    "AND id > ? ORDER BY id LIMIT ?"
)
QUARANTINED_EVENTS: Final = (
    f"SELECT quarantine.id, {', '.join(f'events.{name}' for name in EVENT_COLUMNS)} FROM quarantine "
    "JOIN events USING (seq) WHERE replayed_at_us IS NULL ORDER BY seq"
)
REPLAYED: Final = "UPDATE quarantine SET replayed_at_us = ? WHERE id = ?"
STILL_REFUSED: Final = "UPDATE quarantine SET reason = ? WHERE id = ?"
# Events below a cursor that a replay released after the cursor had moved past them: (cursor).
RELEASED_SINCE: Final = (
    "SELECT quarantine.seq FROM quarantine JOIN cursors ON cursors.name = ? "
    "WHERE quarantine.seq <= cursors.seq AND replayed_at_us >= moved_at_us ORDER BY quarantine.seq"
)
# What carries an alias: (alias).
ALIASED: Final = (
    "SELECT v.name, v.version, v.artifact FROM model_versions v "
    "JOIN model_aliases a ON a.name = v.name AND a.version = v.version WHERE a.alias = ?"
)
CHAMPIONS: Final = ALIASED.replace("?", "'champion'")
ALIASED_AT: Final = "SELECT set_at_us FROM model_aliases WHERE name = ? AND alias = ?"
MOVE_CURSOR: Final = (
    "INSERT INTO cursors (name, seq, moved_at_us) VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, moved_at_us = excluded.moved_at_us"
)
