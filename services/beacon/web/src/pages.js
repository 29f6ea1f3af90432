/**
 * Life of pages: when one is looked at, left, taken out of the back/forward cache, or exchanged for another by its own script.
 * No `unload`, which would keep pages out of that cache.
 */

/**
 * @param {{ begin: () => void, pause: (ending?: Event) => void, resume: () => void }} on  `begin`: another page; `pause`, `resume`:
 *   hidden, shown; of the end of a page `pause` is told the event
 * @param {AbortSignal} signal  ends it
 */
export function follow(on, signal) {
  const address = () => location.href.split("#")[0];
  let at = address();

  function moved() {
    if (address() === at) return;
    at = address();
    on.pause();
    setTimeout(on.begin);
  }

  addEventListener("visibilitychange", () => (document.hidden ? on.pause() : on.resume()), { signal });
  addEventListener("pagehide", on.pause, { signal });
  addEventListener("pageshow", (event) => event.persisted && on.begin(), { signal });
  const navigation = /** @type {EventTarget | undefined} */ (/** @type {any} */ (window).navigation);
  if (navigation) {
    navigation.addEventListener("navigatesuccess", moved, { signal });
  } else {
    addEventListener("popstate", moved, { signal });
    const { pushState } = history;
    history.pushState = (...how) => (pushState.apply(history, how), moved());
    signal.addEventListener("abort", () => (history.pushState = pushState));
  }
}
