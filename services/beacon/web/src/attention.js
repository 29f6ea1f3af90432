/**
 * Attention: how long an item was really looked at, how far it was scrolled, how far enlarged, how far the mouse moved.
 * Time counts while the page is visible and either has the focus or was touched in the last 5 s, until 30 s after the last touch.
 */

const FOCUSED_MS = 30_000;
const TOUCHED_MS = 5_000;
const GAP_MS = 400;
const TOUCHES = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart", "scroll"];

/** @param {() => void} changed is called about every second of a span */
export function makeAttention(changed) {
  let spent = 0;
  let last = 0;
  let touched = 0;
  let running = false;
  let focused = false;
  let depth = 0;
  let zoom = 1;
  let distance = 0;
  let timer = 0;
  let frame = 0;
  /** @type {Element | null | undefined} */
  let target;
  /** @type {MouseEvent | undefined} */
  let mouse;
  /** @type {MouseEvent | undefined} */
  let moved;

  function settle() {
    const now = performance.now();
    if (running) spent += Math.max(0, Math.min(now, touched + (focused ? FOCUSED_MS : TOUCHED_MS)) - last);
    last = now;
    focused = document.hasFocus();
  }

  function look() {
    frame = 0;
    if (!running) return;
    const box = (target?.isConnected ? target : document.documentElement).getBoundingClientRect();
    if (box.height) depth = Math.max(depth, Math.min(1, (innerHeight - box.top) / box.height));
    zoom = Math.max(zoom, visualViewport?.scale ?? 1);
    if (!moved) return;
    if (mouse && moved.timeStamp - mouse.timeStamp <= GAP_MS) distance += Math.hypot(moved.clientX - mouse.clientX, moved.clientY - mouse.clientY);
    mouse = moved;
    moved = undefined;
  }

  const soon = () => void (frame ||= requestAnimationFrame(look));

  /** @param {Event} event */
  function touch(event) {
    if (!event.isTrusted) return;
    if (performance.now() - touched > 100) {
      settle();
      touched = last;
    }
    if (event.type === "pointermove" && /** @type {PointerEvent} */ (event).pointerType === "mouse") moved = /** @type {MouseEvent} */ (event);
    soon();
  }

  function tick() {
    settle();
    changed();
  }

  return {
    /** @param {AbortSignal} signal  ends it */
    listen(signal) {
      TOUCHES.forEach((name) => addEventListener(name, touch, { passive: true, capture: true, signal }));
      ["focus", "blur"].forEach((name) => addEventListener(name, settle, { signal }));
    },
    /** Begin a span. @param {Element | null | undefined} item */
    begin(item) {
      [spent, depth, zoom, distance, target, mouse] = [0, 0, 1, 0, item, undefined];
      touched = last = performance.now();
      focused = document.hasFocus();
      running = true;
      clearInterval(timer);
      timer = setInterval(tick, 1000);
      soon();
    },
    /** End the span; whether there was one. */
    end() {
      settle();
      const was = running;
      running = false;
      clearInterval(timer);
      return was;
    },
    /** @param {number} scale to which a picture was enlarged */
    enlarged(scale) {
      zoom = Math.max(zoom, scale);
    },
    measures: () => ({
      dwell_ms: Math.round(spent),
      scroll_depth: +depth.toFixed(3),
      zoom_level: +zoom.toFixed(2),
      cursor_distance_px: Math.round(distance),
    }),
  };
}
