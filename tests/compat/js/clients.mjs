// node clients.mjs <convex package>: ConvexClient and ConvexHttpClient, driven by a test.
// Values cross the line in Convex's own JSON encoding.
import { emit, serve } from "./channel.mjs";

const convex = process.argv[2];
const { ConvexClient, ConvexHttpClient } = await import(`${convex}/browser`);
const { makeFunctionReference } = await import(`${convex}/server`);
const { ConvexError, convexToJson, jsonToConvex } = await import(`${convex}/values`);

const clients = new Map();
const subscriptions = new Map();
const logger = false;

function describe(error) {
  const data = error instanceof ConvexError ? { data: convexToJson(error.data) } : {};
  return { message: String(error?.message ?? error), ...data };
}

const encoded = (value) => (value === undefined ? null : convexToJson(value));
const decoded = (args) => jsonToConvex(args ?? {});

// Optimistic updates a test can ask for by name.
const optimistic = {
  none: undefined,
  append: (query, args) => (store, { body }) => {
    const seen = store.getQuery(query, args);
    if (seen !== undefined) store.setQuery(query, args, [...seen, body]);
  },
};

await serve(
  {
    open(name, url) {
      clients.set(name, new ConvexClient(url, { logger }));
    },
    /** `tokens` are given out one by one, at each call of fetchToken; the last is given for ever. */
    setAuth(name, tokens) {
      const waiting = [...tokens];
      const fetchToken = async ({ forceRefreshToken }) => {
        emit(`${name}.fetchToken`, forceRefreshToken);
        return waiting.length > 1 ? waiting.shift() : waiting[0];
      };
      clients.get(name).setAuth(fetchToken, (isAuthenticated) => emit(`${name}.auth`, isAuthenticated));
    },
    clearAuth(name) {
      clients.get(name).client.clearAuth();
    },
    /** Every result arrives as an event of the subscription's name: {value} or {error}. */
    subscribe(name, subscription, path, args) {
      subscriptions.set(
        subscription,
        clients.get(name).onUpdate(
          makeFunctionReference(path),
          decoded(args),
          (value) => emit(subscription, { value: encoded(value) }),
          (error) => emit(subscription, { error: describe(error) }),
        ),
      );
    },
    unsubscribe(subscription) {
      subscriptions.get(subscription)();
    },
    /** Resolves with the result, and what `subscription` shows at that very moment. */
    async mutation(name, path, args, { seenBy, update = "none" } = {}) {
      const watched = subscriptions.get(seenBy);
      const optimisticUpdate = optimistic[update]?.(
        makeFunctionReference("probe:bodies"),
        { topic: args?.topic },
      );
      const result = await clients
        .get(name)
        .mutation(makeFunctionReference(path), decoded(args), { optimisticUpdate });
      return { result: encoded(result), seen: watched && encoded(watched.getCurrentValue()) };
    },
    async action(name, path, args) {
      return encoded(await clients.get(name).action(makeFunctionReference(path), decoded(args)));
    },
    async query(name, path, args) {
      return encoded(await clients.get(name).query(makeFunctionReference(path), decoded(args)));
    },
    connectionState(name) {
      const { isWebSocketConnected, hasInflightRequests, connectionCount } = clients
        .get(name)
        .connectionState();
      return { isWebSocketConnected, hasInflightRequests, connectionCount };
    },
    /** `kind`: query, mutation, action or consistentQuery. */
    async http(url, token, kind, path, args) {
      const client = new ConvexHttpClient(url, { logger });
      if (token) client.setAuth(token);
      return encoded(await client[kind](makeFunctionReference(path), decoded(args)));
    },
    async close(name) {
      await clients.get(name).close();
    },
  },
  describe,
);
