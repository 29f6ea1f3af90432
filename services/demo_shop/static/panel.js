/** The panel "What Attune sees": only what the public API told this page, and its server. */
"use strict";
const KEPT = "demo.panel";
const NAMES = { exploratory: "looking around", comparative: "comparing", intent_to_purchase: "about to buy", research: "researching" };
const read = (word, otherwise) => { try { return JSON.parse(sessionStorage.getItem(word)) ?? otherwise; } catch { return otherwise; } };
const write = (word, what) => { try { sessionStorage.setItem(word, JSON.stringify(what)); } catch { /* full or forbidden */ } };
const panel = $("#panel");
const kept = read(KEPT, { open: innerWidth >= 1120 });
const consented = $("[data-consent]")?.dataset.consent === "granted";
let asking, listening;

const make = (name, text = "", className = "") => Object.assign(document.createElement(name), { textContent: text, className });

function show(open) {
  panel.hidden = !open;
  $("#panel-open").hidden = open;
  $("#panel-open").setAttribute("aria-expanded", String(open));
  $(".columns").classList.toggle("open", open);
  kept.open = open;
  keep();
  open ? listen() : listening?.close();
}
const keep = () => consented ? write(KEPT, kept) : sessionStorage.removeItem(KEPT);

function bars(root, values, names, of) {
  if (root.childElementCount !== Object.keys(values).length) root.replaceChildren();
  Object.entries(values).forEach(([name, value], place) => {
    const row = root.children[place] ?? root.appendChild(make("div", "", of ? "bar" : "bar c" + place));
    if (!row.firstChild) row.append(make("span"), make("i"), make("span")), row.children[1].append(make("b"));
    row.dataset.name = name;
    row.firstChild.textContent = names[name] ?? name.replaceAll("_", " ");
    row.children[1].firstChild.style.setProperty("--p", String(Math.min(1, value / (of || 1))));
    row.lastChild.textContent = of ? value.toFixed(2) : Math.round(100 * value) + " %";
  });
}

function truth() {
  const wanted = read("demo.walk", null)?.truth;
  for (const row of $("#intents").children) row.classList.toggle("truth", row.dataset.name === wanted);
}

function reveal(told) {
  bars($("#intents"), told.intent.probabilities, NAMES);
  truth();
  const weights = Object.fromEntries(Object.entries(told.weights ?? {}).filter(([, value]) => value > 0).sort((a, b) => b[1] - a[1]).slice(0, 8));
  bars($("#weights"), weights, {}, Math.max(1e-9, ...Object.values(weights)));
  $("#ranking").replaceChildren(...told.items.map((item, place) => {
    const was = kept.places?.indexOf(item.item_id) ?? -1;
    const moved = kept.places ? (was < 0 ? "new" : was - place) : 0;
    const line = make("li");
    const name = make("a", titles[item.item_id]?.[0] ?? item.item_id);
    name.href = "/item/" + item.item_id;
    line.append(name, " ");
    if (moved) line.append(make("b", moved === "new" ? "new" : (moved > 0 ? "▲ " : "▼ ") + Math.abs(moved), moved === "new" || moved > 0 ? "up" : "down"));
    line.append(make("br"), make("span", because(item), "note"));
    return line;
  }));
  $("#decision").textContent = told.degraded.length ? "Fallbacks: " + told.degraded.join(", ").replaceAll("_", " ") : "";
}

/** Write into an element what an event was; its item's title may come later. */
function told(element, event, before = "") {
  element.replaceChildren(before + (event.type ?? "").replaceAll("_", " "));
  if (event.item_id) {
    const name = make("span", titles[event.item_id]?.[0] ?? event.item_id);
    name.dataset.title = event.item_id;
    element.append(" · ", name);
  } else if (event.category) element.append(" · " + event.category);
  if (event.dwell_ms) element.append(" · " + (event.dwell_ms / 1000).toFixed(1) + " s");
  return element;
}

/** Ask the shop's server, which asks Attune, whether a nudge would pay. */
function ask() {
  clearTimeout(asking);
  asking = setTimeout(async () => {
    if (panel.hidden || !window.attune?.session()) return;
    const reply = await fetch("/moment", { method: "POST", body: JSON.stringify(attune.session()) }).catch(() => undefined);
    const now = reply?.ok ? await reply.json() : {};
    if (!now.engagement) return;
    const held = now.signal.withheld;
    $("#engagement").textContent = "Engagement " + Math.round(100 * now.engagement.score) + " of 100" + (now.purchase ? ", purchase within the hour " + (100 * now.purchase.medium_term).toFixed(1) + " %" : "") + ". "
      + (held ? "A signal " + held.type.replaceAll("_", " ") + " is called for, and withheld: " + held.reason.replaceAll("_", " ") + "." : now.signal.type === "no_action" ? "No signal is called for." : "Signal: " + now.signal.type.replaceAll("_", " ") + ".");
  }, 400);
}

function listen() {
  if (!consented || panel.hidden || listening?.readyState < 2) return;
  listening = new EventSource("/signals");
  listening.onmessage = (event) => {
    const signal = JSON.parse(event.data);
    const line = signal.other ? make("li", "to another visitor: " + signal.other.replaceAll("_", " "), "note") : make("li", "to you, by " + signal.way + ": " + signal.type.replaceAll("_", " ") + (signal.payload.title ? ", " + signal.payload.title : ""));
    $("#signals").prepend(line);
    while ($("#signals").childElementCount > 5) $("#signals").lastChild.remove();
  };
}

$("#panel-open").addEventListener("click", () => { show(true); $("#panel-close").focus(); });
$("#panel-close").addEventListener("click", () => { show(false); $("#panel-open").focus(); });
addEventListener("keydown", (event) => event.key === "Escape" && !panel.hidden && $("#panel-close").click());
addEventListener("pagehide", () => listening?.close());
addEventListener("pageshow", (event) => event.persisted && listen());
addEventListener("titles", () => { if (answer) reveal(answer); kept.places = answer?.items.map((item) => item.item_id); kept.answer = answer; keep(); });
if (kept.answer) reveal(kept.answer);
show(kept.open);

window.attune?.on("event", (event) => {
  told($("#last-event"), event, "After: ");
  $("#sent").prepend(Object.assign(told(make("li", "", "note"), event), { id: "e-" + event.event_id }));
  while ($("#sent").childElementCount > 8) $("#sent").lastChild.remove();
  ask();
});
window.attune?.on("sent", ({ event, verdict }) => document.getElementById("e-" + event.event_id)?.append(" ✓ " + verdict.status));
window.attune?.on("refused", (what) => what.event && document.getElementById("e-" + what.event.event_id)?.append(" ✗ " + what.verdict.reason));
window.attune?.on("answer", (now) => reveal(now));
for (const event of window.attune?.session?.()?.events.slice(-5) ?? []) {
  told($("#last-event"), event, "After: ");
  $("#sent").prepend(told(make("li", "", "note"), event));
}
if (window.attune?.session?.()?.events.length) ask();
