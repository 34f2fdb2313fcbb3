import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { migrateLocalStorage } from "../src/migrate.js";
import { ChatModel, MemoryStorage } from "./support/chat-model.js";
import { KEY, OldApp } from "./support/old-app.js";

/** @param {OldApp[]} apps */
async function settle(...apps) {
  for (let turn = 0; turn < 4; turn++) for (const app of apps) await app.settle();
}

/** @param {ChatModel} model @param {string} [account] what the server has, as `seen` */
function onServer(model, account = "alice") {
  const whole = model.list(account).map((row) => model.get(account, row._id));
  return Object.fromEntries(
    whole.map((row) => [row?.title, row?.messages.map((/** @type {any} */ one) => one.content)]),
  );
}

test("what changes in the store is on the server, with the times it had", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  app.create("Plans");
  app.say("Plans", "one");
  await settle(app);

  app.say("Plans", "two");
  app.change("Plans", () => ({ isPinned: true, tags: ["x"], model: "m" }));
  await settle(app);

  assert.deepEqual(onServer(model), { Plans: ["one", "two"] });
  const [row] = model.list("alice");
  assert.deepEqual([row?.isPinned, row?.tags, row?.model], [true, ["x"], "m"]);
  assert.equal(row?.createdAt, app.conversations[0].createdAt.getTime());
  assert.deepEqual(app.problems, []);
});

test("what others change comes into the store, as the store keeps it", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  await settle(app);

  const id = model.run("alice", "conversations:create", { title: "Elsewhere" });
  model.run("alice", "conversations:addMessage", {
    conversationId: id,
    role: "assistant",
    content: "hi",
    tools: [{ name: "t", args: {} }],
  });
  await settle(app);

  const [found] = app.conversations;
  assert.deepEqual([found.id, found.title, found.isPinned], [id, "Elsewhere", false]);
  assert.ok(found.createdAt instanceof Date && found.messages[0].timestamp instanceof Date);
  assert.deepEqual(found.messages[0].tools, [{ name: "t", args: {} }]);
  assert.deepEqual(
    JSON.parse(app.storage.getItem(KEY) ?? "").state.conversations[0].title,
    "Elsewhere",
  );
  assert.ok(!model.done.some((path) => path.includes("import")));
});

test("what JSON cannot say is kept by the store as the wire has it, and goes back as it was", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  const args = { big: 2n ** 60n, bytes: new Uint8Array([1, 2]).buffer, none: Number.NaN };
  const message = { role: "assistant", content: "hi", tools: [{ name: "t", args }] };
  const conversationId = String(model.run("alice", "conversations:create", { title: "A" }));
  model.run("alice", "conversations:addMessage", { conversationId, ...message });
  await settle(app);
  const done = model.done.length;

  const again = app.reload();
  await settle(again);
  assert.equal(model.done.length, done);
  again.edit("A", 0, { content: "edited" });
  await settle(again);

  assert.deepEqual(again.seen, { A: ["edited"] });
  assert.deepEqual(model.get("alice", conversationId)?.messages[0].tools, message.tools);
});

test("two devices come to have the same, whoever changed what", async () => {
  const model = new ChatModel();
  const [laptop, phone] = [new OldApp(model).link(), new OldApp(model, { name: "y" }).link()];
  laptop.create("A");
  phone.create("B");
  await settle(laptop, phone);

  laptop.say("B", "from the laptop");
  phone.change("A", () => ({ title: "A2" }));
  await settle(laptop, phone);
  phone.say("A2", "from the phone");
  laptop.edit("B", 0, { content: "edited" });
  await settle(laptop, phone);

  const expected = { A2: ["from the phone"], B: ["edited"] };
  assert.deepEqual([laptop.seen, phone.seen, onServer(model)], [expected, expected, expected]);
  assert.deepEqual([laptop.problems, phone.problems], [[], []]);
});

test("nothing goes round in circles: with no change nothing is written", async () => {
  const model = new ChatModel();
  const apps = [new OldApp(model).link(), new OldApp(model, { name: "y" }).link()];
  apps[0]?.create("A");
  apps[0]?.say("A", "x", { tools: [{ name: "t", args: { $ref: 1, b: 2, a: 1 } }] });
  await settle(...apps);
  const done = model.done.length;
  const before = apps.map((app) => app.conversations);

  await settle(...apps);

  assert.equal(model.done.length, done);
  assert.ok(apps.every((app, index) => app.conversations === before[index]));
});

test("an answer that grows piece by piece is one message, whole in the end", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  app.create("A");
  app.say("A", "", { role: "assistant" });
  for (const content of ["It", "It grows", "It grows."]) {
    app.edit("A", 0, { content });
    await settle(app);
  }
  app.edit("A", 0, { content: "Rewritten", citations: [{ title: "T", url: "u" }] });
  await settle(app);

  assert.deepEqual(onServer(model), { A: ["Rewritten"] });
  const whole = model.get("alice", model.list("alice")[0]?._id);
  assert.deepEqual(whole?.messages[0].citations, [{ title: "T", url: "u" }]);
});

test("removals go both ways: of messages, and of conversations", async () => {
  const model = new ChatModel();
  const [laptop, phone] = [new OldApp(model).link(), new OldApp(model, { name: "y" }).link()];
  for (const title of ["A", "B", "C"]) laptop.create(title);
  for (const content of ["1", "2"]) laptop.say("A", content);
  await settle(laptop, phone);

  laptop.change("A", ({ messages }) => ({ messages: messages.slice(1) }));
  phone.remove("B");
  await settle(laptop, phone);

  const expected = { C: [], A: ["2"] };
  assert.deepEqual([laptop.seen, phone.seen, onServer(model)], [expected, expected, expected]);
});

test("what was removed elsewhere while it was changed here is on the server again, without a reload", async () => {
  const model = new ChatModel();
  const [laptop, phone] = [new OldApp(model).link(), new OldApp(model, { name: "y" }).link()];
  for (const title of ["A", "B"]) laptop.create(title);
  for (const title of ["A", "B"]) laptop.say(title, "x");
  await settle(laptop, phone);
  laptop.device.isOnline = false;
  laptop.say("A", "y");
  laptop.edit("B", 0, { content: "edited" });
  await settle(laptop);
  phone.remove("A");
  phone.change("B", () => ({ messages: [] }));
  await settle(phone);

  laptop.device.reconnect();
  await settle(laptop, phone);

  const expected = { B: ["edited"], A: ["x", "y"] };
  assert.deepEqual([laptop.seen, phone.seen, onServer(model)], [expected, expected, expected]);
});

test("what is refused after a reload is taken back and tried again, and keeps nothing waiting", async () => {
  const model = new ChatModel();
  const [laptop, phone] = [new OldApp(model).link(), new OldApp(model, { name: "y" }).link()];
  for (const title of ["A", "B"]) laptop.create(title);
  await settle(laptop, phone);
  laptop.device.isOnline = false;
  laptop.say("A", "x");
  await settle(laptop);
  phone.remove("A");
  const again = laptop.reload();
  again.device.isOnline = false;
  await settle(again, phone);

  again.device.reconnect();
  await settle(again, phone);
  phone.say("A", "y");
  await settle(again, phone);

  const expected = { B: [], A: ["x", "y"] };
  assert.deepEqual([again.seen, phone.seen, onServer(model)], [expected, expected, expected]);
  assert.deepEqual(again.device.outbox(), []);
});

test("what was written offline is on the server later, also after a crash", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  app.create("A");
  await settle(app);
  app.device.isOnline = false;
  app.say("A", "offline");
  app.create("B");
  await settle(app);
  const again = app.reload();
  await settle(again);
  again.say("A", "after the reload");
  await settle(again);

  again.device.reconnect();
  await settle(again);

  assert.deepEqual(onServer(model), { A: ["offline", "after the reload"], B: [] });
  assert.deepEqual(again.seen, onServer(model));
});

test("what was in an outbox that did not survive is written again", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  app.device.isOnline = false;
  app.create("A");
  app.say("A", "x");
  await settle(app);

  const again = app.reload({ before: undefined });
  await settle(again);

  assert.deepEqual([again.seen, onServer(model)], [{ A: ["x"] }, { A: ["x"] }]);
});

test("what was changed just before a crash is found afterwards", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  app.create("A");
  app.say("A", "x");
  await settle(app);
  // Persisted by the store, and not yet looked at.
  app.say("A", "y");
  app.edit("A", 0, { content: "edited" });
  app.create("B");

  const again = app.reload();
  await settle(again);

  assert.deepEqual(onServer(model), { A: ["edited", "y"], B: [] });
});

test("what somebody changes as soon as it comes in is a change like any other", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  await settle(app);
  const stop = app.store.subscribe(() => {
    stop();
    app.change("A", () => ({ isPinned: true }));
  });

  model.run("alice", "conversations:create", { title: "A" });
  await settle(app);

  assert.equal(model.list("alice")[0]?.isPinned, true);
});

test("what others did while the page was closed comes in, and reverts nothing", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  for (const title of ["A", "B", "C"]) app.create(title);
  await settle(app);
  const idOf = (/** @type {string} */ title) =>
    model.list("alice").find((row) => row.title === title)?._id;
  const again = () => app.reload();
  app.device.crash();
  model.run("alice", "conversations:update", { conversationId: idOf("A"), title: "A2" });
  model.run("alice", "conversations:remove", { conversationId: idOf("B") });

  const reloaded = again();
  await settle(reloaded);

  assert.deepEqual(Object.keys(reloaded.seen).sort(), ["A2", "C"]);
  assert.deepEqual(reloaded.seen, onServer(model));
});

test("a store that lost its data gets it from the server, and deletes nothing there", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  for (const title of ["A", "B"]) app.create(title);
  await settle(app);
  app.storage.removeItem(KEY);

  const again = app.reload();
  await settle(again);

  assert.deepEqual(Object.keys(again.seen).sort(), ["A", "B"]);
  assert.equal(model.conversations.size, 2);
  assert.ok(!model.done.includes("conversations:remove"));
});

test("a store that is emptied at once deletes nothing, unless that is what the app means", async () => {
  for (const mayRemoveAll of [false, true]) {
    const model = new ChatModel();
    const app = new OldApp(model, { options: { mayRemoveAll } }).link();
    for (const title of ["A", "B"]) app.create(title);
    await settle(app);

    app.store.setState({ conversations: [] });
    await settle(app);

    assert.equal(model.conversations.size, mayRemoveAll ? 0 : 2);
    assert.equal(app.problems.length, mayRemoveAll ? 0 : 1);
    assert.deepEqual(app.conversations, []);
  }
});

test("a store whose conversations are all replaced deletes nothing, and gives the others to nobody", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  for (const title of ["A", "B"]) app.create(title);
  await settle(app);

  const times = { createdAt: new Date(), updatedAt: new Date() };
  app.store.setState({ conversations: [{ id: "conv-1", title: "New", messages: [], ...times }] });
  await settle(app);

  assert.deepEqual(onServer(model), { A: [], B: [] });
  assert.equal(app.problems.length, 1);
});

test("an empty list that is nobody's removes nothing", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  app.create("A");
  await settle(app);

  app.device.isKnown = false;
  app.device.reconnect();
  await settle(app);

  assert.deepEqual(app.seen, { A: [] });
});

test("ends when somebody else signs in: nothing of one goes to the other", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  app.create("Alice's");
  await settle(app);

  app.device.signIn("bob");
  app.say("Alice's", "more");
  await settle(app);

  assert.deepEqual(onServer(model, "bob"), {});
  assert.deepEqual(onServer(model), { "Alice's": [] });
});

/**
 * Makes an app whose store reads its data only when it is told to.
 *
 * @param {OldApp} first whose data it is
 */
function notRead(first) {
  const app = new OldApp(first.device.model, { storage: first.storage });
  const { persist } = app.store;
  let isRead = false;
  let listener = () => {};
  app.store.persist = /** @type {typeof persist} */ ({
    ...persist,
    hasHydrated: () => isRead,
    onFinishHydration: (/** @type {any} */ added) => {
      listener = added;
      return () => {};
    },
  });
  const read = () => {
    isRead = true;
    listener();
  };
  return { app: app.link(), read };
}

test("a store that has not read its data yet is waited for", async () => {
  const model = new ChatModel();
  const first = new OldApp(model).link();
  first.create("A");
  await settle(first);
  const { app: second, read } = notRead(first);
  await settle(second);
  assert.deepEqual(second.device.outbox(), []);

  read();
  second.say("A", "x");
  await settle(second);

  assert.deepEqual(onServer(model), { A: ["x"] });
});

test("a store that has read its data when somebody else is here gives them nothing", async () => {
  const model = new ChatModel();
  const first = new OldApp(model);
  first.create("A");
  const { app: second, read } = notRead(first);

  second.device.signIn("bob");
  read();
  await settle(second);

  assert.deepEqual(onServer(model, "bob"), {});
});

test("what was migrated before is the same rows", async () => {
  const model = new ChatModel();
  const app = new OldApp(model);
  app.create("A");
  app.say("A", "x");
  await migrateLocalStorage(app.device, { key: KEY, storage: app.storage });

  app.link();
  app.say("A", "y");
  await settle(app);

  assert.deepEqual(onServer(model), { A: ["x", "y"] });
  assert.equal(model.conversations.size, 1);
  assert.deepEqual(app.seen, { A: ["x", "y"] });
});

test("what was changed between migration and link is not reverted, and is on the server", async () => {
  const model = new ChatModel();
  const app = new OldApp(model);
  for (const title of ["A", "B"]) app.create(title);
  app.say("A", "x");
  await migrateLocalStorage(app.device, { key: KEY, storage: app.storage });
  app.edit("A", 0, { content: "edited" });
  app.change("A", () => ({ title: "A2" }));
  const [b] = model.list("alice").filter(({ title }) => title === "B");
  model.run("alice", "conversations:update", { conversationId: b?._id, title: "B2" });

  app.link();
  await settle(app);

  const expected = { A2: ["edited"], B2: [] };
  assert.deepEqual([app.seen, onServer(model)], [expected, expected]);
});

test("what the server refuses is reported, stays in the store, and is tried again", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  app.create("A");
  await settle(app);
  model.refuse = (path) => (path.startsWith("conversations:import") ? "too large" : undefined);
  app.say("A", "big");
  app.create("B");
  await settle(app);

  assert.deepEqual(
    app.problems.map(({ reason }) => reason),
    Array(app.problems.length).fill("too large"),
  );
  assert.deepEqual(app.seen, { B: [], A: ["big"] });
  model.refuse = () => undefined;
  const again = app.reload();
  await settle(again);
  assert.deepEqual(onServer(model), { A: ["big"], B: [] });
});

test("a message that the server refuses keeps no others back", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  app.create("A");
  for (const content of ["1", "2", "bad", "4", "5"]) app.say("A", content);
  const isBad = (/** @type {any} */ { content }) => content === "bad";
  model.refuse = (_, { messages }) => (messages?.some(isBad) ? "too large" : undefined);
  await settle(app);
  app.say("A", "6");
  await settle(app);

  assert.deepEqual(onServer(model), { A: ["1", "2", "4", "5", "6"] });
  assert.deepEqual(app.seen, { A: ["1", "2", "bad", "4", "5", "6"] });
  assert.equal(app.problems.length, 1);
  assert.deepEqual(app.device.outbox(), []);
});

test("what is refused one after the other all stays in the store", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  app.create("A");
  await settle(app);
  app.device.isOnline = false;
  for (const content of ["one", "two", "three"]) {
    app.say("A", content);
    await settle(app);
  }
  model.refuse = (path) => (path === "conversations:importMessages" ? "too large" : undefined);

  app.device.reconnect();
  await settle(app);

  assert.deepEqual(app.seen, { A: ["one", "two", "three"] });
  model.refuse = () => undefined;
  app.change("A", () => ({ isPinned: true }));
  await settle(app);
  assert.deepEqual(onServer(model), { A: ["one", "two", "three"] });
});

test("old conversations are looked up when they move, all of them, few at a time", async () => {
  const model = new ChatModel();
  const ids = Array.from({ length: 60 }, (_, n) =>
    model.run("alice", "conversations:create", { title: `${n}` }),
  );
  const app = new OldApp(model).link();
  await settle(app);
  assert.equal(app.conversations.length, 60);

  const args = { conversationId: ids[0], role: "user", content: "up" };
  model.run("alice", "conversations:addMessage", args);
  await settle(app);

  assert.deepEqual(app.seen["0"], ["up"]);
  assert.ok(model.listeners.size <= 2 + 30);
  app.linked?.stop();
  assert.equal(model.listeners.size, 0);
});

test("the messages of an old conversation come in however long after it they are imported", async () => {
  const model = new ChatModel();
  for (let n = 0; n < 40; n++) model.run("alice", "conversations:create", { title: `${n}` });
  const app = new OldApp(model).link();
  await settle(app);
  const id = "00000000-0001-7000-8000-000000000000";
  const times = { createdAt: 1, updatedAt: 2 };
  const conversation = { id, title: "Old", isPinned: false, tags: [], ...times };
  model.run("alice", "conversations:importConversation", conversation);
  await settle(app);
  assert.deepEqual(app.seen.Old, []);

  const message = { id: "00000000-0001-7000-8000-000000000001", role: "user", content: "late" };
  const messages = [{ ...message, timestamp: 1 }];
  model.run("alice", "conversations:importMessages", { conversationId: id, messages });
  await settle(app);

  assert.deepEqual(app.seen.Old, ["late"]);
});

const ACTS = "create say say edit rename unsay remove offline online crash".split(" ");

test("two devices with crashes, breaks and changes of all kinds end with the same, losing nothing", async () => {
  const act = fc.constantFrom(...ACTS);
  const steps = fc.array(fc.record({ who: fc.nat(1), act, settles: fc.boolean() }), {
    maxLength: 25,
  });
  await fc.assert(
    fc.asyncProperty(steps, async (story) => {
      const model = new ChatModel();
      const options = { mayRemoveAll: true };
      const apps = ["x", "y"].map((name) => new OldApp(model, { name, options }).link());
      const [said, removed] = [new Set(), new Set()];
      for (const [index, { who, act, settles }] of story.entries()) {
        const app = apps[who] ?? assert.fail();
        apps[who] = perform(app, act, `${index}`, said, removed);
        if (settles) await settle(...apps);
      }
      for (const app of apps) app.device.reconnect();
      await settle(...apps);

      const everything = JSON.stringify(onServer(model));
      for (const text of said) assert.ok(everything.includes(text), `${text} is lost`);
      for (const app of apps) {
        assert.deepEqual(sorted(app), sorted({ seen: onServer(model) }));
        assert.equal(app.conversations.length, model.conversations.size);
      }
    }),
    { numRuns: Number(process.env.LINK_RUNS ?? 40) },
  );
});

/** @param {{seen: Record<string, string[]>}} app */
const sorted = ({ seen }) =>
  Object.entries(seen)
    .map(([title, messages]) => [title, [...messages].sort()])
    .sort(([a], [b]) => String(a).localeCompare(String(b)));

/**
 * @param {OldApp} app
 * @param {string} act
 * @param {string} name
 * @param {Set<string>} said texts that must not be lost
 * @param {Set<string>} removed conversations in which any may be
 */
function perform(app, act, name, said, removed) {
  if (act === "crash") return app.reload();
  if (act === "create") app.create(`title ${name}`);
  if (act === "offline") app.device.isOnline = false;
  if (act === "online") app.device.reconnect();
  const [conversation] = app.conversations;
  if (!conversation) return app;
  const { title, messages, createdAt } = conversation;
  const mark = `in ${createdAt.getTime()}`;
  if (act === "say") {
    app.say(title, `said ${name} ${mark}.`);
    if (!removed.has(mark)) said.add(`said ${name} ${mark}.`);
  } else if (act === "rename") app.change(title, () => ({ title: `renamed ${name}` }));
  else if (act === "edit") app.edit(title, 0, { reasoningText: name });
  else if (act === "unsay") {
    said.delete(messages[0]?.content);
    app.change(title, () => ({ messages: messages.slice(1) }));
  } else if (act === "remove") {
    forget(said, mark);
    removed.add(mark);
    app.remove(title);
  }
  return app;
}

/** @param {Set<string>} said @param {string} mark */
function forget(said, mark) {
  for (const text of said) if (text.includes(mark)) said.delete(text);
}

test("what the store could not keep is not taken back at the next start", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  for (const title of ["A", "B"]) app.create(title);
  app.say("A", "x");
  app.say("A", "removed");
  await settle(app);
  app.storage.fullKey = KEY;

  assert.throws(() => app.edit("A", 0, { content: "edited" }), /full/);
  assert.throws(() => app.change("B", () => ({ title: "renamed" })), /full/);
  assert.throws(() => app.change("A", ({ messages: [first] }) => ({ messages: [first] })), /full/);
  await settle(app);
  const again = app.reload();
  await settle(again);

  const expected = { A: ["edited"], renamed: [] };
  assert.deepEqual([again.seen, onServer(model)], [expected, expected]);
});

test("what one tab did offline is not taken back since another one kept what it had", async () => {
  const model = new ChatModel();
  const storage = new MemoryStorage();
  const one = new OldApp(model, { storage }).link();
  for (const title of ["A", "B"]) one.create(title);
  one.say("A", "x");
  await settle(one);
  const other = new OldApp(model, { storage, name: "y" });
  for (const { device } of [one, other]) device.isOnline = false;
  other.link();
  await settle(one, other);
  one.edit("A", 0, { content: "edited" });
  one.change("A", () => ({ title: "renamed" }));
  one.remove("B");
  await settle(one, other);

  other.store.setState({ ...other.store.getState() });
  await settle(one, other);
  other.device.crash();
  const again = one.reload();
  await settle(again);
  again.device.reconnect();
  await settle(again);

  const expected = { renamed: ["edited"] };
  assert.deepEqual([again.seen, onServer(model)], [expected, expected]);
});

test("what others change comes in with the storage full too, and is reported", async () => {
  const model = new ChatModel();
  const app = new OldApp(model).link();
  app.create("A");
  await settle(app);
  app.storage.isFull = true;

  model.run("alice", "conversations:create", { title: "B" });
  await settle(app);

  assert.deepEqual(app.seen, { A: [], B: [] });
  assert.deepEqual(
    app.problems.map(({ reason }) => reason),
    ["full"],
  );
});

test("works with the storage full: the notes are only missed at the next start", async () => {
  const model = new ChatModel();
  const storage = new MemoryStorage();
  const app = new OldApp(model, { storage }).link();
  app.create("A");
  storage.isFull = true;
  await settle(app);

  assert.deepEqual(onServer(model), { A: [] });
});
