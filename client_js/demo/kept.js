/**
 * Small texts in localStorage. A browser that refuses (private mode, full, switched off) costs
 * their survival, nothing else.
 *
 * @module
 */

/**
 * @typedef {object} Kept
 * @property {(key: string) => string | null} read
 * @property {(key: string, text: string | null) => void} write null removes it
 * @property {(prefix: string) => void} removeAll
 */

/**
 * @param {() => Storage} open the access itself may throw
 * @returns {Kept}
 */
export function createKept(open) {
  /** @type {Map<string, string>} */
  const spare = new Map();
  return {
    read: (key) => attempt(() => open().getItem(key)) ?? spare.get(key) ?? null,
    write(key, text) {
      spare.delete(key);
      if (text === null) attempt(() => open().removeItem(key));
      else if (attempt(() => keep(open(), key, text)) === null) spare.set(key, text);
    },
    removeAll(prefix) {
      const stored = attempt(() => Object.keys(open())) ?? [];
      for (const key of [...stored, ...spare.keys()]) {
        if (key.startsWith(prefix)) this.write(key, null);
      }
    },
  };
}

/** @param {Storage} storage @param {string} key @param {string} text */
function keep(storage, key, text) {
  storage.setItem(key, text);
  return true;
}

/**
 * @template T
 * @param {() => T} run
 */
function attempt(run) {
  try {
    return run();
  } catch {
    return null;
  }
}

const DRAFTS = "parley-draft:";

/**
 * What is typed and not sent, by person and conversation.
 *
 * @param {Kept} kept
 */
export function createDrafts(kept) {
  /** @type {(who: string, conversationId: string | null) => string} */
  const key = (who, conversationId) => `${DRAFTS}${who}:${conversationId ?? "new"}`;
  return {
    /** @type {(who: string, conversationId: string | null) => string} */
    read: (who, conversationId) => kept.read(key(who, conversationId)) ?? "",
    /** @type {(who: string, conversationId: string | null, text: string) => void} */
    write: (who, conversationId, text) => kept.write(key(who, conversationId), text || null),
    /** Removes all of one person's. @type {(who: string) => void} */
    forget: (who) => kept.removeAll(`${DRAFTS}${who}:`),
  };
}

const DELETIONS = "parley-deletions:";

/**
 * Deletions that were decided as the page went: a browser that closes a page does not wait for
 * what goes into a database, but for what goes in here.
 *
 * @param {Kept} kept
 */
export function createDeletions(kept) {
  /** @type {(who: string) => string[]} */
  const list = (who) => {
    try {
      const ids = JSON.parse(kept.read(DELETIONS + who) ?? "[]");
      return Array.isArray(ids) ? ids.filter((id) => typeof id === "string") : [];
    } catch {
      return [];
    }
  };
  /** @type {(who: string, ids: string[]) => void} */
  const write = (who, ids) =>
    kept.write(DELETIONS + who, ids.length > 0 ? JSON.stringify(ids) : null);
  return {
    list,
    /** @type {(who: string, id: string) => void} */
    add: (who, id) => write(who, [...list(who), id]),
    /** @type {(who: string, id: string) => void} */
    remove: (who, id) =>
      write(
        who,
        list(who).filter((each) => each !== id),
      ),
  };
}
