/** Entry of the classic script: `window.attune`, begun by the attributes of its own element. */
import { attune } from "./attune.js";

const element = /** @type {HTMLScriptElement | null} */ (document.currentScript);
Object.assign(window, { attune });
if (element?.dataset.key) attune.init({ url: new URL(element.src).origin, key: "", ...element.dataset });
