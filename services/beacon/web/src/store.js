/**
 * Outbox in two tiers. localStorage is written at once, so that a fast navigation loses nothing; IndexedDB survives a killed
 * browser, where localStorage forgets its last seconds. What is in either is there until the service has given its verdict.
 *
 * @typedef {{ event: Record<string, unknown>, at: number, held?: number }} Kept  `at`: milliseconds, when it was written;
 *   `held`: it is still measured (`DRAFT`) or was sent and has no verdict yet (`SENT`), unless that was long ago
 */

const WORD = "attune.o.";
const MOST = 500;
const LONGEST_MS = 7 * 864e5;
export const HELD_MS = 10_000;
export const DRAFT = 1;
export const SENT = 2;

/** Call something that a browser may forbid. @template T @param {() => T} work @returns {T | undefined} */
export function attempt(work) {
  try {
    return work();
  } catch {
    return undefined;
  }
}

/** @param {any} kept */
const idOf = (kept) => String(kept.event.event_id);

/** Whether nobody measures or sends it just now. @param {Kept | undefined} kept */
const isReady = (kept) => kept && (!kept.held || Date.now() - kept.at > HELD_MS);

/** @returns {Promise<IDBDatabase | undefined>} undefined where there is no IndexedDB */
function openDatabase() {
  return new Promise((/** @type {(opened?: IDBDatabase) => void} */ done) => {
    const request = attempt(() => indexedDB.open("attune", 1));
    if (!request) return done();
    request.onupgradeneeded = () => request.result.createObjectStore("outbox");
    request.onsuccess = () => {
      request.result.onversionchange = () => request.result.close();
      done(request.result);
    };
    request.onerror = request.onblocked = () => done();
  });
}

/** @param {(n: number) => void} dropped is told how many events were thrown away */
export function makeStore(dropped) {
  /** @type {Map<string, Kept>} */
  const memory = new Map();
  /** @type {Map<string, Kept | undefined>} what the database has not been told: an event, or that it is gone */
  const untold = new Map();
  let persistent = false;
  let ended = false;
  /** @type {Promise<IDBDatabase | undefined> | undefined} */
  let database;

  /**
   * Write what is untold, in one transaction and before all else: in a busy browser each has to wait for those before it, and a
   * kill forgets those that have not had their turn. Then work. @param {(outbox: IDBObjectStore) => void} [work]
   * @returns {Promise<unknown>} true where it could begin
   */
  async function inDatabase(work) {
    const opened = await (database ??= openDatabase());
    return opened && !ended && attempt(() => {
      const open = () => opened.transaction("outbox", "readwrite").objectStore("outbox");
      if (untold.size) {
        const outbox = open();
        untold.forEach((kept, id) => (kept ? outbox.put(kept, id) : outbox.delete(id)));
        untold.clear();
        outbox.transaction.commit?.();
      }
      work?.(open());
      return true;
    });
  }

  const words = () => attempt(() => Object.keys(localStorage).filter((name) => name.startsWith(WORD))) ?? [];

  /** @param {string} id @param {Kept} [kept] none: it is gone */
  function write(id, kept) {
    if (!persistent) return;
    attempt(() => (kept ? localStorage.setItem(WORD + id, JSON.stringify(kept)) : localStorage.removeItem(WORD + id)));
    untold.set(id, kept);
    inDatabase();
  }

  /** @param {string[]} ids */
  function remove(ids) {
    for (const id of ids) {
      memory.delete(id);
      write(id);
    }
  }

  /** @param {string[]} ids */
  function drop(ids) {
    remove(ids);
    if (ids.length) dropped(ids.length);
  }

  /** Take over what other pages of the shop left behind. */
  async function load() {
    const here = new Set(words());
    for (const word of here) take(attempt(() => JSON.parse(/** @type {any} */ (localStorage.getItem(word)))));
    // Where both have an event, the word is newer: a page that ends writes no more into the database.
    for (const kept of await inDatabaseAll()) here.has(WORD + idOf(kept)) || memory.has(idOf(kept)) || take(kept);
  }

  /** @param {Kept | undefined} kept */
  const take = (kept) => isReady(kept) && memory.set(idOf(kept), kept);

  const inDatabaseAll = () =>
    new Promise((/** @type {(found: Kept[]) => void} */ done) => {
      setTimeout(done, 1000, []); // some browsers never answer
      inDatabase((outbox) => {
        const request = outbox.getAll();
        request.onsuccess = () => done(request.result);
      }).then((begun) => begun || done([]));
    });

  return {
    /** @param {Record<string, unknown>} event @param {number} [held] */
    put(event, held) {
      const kept = { event, at: Date.now(), held };
      const id = idOf(kept);
      memory.delete(id);
      memory.set(id, kept);
      write(id, kept);
      if (memory.size > MOST) {
        drop([...memory.keys()].slice(0, memory.size - MOST));
      }
    },
    remove,
    load,
    /**
     * Leave the database alone while the page ends: in WebKit a page in the back/forward cache that has begun to write keeps all
     * others out. @param {boolean} on
     */
    end(on) {
      ended = on;
    },
    /** Events to send; what has become too old goes. */
    ready() {
      drop([...memory].filter(([, kept]) => Date.now() - Date.parse(String(kept.event.ts)) > LONGEST_MS).map(([id]) => id));
      return [...memory.values()].filter(isReady);
    },
    /** @param {boolean} on whether anything may be kept on the visitor's machine; if not, what is there goes */
    persist(on) {
      persistent = on;
      if (on) return memory.forEach((kept, id) => write(id, kept));
      memory.clear();
      untold.clear();
      words().forEach((word) => attempt(() => localStorage.removeItem(word)));
      database = undefined;
      attempt(() => indexedDB.deleteDatabase("attune"));
    },
  };
}
