"""Traffic of a shop, sent to several services in turn, some of which may be away."""

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import httpx

N_USERS: Final = 40  # at a time
EVENTS_A_USER: Final = 100  # then others come


class Traffic(threading.Thread):
    """Sends batches to the services in turn until stopped; one that was not acknowledged goes to the next one, unchanged.

    Attributes
    ----------
    doors
        Services that are asked from now on.
    """

    def __init__(self, doors: Sequence[str], key: str) -> None:
        super().__init__(daemon=True)
        self.doors, self._headers = doors, {"Authorization": f"Bearer {key}"}
        self.stopped = threading.Event()
        self.acknowledged: list[str] = []
        self.answers: list[tuple[float, int, bool]] = []  # when, the status (0: none), whether it says when to come again

    def run(self) -> None:
        n = 0
        with httpx.Client(headers=self._headers, timeout=20) as client:
            while not self.stopped.is_set():
                batch = [self._event(k) for k in range(n, n + 10)]
                while not self._send(client, batch) and not self.stopped.is_set():
                    time.sleep(0.05)
                n += 10
                time.sleep(0.02)

    def _send(self, client: httpx.Client, batch: list[dict[str, object]]) -> bool:
        doors = self.doors
        door = doors[len(self.answers) % len(doors)]
        try:
            reply = client.post(f"{door}/v1/events", json={"events": batch})
        except httpx.HTTPError:
            self.answers.append((time.monotonic(), 0, False))
            return False
        self.answers.append((time.monotonic(), reply.status_code, "retry-after" in reply.headers))
        if reply.status_code == 202:
            self.acknowledged += [one["event_id"] for one in reply.json()["results"] if one["status"] != "rejected"]
        return reply.status_code == 202

    @staticmethod
    def _event(n: int) -> dict[str, object]:
        kind, ts = ("item_view", "add_to_cart", "search_refine")[n % 3], datetime.now(UTC).isoformat()
        user = f"u{n % N_USERS} of {n // (N_USERS * EVENTS_A_USER)}"
        event = {"event_id": f"t-{n}", "user_id": user, "session_id": "s", "type": kind, "item_id": f"i{n % 7}"}
        return {**event, "ts": ts}

    def since(self, began_s: float) -> list[tuple[float, int, bool]]:
        """Answers since an instant."""
        return [one for one in self.answers if one[0] >= began_s]
