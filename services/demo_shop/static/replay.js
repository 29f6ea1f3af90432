/** Replay of a simulated visitor: the page does what that visitor would, step by step, over as many pages as it takes. */
"use strict";
const WALK = "demo.walk";
let walk = read(WALK, null);
let turn;

const stop = () => { clearTimeout(turn); walk = null; sessionStorage.removeItem(WALK); buttons(); truth(); };
const buttons = () => document.querySelectorAll("[data-walk]").forEach((one) => (one.hidden = one.dataset.walk ? false : !walk, one.setAttribute("aria-pressed", String(walk?.kind === one.dataset.walk && !!walk))));

function soon() {
  const step = walk?.steps[0];
  if (!step) return walk && stop();
  turn = setTimeout(() => go(step), step.pause_ms);
}

async function post(what, fields) {
  await fetch("/do/" + what, { method: "POST", body: new URLSearchParams(fields), headers: { accept: "application/json" } });
}

async function go(step) {
  walk.steps.shift();
  walk.truth = step.intent;
  write(WALK, walk);
  truth();
  const { type, item_id, category, query_length } = step;
  const onPage = $("[data-attune-page=item_view]")?.dataset.attuneItem;
  if (type === "item_view") return location.assign("/item/" + item_id);
  if (type === "category_browse") return location.assign("/c/" + category);
  if (type === "cart_view") return location.assign("/cart");
  if (type === "checkout_view") return location.assign("/checkout");
  if (type === "item_engagement") { if (onPage !== item_id) return location.assign("/item/" + item_id); return soon(); }
  if (type === "add_to_cart") await post("put", { item_id });
  if (type === "remove_from_cart") await post("take", { item_id });
  if (type === "purchase") { await post("put", { item_id }); await post("order", { session_id: attune.session()?.session_id ?? "" }); return soon(); }
  attune.track(type, { item_id, category, query_length });
  soon();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-walk]");
  if (!button) return;
  stop();
  if (!button.dataset.walk || !consented) return;
  const reply = await fetch("/walk?as=" + button.dataset.walk + "&seed=" + Math.floor(Math.random() * 1e6));
  if (!reply.ok) return;
  walk = { kind: button.dataset.walk, steps: await reply.json() };
  write(WALK, walk);
  buttons();
  soon();
});
buttons();
soon();
