"""What figures of `benchmarks.scale` must be; those of restarts only where the servers are the benchmark's own."""

from collections.abc import Callable
from typing import Any, Final

from benchmarks.nursery import N_SERVICES
from services.worker.shares import LEASE_S

RESTARTS: Final[dict[str, Callable[[Any], bool]]] = {
    "failed_at_redis_restart": lambda n: n == 0,
    "restart_not_503_with_retry_after": lambda statuses: statuses == [],
    "restart_recovery_s": lambda seconds: seconds <= 5,
    "failover_not_503_with_retry_after": lambda statuses: statuses == [],
    "failover_recovery_s": lambda seconds: seconds <= 5,
    "taken_after_failover": lambda n: n > 1,
}
BARS: Final[dict[str, Callable[[Any], bool]]] = {
    "takeover_s": lambda seconds: seconds <= LEASE_S + 1,
    "answers_while_away": lambda n: n > 0,
    "not_503_with_retry_after": lambda statuses: statuses == [],
    "recovery_s": lambda seconds: seconds <= 5,
    "failed_without_redis": lambda n: n == 0,
    "effects": lambda n: n == 1,
    "ids": lambda n: n == 1,
    "quota_share": lambda share: abs(share - 1) <= 0.05,
    **dict.fromkeys(("promoted_s", "rolled_back_s"), lambda seconds: seconds <= 2),
    "asked_of_objects": lambda n: n >= N_SERVICES,
    **dict.fromkeys(("failed_while_promoted", "lost", "twice", "causes_twice", "users_with_gaps"), lambda n: n == 0),
    "signals": lambda n: n > 10,
    **dict.fromkeys(("rows_of_window", "rows_of_three_services_to_one"), lambda share: share <= 1.2),
    "event_to_answer_p99_ms": lambda ms: ms <= 1_000,
    "views": lambda n: n == 1,
    "pairs_of_rebuild": lambda n: n > 100,
    "pairs_not_in_both": lambda n: n == 0,
    "most_off_rebuild": lambda share: share <= 1e-3,
    **dict.fromkeys(("added_a_cpu_s_one_by_one", "added_a_cpu_s_at_once"), lambda n: n >= 50_000),
    "moves_of_champion": lambda n: n > 10,
    "audit_fault": lambda fault: fault is None,
    "promised_cents": lambda cents: cents > 0,
    "left_cents": lambda cents: cents >= 0,
    "promises_not_counted": lambda cents: cents == 0,
    **RESTARTS,
}
