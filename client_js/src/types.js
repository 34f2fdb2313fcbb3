/**
 * The shapes that modules hand to each other. Nothing here runs.
 *
 * "Value" is a Convex value as applications see it; "Json" is the same as the wire says it
 * (`$integer`, `$bytes`, `$float`). `src/values.js` goes between the two.
 *
 * @module
 */

/**
 * @typedef {null | boolean | number | bigint | string | ArrayBuffer | Value[] | {[key: string]: Value | undefined}} Value
 * @typedef {null | boolean | number | string | Json[] | {[key: string]: Json}} Json
 */

/**
 * Names one live query: its canonical path and its encoded arguments with sorted keys, as JSON
 * text. Equal tokens are one query, in all tabs.
 * @typedef {string} QueryToken
 */

/**
 * A query as the wire needs it.
 * @typedef {object} QueryCall
 * @property {QueryToken} token
 * @property {string} path canonical, `dir/module:function`
 * @property {Json} args encoded arguments, one object
 * @property {string | null} [journal] the newest that the server gave: keeps the borders of pages
 */

/**
 * What a query gives: its value, or its failure.
 * @typedef {{status: "success", value: Value} | {status: "error", error: Failure}} Result
 */

/**
 * A function's failure as it travels between tabs and into storage (an Error does not).
 * @typedef {object} Failure
 * @property {string} message the server's text
 * @property {Value} [data] what the application threw; present only then, and may be null
 * @property {string} [code] of the error, where it is not the function's own (`FunctionFailed`)
 */

/**
 * One step of time, as the leader hands it to every tab. It is applied whole or not at all: all
 * results that a tab shows are then true at `ts`.
 * @typedef {object} Change
 * @property {bigint} ts the server's timestamp that all live results now have
 * @property {string | null} incarnation which life of the database `ts` counts in
 * @property {QueryChange[]} queries results that changed; the rest stands unchanged at the new `ts`
 * @property {Completion[]} completed mutations whose effect these results contain
 */

/**
 * @typedef {object} QueryChange
 * @property {QueryToken} token
 * @property {Result | null} result null when the query was removed
 * @property {string | null} journal
 */

/**
 * @typedef {object} Completion
 * @property {number} requestId
 * @property {Value} value what the mutation returned
 * @property {bigint} ts its commit's timestamp
 */

/**
 * A mutation in the outbox.
 * @typedef {object} OutboxEntry
 * @property {string} key made by the tab that wrote it (UUIDv7); never changes
 * @property {number} requestId its place in the order of its session, from 0; 0 or more
 * @property {string} sessionId with `requestId` what the server knows a repeat by
 * @property {string} user whose write this is (see `Account`); it is sent under nobody else
 * @property {string} path `dir/module:function`
 * @property {Json} args encoded arguments, one object
 * @property {"stored" | "sent" | "failed"} state committed ones are no longer in the outbox
 * @property {number} storedAt ms since the epoch
 * @property {number | null} sentAt ms since the epoch; when it was first handed to a socket
 * @property {Failure | null} failure set in state "failed"
 */

/**
 * Whose data is shown: `issuer|subject` of the token, as the server's identities have it; or
 * "anonymous" (connected without a token); or "guest" (nothing is sent at all).
 * @typedef {string} Account
 */

/**
 * What a person may be told about the connection.
 * `connecting`   no connection yet, the first try is under way
 * `connected`    live
 * `reconnecting` it broke; the next try is at `retryAt`, or under way
 * `offline`      the browser says that there is no network
 * `needs-auth`   no usable token: `reason` says why, `retryAt` when it is asked for again, if ever
 * `guest`        nothing is sent, on purpose
 * `closed`       `client.close()` was called, or the server said that this client is broken
 * @typedef {"connecting" | "connected" | "reconnecting" | "offline" | "needs-auth" | "guest" | "closed"} Phase
 */

/**
 * @typedef {object} ConnectionState the first eight fields are those of `convex/react`
 * @property {boolean} hasInflightRequests
 * @property {boolean} isWebSocketConnected
 * @property {Date | null} timeOfOldestInflightRequest
 * @property {boolean} hasEverConnected
 * @property {number} connectionCount
 * @property {number} connectionRetries
 * @property {number} inflightMutations
 * @property {number} inflightActions
 * @property {Phase} phase
 * @property {number} since ms since the epoch at which this phase began
 * @property {string | null} reason in words, for `reconnecting`, `needs-auth` and `closed`
 * @property {number | null} retryAt ms since the epoch
 * @property {"leader" | "follower" | "alone"} role whether this tab holds the socket of all tabs
 * @property {number} unsent mutations in the outbox that are not known to be committed, failed ones not counted
 * @property {number} failed mutations in the outbox that failed
 * @property {Account | null} account null until known
 * @property {boolean} durable whether writes are on disk before they count as stored (false: memory only)
 */

/**
 * Everything that a tab takes from outside. Tests give their own, so none of them sleeps.
 * @typedef {object} Env
 * @property {() => number} now ms since the epoch
 * @property {() => number} random in [0, 1)
 * @property {() => string} uuid a random UUID (version 4)
 * @property {(run: () => void, delayMs: number) => () => void} after runs once, later; returns its cancel
 * @property {() => boolean} isOnline
 * @property {(listener: (online: boolean) => void) => () => void} onOnlineChange returns its removal
 * @property {() => boolean} isVisible
 * @property {(listener: (event: "hide" | "show" | "visible") => void) => () => void} onPageChange the page goes (or is frozen, or kept for going back), comes back, becomes visible
 * @property {(url: string) => Socket} openSocket
 * @property {Locks | null} locks Web Locks, where there are any
 * @property {((name: string) => Channel) | null} openChannel BroadcastChannel, where there is one
 * @property {IDBFactory | null} indexedDB
 */

/**
 * What we use of a WebSocket.
 * @typedef {object} Socket
 * @property {(text: string) => void} send
 * @property {() => void} close
 * @property {(() => void) | null} onopen
 * @property {((event: {data: unknown}) => void) | null} onmessage
 * @property {((event: {code: number, reason: string}) => void) | null} onclose
 */

/**
 * What we use of `navigator.locks`.
 * @typedef {object} Locks
 * @property {(name: string, options: {steal?: boolean, ifAvailable?: boolean, signal?: AbortSignal}, hold: (lock: unknown) => Promise<void>) => Promise<void>} request
 */

/**
 * What we use of a BroadcastChannel.
 * @typedef {object} Channel
 * @property {(message: unknown) => void} postMessage
 * @property {((event: {data: any}) => void) | null} onmessage
 * @property {() => void} close
 */

/**
 * A function of the server, as generated `api` objects name it. Only its name exists at run time,
 * under `Symbol.for("functionName")`. The shape is Convex's, so references for one client fit the
 * other.
 * @template {"query" | "mutation" | "action"} [Kind="query" | "mutation" | "action"]
 * @typedef {{_type: Kind, _visibility: "public", _args: Record<string, any>, _returnType: unknown, _componentPath: string | undefined}} FunctionReference
 */

/**
 * What names a function: a reference, or its path as text, of which no types are known.
 * @template {"query" | "mutation" | "action"} [Kind="query" | "mutation" | "action"]
 * @typedef {FunctionReference<Kind> | string} Reference
 */

/**
 * What a function is called with: one object.
 * @template Ref
 * @typedef {Ref extends {_args: infer Args} ? Args : any} FunctionArgs
 */

/**
 * What a function gives.
 * @template Ref
 * @typedef {Ref extends {_returnType: infer Return} ? Return : any} FunctionReturnType
 */

/**
 * The parameters after a reference: the arguments may be left out where a function takes none.
 * @template Ref
 * @typedef {FunctionArgs<Ref> extends Record<string, never>
 *   ? [args?: Record<string, never>]
 *   : [args: FunctionArgs<Ref>]} OptionalArgs
 */

/**
 * As `OptionalArgs`, with options after them.
 * @template Ref
 * @template Options
 * @typedef {FunctionArgs<Ref> extends Record<string, never>
 *   ? [args?: Record<string, never>, options?: Options]
 *   : [args: FunctionArgs<Ref>, options?: Options]} ArgsAndOptions
 */

/**
 * As `OptionalArgs`, for hooks: "skip" asks nothing.
 * @template Ref
 * @typedef {FunctionArgs<Ref> extends Record<string, never>
 *   ? [args?: Record<string, never> | "skip"]
 *   : [args: FunctionArgs<Ref> | "skip"]} ArgsOrSkip
 */

/**
 * The shown results, as an optimistic update reads and changes them. `getQuery` gives undefined for
 * what is not known or has failed; `getAllQueries` all that are watched, with any arguments;
 * `setQuery` works also where nobody watches the query yet. No value may be changed in place.
 * @typedef {{
 *   getQuery<Ref extends Reference<"query">>(ref: Ref, ...rest: OptionalArgs<Ref>): FunctionReturnType<Ref> | undefined,
 *   setQuery<Ref extends Reference<"query">>(ref: Ref, args: FunctionArgs<Ref>, value: FunctionReturnType<Ref> | undefined): void,
 *   getAllQueries<Ref extends Reference<"query">>(ref: Ref): {args: FunctionArgs<Ref>, value: FunctionReturnType<Ref> | undefined}[]
 * }} LocalStore
 */

/**
 * What a mutation is expected to do to results until they contain it. It may be run many times.
 * @template {Record<string, any>} [Args=any]
 * @typedef {(store: LocalStore, args: Args) => void} OptimisticUpdate
 */

/**
 * One query as bindings see it: `client.watch(ref, args)`. Making one asks for nothing.
 * @template [T=unknown]
 * @typedef {object} Watch
 * @property {QueryToken} token equal for equal queries
 * @property {() => T | undefined} localResult what is shown now, the same object until it changes; throws the failure
 * @property {() => boolean} isStale whether it is from this device and not yet confirmed
 * @property {(listener: () => void) => () => void} onUpdate asks for it, as long as anybody does; calls back after each change, when all results have moved
 * @property {() => string | null} journal
 */

export {};
