/**
 * `<attune-items limit="6">`: a list of items, in the shop's own `<template>` and light DOM. In the template, `data-bind="item_id"`
 * fills in text, and `{item_id}` stands in attributes, encoded for an address. It hides itself while it has nothing to show; where no
 * answer comes in time it stays as it is. Who stands in it with the keyboard stays with the item, as long as that is shown.
 */
const TIMEOUT_MS = 800;
const GATHER_MS = 50;

/** @param {Element} root */
const withInner = (root) => [root, ...root.querySelectorAll("*")];

/** @param {Element} root @param {Record<string, unknown>} item */
function fill(root, item) {
  for (const element of withInner(root)) {
    for (const { name, value } of [...element.attributes]) {
      if (value.includes("{") && !/^(on|srcdoc|style)/i.test(name)) {
        element.setAttribute(name, value.replace(/\{(\w+)\}/g, (_, field) => encodeURIComponent(String(item[field] ?? ""))));
      }
    }
    const field = /** @type {HTMLElement} */ (element).dataset.bind;
    if (field) element.textContent = String(item[field] ?? "");
  }
}

/** @param {import("./attune.js").Attune} attune */
export function define(attune) {
  if (customElements.get("attune-items")) return;

  class Items extends HTMLElement {
    /** @type {AbortController | undefined} */
    _asked;
    _timer = 0;
    /** @type {(() => void) | undefined} */
    _off;

    connectedCallback() {
      this.setAttribute("role", "list");
      this._off = attune.on("event", (event) => event.type !== "item_engagement" && this._soon());
      this._soon();
    }

    disconnectedCallback() {
      this._off?.();
      this._asked?.abort();
      clearTimeout(this._timer);
    }

    _soon() {
      clearTimeout(this._timer);
      this._timer = setTimeout(() => this._ask(), GATHER_MS);
    }

    async _ask() {
      this._asked?.abort();
      const asked = (this._asked = new AbortController());
      const late = setTimeout(() => asked.abort(), TIMEOUT_MS);
      const answer = await attune.recommend({
        limit: Number(this.getAttribute("limit")) || 6, explain: !!this.getAttribute("explain"), signal: asked.signal,
      });
      clearTimeout(late);
      if (this._asked !== asked) return;
      if (answer) this._show(answer);
      this.hidden = !this.querySelector("[role=listitem]");
    }

    /** @param {import("./attune.js").Answer} answer */
    _show(answer) {
      const template = this.querySelector("template");
      if (!template) return;
      const shown = answer.items.flatMap((item) =>
        [.../** @type {DocumentFragment} */ (template.content.cloneNode(true)).children].map((root) => {
          fill(root, item);
          root.setAttribute("role", "listitem");
          Object.assign(/** @type {HTMLElement} */ (root).dataset, { attuneItem: item.item_id, attuneDecision: answer.decision_id });
          return root;
        }),
      );
      const focused = /** @type {Document} */ (this.getRootNode()).activeElement;
      const item = /** @type {HTMLElement | null | undefined} */ (focused?.closest("[data-attune-item]"))?.dataset.attuneItem;
      /** Elements of the item in which the focus is; without one, some of no item. */
      const elements = () => [...this.children].filter((root) => root.dataset.attuneItem === item).flatMap(withInner);
      const place = elements().indexOf(/** @type {Element} */ (focused));
      this.replaceChildren(template, ...shown);
      /** @type {HTMLElement | undefined} */ (elements()[place])?.focus({ preventScroll: true });
    }
  }
  customElements.define("attune-items", Items);
}
