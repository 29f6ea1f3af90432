/** Demo shop: forms without a reload, titles of the items that Attune named, and why each is there. */
"use strict";
const $ = (selector, root = document) => root.querySelector(selector);
const titles = {};
const own = $("[data-attune-page=item_view]");
if (own) titles[own.dataset.attuneItem] = [$("h1").textContent, Number(own.dataset.attunePrice), own.dataset.attuneCategory];
let answer;

/** Titles and prices are the shop's: Attune knows ids. */
async function entitle() {
  const named = (answer?.items ?? []).flatMap((one) => [one.item_id, ...(one.because ?? []).map((reason) => reason.item_id)]);
  const shown = [...document.querySelectorAll("[data-title]")].map((one) => one.dataset.title);
  const missing = [...named, ...shown].filter((id) => !titles[id]);
  if (missing.length) {
    const reply = await fetch("/goods.json?ids=" + [...new Set(missing)]).catch(() => undefined);
    if (reply?.ok) Object.assign(titles, await reply.json());
  }
  for (const element of document.querySelectorAll("[data-title]")) element.textContent = titles[element.dataset.title]?.[0] ?? element.dataset.title;
  for (const element of document.querySelectorAll("[data-price]")) element.textContent = (titles[element.dataset.price]?.[1] ?? 0).toFixed(2) + " €";
  dispatchEvent(new Event("titles"));
}

const DID = { item_view: "looked at", item_engagement: "lingered over", detail_view: "opened the details of", review_read: "read reviews of", spec_compare: "compared", wishlist_add: "saved", add_to_cart: "put into the cart", remove_from_cart: "took out", purchase: "bought", category_browse: "browsed", search: "searched after", search_refine: "searched on after", content_view: "read on", cart_view: "looked into the cart with", checkout_view: "went to the checkout with" };

/** Why an item is there: what others who came from the same things went on to do. */
function because(item) {
  const reasons = item.because ?? [];
  if (!reasons.length) return "Popular here; nothing in this visit points to it yet.";
  return reasons.slice(0, 2).map((one) => {
    const from = titles[one.item_id]?.[0] ?? one.item_id;
    const share = Math.round(100 * one.share) + " %: ";
    if (one.via === "category") return share + "popular in " + from;
    const when = one.via === "history" ? " (an earlier visit)" : "";
    return share + "who " + (DID[one.source_event] ?? one.source_event) + " " + from + when + " then " + (DID[one.target_event] ?? one.target_event) + " this";
  }).join(" · ");
}

document.addEventListener("click", (event) => {
  const why = event.target.closest("[data-why]");
  if (why) {
    const item = answer?.items.find((one) => one.item_id === why.dataset.why);
    if (item) $("#why").textContent = (titles[item.item_id]?.[0] ?? item.item_id) + ": " + because(item);
  }
  const zoom = event.target.closest(".zoom");
  if (zoom) zoom.classList.toggle("big");
  const done = event.target.closest("[data-done]");
  if (done) done.textContent = done.dataset.done;
});
document.addEventListener("toggle", (event) => event.target.open && $("summary", event.target)?.removeAttribute("data-attune-event"), true);
document.addEventListener("change", (event) => event.target.closest("#filters") && $("#filters").requestSubmit());
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.id === "order") form.session_id.value = window.attune?.session?.()?.session_id ?? "";
  if (!("quiet" in form.dataset)) return;
  event.preventDefault();
  const reply = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { accept: "application/json" } });
  const { n_pieces, n_compared } = await reply.json();
  $("#n-pieces").textContent = n_pieces;
  $("#n-compared").textContent = n_compared;
});
window.attune?.on("answer", (told) => {
  answer = told;
  setTimeout(entitle);
});
