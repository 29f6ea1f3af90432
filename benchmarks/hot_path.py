"""Stages of ``POST /v1/recommendations`` and ``/v1/engagement``: the processor time of each, in one process.

``python -m benchmarks.hot_path [HOME]``. Each stage is called again, by itself, with what a real request gives it; `recommend`
holds those from `situate` to `list`; of an engagement, `assess` holds what follows it, and `decide` the reads and, where a
moment calls for them, `products`. `rest_us` is what the whole costs beyond the stages: guard, door, and that within a whole
request each stage finds the caches full of the others' work. The floor is what a plain application costs in the same process,
which only decodes and encodes the same bodies. Whole requests of both kinds take turns, thirty at a time, and the least mean
counts: on a busy machine their ratio says more than the figures. `by_events_us` is what a whole recommendation costs whose
session has so many events. No socket and no server: `benchmarks.serve` has those.
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
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.serve import PATH, plain, ready, set_answer
from infra.settings import Settings
from infra.store.statements.signals import READ_SPENT
from models.assess import assess, immediates, next_action_row, products_for
from models.engagement.policy import Moment
from models.engagement.trouble import trouble_of
from models.known import Known
from models.live_session import last_item
from models.one_pass import listed
from models.recommend import context_of, profile_of, recommend, situate
from models.schema import DAY_US
from models.visitor_groups import NO_GROUPS
from services.api import wire
from services.api.engagement import on_wire as answer_of
from services.api.recommendations import Question, RecommendationHandler, asked_of, on_record, on_wire
from services.api.session_data import SessionDecoder, live_session, parse
from services.http.calls import WARM_UP, Call
from services.serving.reads import engagement_features
from services.signals.nudges import Nudges, standing_of

ROUNDS = 9
IN_TURN = 30
ENGAGEMENT = "/v1/engagement"
N_EVENTS = (5, 15, 50, 500)  # of a session
WITHIN = {"situate", "context", "list"}  # stages of another one, `recommend`
OF_ASSESS = {"situate", "next_action", "immediate", "trouble"}
OF_DECIDE = {"policy", "spent", "standing"}
Stage = Callable[[int], object]
App = Callable[..., Awaitable[None]]


def cost_us(call: Stage, n: int) -> float:
    """Processor time of a call, microseconds: the least mean of `ROUNDS` rounds over all requests."""
    means = []
    for _ in range(ROUNDS):
        began = time.thread_time_ns()
        for k in range(n):
            call(k)
        means.append((time.thread_time_ns() - began) / n / 1000)
    return round(min(means), 1)


async def asked(app: App, scope: dict[str, Any], body: bytes) -> bytes:
    """The answer of an ASGI application."""
    got: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        got.append(message)

    await app(scope, receive, send)
    return bytes(got[1]["body"])


async def served_us(kinds: dict[str, tuple[App, str]], requests: list[bytes], key: str) -> dict[str, float]:
    """Processor time of a whole request of each kind, an application and a path, in turns."""
    scopes = {name: [scope(body, key, path) for body in requests] for name, (_, path) in kinds.items()}
    least = dict.fromkeys(kinds, float("inf"))
    for turn in range(ROUNDS * len(requests) // IN_TURN):
        some = [(turn * IN_TURN + k) % len(requests) for k in range(IN_TURN)]
        for name, (app, _) in kinds.items():
            began = time.thread_time_ns()
            for k in some:
                await asked(app, scopes[name][k], requests[k])
            least[name] = min(least[name], (time.thread_time_ns() - began) / IN_TURN / 1000)
    return {name: round(cost, 1) for name, cost in least.items()}


def scope(body: bytes, key: str, path: str) -> dict[str, Any]:
    """ASGI scope of a request, as uvicorn makes it."""
    headers = [
        (b"host", b"127.0.0.1"), (b"authorization", f"Bearer {key}".encode()), (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]  # fmt: skip
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "server": ("127.0.0.1", 1), "scheme": "http",
        "client": ("127.0.0.1", 2), "method": "POST", "root_path": "", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": headers, "state": {},
    }  # fmt: skip


def parsed(decoder: SessionDecoder[Any], body: bytes, now_us: int) -> object:
    """A request and its session, as a handler reads them; nothing is waited for."""
    try:
        parse(decoder, Call(WARM_UP, body, received_at_us=now_us)).send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a small body was read in a thread")


def lasting(body: bytes, n: int) -> bytes:
    """The same request with n events in its session: its first ones, or all of them again and again, each time earlier."""
    request = msgspec.json.decode(body)
    events = request["session_data"]["events"]
    span = timedelta(minutes=20)
    rounds = -(-n // len(events))
    told = [
        event | {"ts": (datetime.fromisoformat(event["ts"]) - span * (rounds - 1 - k)).isoformat().replace("+00:00", "Z")}
        for k in range(rounds)
        for event in events
    ]
    request["session_data"]["events"] = told[:n]
    return msgspec.json.encode(request)


def stages(app: Any, requests: list[bytes]) -> dict[str, float]:
    """Processor time of each stage, microseconds."""
    shared, now_us = app.shared, app.shared.now_us()
    models = shared.champions.current().of("local")
    bandit = shared.profiles.current(models, now_us / 1e6)
    decoder, quick = msgspec.json.Decoder(wire.RecommendationRequest), SessionDecoder(wire.RecommendationRequest)
    decoded = [decoder.decode(body) for body in requests]
    sessions = [live_session(one.session_data, now_us) for one in decoded]
    questions_of = [asked_of(one) for one in decoded]
    found_by = [situate(one, models, []) for one in sessions]
    users = [shared.visitor("local", one.user_id) for one in decoded]
    online = shared.online.current()
    allowed = partial(shared.catalog.allowed, "local")
    known = [Known(allowed=allowed, history=online.history(user, now_us)) for user in users]
    profile = profile_of(models, [])
    by, call = RecommendationHandler(shared, random.Random(0)), Call(WARM_UP, b"", received_at_us=now_us)
    questions = [
        by.question(call, a, (u, u), d.session_data, s)
        for a, u, d, s in zip(questions_of, users, decoded, sessions, strict=True)
    ]

    def answered(k: int) -> Any:
        question: Question = questions[k]
        return recommend(question.asked, question.session, models, known[k], question.who, now_us, bandit)

    found = [answered(k) for k in range(len(requests))]
    replies = [on_wire(f, q.who.decision_id, models) for f, q in zip(found, questions, strict=True)]
    calls: dict[str, Stage] = {
        "parse": lambda k: parsed(quick, requests[k], now_us),
        "pseudonym": lambda k: shared.visitor("local", decoded[k].user_id),
        "question": lambda k: by.question(call, questions_of[k], (users[k], users[k]), decoded[k].session_data, sessions[k]),
        "history": lambda k: online.history(users[k], now_us),
        "situate": lambda k: situate(sessions[k], models, []),
        "context": lambda k: context_of(sessions[k], found_by[k].features, "comparative", now_us),
        "list": lambda k: listed(questions_of[k], sessions[k], models, known[k], profile, found_by[k].p_intent, now_us),
        "recommend": answered,
        "on_wire": lambda k: on_wire(found[k], questions[k].who.decision_id, models),
        "encode": lambda k: msgspec.json.encode(replies[k]),
        "on_record": lambda k: on_record(found[k], replies[k], ("local", users[k], None, now_us), 5),
    }  # fmt: skip
    return {name: cost_us(call, len(requests)) for name, call in calls.items()}


def engagement_stages(app: Any, requests: list[bytes]) -> dict[str, float]:
    """Processor time of each stage of an engagement, microseconds."""
    shared, now_us = app.shared, app.shared.now_us()
    models, online, nudges = shared.champions.current().of("local"), shared.online.current(), Nudges(shared.catalog)
    decoder, quick = msgspec.json.Decoder(wire.EngagementRequest), SessionDecoder(wire.EngagementRequest)
    read = shared.reader.rows
    decoded = [decoder.decode(body) for body in requests]
    sessions = [live_session(one.session_data, now_us) for one in decoded]
    users = [shared.visitor("local", one.user_id) for one in decoded]
    items = [last_item(one) for one in sessions]
    known = [engagement_features(online, user, item, True, now_us) for user, item in zip(users, items, strict=True)]
    found = [assess(session, models, k, None, now_us) for session, k in zip(sessions, known, strict=True)]
    intents = [situate(session, models, []).p_intent for session in sessions]
    moments = [Moment("local", user, now_us, 60) for user in users]
    groups = models.next_action.groups.row(NO_GROUPS)
    rows = [next_action_row(f.features, k, now_us, groups) for f, k in zip(found, known, strict=True)]
    answers = [answer_of(f, models, wire.Signal("no_action", {})) for f in found]
    calls: dict[str, Stage] = {
        "parse": lambda k: parsed(quick, requests[k], now_us),
        "user": lambda k: online.user(users[k], now_us),
        "item": lambda k: items[k] and online.item(items[k], now_us),
        "history": lambda k: online.history(users[k], now_us),
        "assess": lambda k: assess(sessions[k], models, known[k], None, now_us),
        "situate": lambda k: situate(sessions[k], models, []),
        "next_action": lambda k: models.next_action.predict_one(rows[k]),
        "immediate": lambda k: immediates(
            models, sessions[k].events[-1:], found[k].features[None, :], intents[k][None, :], now_us
        ),
        "products": lambda k: products_for(sessions[k], models, known[k], intents[k], now_us),
        "trouble": lambda k: trouble_of(sessions[k].events),
        "decide": lambda k: nudges.decide(found[k], sessions[k], moments[k], read),
        "policy": lambda k: nudges.policy_of("local", read),
        "spent": lambda k: read(READ_SPENT, (now_us // DAY_US, "local")),
        "standing": lambda k: standing_of(moments[k], read),
        "on_wire": lambda k: answer_of(found[k], models, answers[k].signal),
        "encode": lambda k: msgspec.json.encode(answers[k]),
    }  # fmt: skip
    if models.engagement is None:
        del calls["immediate"]
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
        set_answer(await asked(app, scope(requests[0], key, PATH), requests[0]))
        kinds: dict[str, tuple[App, str]] = {
            "recommendation": (app, PATH),
            "engagement": (app, ENGAGEMENT),
            "plain": (plain, PATH),
        }
        whole = await served_us(kinds, requests, key)
        by_events = {}
        for n in N_EVENTS:
            long = [lasting(body, n) for body in requests[:IN_TURN]]
            by_events[n] = (await served_us({"recommendation": (app, PATH)}, long, key))["recommendation"]
        found: dict[str, Any] = {
            "whole_us": whole,
            "recommendation_to_plain": round(whole["recommendation"] / whole["plain"], 2),
            "by_events_us": by_events,
            "engagement_to_recommendation": round(whole["engagement"] / whole["recommendation"], 2),
        }
        for name, by_stage, within in (
            ("recommendation", stages(app, requests), WITHIN),
            ("engagement", engagement_stages(app, requests), OF_ASSESS | OF_DECIDE),
        ):
            rest_us = round(whole[name] - sum(cost for stage, cost in by_stage.items() if stage not in within), 1)
            found[name] = {"rest_us": rest_us, "stages_us": by_stage}
        return found
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
