"""How a list grows: processor time of the one compiled pass, by items of the catalogue and by events of the session.

    python -m benchmarks.query_growth [ITEMS...]

Catalogues of 2,000, 40,000 and 500,000 items unless others are named, each with a generated log (`association_growth`) of ten
events an item and at least two millions; weights of the goals, sessions of 5, 50 and 500 events that wander near a popular
start as the log's do, a history of 30 touches. All catalogues are asked in turn, so that all meet the same machine; the least
mean of the rounds counts. Printed beside the microseconds: the step from one catalogue to the next, and how the cost of an
event falls from 50 to 500 (1: linear in events).
"""

import json
import sys
import time
from functools import partial
from itertools import pairwise

import numpy as np

from benchmarks.association_growth import generated
from models.associations.model import AssociationStore, build
from models.events.touches import History, history_of
from models.goal_prior import HEURISTIC_GOALS
from models.item_ranking import Asked
from models.known import Known
from models.live_session import LiveSession
from models.model_set import ModelSet
from models.one_pass import in_one_pass
from models.schema import N_INTENTS

ITEMS = (2_000, 40_000, 500_000)
N_EVENTS = (5, 50, 500)
N_SESSIONS = 60
N_TOUCHES = 30
ROUNDS = 15
AN_HOUR_US = 3_600_000_000
P_INTENT = np.full(N_INTENTS, 1 / N_INTENTS)

Question = tuple[LiveSession, Known]


def store_of(n_items: int) -> AssociationStore:
    """Associations of a generated log."""
    return build(*generated(max(2_000_000, 10 * n_items), n_items))


def questions(store: AssociationStore, n_events: int) -> list[Question]:
    """Sessions of so many events, with a history each."""
    rng, found = np.random.default_rng(n_events), []
    events, starts, _ = generated(400_000, store.n_items)
    for first in rng.choice(np.flatnonzero(starts[: len(events) - n_events]), N_SESSIONS):
        session = events[first : first + n_events].copy()
        near = session["item"][0] + rng.integers(0, 40, n_events)  # as the log's own wander, for as long as it lasts
        codes, session["item"] = np.unique(near % store.n_items, return_inverse=True)
        session["occurred_at_us"] = AN_HOUR_US + np.arange(n_events)
        names = [str(store.item_ids[code]) for code in codes]
        found.append((LiveSession(session, names, [], False), Known(history=history(store, rng))))
    return found


def history(store: AssociationStore, rng: np.random.Generator) -> History:
    """Views of items of earlier sessions, newest first."""
    items = [str(store.item_ids[code]) for code in (store.n_items * rng.random(N_TOUCHES) ** 3).astype(int)]
    return history_of(items, [0] * N_TOUCHES, range(N_TOUCHES, 0, -1))


def cost_us(models: ModelSet, asked: list[Question]) -> float:
    """Mean processor time of a list."""
    answer = partial(in_one_pass, Asked(), models=models, profile=HEURISTIC_GOALS, goals=HEURISTIC_GOALS, actions=None)
    began = time.thread_time_ns()
    for session, known in asked:
        answer(session=session, known=known, p_intent=P_INTENT, now_us=0, told=[])
    return (time.thread_time_ns() - began) / len(asked) / 1000


def main(words: list[str]) -> None:
    """Measure, print one JSON object."""
    sizes = [int(word) for word in words] or list(ITEMS)
    stores = {n: store_of(n) for n in sizes}
    asked = {(n, k): questions(store, k) for n, store in stores.items() for k in N_EVENTS}
    models = {n: ModelSet(associations=store) for n, store in stores.items()}
    least = dict.fromkeys(asked, float("inf"))
    for _ in range(ROUNDS):
        for n, k in asked:
            least[n, k] = min(least[n, k], cost_us(models[n], asked[n, k]))
    found = {
        "list_us": {n: {k: round(least[n, k], 1) for k in N_EVENTS} for n in sizes},
        "step_of_items": {
            f"{a} to {b}": {k: round(least[b, k] / least[a, k], 2) for k in N_EVENTS} for a, b in pairwise(sizes)
        },
        "cost_of_an_event_500_to_50": {n: round(least[n, 500] / least[n, 50] / 10, 2) for n in sizes},
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
