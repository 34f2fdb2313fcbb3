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

/** @import { StateCreator } from "zustand" */
/** @import { Client, QueryResult } from "./client.js" */
/** @import { FunctionArgs, FunctionReturnType, Reference } from "./types.js" */

/**
 * Returns what `create` and `createStore` of zustand take. The query is asked for until the state's
 * `stop()` is called. `value` is undefined while it loads.
 *
 * @template {Reference<"query">} Ref
 * @param {Client} client
 * @param {Ref} ref
 * @param {FunctionArgs<Ref>} args
 * @returns {StateCreator<Partial<QueryResult<FunctionReturnType<Ref>>> & {stop: () => void}>}
 */
export function liveQuery(client, ref, args) {
  return (set) => {
    /** @type {Partial<QueryResult>} */
    let first = { isStale: true };
    const stop = client.subscribe(ref, args, (result) => {
      first = result;
      set(/** @type {Partial<QueryResult>} */ (result));
    });
    return { ...first, stop };
  };
}
