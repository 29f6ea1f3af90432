"""Vocabulary of the beacon, written from ours: the names that its script sends, and the types that its users compile with.

``python -m services.beacon.vocabulary`` writes both files anew; a test compares.
"""

import json
from pathlib import Path
from typing import Final

from models.events.names import GA4
from models.schema import EVENT_TYPES, INTENTS, MEASURES, MONEY

WEB: Final = Path(__file__).parent / "web"
MODULE: Final = WEB / "src" / "vocabulary.js"
TYPES: Final = WEB / "dist" / "attune.d.ts"
# Names with like ends beside each other, which makes the script smaller.
FIELDS: Final = tuple(sorted(("item_id", "category", *MEASURES, *MONEY, "order_id", "currency"), key=lambda name: name[::-1]))
_TEXTS: Final = frozenset({"item_id", "category", "order_id", "currency"})
_API: Final = """
export interface Options {
  /** A browser key, `pk_…`. */
  key: string;
  /** Where the service is; the origin of the classic script, else that of the page. */
  url?: string;
  consent?: Consent;
  /** Whether GA4's `dataLayer` is read. */
  ga4?: boolean;
  /** Whether robots and driven browsers count. */
  bots?: boolean;
  /** What the shop calls the visitor, where it knows. */
  user?: string;
  /** Visitor token of the shop's server. */
  token?: string;
}
export interface AskedItems {
  limit?: number;
  item_id?: string;
  goal?: "auto" | "view" | "add_to_cart" | "purchase";
  exclude_seen?: boolean;
  explain?: boolean;
  /** What would be sent to the visitor now; with a visitor token only. */
  with_signal?: boolean;
  signal?: AbortSignal;
}
export interface Answer {
  decision_id: string;
  intent: { label: Intent; probabilities: Record<Intent, number> };
  items: { item_id: string; score: number }[];
  degraded: string[];
  signal?: { type: string; payload: Record<string, unknown>; withheld?: { type: string; reason: string } };
  weights?: Record<EventType, number>;
}
export type Consent = "granted" | "pending" | "denied";
export interface Attune {
  init(options: Options): void;
  track(type: EventType, fields?: Fields): void;
  recommend(asked?: AskedItems): Promise<Answer | undefined>;
  session(): unknown;
  consent(state: Consent): void;
  identify(token: string): void;
  on(name: "event" | "sent" | "refused" | "answer", listener: (what: any) => void): () => void;
  flush(): Promise<void>;
  stop(): void;
}
export const attune: Attune;
export default attune;
declare global {
  interface Window {
    attune: Attune;
  }
}
"""


def module() -> str:
    """Module of the script's source with our names: the fields of an event, and which of GA4's events are of a type."""
    of_type: dict[str, list[str]] = {}
    for name, event_type in GA4.items():
        of_type.setdefault(event_type, []).append(name)
    return "\n".join(
        (
            "/** Names, written by `python -m services.beacon.vocabulary`. */",
            f"export const FIELDS = {json.dumps(FIELDS)};",
            "/** @type {Record<string, string[]>} */",
            f"export const GA4 = {json.dumps(of_type, indent=2)};",
            "",
        )
    )


def declarations() -> str:
    """Declarations for TypeScript."""
    fields = [f"  {name}?: {'string' if name in _TEXTS else 'number'};" for name in FIELDS]
    return (
        "\n".join(
            (
                "// Types of @attune/beacon, written by `python -m services.beacon.vocabulary`.",
                f"export type EventType = {_union(EVENT_TYPES)};",
                f"export type Intent = {_union(INTENTS)};",
                "export interface Fields {",
                *fields,
                "  /** The answer that led here. */",
                "  decision_id?: string;",
                "}",
            )
        )
        + _API
    )


def _union(words: tuple[str, ...]) -> str:
    return " | ".join(f'"{word}"' for word in words)


if __name__ == "__main__":
    MODULE.write_text(module())
    TYPES.write_text(declarations())
