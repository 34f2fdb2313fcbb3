/**
 * A live query as state of zustand:
 *
 *     const useConversations = create(liveQuery(client, api.conversations.list, {}));
 *     const { value, error, isStale } = useConversations();
 *
 * To put a result into a store of your own, `client.subscribe(ref, args, ({ value }) =>
 * store.setState({ conversations: value }))` is all it takes.
 *
 * @module
 */

/** @import { Client } from "./client.js" */
/** @import { FunctionArgs, FunctionReturnType, Reference } from "./types.js" */

/**
 * Returns what `create` and `createStore` of zustand take. The query is asked for until the state's
 * `stop()` is called. `value` is undefined while it loads.
 *
 * @template {Reference<"query">} Ref
 * @param {Client} client
 * @param {Ref} ref
 * @param {FunctionArgs<Ref>} args
 */
export function liveQuery(client, ref, args) {
  /** @typedef {{value?: FunctionReturnType<Ref>, error?: unknown, isStale: boolean, stop: () => void}} State */
  /**
   * @param {(part: Partial<State>) => void} set
   * @returns {State}
   */
  return (set) => {
    /** @type {Partial<State>} */
    let first = {};
    const stop = client.subscribe(ref, args, (result) => {
      first = result;
      set(result);
    });
    return { value: undefined, error: undefined, isStale: true, ...first, stop };
  };
}
