/**
 * Capture: what a page says of itself, by attributes, else by JSON-LD, else by GA4's dataLayer, and what its visitor does.
 * Only what the shop marked is read; never text, values, addresses or titles.
 */
import { attempt } from "./store.js";
import { GA4 } from "./vocabulary.js";

const AGAIN_MS = 300_000;
const VIEWS = /_view$|_browse$|^search$/;

/** @typedef {Record<string, unknown> & { type: string }} Seen */

/** @param {unknown} value */
const text = (value) => (value == null || value === "" ? undefined : String(value));
/** @param {unknown} value */
const number = (value) => (isNaN(Number(text(value))) ? undefined : Number(value));

/** What elements say, the nearest first. @param {EventTarget[]} path */
function said(path) {
  /** @param {string} name @returns {string | undefined} */
  const of = (name) =>
    path.map((one) => /** @type {HTMLElement} */ (one).dataset?.["attune" + name]).find((value) => value !== undefined);
  return { item_id: text(of("Item")), category: text(of("Category")), price: number(of("Price")), decision_id: text(of("Decision")) };
}

/** @returns {Seen | undefined} */
function ofJsonLd() {
  /** @param {any} node @returns {any} */
  const product = (node) => {
    if (Array.isArray(node)) return node.map(product).find(Boolean);
    return node && ([node["@type"]].flat().includes("Product") ? node : product(node["@graph"]));
  };
  for (const script of document.querySelectorAll('script[type="application/ld+json"]')) {
    const found = attempt(() => product(JSON.parse(script.textContent ?? "")));
    const item_id = text(found?.sku ?? found?.productID ?? found?.gtin);
    if (item_id) {
      const offer = [found.offers].flat()[0];
      return { type: "item_view", item_id, category: text(found.category?.name ?? found.category), price: number(offer?.price ?? offer?.lowPrice) };
    }
  }
  return undefined;
}

/** What the page is, by the best source that it has. @returns {{ seen?: Seen, element?: Element }} */
export function ofPage() {
  const element = document.querySelector("[data-attune-page]");
  const type = /** @type {HTMLElement | null} */ (element)?.dataset.attunePage;
  if (element && type) {
    const inside = element.querySelector("[data-attune-item]");
    return { seen: { type, ...said([element, ...(type === "item_view" && inside ? [inside] : [])]) }, element };
  }
  return { seen: ofJsonLd() };
}

/** Events of a push to the dataLayer. @param {any} push @returns {Seen[]} */
function ofPush(push) {
  const [name, more] = push?.[0] === "event" ? [push[1], push[2]] : [push?.event, push?.ecommerce ?? push];
  const type = Object.keys(GA4).find((type) => GA4[type].includes(name));
  if (!type) return [];
  const items = [more?.items ?? []].flat();
  const order_id = text(more?.transaction_id);
  return (items.length ? items : [{}]).map((item) => ({
    type, item_id: text(item.item_id), category: text(item.item_category), price: number(item.price), quantity: number(item.quantity),
    ...(type === "purchase" && { order_id, currency: text(more?.currency) }),
    ...(type === "search" && { query_length: String(more?.search_term ?? "").length }),
  }));
}

/**
 * @param {(seen: Seen) => void} track
 * @param {{ page: () => Seen | undefined, enlarged: (scale: number) => void, ga4: boolean }} about
 * @param {AbortSignal} signal  ends it
 */
export function capture(track, about, signal) {
  let searched = -Infinity;
  const quiet = { capture: true, passive: true, signal };

  /** @param {Event} event @param {string} name @returns {HTMLElement | undefined} */
  const marked = (event, name) =>
    /** @type {HTMLElement | undefined} */ (event.isTrusted ? event.composedPath().find((one) => /** @type {HTMLElement} */ (one).dataset?.[name] !== undefined) : undefined);

  /** @param {number} [query_length] */
  function search(query_length) {
    const now = performance.now();
    track({ type: now - searched < AGAIN_MS ? "search_refine" : "search", query_length });
    searched = now;
  }

  /** A filter or an order: a click on anything but a field, which changes. @param {Event} event */
  function refine(event) {
    const isField = /** @type {Element} */ (event.composedPath()[0]).matches("select,input,textarea");
    if (marked(event, "attuneRefine") && isField === (event.type === "change")) track({ type: "search_refine" });
  }

  addEventListener("click", (event) => {
    const zoom = marked(event, "attuneZoom");
    if (zoom) about.enlarged(Number(zoom.dataset.attuneZoom) || 2);
    const element = marked(event, "attuneEvent");
    if (element) track({ ...about.page(), ...defined(said(event.composedPath())), type: String(element.dataset.attuneEvent) });
    refine(event);
  }, quiet);
  addEventListener("change", refine, quiet);
  addEventListener("submit", (event) => {
    const form = marked(event, "attuneSearch");
    if (form) search(form.querySelector("input")?.value.length);
  }, quiet);

  if (about.ga4) {
    const layer = (/** @type {any} */ (window).dataLayer ??= []);
    /** @param {any} one */
    const heard = (one) => {
      for (const seen of ofPush(one)) {
        const told = about.page() && (VIEWS.test(seen.type) || document.querySelector("[data-attune-event]"));
        if (!told) track(seen);
      }
    };
    [...layer].forEach(heard);
    const push = layer.push;
    layer.push = (/** @type {any[]} */ ...more) => {
      more.forEach((one) => attempt(() => heard(one)));
      return push.apply(layer, more);
    };
    signal.addEventListener("abort", () => (layer.push = push));
  }
}

/** @template {Record<string, unknown>} T @param {T} fields @returns {Partial<T>} */
export const defined = (fields) =>
  /** @type {Partial<T>} */ (Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)));
