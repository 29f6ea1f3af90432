/** The beacon: one object, `attune`, that is still until `init`. */
import { makeAttention } from "./attention.js";
import { capture, defined, ofPage } from "./capture.js";
import { makeDelivery, post } from "./delivery.js";
import { follow } from "./pages.js";
import { makeSession, newId } from "./session.js";
import { DRAFT, attempt, makeStore } from "./store.js";
import { FIELDS } from "./vocabulary.js";
import { define } from "./widget.js";

/**
 * @typedef {{ key: string, url?: string, consent?: string, ga4?: boolean | string, bots?: boolean | string, user?: string, token?: string }} Options
 * @typedef {{ decision_id: string, items: { item_id: string, score: number }[], intent: unknown, degraded: string[] }} Answer
 * @typedef {typeof attune} Attune
 * @typedef {import("./capture.js").Seen} Seen
 */
const ROBOT = /bot|crawl|spider|headless/i;

/** @type {{ name: string, listener: (what: any) => void }[]} */
let listeners = [];
/** @param {string} name @param {unknown} what */
const tell = (name, what) => listeners.forEach((one) => one.name === name && attempt(() => one.listener(what)));

/** @type {Options | undefined} */
let options;
let state = "pending";
/** @type {ReturnType<typeof makeSession>} */
let session;
/** @type {ReturnType<typeof makeStore>} */
let store;
/** @type {ReturnType<typeof makeDelivery>} */
let delivery;
/** @type {Seen | undefined} */
let page;
/** @type {string | undefined} */
let draft;
/** @type {AbortController} */
let ended;
const attention = makeAttention(() => measure(true));

/** Whether an option is on; as an attribute it may be empty. @param {unknown} option */
const isOn = (option) => (option ?? false) !== false;
const isSilent = () => !options || state === "denied";

/** @param {string} type @param {Record<string, unknown>} fields @param {string} [id] @param {number} [held] */
function put(type, fields, id, held) {
  const known = Object.fromEntries(FIELDS.map((name) => [name, fields[name]]));
  const decision_id = fields.decision_id ?? session.decisionOf(fields.item_id);
  const event = defined({ event_id: id ?? newId(), type, ts: new Date().toISOString(), ...session.fields(), ...known, decision_id });
  session.add(event);
  store.put(event, held);
  return event;
}

/** Tell how the page's item was looked at; while that goes on, under an id that stays. @param {boolean} isDraft */
function measure(isDraft) {
  if (isSilent() || !page?.item_id) return;
  const measures = attention.measures();
  if (measures.dwell_ms < 100) return;
  const event = put("item_engagement", { ...page, ...measures }, (draft ??= newId()), isDraft ? DRAFT : undefined);
  if (isDraft) return;
  draft = undefined;
  tell("event", event);
}

/** Look at the page, a new one or one that is shown again. */
function begin() {
  if (isSilent()) return;
  store.end(false);
  const { seen, element } = ofPage();
  page = seen;
  if (seen) attune.track(seen.type, seen);
  watch(element);
}

/** @param {Element | null} [element] */
function watch(element) {
  if (!document.hidden) attention.begin(element ?? document.querySelector("[data-attune-item]"));
}

/** @param {Event} [ending] */
function pause(ending) {
  store.end(!!ending);
  if (attention.end()) measure(false);
  if (!isSilent()) delivery.last();
}

export const attune = {
  /** Begin. @param {Options} given */
  init(given) {
    if (options || ((navigator.webdriver || ROBOT.test(navigator.userAgent)) && !isOn(given.bots))) return;
    options = { ...given, url: (given.url ?? "").replace(/\/$/, "") };
    store = makeStore((n) => tell("refused", { dropped: n }));
    delivery = makeDelivery(options, store, tell);
    session = makeSession(given.user);
    attune.consent(given.consent ?? "granted");
    const about = { page: () => page, enlarged: attention.enlarged, ga4: isOn(given.ga4) };
    const start = () => {
      begin();
      ended = new AbortController();
      attention.listen(ended.signal);
      follow({ begin, pause, resume: watch }, ended.signal);
      capture(heard, about, ended.signal);
      define(attune);
    };
    document.readyState === "loading" ? addEventListener("DOMContentLoaded", start) : start();
  },

  /** Tell of something that the visitor did. @param {string} type @param {Record<string, unknown>} [fields] */
  track(type, fields = {}) {
    if (isSilent()) return;
    tell("event", put(type, fields));
    delivery.schedule();
  },

  /** Items for this page; undefined where there is no answer. @param {Record<string, any>} [asked] @returns {Promise<Answer | undefined>} */
  async recommend({ signal, ...asked } = {}) {
    if (!options || state !== "granted") return;
    const body = { item_id: page?.item_id, ...asked, key: options.key, user_id: session.fields().user_id, visitor_token: options.token, session_data: session.data() };
    try {
      const reply = await post(options.url + "/v1/page", JSON.stringify(body), { signal });
      const answer = await reply.json();
      if (reply.ok) {
        session.shown(answer);
        tell("answer", answer);
        return answer;
      }
      if (answer.pointer === "/visitor_token" && options.token) {
        options.token = undefined;
        return attune.recommend({ signal, ...asked });
      }
      tell("refused", answer);
    } catch {
      // no answer: the page stays as it is
    }
    return undefined;
  },

  /** `session_data`, as the shop's server may hand it on. */
  session: () => (isSilent() ? undefined : session.data()),

  /** Say whether the visitor consents. @param {string} given granted, pending or denied */
  consent(given) {
    state = /** @type {any} */ (navigator).globalPrivacyControl ? "denied" : given;
    if (!options) return;
    const granted = state === "granted";
    if (granted || state === "denied") [session, store].forEach((one) => one.persist(granted));
    delivery.turn(granted);
  },

  /** Say, by a token of the shop's server, who the visitor is. @param {string} token */
  identify(token) {
    if (options) options.token = token;
  },

  /** Hear of `event`, `sent`, `refused` or `answer`. @param {string} name @param {(what: any) => void} listener @returns {() => unknown} */
  on(name, listener) {
    const one = { name, listener };
    listeners.push(one);
    return () => (listeners = listeners.filter((other) => other !== one));
  },

  /** Send now what waits. @returns {Promise<void>} */
  flush: async () => (isSilent() ? undefined : delivery.flush()),

  /** End; what waits is sent first. */
  stop() {
    if (!options) return;
    pause();
    ended?.abort();
    delivery.turn(false);
    options = undefined;
  },
};

/** Take what the page's marks or its dataLayer say; the latter may name the page's item. @param {Seen} seen */
function heard(seen) {
  if (!page && seen.type === "item_view") page = seen;
  attune.track(seen.type, seen);
}

export default attune;
