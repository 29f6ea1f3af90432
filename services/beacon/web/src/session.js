/**
 * Visitor and session: random ids, no cookie. A session ends after half an hour without an event, as the service has it, and is
 * shared by the tabs of a browser; its events, as a question for items takes them along, are kept per tab.
 */
import { attempt } from "./store.js";

const IDLE_MS = 1_800_000;
const MOST = 100;
const WORD = "attune.v";
const EVENTS = "attune.e";
const SEARCH = /\b(google|bing|duckduckgo|yahoo|baidu|yandex)\./;
const SOCIAL = /\b(facebook|instagram|t\.co|tiktok|pinterest|reddit)\b/;

export const newId = () => [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("");

/** Kind of place that the visitor came from; where exactly is nobody's business. */
function referrer() {
  const host = attempt(() => new URL(document.referrer).hostname);
  if (!host) return "direct";
  return host === location.hostname ? "internal" : SEARCH.test(host) ? "search" : SOCIAL.test(host) ? "social" : "unknown";
}

function device() {
  if (!matchMedia("(pointer: coarse)").matches) return "desktop";
  return Math.min(screen.width, screen.height) < 600 ? "mobile" : "tablet";
}

/** @param {string | undefined} userId the shop's own id of the visitor, if it has one */
export function makeSession(userId) {
  /** @type {{ v: string, s: string, at: number } | undefined} */
  let ids;
  /** @type {Record<string, unknown>[]} */
  let events = [];
  /** @type {Record<string, string>} */
  let decisions = {};
  let persistent = false;
  const context = { device: device(), timezone: Intl.DateTimeFormat().resolvedOptions().timeZone, referrer: referrer() };

  function current() {
    const now = Date.now();
    const kept = persistent && attempt(() => JSON.parse(/** @type {any} */ (localStorage.getItem(WORD))));
    /** @type {{ v: string, s: string, at: number }} */
    const found = (ids = kept || ids || { v: newId(), s: newId(), at: now });
    if (now - found.at > IDLE_MS) {
      found.s = newId();
      events = [];
    }
    found.at = now;
    keep();
    return found;
  }

  function keep() {
    if (!persistent) return;
    attempt(() => {
      localStorage.setItem(WORD, JSON.stringify(ids));
      sessionStorage.setItem(EVENTS, JSON.stringify([events, decisions]));
    });
  }

  return {
    /** Fields of every event: who, in which session, from where. */
    fields() {
      const { v, s } = current();
      return { user_id: userId ?? v, session_id: s, context };
    },
    /** @param {Record<string, unknown>} event  added to the session, or in place of what it was before */
    add(event) {
      events = [...events.filter((one) => one.event_id !== event.event_id), event].slice(-MOST);
      keep();
    },
    /** `session_data` of the calls that take one. */
    data() {
      const { s } = current();
      return { session_id: s, context, events: events.map(({ event_id, user_id, session_id, context, decision_id, ...own }) => own) };
    },
    /** The decision that showed an item. @param {unknown} item */
    decisionOf: (item) => decisions[String(item)],
    /** @param {{ decision_id: string, items: { item_id: string }[] }} answer */
    shown({ decision_id, items }) {
      decisions = Object.fromEntries([...Object.entries(decisions), ...items.map(({ item_id }) => [item_id, decision_id])].slice(-50));
      keep();
    },
    /** @param {boolean} on */
    persist(on) {
      persistent = on;
      if (on) {
        const kept = attempt(() => JSON.parse(/** @type {any} */ (sessionStorage.getItem(EVENTS))));
        if (kept) [events, decisions] = [[...kept[0], ...events].slice(-MOST), { ...kept[1], ...decisions }];
        return;
      }
      attempt(() => {
        localStorage.removeItem(WORD);
        sessionStorage.removeItem(EVENTS);
      });
      [ids, events, decisions] = [undefined, [], {}];
    },
  };
}
