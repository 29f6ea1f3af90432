/**
 * Delivery of events: in small batches, as plain text with the key in the body, so that a browser asks no preflight and lets
 * the last ones go while the page ends. An event is sent until there is a verdict on it; sent twice, it counts once.
 */
import { HELD_MS, attempt } from "./store.js";

const PIECE = 30_000;
const IN_FLIGHT = 60_000;
const MOST = 20;
const SOON_MS = 2000;
const LONGEST_MS = 60_000;

/** Send without cookies, and without the page's address. @param {string} url @param {string} body @param {RequestInit} more */
export const post = (url, body, more) => fetch(url, { method: "POST", body, credentials: "omit", referrerPolicy: "origin", ...more });

/** @param {Record<string, unknown>[]} events @returns {Record<string, unknown>[][]} */
function inPieces(events) {
  /** @type {Record<string, unknown>[][]} */
  const pieces = [];
  let size = PIECE;
  for (const event of events) {
    const own = new Blob([JSON.stringify(event)]).size;
    if (size + own > PIECE || pieces[pieces.length - 1].length === MOST) {
      pieces.push([]);
      size = 0;
    }
    pieces[pieces.length - 1].push(event);
    size += own;
  }
  return pieces;
}

/**
 * @param {{ url: string, key: string }} to
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

  /** @param {Record<string, unknown>[]} events */
  const bodyOf = (events) => JSON.stringify({ key: to.key, sent_at: new Date().toISOString(), events });

  /** @param {Record<string, unknown>[]} events @param {number} status @param {any} answer */
  function judged(events, status, answer) {
    store.remove(events.map((event) => String(event.event_id)));
    events.forEach((event, place) => {
      const verdict = answer?.results?.[place] ?? { status: "rejected", reason: answer?.detail ?? String(status) };
      tell(verdict.status === "rejected" ? "refused" : "sent", { event, verdict });
    });
  }

  /** @param {Record<string, unknown>[]} events @returns {Promise<boolean>} whether there is a verdict */
  async function send(events) {
    const body = bodyOf(events);
    const size = body.length;
    bytes += size;
    events.forEach((event) => store.put(event, true)); // held, so that the next page does not send it as well
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
    events.forEach((event) => store.put(event));
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
      for (const piece of inPieces(store.ready())) {
        if ("keepalive" in Request.prototype) send(piece);
        else attempt(() => navigator.sendBeacon(url, bodyOf(piece)));
      }
    },
    /** @param {boolean} state */
    turn(state) {
      on = state;
      if (on) flush().then(() => setTimeout(flush, HELD_MS)); // what another page held while it ended
    },
  };
}
