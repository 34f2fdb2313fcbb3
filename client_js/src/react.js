/**
 * React bindings: the names, parameters and meaning of `convex/react`, and what only this client
 * has. They run under preact/compat too.
 *
 * All that one commit changed is in the client before any component hears of it, so components
 * that render together show one state of the data.
 *
 * @module
 */

import {
  createContext,
  createElement,
  useCallback,
  useContext,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { createClient } from "./client.js";
import { pathOf } from "./paths.js";
import { LivePages } from "./react/live-pages.js";

/** @import { ReactNode } from "react" */
/** @import { Client, ClientOptions, OutboxItem } from "./client.js" */
/** @import { MutationHandle } from "./handle.js" */
/** @import { PaginationOptions, ShownPages } from "./react/live-pages.js" */
/** @import { ArgsOrSkip, ConnectionState, FunctionArgs, FunctionReference, FunctionReturnType, OptimisticUpdate, OptionalArgs, Reference, Watch } from "./types.js" */

const ClientContext = createContext(/** @type {Client | null} */ (null));
const AuthContext = createContext(/** @type {AuthState | null} */ (null));

/**
 * Gives a client to the components inside.
 *
 * @param {{client: Client, children?: ReactNode}} props
 */
export function ParleyProvider({ client, children }) {
  return createElement(ClientContext.Provider, { value: client }, children);
}

/**
 * Returns the client of the provider around.
 *
 * @returns {Client}
 * @throws {Error} there is none.
 */
export function useParley() {
  return useProvided(ClientContext, "ParleyProvider");
}

/**
 * @template T
 * @param {import("react").Context<T | null>} context
 * @param {string} provider
 * @returns {T}
 */
function useProvided(context, provider) {
  const value = useContext(context);
  if (value === null) throw new Error(`This needs a <${provider} client={…}> around it`);
  return value;
}

/**
 * Returns a query's result, and renders again whenever it changes: undefined while it is loading;
 * the same object as long as nothing changed. Throws the query's failure.
 *
 * @template {Reference<"query">} Ref
 * @param {Ref} ref
 * @param {ArgsOrSkip<Ref>} rest the arguments; "skip" asks nothing
 * @returns {FunctionReturnType<Ref> | undefined}
 */
export function useQuery(ref, ...rest) {
  const watch = useWatch(ref, rest[0]);
  return useSyncExternalStore(useSubscribe(watch), () => watch?.localResult(), unknown);
}

/**
 * Returns whether what `useQuery` shows is from this device and not yet confirmed.
 *
 * @template {Reference<"query">} Ref
 * @param {Ref} ref
 * @param {ArgsOrSkip<Ref>} rest
 * @returns {boolean}
 */
export function useIsStale(ref, ...rest) {
  const watch = useWatch(ref, rest[0]);
  const isUnknown = () => watch !== null;
  return useSyncExternalStore(useSubscribe(watch), () => watch?.isStale() ?? false, isUnknown);
}

// What a server shows, and a page that takes it over at first: neither has asked for anything.
const unknown = () => undefined;

/**
 * @param {Reference<"query">} ref
 * @param {Record<string, any> | "skip"} [args]
 * @returns {Watch<any> | null} the same one for equal arguments
 */
function useWatch(ref, args = {}) {
  const client = useParley();
  const watch = args === "skip" ? null : client.watch(ref, args);
  // biome-ignore lint/correctness/useExhaustiveDependencies: equal tokens are one query
  return useMemo(() => watch, [client, watch?.token]);
}

/** @param {Watch | null} watch */
function useSubscribe(watch) {
  return useCallback(
    /** @param {() => void} listener */
    (listener) => {
      const stop = watch?.onUpdate(listener);
      // Asking may have brought what is already known.
      listener();
      return () => stop?.();
    },
    [watch],
  );
}

/**
 * A mutation to call. What it returns is a promise of the mutation's value that also says how far
 * the write has come: stored on this device, sent, committed, failed.
 *
 * @template {Reference<"mutation">} Ref
 * @typedef {((...rest: OptionalArgs<Ref>) => MutationHandle<FunctionReturnType<Ref>>)
 *   & {withOptimisticUpdate: (update: OptimisticUpdate<FunctionArgs<Ref>>) => ReactMutation<Ref>}} ReactMutation
 */

/**
 * Returns a function that calls a mutation; the same function in every render.
 *
 * Its `withOptimisticUpdate(update)` returns one whose effect shows at once. The update is also
 * used for writes of other tabs and of before a reload: it should depend on the arguments only.
 *
 * @template {Reference<"mutation">} Ref
 * @param {Ref} ref
 * @returns {ReactMutation<Ref>}
 */
export function useMutation(ref) {
  const client = useParley();
  const path = pathOf(ref);
  return useMemo(() => mutationOf(client, path), [client, path]);
}

/**
 * @param {Client} client
 * @param {string} path
 * @param {OptimisticUpdate} [optimisticUpdate]
 * @returns {ReactMutation<any>}
 */
function mutationOf(client, path, optimisticUpdate) {
  /** @param {OptionalArgs<any>} rest */
  const mutate = (...rest) => client.mutation(path, rest[0] ?? {}, { optimisticUpdate });
  /** @param {OptimisticUpdate} update */
  const withOptimisticUpdate = (update) => {
    // Not while rendering: waiting writes may get their effect by it, which renders others.
    queueMicrotask(() => client.registerOptimisticUpdate(path, update));
    return mutationOf(client, path, update);
  };
  return Object.assign(mutate, { withOptimisticUpdate });
}

/**
 * Returns a function that calls an action; the same function in every render.
 *
 * @template {Reference<"action">} Ref
 * @param {Ref} ref
 * @returns {(...rest: OptionalArgs<Ref>) => Promise<FunctionReturnType<Ref>>}
 */
export function useAction(ref) {
  const client = useParley();
  const path = pathOf(ref);
  return useMemo(
    () =>
      (...rest) =>
        client.action(path, rest[0] ?? {}),
    [client, path],
  );
}

/**
 * A query that takes `paginationOpts` and returns a page.
 *
 * @typedef {FunctionReference<"query"> & {
 *   _args: {paginationOpts: object},
 *   _returnType: {page: unknown[], isDone: boolean, continueCursor: string}
 * }} PaginatedQuery
 */

/**
 * Returns the rows of a list's pages so far, and how to load more. The rows are without gaps and
 * stay live; the object is the same as long as nothing changed. Throws the failure of a page.
 *
 * @template {PaginatedQuery} Ref
 * @param {Ref} ref
 * @param {Omit<FunctionArgs<Ref>, "paginationOpts"> | "skip"} args other arguments begin a new list
 * @param {{initialNumItems: number}} options how many rows the first page has, 1 or more
 * @returns {ShownPages<FunctionReturnType<Ref>["page"][number]>}
 */
export function usePaginatedQuery(ref, args, { initialNumItems }) {
  const client = useParley();
  const path = pathOf(ref);
  const others = args === "skip" ? null : args;
  const token = others && client.watch(path, others).token;
  // biome-ignore lint/correctness/useExhaustiveDependencies: equal tokens are one list
  const pages = useMemo(() => {
    /** @param {PaginationOptions} paginationOpts */
    const ask = (paginationOpts) => client.watch(path, { ...others, paginationOpts });
    return others && new LivePages(ask, initialNumItems);
  }, [client, token, initialNumItems]);
  const shown = useSyncExternalStore(pages?.subscribe ?? idle, pages?.snapshot ?? nothing, nothing);
  return /** @type {ShownPages<any>} */ (shown);
}

const idle = () => () => {};

/** @type {ShownPages} */
const NOTHING = { results: [], status: "LoadingFirstPage", isLoading: true, loadMore: () => {} };
const nothing = () => NOTHING;

/**
 * What `useAuth` of `ParleyProviderWithAuth` returns. `fetchAccessToken` should be the same
 * function as long as the same person is signed in.
 *
 * @typedef {object} AuthProvider
 * @property {boolean} isLoading
 * @property {boolean} isAuthenticated
 * @property {(args: {forceRefreshToken: boolean}) => Promise<string | null>} fetchAccessToken
 */

/**
 * @typedef {object} AuthState
 * @property {boolean} isLoading it is not known yet
 * @property {boolean} isAuthenticated the server has confirmed who this is
 */

/**
 * Gives a client to the components inside, signed in as an authentication provider says.
 *
 * While nobody can be asked (no network, the provider does not answer) the person whose data this
 * device shows counts as authenticated: what they read and write then is their own. Signing out
 * removes their data from this device; unmounting does not.
 *
 * @param {{client: Client, useAuth: () => AuthProvider, children?: ReactNode}} props
 */
export function ParleyProviderWithAuth({ client, useAuth, children }) {
  const { isLoading, isAuthenticated, fetchAccessToken } = useAuth();
  const confirmed = useConfirmation(client, isLoading ? null : isAuthenticated, fetchAccessToken);
  const isKnown = useConnection(client, isShownOffline);
  const value = useMemo(() => {
    if (!isLoading && !isAuthenticated) return { isLoading: false, isAuthenticated: false };
    const answer = confirmed ?? (isKnown || null);
    return { isLoading: answer === null, isAuthenticated: answer === true };
  }, [isLoading, isAuthenticated, confirmed, isKnown]);
  return createElement(
    AuthContext.Provider,
    { value },
    createElement(ParleyProvider, { client }, children),
  );
}

/**
 * Signs the client in and out; returns what the server says to it, null as long as it has not.
 *
 * @param {Client} client
 * @param {boolean | null} isSignedIn null while that is not known
 * @param {AuthProvider["fetchAccessToken"]} fetchAccessToken
 * @returns {boolean | null}
 */
function useConfirmation(client, isSignedIn, fetchAccessToken) {
  const [confirmed, setConfirmed] = useState(/** @type {boolean | null} */ (null));
  const fetchToken = isSignedIn ? fetchAccessToken : null;
  // Which client was told, and whether of somebody.
  const told = useRef({ client: /** @type {Client | null} */ (null), isSignedIn: false });
  // A layout effect comes before all effects in which queries are asked for.
  useLayoutEffect(() => {
    const wasSignedIn = told.current.client === client ? told.current.isSignedIn : null;
    if (isSignedIn !== null) told.current = { client, isSignedIn };
    if (fetchToken === null) {
      tellOfNobody(client, isSignedIn, wasSignedIn);
      return;
    }
    let isCurrent = true;
    client.setAuth(fetchToken, (answer) => {
      if (isCurrent) setConfirmed(answer);
    });
    return () => {
      isCurrent = false;
      setConfirmed(null);
    };
  }, [client, isSignedIn, fetchToken]);
  return confirmed;
}

/**
 * Only who signs out here takes their data with them: a provider may also know of nobody because it
 * could not ask.
 *
 * @param {Client} client
 * @param {boolean | null} isSignedIn
 * @param {boolean | null} wasSignedIn null: the client was told nothing yet
 */
function tellOfNobody(client, isSignedIn, wasSignedIn) {
  if (wasSignedIn && isSignedIn === false) client.clearAuth();
  else if (client.connectionState().account === "guest") return;
  else if (isSignedIn === false) client.setAuth(ofNobody);
  else if (wasSignedIn === null) client.setAuth(untilKnown);
}

/** @type {AuthProvider["fetchAccessToken"]} */
const untilKnown = () => new Promise(() => {});
const ofNobody = async () => null;

/** @param {ConnectionState} state */
const isShownOffline = ({ phase, account }) =>
  ["offline", "reconnecting", "needs-auth"].includes(phase) &&
  !["anonymous", "guest", null].includes(account);

/**
 * Returns who is asking: whether that is still loading, and whether the server has confirmed it.
 *
 * @returns {AuthState}
 * @throws {Error} there is no `ParleyProviderWithAuth` around.
 */
export function useParleyAuth() {
  return useProvided(AuthContext, "ParleyProviderWithAuth");
}

/**
 * Returns the state of the connection.
 *
 * @returns {ConnectionState}
 */
export function useConnectionState() {
  return useConnection(useParley(), (state) => state);
}

/**
 * @template T
 * @param {Client} client
 * @param {(state: ConnectionState) => T} select returns the same for the same state
 */
function useConnection(client, select) {
  const subscribe = useCallback(
    /** @param {() => void} listener */
    (listener) => client.subscribeToConnectionState(listener),
    [client],
  );
  const read = () => select(client.connectionState());
  return useSyncExternalStore(subscribe, read, read);
}

/**
 * Returns the writes of this account that are not committed, in the order in which they were made;
 * failed ones among them, each with `retry()` and `discard()`.
 *
 * @returns {OutboxItem[]}
 */
export function useOutbox() {
  const client = useParley();
  const subscribe = useCallback(
    /** @param {() => void} listener */
    (listener) => client.subscribeToOutbox(listener),
    [client],
  );
  return useSyncExternalStore(subscribe, () => client.outbox(), none);
}

/** @type {OutboxItem[]} */
const NONE = [];
const none = () => NONE;

/**
 * Convex's name for making a client, which is `createClient` here.
 *
 * @type {new (url: string, options?: ClientOptions) => Client}
 */
export const ConvexReactClient = /** @type {any} */ (
  /** @param {string} url @param {ClientOptions} [options] */
  function ConvexReactClient(url, options) {
    return createClient(url, options);
  }
);

// Convex's other names, so that code brought over needs only another import.
export {
  ParleyProvider as ConvexProvider,
  ParleyProviderWithAuth as ConvexProviderWithAuth,
  useConnectionState as useConvexConnectionState,
  useParley as useConvex,
  useParleyAuth as useConvexAuth,
};
