"""Stages of ``POST /v1/recommendations``: the processor time of each, in one process, as shares of a whole request.

``python -m benchmarks.hot_path [HOME]``. Each stage is called again, by itself, with what a real request gives it; `recommend`
holds those from `situate` to `rank`, and `rank` holds `inquire`. `rest_us` is what the whole costs beyond the stages: guard,
door, and that within a whole request each stage finds the caches full of the others' work. The floor is what a plain
application costs in the same process, which only decodes and encodes the same bodies. No socket and no server:
`benchmarks.serve` has those.
"""

import asyncio
import gc
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.serve import PATH, plain, ready, set_answer
from infra.settings import Settings
from models.item_ranking import inquire, rank_items, weigh
from models.known import Known
from models.recommend import context_of, profile_of, recommend, situate
from services.api import wire
from services.api.recommendations import Question, RecommendationHandler, asked_of, on_record, on_wire
from services.api.session_data import live_session
from services.http.calls import WARM_UP, Call

ROUNDS = 9
WITHIN = {"situate", "context", "weigh", "inquire", "rank"}  # stages of another one, `recommend`
Stage = Callable[[int], object]


def cost_us(call: Stage, n: int) -> float:
    """Processor time of a call, microseconds: the least mean of `ROUNDS` rounds over all requests."""
    means = []
    for _ in range(ROUNDS):
        began = time.thread_time_ns()
        for k in range(n):
            call(k)
        means.append((time.thread_time_ns() - began) / n / 1000)
    return round(min(means), 1)


async def served_us(app: Callable[..., Awaitable[None]], requests: list[bytes], key: str) -> tuple[float, list[bytes]]:
    """Processor time of a whole request through an ASGI application, and the answers."""
    scopes = [scope(body, key) for body in requests]
    answers: list[bytes] = []

    async def ask(k: int) -> bytes:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": requests[k], "more_body": False}

        got: list[Any] = []

        async def send(message: Any) -> None:
            got.append(message)

        await app(scopes[k], receive, send)
        return bytes(got[1]["body"])

    answers = [await ask(k) for k in range(len(requests))]
    means = []
    for _ in range(ROUNDS):
        began = time.thread_time_ns()
        for k in range(len(requests)):
            await ask(k)
        means.append((time.thread_time_ns() - began) / len(requests) / 1000)
    return round(min(means), 1), answers


def scope(body: bytes, key: str) -> dict[str, Any]:
    """ASGI scope of a request, as uvicorn makes it."""
    headers = [
        (b"host", b"127.0.0.1"), (b"authorization", f"Bearer {key}".encode()), (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]  # fmt: skip
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "server": ("127.0.0.1", 1), "scheme": "http",
        "client": ("127.0.0.1", 2), "method": "POST", "root_path": "", "path": PATH, "raw_path": PATH.encode(),
        "query_string": b"", "headers": headers, "state": {},
    }  # fmt: skip


def stages(app: Any, requests: list[bytes]) -> dict[str, float]:
    """Processor time of each stage, microseconds."""
    shared, now_us = app.shared, app.shared.now_us()
    models = shared.champions.current().of("local")
    bandit = shared.profiles.current(models, now_us / 1e6)
    decoder = msgspec.json.Decoder(wire.RecommendationRequest)
    decoded = [decoder.decode(body) for body in requests]
    sessions = [live_session(one.session_data, now_us) for one in decoded]
    asked = [asked_of(one) for one in decoded]
    found_by = [situate(one, models, []) for one in sessions]
    users = [shared.visitor("local", one.user_id) for one in decoded]
    online = shared.online.current()
    allowed = partial(shared.catalog.allowed, "local")
    known = [Known(allowed=allowed, history=online.history(user, now_us)) for user in users]
    profile = profile_of(models, [])
    weighed = [weigh(profile, None, s.events, f.p_intent, now_us) for s, f in zip(sessions, found_by, strict=True)]
    by, call = RecommendationHandler(shared, random.Random(0)), Call(WARM_UP, b"", received_at_us=now_us)
    questions = [
        by.question(call, a, (u, u), d.session_data, s) for a, u, d, s in zip(asked, users, decoded, sessions, strict=True)
    ]

    def answered(k: int) -> Any:
        question: Question = questions[k]
        return recommend(question.asked, question.session, models, known[k], question.who, now_us, bandit)

    found = [answered(k) for k in range(len(requests))]
    replies = [on_wire(f, q.who.decision_id, models) for f, q in zip(found, questions, strict=True)]
    calls: dict[str, Stage] = {
        "decode": lambda k: decoder.decode(requests[k]),
        "session": lambda k: live_session(decoded[k].session_data, now_us),
        "pseudonym": lambda k: shared.visitor("local", decoded[k].user_id),
        "question": lambda k: by.question(call, asked[k], (users[k], users[k]), decoded[k].session_data, sessions[k]),
        "history": lambda k: online.history(users[k], now_us),
        "situate": lambda k: situate(sessions[k], models, []),
        "context": lambda k: context_of(sessions[k], found_by[k].features, "comparative", now_us),
        "weigh": lambda k: weigh(profile, None, sessions[k].events, found_by[k].p_intent, now_us),
        "inquire": lambda k: inquire(asked[k], sessions[k], models.associations, known[k], []),
        "rank": lambda k: rank_items(asked[k], sessions[k], models, known[k], weighed[k], []),
        "recommend": answered,
        "on_wire": lambda k: on_wire(found[k], questions[k].who.decision_id, models),
        "encode": lambda k: msgspec.json.encode(replies[k]),
        "on_record": lambda k: on_record(found[k], replies[k], ("local", users[k], None, now_us), 5),
    }  # fmt: skip
    return {name: cost_us(call, len(requests)) for name, call in calls.items()}


async def measure(home: Path, requests: list[bytes], key: str) -> dict[str, Any]:
    """The figures of one run."""
    from services import metrics
    from services.api.app import build_app

    metrics.prepare(home)
    metrics.join(home)
    app = build_app(Settings(home=home, requests_per_minute=100_000_000), observer=metrics.Metrics())
    await app.start()
    try:
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 1000)
        whole_us, answers = await served_us(app, requests, key)
        set_answer(answers[0])
        plain_us, _ = await served_us(plain, requests, key)
        by_stage = stages(app, requests)
        rest_us = round(whole_us - sum(cost for name, cost in by_stage.items() if name not in WITHIN), 1)
        return {"whole_us": whole_us, "plain_us": plain_us, "rest_us": rest_us, "stages_us": by_stage}
    finally:
        await app.stop()


def main(words: list[str]) -> None:
    """Measure, print one JSON object."""
    with tempfile.TemporaryDirectory() as folder:
        home, key, sessions = ready(words, Path(folder))
        os.environ["ATTUNE_HOME"] = str(home)
        print(json.dumps(asyncio.run(measure(home, sessions, key)), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
