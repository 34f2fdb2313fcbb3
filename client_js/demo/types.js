/**
 * The shapes that the chat page's modules hand to each other. Nothing here runs.
 *
 * Documents are as the server's `parley.chat.model` has them; times are ms since the epoch.
 *
 * @module
 */

/**
 * @typedef {object} Conversation
 * @property {string} _id
 * @property {string} title
 * @property {boolean} isPinned
 * @property {string[]} tags
 * @property {string} [model]
 * @property {number} createdAt
 * @property {number} updatedAt
 */

/**
 * @typedef {{title: string, url: string, snippet?: string}} Citation
 * @typedef {{name: string, args: unknown, result?: unknown}} ToolInvocation
 */

/**
 * @typedef {object} Message
 * @property {string} _id
 * @property {"user" | "assistant" | "system"} role
 * @property {string} content Markdown
 * @property {number} timestamp
 * @property {Citation[]} [citations]
 * @property {string} [reasoningText] Markdown
 * @property {ToolInvocation[]} [tools]
 */

/**
 * A write that the server has not confirmed.
 * @typedef {object} OutboxItem
 * @property {string} key
 * @property {string} path
 * @property {Record<string, unknown>} args
 * @property {"stored" | "sent" | "failed"} state
 * @property {Error | null} error
 * @property {number} storedAt
 * @property {() => unknown} retry
 * @property {() => unknown} discard
 */

/**
 * A message as it is shown.
 * @typedef {object} Shown
 * @property {Message} message
 * @property {OutboxItem | null} unsent its write, until the server confirmed it
 */

/**
 * What the server says about itself in /demo/config.json.
 * @typedef {object} Config
 * @property {"development" | "supabase" | "none"} mode how people sign in
 * @property {boolean} hasAssistant whether the server has a scripted one
 * @property {string} [supabaseUrl]
 * @property {string} [supabaseAnonKey] public by design: Supabase's `anon` key
 */

/**
 * Who uses this page; kept in localStorage.
 * @typedef {{kind: "development", name: string}} DevelopmentSession
 * @typedef {object} SupabaseSession
 * @property {"supabase"} kind
 * @property {string} name e-mail address
 * @property {string} accessToken
 * @property {string} refreshToken
 * @property {number} expiresAt
 * @typedef {{kind: "guest", name: string}} GuestSession
 * @typedef {DevelopmentSession | SupabaseSession | GuestSession} Session
 */

export {};
