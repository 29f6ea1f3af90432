-- The console: who may look and act, who is signed in, and what was done there. Tokens are kept as hashes only.

CREATE TABLE operators (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'ml', 'admin')),
    password TEXT, -- scrypt: salt and hash in hexadecimal digits, with a colon between; NULL: none was set
    created_at_us INTEGER NOT NULL,
    revoked_at_us INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE operator_links (
    token_hash TEXT PRIMARY KEY,
    operator TEXT NOT NULL REFERENCES operators (name),
    expires_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE console_sessions (
    token_hash TEXT PRIMARY KEY,
    operator TEXT NOT NULL REFERENCES operators (name),
    began_at_us INTEGER NOT NULL,
    expires_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX console_sessions_of ON console_sessions (operator);

-- Append-only; each row carries the hash of the row before, as in model_audit.
CREATE TABLE console_audit (
    id INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    role TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    reason TEXT NOT NULL,
    outcome TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;

CREATE TRIGGER console_audit_no_update BEFORE UPDATE ON console_audit BEGIN SELECT RAISE (ABORT, 'the audit is append-only'); END;

CREATE TRIGGER console_audit_no_delete BEFORE DELETE ON console_audit BEGIN SELECT RAISE (ABORT, 'the audit is append-only'); END;
