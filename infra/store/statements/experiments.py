"""Statements of an experiment's readout: exposures, outcomes, and what was known of a visitor before the first exposure.

A row of `decisions` is an exposure, and so is one of `failed_decisions`: who was dealt a variant that fails is not left out of
what that variant did. A visitor is a (partner, pseudonym); outcomes are counted from the first exposure on, and events that
validation holds back count nowhere.
"""

import json
from itertools import combinations
from typing import Final

from infra.store.statements.events import IS_BELIEVED
from infra.store.statements.trust import PAID
from models.degraded import HARMLESS
from models.schema import SAME_CLOCK_S, SESSION_IDLE_S

EXPERIMENT_NAMES: Final = (
    "SELECT experiment, max(at_us) FROM (SELECT experiment, decided_at_us AS at_us FROM decisions "
    "UNION ALL SELECT experiment, failed_at_us FROM failed_decisions) AS asked GROUP BY experiment ORDER BY 2 DESC, 1"
)
VARIANT_NAMES: Final = (
    "SELECT variant FROM decisions WHERE experiment = ?1 UNION SELECT variant FROM failed_decisions WHERE experiment = ?1 "
    "ORDER BY variant"
)
# All that an answer may admit that has failed nobody: a visitor without a history is new, and that only the variant which asks
# for one says so makes it no worse.
_NONE_FAILED: Final = ", ".join(
    f"'{json.dumps(names, separators=(',', ':'))}'" for n in range(len(HARMLESS) + 1) for names in combinations(HARMLESS, n)
)
# What was asked by users of an experiment up to an instant; of a request that failed there is no answer to tell of.
_ASKED: Final = (
    "(SELECT partner, user_id, variant, decided_at_us AS at_us, latency_us, "
    f"CASE WHEN degraded NOT IN ({_NONE_FAILED}) THEN 1 ELSE 0 END AS n_degraded, 0 AS n_failed "
    "FROM decisions WHERE experiment = ?1 AND decided_at_us <= ?2 "
    "UNION ALL SELECT partner, user_id, variant, failed_at_us, NULL, NULL, 1 "
    "FROM failed_decisions WHERE experiment = ?1 AND failed_at_us <= ?2) AS asked"
)
# One row a visitor, oldest first; means over the answers, NULL for a visitor without one: (experiment, until_us).
EXPOSED: Final = (
    "SELECT partner, user_id, min(variant), count(DISTINCT variant), min(at_us), avg(n_degraded), avg(latency_us), "
    f"count(*), sum(n_failed) FROM {_ASKED} GROUP BY partner, user_id ORDER BY min(at_us), partner, user_id"
)
# Decisions in the order of their latency, for quantiles: (experiment, until_us).
LATENCIES: Final = "SELECT variant, latency_us FROM decisions WHERE experiment = ? AND decided_at_us <= ?"
# Earlier than the first exposure by what clocks may differ: the senders of events cut theirs to the second.
_FIRST: Final = (
    f"(SELECT partner, user_id, min(at_us) - {SAME_CLOCK_S * 1_000_000} AS first_us FROM {_ASKED} GROUP BY partner, user_id) "
    "AS exposed"
)
# Purchases within a window after the first exposure: (experiment, until_us, window_us).
BOUGHT: Final = (
    f"SELECT events.partner, events.user_id, events.occurred_at_us, {PAID} FROM {_FIRST} "
    "JOIN events ON events.user_id = exposed.user_id AND events.partner = exposed.partner "
    "WHERE events.event_type = 'purchase' AND events.occurred_at_us >= exposed.first_us "
    "AND events.occurred_at_us - exposed.first_us < ?3 AND events.occurred_at_us <= ?2 "
    f"AND {IS_BELIEVED} ORDER BY events.occurred_at_us, events.seq"
)
# What visitors had done in a span before their first exposure: (experiment, until_us, span_us).
BEFORE: Final = (
    "SELECT events.partner, events.user_id, count(*), "
    "sum(CASE WHEN events.event_type = 'add_to_cart' THEN 1 ELSE 0 END), "
    "sum(CASE WHEN events.event_type = 'purchase' THEN 1 ELSE 0 END), "
    f"sum(CASE WHEN events.event_type = 'purchase' THEN coalesce({PAID}, 0) ELSE 0 END) "
    f"FROM {_FIRST} JOIN events ON events.user_id = exposed.user_id AND events.partner = exposed.partner "
    "WHERE events.occurred_at_us < exposed.first_us AND events.occurred_at_us >= exposed.first_us - ?3 "
    f"AND {IS_BELIEVED} GROUP BY events.partner, events.user_id"
)
# Whom the shop took visitors for when they were first exposed, or within half an hour of it: (experiment, until_us).
GROUPS: Final = (
    "SELECT partner, user_id, segment, region, customer_group FROM (SELECT events.partner, events.user_id, events.segment, "
    "events.region, events.customer_group, "
    "row_number() OVER (PARTITION BY events.partner, events.user_id ORDER BY events.seq DESC) AS nth "
    f"FROM {_FIRST} JOIN events ON events.user_id = exposed.user_id AND events.partner = exposed.partner "
    f"WHERE events.occurred_at_us <= exposed.first_us + {SESSION_IDLE_S * 1_000_000} "
    f"AND coalesce(events.segment, events.region, events.customer_group) IS NOT NULL AND {IS_BELIEVED}) AS each_one "
    "WHERE nth = 1"
)
# Signals within a window after the first exposure, by visitor: (experiment, until_us, window_us).
SIGNALLED: Final = (
    f"SELECT signals.partner, signals.user_id, count(*) FROM {_FIRST} "
    "JOIN signals ON signals.user_id = exposed.user_id AND signals.partner = exposed.partner "
    "WHERE signals.created_at_us >= exposed.first_us AND signals.created_at_us - exposed.first_us < ?3 "
    "AND signals.created_at_us <= ?2 GROUP BY signals.partner, signals.user_id"
)
# Interleaved lists: (experiment, until_us).
INTERLEAVED_LISTS: Final = (
    "SELECT seq, partner, user_id, items, context FROM decisions WHERE experiment = ? AND decided_at_us <= ? ORDER BY seq"
)
# Items that were taken within a window after such a list, the newest list first: (experiment, until_us, window_us, until_us).
TAKEN: Final = (
    "SELECT events.seq, decisions.seq, events.item_id FROM decisions "
    "JOIN events ON events.user_id = decisions.user_id AND events.partner = decisions.partner "
    "WHERE decisions.experiment = ? AND decisions.decided_at_us <= ? AND events.item_id IS NOT NULL "
    "AND events.event_type IN ('item_view', 'detail_view', 'wishlist_add', 'add_to_cart', 'purchase') "
    "AND events.occurred_at_us >= decisions.decided_at_us AND events.occurred_at_us - decisions.decided_at_us < ? "
    f"AND events.occurred_at_us <= ? AND {IS_BELIEVED} ORDER BY events.seq, decisions.seq DESC"
)
