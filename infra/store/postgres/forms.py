"""Forms of the statements that PostgreSQL understands: rewritten where only words differ, written anew where more does.

Callers know the statements of `infra.store.statements` alone. Each is looked up here once in a process. A test prepares and
runs every one of them on both engines.
"""

import re
from functools import cache
from typing import Final

from infra.store.statements.decisions import NEXT_RECEIVED
from infra.store.statements.deliveries import CLAIM, KEEP_CLAIMS
from infra.store.statements.dialect import ROW
from infra.store.statements.events import (
    BELIEVED_OF_PARTNER,
    BELIEVED_WITHIN,
    KNOWN_IDS,
    N_EVENTS,
    NEWEST_EVENT,
    NEXT_PARTNER,
    NOTE_SOURCE,
    READ_BELIEVED,
    READ_CAUSES,
    READ_EVENTS,
)
from infra.store.statements.leases import N_HELD
from infra.store.statements.quarantine import WITH_TEXT
from infra.store.statements.shadow import READ as READ_SHADOW
from infra.store.statements.shadow import SUMS

NUMBERS: Final = frozenset({"seq", "id", "delivery_id", "shard"})  # columns that are compared with JSON arrays of numbers
_MARK: Final = re.compile(r"\?(\d*)")
_ONE_OF: Final = re.compile(r"([\w.]+|\?\d*) IN \(SELECT value FROM json_each\(([\w.]+|\?\d*)\)\)")
_PLUS: Final = re.compile(r"(?<=[ (])\+(?=[a-z_])")  # keeps SQLite from an index
_BEGINS: Final = re.compile(r"\bmax\(")
# Written anew. Whoever reads the log in its order reads as far as it is settled: an event of a transaction that is still open
# may stand before one that is there already.
_SETTLED: Final = "seq < log_horizon()"
_IN_ORDER: Final = (READ_EVENTS, READ_BELIEVED, BELIEVED_WITHIN, BELIEVED_OF_PARTNER, READ_CAUSES, NEXT_RECEIVED)
# Spans are measured by the server's clock: those of workers may differ.
CLOCK_US: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_LAPSED: Final = "claimed_until_us <= ?4 ORDER BY due_at_us LIMIT ?5"
OTHERWISE: Final = {
    CLAIM: CLAIM.replace("?4 + ?2", f"{CLOCK_US} + ?2").replace(
        _LAPSED, f"claimed_until_us <= {CLOCK_US} ORDER BY due_at_us LIMIT ?5 FOR UPDATE SKIP LOCKED"
    ),
    N_HELD: N_HELD.replace("until_us > ?", f"until_us > {CLOCK_US} + 0 * ?"),
    KEEP_CLAIMS: KEEP_CLAIMS.replace("?3 + ?2", f"{CLOCK_US} + ?2 + 0 * ?3"),
    **{one: one.replace("FROM events WHERE", f"FROM events WHERE {_SETTLED} AND", 1) for one in _IN_ORDER},
    N_EVENTS: (  # counted, or as the server remembers it
        "SELECT CASE WHEN reltuples > 1000000 THEN reltuples::bigint ELSE (SELECT count(*) FROM events) END "
        "FROM pg_class WHERE oid = 'event_ids'::regclass"
    ),
    KNOWN_IDS: KNOWN_IDS.replace("FROM events", "FROM event_ids"),
    NEXT_PARTNER: NEXT_PARTNER.replace("FROM events", "FROM event_ids"),
    NEWEST_EVENT: f"SELECT coalesce(max(seq), 0) FROM events WHERE {_SETTLED}",
    NOTE_SOURCE: (
        "INSERT INTO ingested (partner, source, first_seq, last_seq) SELECT ?1, ?2, greatest(?3 + 1, log_position()), max(seq) "
        "FROM events HAVING max(seq) >= log_position()"
    ),
    READ_SHADOW: (
        f"SELECT kind, {', '.join(f'sum({name})' for name in SUMS)} FROM shadow WHERE challenger::jsonb @> ?::jsonb "
        "GROUP BY kind ORDER BY kind DESC"
    ),
    WITH_TEXT: "SELECT id, partner, raw FROM quarantine WHERE false LIMIT ?",  # no such line was ever kept here
}


@cache
def form(statement: str) -> str:
    """A statement as PostgreSQL has it, with ``$1``, ``$2``, … for its bindings.

    Examples
    --------
    >>> form("SELECT seq FROM events WHERE user_id IN (SELECT value FROM json_each(?)) AND +partner = ?")
    'SELECT seq FROM events WHERE user_id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb))) AND partner = $2'
    >>> form("SELECT max(seq), max(a, coalesce(b, ?2)) FROM t WHERE instr(c, ?1) > 0")
    'SELECT max(seq), greatest(a, coalesce(b, $2)) FROM t WHERE strpos(c, $1) > 0'
    """
    text = OTHERWISE.get(statement, statement)
    text = _ONE_OF.sub(_one_of, text)
    text = _PLUS.sub("", text).replace("instr(", "strpos(").replace(ROW, "ctid")
    return _numbered(_greatest(text))


def _one_of(found: "re.Match[str]") -> str:
    column, texts = found.groups()
    values = f"ARRAY(SELECT jsonb_array_elements_text({texts}::jsonb))"
    name = column.rpartition(".")[2]
    kind = "::bigint[]" if name in NUMBERS else "::tid[]" if name == ROW else ""
    return f"{column} = ANY ({values}{kind})"


def _greatest(text: str) -> str:
    """The same with ``greatest`` where ``max`` is given several values."""
    begins = [found for found in _BEGINS.finditer(text) if _has_several(text, found.end())]
    for found in reversed(begins):
        text = f"{text[: found.start()]}greatest({text[found.end() :]}"
    return text


def _has_several(text: str, at: int) -> bool:
    depth = 1
    for character in text[at:]:
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return False
        if depth == 1 and character == ",":
            return True
    return False


def _numbered(text: str) -> str:
    n = 0

    def mark(found: "re.Match[str]") -> str:
        nonlocal n
        n += 1
        return f"${found.group(1) or n}"

    return _MARK.sub(mark, text)
