/** Console: blocks exchanged while somebody looks, local times, sliders, keys. Without it every page works by loading it again. */
"use strict";
const POLITE_MS = 5000;

/** Instants as the reader's clock has them; UTC stays in the title. */
function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) time.textContent = new Date(time.dateTime).toLocaleString();
}

/** Put blocks in place of those of before, by id; where the reader is in one, it stays. @param {Record<string, string>} blocks */
function exchange(blocks) {
  for (const [id, html] of Object.entries(blocks)) {
    const old = document.getElementById(id);
    if (!old || old.contains(document.activeElement) && document.activeElement.matches("input,select,textarea,button")) continue;
    const wide = old.querySelector(".wide");
    const [left, focused] = [wide?.scrollLeft ?? 0, wide === document.activeElement];
    const fresh = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
    if (!fresh) continue;
    localTimes(fresh);
    old.replaceWith(fresh);
    const box = fresh.querySelector(".wide");
    if (box) box.scrollLeft = left;
    if (focused) box?.focus();
  }
}

const root = document.getElementById("blocks");
let stream;
let spoken = 0;
function follow() {
  if (!root?.dataset.live || document.hidden) return;
  stream = new EventSource("/live?page=" + encodeURIComponent(root.dataset.live));
  stream.onmessage = (event) => {
    const { lead, ...blocks } = JSON.parse(event.data);
    exchange(blocks);
    if (lead && Date.now() - spoken > POLITE_MS) {
      spoken = Date.now();
      exchange({ lead });
    }
  };
}
document.addEventListener("visibilitychange", () => (stream?.close(), follow()));
addEventListener("pagehide", () => stream?.close());
addEventListener("pageshow", (event) => event.persisted && follow());
localTimes(document);
follow();

/** A slider asks for the page that it means, and takes over its blocks and address. */
let asked;
document.addEventListener("input", (event) => {
  const output = event.target.parentElement?.querySelector("output");
  if (output) output.textContent = event.target.value;
  const form = event.target.closest("form[data-live]");
  if (!form) return;
  stream?.close(); // what is asked for now stands still
  delete root.dataset.live;
  clearTimeout(asked);
  asked = setTimeout(async () => {
    const address = form.getAttribute("action") + "?" + new URLSearchParams(new FormData(form));
    const page = new DOMParser().parseFromString(await (await fetch(address)).text(), "text/html");
    const blocks = [...page.querySelectorAll("#blocks > section")].map((one) => [one.id, one.outerHTML]);
    exchange({ ...Object.fromEntries(blocks), lead: page.getElementById("lead")?.outerHTML ?? "" });
    history.replaceState(null, "", address);
  }, 60);
});

const keys = "? these keys · / first field · g then a letter: n now, s sessions, w weights, a associations, m models, e experiments, d data, r reports";
const places = { n: "/", s: "/sessions", w: "/weights", a: "/associations", m: "/models", e: "/experiments", d: "/data", r: "/reports" };
let going = 0;
addEventListener("keydown", (event) => {
  if (event.target.matches("input,select,textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "?") {
    const shown = document.getElementById("keys") ?? document.body.appendChild(Object.assign(document.createElement("dialog"), { id: "keys", textContent: keys }));
    shown.open ? shown.close() : shown.showModal();
  } else if (event.key === "/") {
    const field = document.querySelector("main input:not([type=hidden])");
    if (field) event.preventDefault(), field.focus();
  } else if (event.key === "g") going = Date.now();
  else if (places[event.key] && Date.now() - going < 1500) location.assign(places[event.key]);
});
