import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { idFrom } from "../src/ids.js";
import { chatLocalResults, chatOptimisticUpdates } from "../src/optimistic-chat.js";
import { queryToken } from "../src/tokens.js";
import { encodeValue } from "../src/values.js";
import { View } from "../src/view.js";

/** @import { Value } from "../src/types.js" */

const FIRST = idFrom(1_000, "first");
const SECOND = idFrom(2_000, "second");
const HELLO = idFrom(3_000, "hello");
const PAGE = { paginationOpts: { cursor: null, numItems: 20, id: 0 } };

/** A page of the chat: its queries, and what people do in it. */
class Chat {
  #view = new View();
  #count = 0;

  /**
   * @param {string} path
   * @param {Record<string, any>} args
   * @param {Value} value what the server, or a guest's device, says
   */
  given(path, args, value) {
    const token = queryToken(path, encodeValue(args));
    const queries = [
      { token, result: { status: /** @type {const} */ ("success"), value }, journal: null },
    ];
    this.#view.apply({ ts: 1n, incarnation: "a", queries, completed: [] });
  }

  /**
   * @param {string} path
   * @param {Record<string, any>} args
   */
  watches(path, args) {
    this.#view.watch(queryToken(path, encodeValue(args)));
  }

  /**
   * @param {string} name
   * @param {Record<string, any>} args
   */
  does(name, args) {
    const path = `conversations:${name}`;
    const update = chatOptimisticUpdates[path];
    assert.ok(update);
    const order = this.#count++;
    this.#view.addLayer({ key: String(order), order, path, args, update });
  }

  /**
   * @param {string} path
   * @param {Record<string, any>} [args]
   * @returns {any}
   */
  sees(path, args = {}) {
    const result = this.#view.shown(queryToken(path, encodeValue(args)));
    return result?.status === "success" ? result.value : undefined;
  }

  titles() {
    return this.sees("conversations:list").map((/** @type {{title: string}} */ { title }) => title);
  }

  /** @param {string} conversationId */
  page(conversationId) {
    const { page } = this.sees("messages:list", { conversationId, ...PAGE });
    return page.map((/** @type {{content: string}} */ { content }) => content);
  }
}

/** A chat in which nothing has been written. */
function emptyChat() {
  const chat = new Chat();
  chat.given("conversations:list", {}, []);
  for (const conversationId of [FIRST, SECOND]) {
    chat.given("messages:list", { conversationId, ...PAGE }, noPage());
  }
  return chat;
}

const noPage = () => ({ page: [], isDone: true, continueCursor: "" });

describe("the chat's optimistic updates", () => {
  test("show a new conversation in the list and opened, with the time and the user it will have", () => {
    const chat = emptyChat();
    chat.given("users:me", {}, { _id: "me" });
    chat.does("create", { id: FIRST, title: "First", model: "m" });
    chat.does("create", { id: SECOND });
    const conversation = {
      _id: FIRST,
      _creationTime: 1_000,
      userId: "me",
      title: "First",
      isPinned: false,
      tags: [],
      model: "m",
      createdAt: 1_000,
      updatedAt: 1_000,
    };
    assert.deepEqual(chat.sees("conversations:list")[1], conversation);
    assert.deepEqual(chat.titles(), ["New Conversation", "First"]);
    assert.deepEqual(chat.sees("conversations:get", { conversationId: FIRST }), {
      ...conversation,
      messages: [],
    });
    assert.equal("model" in chat.sees("conversations:list")[0], false);
  });

  test("show a message at the end of its conversation, and bring that to the front", () => {
    const chat = emptyChat();
    chat.does("create", { id: FIRST, title: "First" });
    chat.does("create", { id: SECOND, title: "Second" });
    const citations = [{ title: "RFC", url: "https://example.org" }];
    const message = { conversationId: FIRST, role: "user", content: "Hello", id: HELLO, citations };
    chat.does("addMessage", message);
    chat.does("addMessage", { ...message, content: "Again", id: idFrom(4_000, "again") });
    const [first, second] = chat.sees("conversations:get", { conversationId: FIRST }).messages;
    assert.deepEqual(first, {
      _id: HELLO,
      _creationTime: 3_000,
      conversationId: FIRST,
      role: "user",
      content: "Hello",
      timestamp: 3_000,
      citations,
    });
    assert.equal(second.content, "Again");
    assert.deepEqual(chat.page(FIRST), ["Again", "Hello"]);
    assert.deepEqual(chat.page(SECOND), []);
    assert.deepEqual(chat.titles(), ["First", "Second"]);
    assert.equal(chat.sees("conversations:list")[0].updatedAt, 4_000);
  });

  test("leave older pages of a conversation alone", () => {
    const chat = emptyChat();
    const args = { conversationId: FIRST, paginationOpts: { cursor: "c", numItems: 20, id: 0 } };
    chat.given("messages:list", args, { page: [], isDone: true, continueCursor: "d" });
    chat.does("addMessage", { conversationId: FIRST, role: "user", content: "Hello", id: HELLO });
    assert.deepEqual(chat.page(FIRST), ["Hello"]);
    assert.deepEqual(chat.sees("messages:list", args).page, []);
  });

  test("change what is given and nothing else", () => {
    const chat = emptyChat();
    chat.does("create", { id: FIRST, title: "First" });
    chat.does("create", { id: SECOND, title: "Second" });
    chat.does("update", { conversationId: FIRST, isPinned: true, tags: ["a"] });
    chat.does("update", { conversationId: FIRST, title: "Renamed", model: "m" });
    const { title, isPinned, tags, model, updatedAt } = chat.sees("conversations:list")[0];
    assert.deepEqual(
      { title, isPinned, tags, model, updatedAt },
      { title: "Renamed", isPinned: true, tags: ["a"], model: "m", updatedAt: 2_000 },
    );
    assert.equal(chat.sees("conversations:get", { conversationId: FIRST }).title, "Renamed");
    assert.deepEqual(chat.titles(), ["Renamed", "Second"]);
  });

  test("take a removed conversation away everywhere", () => {
    const chat = emptyChat();
    chat.does("create", { id: FIRST, title: "First" });
    chat.does("addMessage", { conversationId: FIRST, role: "user", content: "Hello", id: HELLO });
    chat.does("remove", { conversationId: FIRST });
    assert.deepEqual(chat.titles(), []);
    assert.equal(chat.sees("conversations:get", { conversationId: FIRST }), null);
    assert.deepEqual(chat.page(FIRST), []);
  });

  test("do not show twice, nor empty, what the server has already", () => {
    const chat = emptyChat();
    const row = { _id: HELLO, content: "Hello" };
    const conversation = { _id: FIRST, title: "Renamed", isPinned: true, updatedAt: 5_000 };
    chat.given("conversations:list", {}, [conversation]);
    chat.given(
      "conversations:get",
      { conversationId: FIRST },
      { ...conversation, messages: [row] },
    );
    chat.given("messages:list", { conversationId: FIRST, ...PAGE }, { ...noPage(), page: [row] });
    chat.does("create", { id: FIRST, title: "First" });
    chat.does("addMessage", { conversationId: FIRST, role: "user", content: "Hello", id: HELLO });
    assert.equal(chat.sees("conversations:get", { conversationId: FIRST }).messages.length, 1);
    assert.deepEqual(chat.page(FIRST), ["Hello"]);
    assert.deepEqual(chat.titles(), ["Renamed"]);
    assert.equal(chat.sees("conversations:list", {})[0].isPinned, true);
  });

  test("show nothing of rows whose ids the server will make", () => {
    const chat = emptyChat();
    chat.does("create", { title: "Whose id?" });
    chat.does("addMessage", { conversationId: FIRST, role: "user", content: "Hello" });
    assert.deepEqual(chat.titles(), []);
    assert.deepEqual(chat.page(FIRST), []);
  });

  test("leave a list that is still loading as it is, but open what was made here", () => {
    const chat = new Chat();
    chat.does("create", { id: FIRST, title: "First" });
    chat.does("addMessage", { conversationId: FIRST, role: "user", content: "Hello", id: HELLO });
    assert.equal(chat.sees("conversations:list"), undefined);
    const opened = chat.sees("conversations:get", { conversationId: FIRST });
    assert.deepEqual([opened.title, opened.messages.length], ["First", 1]);
  });

  test("fill a page of a conversation made offline, whenever somebody opens it", () => {
    const chat = new Chat();
    chat.does("create", { id: FIRST, title: "First" });
    chat.watches("messages:list", { conversationId: FIRST, ...PAGE });
    assert.deepEqual(chat.page(FIRST), []);
    chat.does("addMessage", { conversationId: FIRST, role: "user", content: "Hello", id: HELLO });
    assert.deepEqual(chat.page(FIRST), ["Hello"]);
  });

  test("stand on what a guest has at first: nothing, in every query of the chat", () => {
    const chat = new Chat();
    for (const [path, result] of Object.entries(chatLocalResults)) {
      const args = path === "messages:list" ? { conversationId: FIRST, ...PAGE } : {};
      chat.given(path, args, /** @type {Value} */ (result()));
    }
    chat.does("create", { id: FIRST, title: "First" });
    chat.does("addMessage", { conversationId: FIRST, role: "user", content: "Hello", id: HELLO });
    assert.deepEqual(chat.titles(), ["First"]);
    assert.deepEqual(chat.page(FIRST), ["Hello"]);
  });
});
