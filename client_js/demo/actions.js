/**
 * What people do with conversations, as calls of the server's functions. Each write is kept on
 * this device first, so none of these waits for a connection; a failed one is shown from the
 * outbox, so nobody has to catch it here.
 *
 * @module
 */

import { newId } from "parley-client";
import { api } from "./api.js";
import { cleanTags } from "./lists.js";
import { Observable } from "./observable.js";
import { failureWords, titleFrom } from "./words.js";

/** @import {Client} from "../src/client.js" */
/** @import {Conversation} from "./types.js" */
/** @import {Route} from "./route.js" */
/** @import {Toasts} from "./toasts.js" */

// What `assistant:reply` says while it is at it.
const BUSY = "The assistant is answering already";

/** Things that one tab does. */
export class Actions {
  #client;
  #toasts;
  #route;
  #hasAssistant;
  /** Conversations whose deletion may still be undone. */
  hidden = new Observable(/** @type {ReadonlySet<string>} */ (new Set()));
  /** Conversations that the assistant is answering in. */
  answering = new Observable(/** @type {ReadonlySet<string>} */ (new Set()));

  /**
   * @param {Client} client
   * @param {Toasts} toasts
   * @param {Route} route
   * @param {() => boolean} hasAssistant
   */
  constructor(client, toasts, route, hasAssistant) {
    this.#client = client;
    this.#toasts = toasts;
    this.#route = route;
    this.#hasAssistant = hasAssistant;
  }

  /**
   * Sends a message; without a conversation it begins one.
   *
   * @param {string | null} conversationId
   * @param {string} content
   * @returns {string} the conversation's id
   */
  send(conversationId, content) {
    const opened = conversationId ?? this.#begin(content);
    const args = { conversationId: opened, id: newId(), role: "user", content };
    const sent = this.#client.mutation(api.conversations.addMessage, args);
    const answer = () => (this.#hasAssistant() ? this.#answer(opened) : undefined);
    sent.then(answer, () => {});
    return opened;
  }

  /** @param {string} conversationId @param {string} title */
  rename(conversationId, title) {
    this.#update(conversationId, { title: title.trim().slice(0, 200) });
  }

  /** @param {Conversation} conversation */
  togglePin({ _id, isPinned }) {
    this.#update(_id, { isPinned: !isPinned });
  }

  /** @param {string} conversationId @param {string[]} tags */
  setTags(conversationId, tags) {
    this.#update(conversationId, { tags: cleanTags(tags) });
  }

  /** Hides a conversation, and deletes it once it is too late to undo. @param {Conversation} conversation */
  remove({ _id, title }) {
    const wasOpened = this.#route.opened.get() === _id;
    if (wasOpened) this.#route.open(null);
    this.hidden.set(new Set([...this.hidden.get(), _id]));
    const undo = () => {
      this.#unhide(_id);
      if (wasOpened) this.#route.open(_id);
    };
    this.#toasts.show(`“${title}” deleted`, {
      action: { label: "Undo", run: undo },
      onEnd: () => {
        this.#write(api.conversations.remove, { conversationId: _id });
        this.#unhide(_id);
      },
    });
  }

  /** @param {string} content of its first message */
  #begin(content) {
    const id = newId();
    this.#write(api.conversations.create, { id, title: titleFrom(content) });
    return id;
  }

  /** @param {string} conversationId @param {Record<string, unknown>} changes */
  #update(conversationId, changes) {
    this.#write(api.conversations.update, { conversationId, ...changes });
  }

  /** @param {Parameters<Client["mutation"]>[0]} ref @param {Record<string, unknown>} args */
  #write(ref, args) {
    this.#client.mutation(ref, args).catch(() => {});
  }

  /** @param {string} id */
  #unhide(id) {
    this.hidden.set(new Set([...this.hidden.get()].filter((each) => each !== id)));
  }

  /** @param {string} conversationId */
  async #answer(conversationId) {
    if (this.answering.get().has(conversationId)) return;
    this.answering.set(new Set([...this.answering.get(), conversationId]));
    try {
      await this.#client.action(api.assistant.reply, { conversationId });
    } catch (error) {
      const words = failureWords(/** @type {Error} */ (error));
      // Asked from another window.
      if (words !== BUSY) this.#toasts.show(`The assistant did not answer: ${words}`);
    } finally {
      const rest = [...this.answering.get()].filter((id) => id !== conversationId);
      this.answering.set(new Set(rest));
    }
  }
}
