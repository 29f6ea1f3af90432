"""Intent over HTTP: how far lists, weights and each type of event move what a running service answers. Prints one JSON object.

    python -m benchmarks.intent_lists [--seeds 1 2 3 4] [--users 1000]
    python -m benchmarks.intent_lists FILE --url http://127.0.0.1:3000 --key sk_…

A shop is simulated from each seed, learned from and served (`attune up`), one after the other; of `overlap_10` the mean over
the shops is told as well, with its 95 % interval (Student's t). With FILE a service that runs is asked: it holds events of the
shop that is served, as JSON lines. Everything is asked over HTTP, as a partner asks:

- ``overlap_10``: items that the first ten of the dynamic and of the static variant share, on sessions of the log and on
  scripted sessions of one intent each;
- ``changes``: of so many sessions, those whose list (items and their order) another event of a type changes;
- ``signs``: by intent, whether the mean weights of its scripted sessions lie on the side that the design asks, of those of all
  four intents' sessions, and of the static weights (learned base weights differ from those by more than intent);
- ``repeats``: different lists in five times the same request; ``without_mixture``: dynamic answers that tell no goals.
"""

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.request import Request, urlopen

import numpy as np
from scipy import stats

from benchmarks import demo
from flows.simulate import write_shop
from models.schema import EVENT_TYPES, INTENTS, ITEM_EVENT_TYPES, EventType
from models.simulator import ShopConfig

LENGTH: Final = 10
SCRIPTS: Final = {  # what is done on each of three items
    "exploratory": ("category_browse", "item_view"),
    "comparative": ("detail_view", "spec_compare"),
    "intent_to_purchase": ("add_to_cart", "cart_view", "checkout_view"),
    "research": ("detail_view", "review_read", "content_view"),
}
SIGNS: Final = {
    "exploratory": {"item_view": 1, "category_browse": 1, "purchase": -1},
    "comparative": {"item_view": 1, "spec_compare": 1},
    "intent_to_purchase": {"cart_view": 1, "checkout_view": 1},
    "research": {"item_view": 1, "review_read": 1},
}
Event = dict[str, Any]


class Service(NamedTuple):
    """A running service, and a visitor of each variant."""

    url: str
    key: str
    users: dict[str, str]

    def ask(self, events: Sequence[Event], variant: str, session: str) -> dict[str, Any]:
        """One recommendation."""
        return ask(self.url, self.key, self.users[variant], events, session)

    def listed(self, events: Sequence[Event], variant: str, session: str) -> list[str]:
        """Items of one recommendation, the first ten."""
        return [item["item_id"] for item in self.ask(events, variant, session)["items"]]


def ask(url: str, key: str, user: str, events: Sequence[Event], session: str) -> dict[str, Any]:
    """Ask what goes with a session."""
    body = {"user_id": user, "limit": LENGTH, "session_data": {"session_id": session, "events": list(events)}}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = Request(f"{url}/v1/recommendations", json.dumps(body).encode(), headers)
    with urlopen(request) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def service(url: str, key: str) -> Service:
    """Find a visitor of each variant."""
    users: dict[str, str] = {}
    for n in range(64):
        users.setdefault(ask(url, key, f"bench-{n}", [], "s")["experiment"]["variant"], f"bench-{n}")
    return Service(url, key, users)


def sessions_of(path: Path, n: int) -> list[list[Event]]:
    """The last sessions of a file that name an item, at most twelve events each."""
    found: dict[str, list[Event]] = defaultdict(list)
    for line in path.read_text().splitlines():
        event = json.loads(line)
        session = event.pop("session_id")
        found[session].append({k: v for k, v in event.items() if v is not None and k not in ("event_id", "user_id", "context")})
    named = [events[:12] for events in found.values() if sum("item_id" in event for event in events[:12]) > 1]
    return named[-n:]


def scripted(sessions: Sequence[Sequence[Event]], intent: str) -> Iterator[list[Event]]:
    """Sessions of one intent, about the items of others."""
    for one in sessions:
        items = list({event["item_id"]: event for event in one if "item_id" in event}.values())[:3]
        yield [event for about in items for kind in SCRIPTS[intent] for event in [as_type(about, kind)]]


def as_type(about: Mapping[str, Any], kind: str) -> Event:
    """An event of a type at the instant of another, about its item where the type is about one."""
    needs = EventType[kind.upper()] in ITEM_EVENT_TYPES | {EventType.SPEC_COMPARE}
    kept = ("ts", "category", "item_id") if needs else ("ts", "category")
    return {"type": kind, **{name: about[name] for name in kept if name in about}}


def overlap(served: Service, sessions: Sequence[Sequence[Event]]) -> float:
    """Mean number of items that the lists of both variants share."""
    pairs = [[set(served.listed(one, of, f"o-{k}")) for of in ("dynamic", "static")] for k, one in enumerate(sessions)]
    return round(float(np.mean([len(a & b) for a, b in pairs])), 2)


def changes(served: Service, sessions: Sequence[Sequence[Event]], kind: str) -> int:
    """Sessions whose list another event of a type changes."""
    n = 0
    for k, one in enumerate(sessions):
        about = next(event for event in one if "item_id" in event)  # not the item on screen, which no list holds
        last = {**as_type(about, kind), "ts": one[-1]["ts"]}
        n += served.listed(one, "dynamic", f"c-{k}") != served.listed([*one, last], "dynamic", f"c-{k}")
    return n


def weights(served: Service, scripts: Sequence[Sequence[Event]], variant: str = "dynamic") -> dict[str, float]:
    """Mean weight of each event type in the answers to some sessions."""
    told = [served.ask(one, variant, f"g-{k}")["weights"] for k, one in enumerate(scripts)]
    return {kind: round(float(np.mean([one[kind] for one in told])), 3) for kind in EVENT_TYPES}


def signs(told: Mapping[str, Mapping[str, float]], static: Mapping[str, float], intent: str) -> dict[str, Any]:
    """Weights of one intent's sessions against those of all four, which differ by intent alone, and against the static ones."""
    found = {}
    for kind, sign in SIGNS[intent].items():
        ours, usual = told[intent][kind], round(float(np.mean([one[kind] for one in told.values()])), 3)
        sides = {"right": sign * (ours - usual) > 0, "right_against_static": sign * (ours - static[kind]) > 0}
        found[kind] = {"weight": ours, "of_all_intents": usual, "static": static[kind], **sides}
    return found


def measure(served: Service, sessions: Sequence[Sequence[Event]], n_changes: int) -> dict[str, Any]:
    """All tables."""
    scripts = {intent: list(scripted(sessions, intent)) for intent in INTENTS}
    told = {intent: weights(served, scripts[intent]) for intent in INTENTS}
    static = weights(served, sessions[:1], "static")
    repeated = [{tuple(served.listed(one, "dynamic", "r")) for _ in range(5)} for one in sessions[:10]]
    goals = [served.ask(one, "dynamic", f"o-{k}")["goal"] for k, one in enumerate(sessions)]
    return {
        "n_sessions": len(sessions),
        "overlap_10": {"log": overlap(served, sessions), **{intent: overlap(served, scripts[intent]) for intent in INTENTS}},
        "changes": {"of": n_changes, **{kind: changes(served, sessions[:n_changes], kind) for kind in EVENT_TYPES}},
        "signs": {intent: signs(told, static, intent) for intent in INTENTS},
        "repeats": max(map(len, repeated)),
        "without_mixture": sum(not mixture for mixture in goals),
    }


def of_shop(seed: int, n_users: int, n_sessions: int) -> dict[str, Any]:
    """Tables of a simulated shop, which is learned from and served first."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shop.jsonl"
        write_shop(ShopConfig(n_users=n_users, seed=seed), path)
        with demo.running(None, "--events", str(path), "--format", "attune") as shop:
            served = service(shop.told["docs"].removesuffix("/docs"), shop.told["key"])
            return {"seed": seed, **measure(served, sessions_of(path, n_sessions), min(n_sessions, 50))}


def over_shops(shops: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean of `overlap_10` over the shops, from two on with its 95 % interval; "scripted" is the mean of the four intents."""
    found: dict[str, dict[str, float]] = {}
    for name in ("log", *INTENTS, "scripted"):
        wanted = INTENTS if name == "scripted" else (name,)
        means = np.array([np.mean([one["overlap_10"][part] for part in wanted]) for one in shops])
        found[name] = {"mean": round(float(means.mean()), 2)}
        if len(means) > 1:
            half = float(stats.t.ppf(0.975, len(means) - 1) * stats.sem(means))
            found[name] |= {"low": round(float(means.mean()) - half, 2), "high": round(float(means.mean()) + half, 2)}
    return found


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments, ask, print; 2 and one line on stderr if file or service cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--url", default="http://127.0.0.1:3000")
    parser.add_argument("--key", default="")
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--users", type=int, default=1_000)
    given = parser.parse_args(arguments)
    if given.file is None:
        shops = []
        for seed in given.seeds:
            shops.append(of_shop(seed, given.users, given.sessions))
            sys.stderr.write(f"{json.dumps(shops[-1])}\n")
        print(json.dumps({"benchmark": "intent_lists", "overlap_10": over_shops(shops), "shops": shops}))
        return 0
    try:
        found = measure(service(given.url, given.key), sessions_of(given.file, given.sessions), min(given.sessions, 50))
    except (OSError, ValueError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    print(json.dumps({"benchmark": "intent_lists", **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
