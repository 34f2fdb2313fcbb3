/**
 * What the page shows of conversations and messages: order, filter, parts. Pure.
 *
 * @module
 */

import { ageTitle } from "./dates.js";

/** @import {Conversation, Message, OutboxItem, Shown} from "./types.js" */

/**
 * Returns conversations with the pinned ones first, each part with the last changed first.
 *
 * @param {Conversation[]} conversations
 */
export function ordered(conversations) {
  return [...conversations].sort(
    (a, b) => Number(b.isPinned) - Number(a.isPinned) || b.updatedAt - a.updatedAt,
  );
}

/**
 * Returns conversations that have every word of `text` in their title or a tag; `#word` is a tag's
 * beginning.
 *
 * @param {Conversation[]} conversations
 * @param {string} text
 */
export function filtered(conversations, text) {
  const words = text.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  return conversations.filter(({ title, tags }) => {
    const tagged = tags.map((tag) => `#${tag.toLocaleLowerCase()}`);
    const haystack = `${title.toLocaleLowerCase()}\n${tagged.join("\n")}`;
    return words.every((word) =>
      word.startsWith("#") ? tagged.some((tag) => tag.startsWith(word)) : haystack.includes(word),
    );
  });
}

/**
 * Returns the list's parts in order: pinned ones, then by age.
 *
 * @param {Conversation[]} conversations as `ordered` gives them
 * @param {number} now
 * @returns {{title: string, conversations: Conversation[]}[]}
 */
export function parts(conversations, now) {
  /** @type {Map<string, Conversation[]>} */
  const byTitle = new Map();
  for (const conversation of conversations) {
    const title = conversation.isPinned ? "Pinned" : ageTitle(conversation.updatedAt, now);
    byTitle.set(title, [...(byTitle.get(title) ?? []), conversation]);
  }
  return [...byTitle].map(([title, part]) => ({ title, conversations: part }));
}

/**
 * Returns a conversation's messages with the unsent ones, oldest first. An unsent message that the
 * results do not have (it failed, or they are not loaded) stands at the end, in the outbox's order.
 *
 * @param {Message[]} messages newest first, as the server gives them
 * @param {OutboxItem[]} outbox
 * @param {string} conversationId
 * @returns {Shown[]}
 */
export function withUnsent(messages, outbox, conversationId) {
  const unsent = new Map(
    outbox
      .filter((item) => item.path === "conversations:addMessage")
      .filter((item) => item.args.conversationId === conversationId)
      .map((item) => [String(item.args.id ?? item.key), item]),
  );
  const shown = messages.toReversed().map((message) => {
    const item = unsent.get(message._id) ?? null;
    unsent.delete(message._id);
    return { message, unsent: item };
  });
  return [
    ...shown,
    ...[...unsent].map(([id, item]) => ({ message: drawn(id, item), unsent: item })),
  ];
}

/**
 * Returns conversations with those that are in the outbox only: the list may not be known yet.
 *
 * @param {Conversation[] | undefined} listed undefined until known
 * @param {OutboxItem[]} outbox
 */
export function withBegun(listed, outbox) {
  if (listed) return listed;
  const begun = outbox.filter(
    ({ path, args, state }) => path === "conversations:create" && args.id && state !== "failed",
  );
  return begun.map(({ args, storedAt }) => ({
    _id: String(args.id),
    title: String(args.title ?? "New conversation"),
    isPinned: false,
    tags: [],
    createdAt: storedAt,
    updatedAt: storedAt,
  }));
}

/** Returns what a write will add. @param {string} id @param {OutboxItem} item @returns {Message} */
function drawn(id, { args, storedAt }) {
  const { role, content, citations, reasoningText, tools } = /** @type {Message} */ (
    /** @type {unknown} */ (args)
  );
  return { _id: id, role, content, citations, reasoningText, tools, timestamp: storedAt };
}

/**
 * Returns tags as people mean them: trimmed, without `#`, each once, in their order.
 *
 * @param {string[]} tags
 */
export function cleanTags(tags) {
  const clean = tags.map((tag) => tag.trim().replace(/^#+/, "").trim().slice(0, 40));
  return [...new Map(clean.filter(Boolean).map((tag) => [tag.toLocaleLowerCase(), tag])).values()];
}
