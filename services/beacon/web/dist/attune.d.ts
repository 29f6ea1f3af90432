// Types of @attune/beacon, written by `python -m services.beacon.vocabulary`.
export type EventType = "item_view" | "item_engagement" | "detail_view" | "review_read" | "spec_compare" | "category_browse" | "search" | "search_refine" | "content_view" | "wishlist_add" | "add_to_cart" | "remove_from_cart" | "cart_view" | "checkout_view" | "purchase";
export type Intent = "exploratory" | "comparative" | "intent_to_purchase" | "research";
export interface Fields {
  item_id?: string;
  order_id?: string;
  price?: number;
  revenue?: number;
  query_length?: number;
  scroll_depth?: number;
  zoom_level?: number;
  dwell_ms?: number;
  n_errors?: number;
  cursor_distance_px?: number;
  currency?: string;
  category?: string;
  quantity?: number;
  /** The answer that led here. */
  decision_id?: string;
}
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
