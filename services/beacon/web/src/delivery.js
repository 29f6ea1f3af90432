/**
 * Delivery of events: in small batches, as plain text with the key in the body, so that a browser asks no preflight and lets
 * the last ones go while the page ends. An event is kept until there is a verdict on it. A page that has ended hears none: of what
 * it sent, a later page names the ids alone, and sends again only what did not arrive. Sent twice, an event counts once.
 *
 * @typedef {import("./store.js").Kept} Kept
 */
import { HELD_MS, SENT, attempt } from "./store.js";

const PIECE = 20_000; // characters
const IN_FLIGHT = 60_000;
const MOST = 20;
const SOON_MS = 2000;
const LONGEST_MS = 60_000;

/** Send without cookies, and without the page's address. @param {string} url @param {string} body @param {RequestInit} more */
export const post = (url, body, more) => fetch(url, { method: "POST", body, credentials: "omit", referrerPolicy: "origin", ...more });

/** An event as it is sent: what may have arrived only by its id. @param {Kept} kept @returns {Record<string, unknown>} */
const asSent = ({ event, held }) => (held === SENT ? { event_id: event.event_id } : event);

/** @param {Kept[]} events @returns {Kept[][]} */
function inPieces(events) {
  /** @type {Kept[][]} */
  const pieces = [];
  /** @type {Kept[]} */
  let piece;
  let size = PIECE;
  for (const kept of events) {
    const own = JSON.stringify(asSent(kept)).length;
    if ((size += own) > PIECE || piece.length === MOST) {
      pieces.push((piece = []));
      size = own;
    }
    piece.push(kept);
  }
  return pieces;
}

/**
 * @param {{ url?: string, key: string }} to
 * @param {ReturnType<typeof import("./store.js").makeStore>} store
 * @param {(name: string, what: unknown) => void} tell
 */
export function makeDelivery(to, store, tell) {
  const url = to.url + "/v1/visits";
  let bytes = 0;
  let failures = 0;
  let waiting = 0;
  let notBefore = 0;
  let on = false;

  /** @param {Kept[]} events @param {number} status @param {any} answer */
  function judged(events, status, answer) {
    const done = events.filter(({ event, held }, place) => {
      const verdict = answer?.results?.[place] ?? { status: "rejected", reason: answer?.detail ?? status };
      if (held === SENT && verdict.status !== "duplicate") return void store.put(event); // it did not arrive
      tell(verdict.status === "rejected" ? "refused" : "sent", { event, verdict });
      return true;
    });
    store.remove(done.map(({ event }) => String(event.event_id)));
  }

  /** @param {Kept[]} events @param {boolean} [isLast] @returns {Promise<boolean | void>} whether there is a verdict */
  async function send(events, isLast) {
    const body = JSON.stringify({ key: to.key, sent_at: new Date().toISOString(), events: events.map(asSent) });
    const size = body.length;
    events.forEach(({ event }) => store.put(event, SENT)); // held, so that the next page does not send it as well
    if (isLast && !("keepalive" in Request.prototype)) return attempt(() => void navigator.sendBeacon(url, body));
    bytes += size;
    let after = 0;
    try {
      const reply = await post(url, body, { keepalive: bytes < IN_FLIGHT });
      const { status } = reply;
      if (status < 500 && status !== 408 && status !== 429) {
        judged(events, status, await reply.json().catch(() => undefined));
        failures = 0;
        return true;
      }
      after = 1000 * Number(reply.headers.get("retry-after")) || 0;
    } catch {
      // no answer: the events stay
    } finally {
      bytes -= size;
    }
    events.forEach(({ event, held }) => store.put(event, held)); // what may have arrived is only asked about again
    const pause = Math.min(LONGEST_MS, 500 * 2 ** failures++) * (0.5 + Math.random());
    notBefore = Date.now() + Math.max(after, pause);
    return false;
  }

  async function sendAll() {
    await store.load();
    for (const piece of inPieces(store.ready())) if (!on || !(await send(piece))) break;
  }

  async function flush() {
    clearTimeout(waiting);
    waiting = 0;
    if (!on) return;
    if (Date.now() < notBefore) return schedule();
    const alone = navigator.locks;
    await (alone ? alone.request("attune", { ifAvailable: true }, (lock) => lock && sendAll()) : sendAll());
    if (store.ready().length) schedule();
  }

  function schedule() {
    if (on && !waiting) waiting = setTimeout(flush, Math.max(SOON_MS, notBefore - Date.now()));
  }

  return {
    flush,
    schedule() {
      if (store.ready().length < MOST) return schedule();
      flush();
    },
    /** Send what there is at once: the page may end. */
    last() {
      if (!on) return;
      for (const piece of inPieces(store.ready())) send(piece, true);
    },
    /** @param {boolean} state */
    turn(state) {
      on = state;
      if (on) flush().then(() => setTimeout(flush, HELD_MS)); // what another page held while it ended
    },
  };
}
