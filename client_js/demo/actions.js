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
/** @import {createDeletions} from "./kept.js" */
/** @import {Route} from "./route.js" */
/** @import {Toasts} from "./toasts.js" */

// What `assistant:reply` says while it is at it.
const BUSY = "The assistant is answering already";
// The code of an action whose connection broke.
const LOST = "ConnectionLost";

/**
 * @typedef {object} ActionsEnv
 * @property {Client} client
 * @property {Toasts} toasts
 * @property {Route} route
 * @property {ReturnType<typeof createDeletions>} deletions
 * @property {() => string} who uses this page now
 * @property {() => boolean} hasAssistant
 */

/** Things that one tab does. */
export class Actions {
  #env;
  /** Conversations whose deletion may still be undone. */
  hidden = new Observable(/** @type {ReadonlySet<string>} */ (new Set()));
  /** Conversations that the assistant is answering in. */
  answering = new Observable(/** @type {ReadonlySet<string>} */ (new Set()));

  /** @param {ActionsEnv} env */
  constructor(env) {
    this.#env = env;
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
    const sent = this.#env.client.mutation(api.conversations.addMessage, args);
    const answer = () => (this.#env.hasAssistant() ? this.#answer(opened) : undefined);
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

  /**
   * Hides a conversation, and deletes it once it is too late to undo.
   *
   * @param {Conversation} conversation
   */
  remove({ _id, title }) {
    const who = this.#env.who();
    const wasOpened = this.#env.route.opened.get() === _id;
    if (wasOpened) this.#env.route.open(null);
    this.hidden.set(new Set([...this.hidden.get(), _id]));
    const undo = () => {
      this.#unhide(_id);
      if (wasOpened) this.#env.route.open(_id);
    };
    this.#env.toasts.show(`“${title}” deleted`, {
      action: { label: "Undo", run: undo },
      onEnd: () => {
        this.#env.deletions.add(who, _id);
        // Under somebody else it waits until they are back.
        if (this.#env.who() === who) this.#delete(who, _id);
        this.#unhide(_id);
      },
    });
  }

  /** Does what was decided as the page went. */
  finishDeletions() {
    const who = this.#env.who();
    for (const id of this.#env.deletions.list(who)) this.#delete(who, id);
  }

  /** @param {string} who @param {string} conversationId */
  #delete(who, conversationId) {
    const deletion = this.#env.client.mutation(api.conversations.remove, { conversationId });
    const forget = () => this.#env.deletions.remove(who, conversationId);
    deletion.stored.then(forget, forget);
    deletion.catch(() => {});
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
    this.#env.client.mutation(ref, args).catch(() => {});
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
      await this.#env.client.action(api.assistant.reply, { conversationId });
    } catch (error) {
      const words = failureWords(/** @type {Error} */ (error));
      // Asked from another window; or it goes on writing, and nobody will say when it is done.
      const isUnderWay = words === BUSY || /** @type {{code?: string}} */ (error).code === LOST;
      if (!isUnderWay) this.#env.toasts.show(`The assistant did not answer: ${words}`);
    } finally {
      const rest = [...this.answering.get()].filter((id) => id !== conversationId);
      this.answering.set(new Set(rest));
    }
  }
}
