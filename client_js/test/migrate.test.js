import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ParleyError } from "../src/errors.js";
import { accountOf, inBatches, migrateLocalStorage } from "../src/migrate.js";
import { ChatDevice, ChatModel, MemoryStorage } from "./support/chat-model.js";

const KEY = "siam-conversations";
const TIME = 1_736_423_145_000;

/** @param {number} count @param {number} [size] */
const manyMessages = (count, size = 3) =>
  Array.from({ length: count }, (_, n) => ({
    id: `m${n}`,
    role: n % 2 ? "assistant" : "user",
    content: `${n} `.padEnd(size, "x"),
    timestamp: new Date(TIME + n).toISOString(),
  }));

/** @param {number} n @param {unknown[]} [messages] */
const conversation = (n, messages = manyMessages(2)) => ({
  id: `conv-${n}`,
  title: `Conversation ${n}`,
  createdAt: new Date(TIME + n).toISOString(),
  updatedAt: new Date(TIME + n + 1000).toISOString(),
  isPinned: n === 1,
  tags: ["tag"],
  messages,
});

/** @param {unknown[]} conversations */
const kept = (...conversations) =>
  new MemoryStorage({ [KEY]: { state: { conversations }, version: 2 } });

/** @param {ChatModel} model */
const rowsOf = (model) => [[...model.conversations.values()], [...model.messages.values()]];

test("brings everything over: titles, times, pins, tags, messages in order", async () => {
  const model = new ChatModel();

  const result = await migrateLocalStorage(new ChatDevice(model, "alice"), {
    storage: kept(conversation(1), conversation(2)),
  });

  assert.deepEqual(result, { done: 2, total: 2, problems: [], isRemoved: false });
  const [second, first] = model.list("alice");
  assert.deepEqual([first?.title, second?.title], ["Conversation 1", "Conversation 2"]);
  assert.deepEqual([first?.isPinned, first?.tags], [true, ["tag"]]);
  assert.deepEqual([first?.createdAt, first?.updatedAt], [TIME + 1, TIME + 1001]);
  assert.equal(first?.originalId, "conv-1");
  const { messages } = model.get("alice", first?._id) ?? assert.fail();
  assert.deepEqual(
    messages.map((/** @type {any} */ row) => [row.content, row.role, row.timestamp]),
    [
      ["0 x", "user", TIME],
      ["1 x", "assistant", TIME + 1],
    ],
  );
});

test("does nothing, and says so, where there is nothing", async () => {
  const model = new ChatModel();

  for (const storage of [new MemoryStorage(), kept(), new MemoryStorage({ [KEY]: null })]) {
    const result = await migrateLocalStorage(new ChatDevice(model, "alice"), { storage });
    assert.deepEqual([result.done, result.total], [0, 0]);
  }
  assert.deepEqual(model.done, []);
});

test("finds the conversations without zustand's wrapping too", async () => {
  const shapes = [
    { conversations: [conversation(1)] },
    [conversation(1)],
    { state: { conversations: { "conv-1": conversation(1) } } },
    { json: { state: { conversations: [conversation(1)] } }, meta: {} },
  ];
  for (const shape of shapes) {
    const storage = new MemoryStorage({ other: shape });
    const model = new ChatModel();

    await migrateLocalStorage(new ChatDevice(model, "alice"), { key: "other", storage });

    assert.equal(model.list("alice")[0]?.title, "Conversation 1");
  }
});

test("takes the keys for ids where conversations are kept by them", async () => {
  const model = new ChatModel();
  for (const count of [1, 2]) {
    const { id, ...rest } = conversation(1, manyMessages(count));
    const storage = new MemoryStorage({ [KEY]: { state: { conversations: { [id]: rest } } } });

    await migrateLocalStorage(new ChatDevice(model, "alice"), { storage });
  }

  assert.deepEqual([model.conversations.size, model.messages.size], [1, 2]);
  assert.equal(model.list("alice")[0]?.originalId, "conv-1");
});

test("tells how far it is, from the start to the end", async () => {
  /** @type {number[][]} */
  const told = [];

  await migrateLocalStorage(new ChatDevice(new ChatModel(), "alice"), {
    storage: kept(conversation(1), conversation(2)),
    onProgress: ({ done, total }) => told.push([done, total]),
  });

  assert.deepEqual(told, [
    [0, 2],
    [1, 2],
    [2, 2],
  ]);
});

test("cuts long conversations into calls that the server takes", async () => {
  const model = new ChatModel();
  const storage = kept(
    conversation(1, manyMessages(250)),
    conversation(2, manyMessages(3, 150_000)),
  );

  const { problems } = await migrateLocalStorage(new ChatDevice(model, "alice"), { storage });

  assert.deepEqual(problems, []);
  assert.equal(model.messages.size, 253);
  assert.equal(model.done.filter((path) => path.endsWith("importMessages")).length, 3 + 3);
  assert.deepEqual(inBatches([]), []);
});

test("run again, it sends nothing again, and brings back nothing that was deleted", async () => {
  const model = new ChatModel();
  const storage = kept(conversation(1), conversation(2));
  const device = new ChatDevice(model, "alice");
  await migrateLocalStorage(device, { storage });
  const [newest] = model.list("alice");
  model.run("alice", "conversations:remove", { conversationId: newest?._id });
  const done = model.done.length;

  const again = await migrateLocalStorage(device, { storage });

  assert.deepEqual([again.done, again.total], [2, 2]);
  assert.equal(model.done.length, done);
  assert.equal(model.list("alice").length, 1);
});

test("run again, it brings over what was written locally since", async () => {
  const model = new ChatModel();
  const device = new ChatDevice(model, "alice");
  const storage = kept(conversation(1));
  await migrateLocalStorage(device, { storage });
  const longer = { state: { conversations: [conversation(1, manyMessages(5))] } };
  storage.setItem(KEY, JSON.stringify(longer));

  await migrateLocalStorage(device, { storage });

  assert.equal(model.conversations.size, 1);
  assert.equal(model.messages.size, 5);
});

test("changes nothing that was changed on the server since", async () => {
  const model = new ChatModel();
  const storage = kept(conversation(1));
  await migrateLocalStorage(new ChatDevice(model, "alice"), { storage });
  const [found] = model.list("alice");
  model.run("alice", "conversations:update", { conversationId: found?._id, title: "Renamed" });

  // Another device, with the same data and no notes.
  await migrateLocalStorage(new ChatDevice(model, "alice"), { storage: kept(conversation(1)) });

  assert.deepEqual(
    model.list("alice").map((row) => row.title),
    ["Renamed"],
  );
  assert.equal(model.messages.size, 2);
});

test("broken off anywhere and run again, everything is there once", async () => {
  const storageOf = () =>
    kept(conversation(1, manyMessages(201)), conversation(2), conversation(3));
  const whole = new ChatModel();
  await migrateLocalStorage(new ChatDevice(whole, "alice"), { storage: storageOf() });

  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(9), { maxLength: 6 }), async (breaks) => {
      const model = new ChatModel();
      const storage = storageOf();
      let device = new ChatDevice(model, "alice");
      for (const after of breaks) {
        await untilBroken(model, device, storage, after);
        device = new ChatDevice(model, "alice", device);
      }
      device.send();

      assert.ok(storage.getItem(KEY) || model.messages.size === whole.messages.size, "gone here");

      const { problems } = await migrateLocalStorage(device, { storage, removeLocal: true });

      assert.deepEqual(rowsOf(model), rowsOf(whole));
      assert.deepEqual([problems, storage.getItem(KEY)], [[], null]);
    }),
    { numRuns: 40 },
  );
});

/**
 * Migrates until the tab crashes, in the `after`th call: done by the server, not heard of here.
 *
 * @param {ChatModel} model
 * @param {ChatDevice} device
 * @param {MemoryStorage} storage
 * @param {number} after
 */
async function untilBroken(model, device, storage, after) {
  const end = model.done.length + after;
  const crash = () => model.done.length > end && device.crash();
  model.listeners.add(crash);
  await Promise.race([
    migrateLocalStorage(device, { storage, removeLocal: true }),
    new Promise((resolve) => setImmediate(resolve)),
  ]);
  model.listeners.delete(crash);
  device.crash();
}

test("removes nothing locally unless told, nor while anything is not on the server", async () => {
  const model = new ChatModel();
  const device = new ChatDevice(model, "alice");
  const odd = { ...conversation(2), folder: "work" };
  for (const [storage, removeLocal] of /** @type {[MemoryStorage, boolean][]} */ ([
    [kept(conversation(1)), false],
    [kept(conversation(1), odd), true],
  ])) {
    const before = storage.getItem(KEY);

    const { isRemoved } = await migrateLocalStorage(device, { storage, removeLocal });

    assert.equal(isRemoved, false);
    assert.equal(storage.getItem(KEY), before);
  }
});

test("removes the conversations when told, and leaves the store's other state", async () => {
  const device = new ChatDevice(new ChatModel(), "alice");
  const storage = kept(conversation(1));
  const other = { state: { conversations: [conversation(1)], theme: "dark" }, version: 2 };
  const shared = new MemoryStorage({ [KEY]: other });

  assert.equal((await migrateLocalStorage(device, { storage, removeLocal: true })).isRemoved, true);
  assert.equal(
    (await migrateLocalStorage(device, { storage: shared, removeLocal: true })).isRemoved,
    true,
  );

  assert.equal(storage.getItem(KEY), null);
  assert.deepEqual(JSON.parse(shared.getItem(KEY) ?? ""), {
    state: { conversations: [], theme: "dark" },
    version: 2,
  });
});

test("removes nothing in which it found no place for conversations", async () => {
  const shapes = [
    { state: { threads: [conversation(1)] }, version: 2 },
    { state: { conversations: null, theme: "dark" } },
    "packed",
  ];
  for (const shape of shapes) {
    const storage = new MemoryStorage({ [KEY]: shape });

    const { isRemoved } = await migrateLocalStorage(new ChatDevice(new ChatModel(), "alice"), {
      storage,
      removeLocal: true,
    });

    assert.equal(isRemoved, false);
    assert.equal(storage.getItem(KEY), JSON.stringify(shape));
  }
});

test("removes nothing that was written while it ran", async () => {
  const model = new ChatModel();
  const storage = kept(conversation(1));
  const later = JSON.stringify({ state: { conversations: [conversation(1), conversation(2)] } });

  const result = await migrateLocalStorage(new ChatDevice(model, "alice"), {
    storage,
    removeLocal: true,
    onProgress: () => storage.setItem(KEY, later),
  });

  assert.equal(result.isRemoved, false);
  assert.equal(storage.getItem(KEY), later);
});

test("reports what the server refuses, brings the rest, and tries that again next time", async () => {
  const model = new ChatModel();
  const storage = kept(conversation(1, manyMessages(10)), conversation(2), conversation(3), "junk");
  const device = new ChatDevice(model, "alice");
  model.refuse = (path, args) => {
    if (path.endsWith("importConversation") && args.title.endsWith("2")) return "no room";
    const isBad = args.messages?.some((/** @type {any} */ one) => one.content === "7 x");
    return isBad ? "bad message" : undefined;
  };

  const { problems, isRemoved } = await migrateLocalStorage(device, { storage, removeLocal: true });

  assert.deepEqual(problems, [
    { conversation: "conv-1", field: "messages[7]", reason: "bad message" },
    { conversation: "conv-2", field: "", reason: "no room" },
    { conversation: "[3]", field: "", reason: 'expected a conversation, found "junk"' },
  ]);
  assert.equal(isRemoved, false);
  assert.equal(model.conversations.size, 2);
  assert.equal(model.messages.size, 9 + 2);
  assert.deepEqual(device.outbox(), []);
  model.refuse = () => undefined;
  assert.equal((await migrateLocalStorage(device, { storage })).problems.length, 1);
  assert.equal(model.messages.size, 10 + 2 + 2);
});

test("waits offline, and goes on when the network is back", async () => {
  const model = new ChatModel();
  const device = new ChatDevice(model, "alice");
  device.isOnline = false;
  const storage = kept(conversation(1));

  const migrating = migrateLocalStorage(device, { storage, removeLocal: true });
  await new Promise((resolve) => setImmediate(resolve));
  assert.notEqual(storage.getItem(KEY), null);
  device.reconnect();

  assert.equal((await migrating).isRemoved, true);
  assert.equal(model.conversations.size, 1);
});

test("a full disk does not keep it from working, and again", async () => {
  const model = new ChatModel();
  const storage = kept(conversation(1));
  storage.isFull = true;

  for (let run = 0; run < 2; run++) {
    const { problems } = await migrateLocalStorage(new ChatDevice(model, "alice"), { storage });
    assert.deepEqual(problems, []);
  }

  assert.equal(model.messages.size, 2);
});

test("refuses to work for nobody, and stops when somebody else signs in", async () => {
  const storage = kept(conversation(1), conversation(2));
  for (const account of [null, "anonymous", "guest"]) {
    const device = new ChatDevice(new ChatModel(), account);
    await assert.rejects(migrateLocalStorage(device, { storage }), { code: "SignedOut" });
  }
  const model = new ChatModel();
  const device = new ChatDevice(model, "alice");

  const migrating = migrateLocalStorage(device, {
    storage,
    onProgress: ({ done }) => done === 1 && device.signIn("bob"),
  });

  await assert.rejects(migrating, { code: "AccountChanged" });
  assert.equal(model.list("bob").length, 0);
  assert.equal(accountOf(device), "bob");
});

test("two people's data of one device stay apart", async () => {
  const model = new ChatModel();
  const storage = kept(conversation(1));

  for (const account of ["alice", "bob"]) {
    await migrateLocalStorage(new ChatDevice(model, account), { storage });
  }

  assert.equal(model.list("alice").length, 1);
  assert.equal(model.list("bob").length, 1);
});

test("what is no JSON is refused, and stays", async () => {
  const storage = new MemoryStorage();
  storage.setItem(KEY, "{half");

  const migrating = migrateLocalStorage(new ChatDevice(new ChatModel(), "alice"), { storage });

  await assert.rejects(migrating, { code: "BadLocalData" });
  assert.equal(storage.getItem(KEY), "{half");
});

test("an error that is not the data's own ends it, to be tried again", async () => {
  const model = new ChatModel();
  const device = new ChatDevice(model, "alice");
  const closed = new ParleyError("StorageFull", "no room");
  const fields = { key: "", stored: Promise.resolve(), discard: async () => {} };
  device.mutation = () => Object.assign(Promise.reject(closed), fields);

  const migrating = migrateLocalStorage(device, { storage: kept(conversation(1)) });

  await assert.rejects(migrating, closed);
});
