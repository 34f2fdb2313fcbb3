import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readConversations, timeOf } from "../src/imports.js";
import { encodeValue } from "../src/values.js";

const UUID7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const CREATED = 1_736_423_145_000;

/** As SEED.md's store keeps it. */
const SEEDED = {
  id: `conv-${CREATED}-x7k2`,
  title: "Größe",
  createdAt: "2025-01-09T11:45:45.000Z",
  updatedAt: "2025-01-09T12:00:00.000Z",
  isPinned: true,
  tags: ["a", "b"],
  model: "gpt-4",
  messages: [
    { id: "m1", role: "user", content: "hello", timestamp: "2025-01-09T11:46:00.000Z" },
    {
      id: "m2",
      role: "assistant",
      content: "hi",
      timestamp: CREATED + 60_000,
      citations: [
        { title: "T", url: "u", snippet: "s" },
        { title: "T2", url: "u2" },
      ],
      reasoningText: "why",
      tools: [
        { name: "search", args: { q: 1 }, result: [null] },
        { name: "pending", args: {} },
      ],
    },
  ],
};

/** @param {unknown} found @param {string} [account] */
function read(found, account = "alice") {
  const [one] = readConversations([found], account);
  return one ?? assert.fail();
}

/** @param {Record<string, unknown>} message */
const readMessage = (message) => {
  const { messages, problems } = read({ id: "c", messages: [message] });
  return { message: messages[0] ?? assert.fail(), fields: problems.map(({ field }) => field) };
};

test("a conversation of the seed's store keeps all that it has", () => {
  const { conversation, messages, problems } = read(SEEDED);

  assert.deepEqual(problems, []);
  assert.deepEqual(conversation, {
    id: conversation?.id,
    originalId: SEEDED.id,
    title: "Größe",
    model: "gpt-4",
    isPinned: true,
    tags: ["a", "b"],
    createdAt: CREATED,
    updatedAt: CREATED + 855_000,
  });
  assert.deepEqual(
    messages.map(({ id: _, originalId, ...rest }) => ({ id: originalId, ...rest })),
    [
      { id: "m1", role: "user", content: "hello", timestamp: CREATED + 15_000 },
      { ...SEEDED.messages[1] },
    ],
  );
});

test("ids are UUIDs that follow from the account and the original, and begin with its time", () => {
  const [first, again, bobs] = [read(SEEDED), read(SEEDED), read(SEEDED, "bob")];
  const idsOf = (/** @type {typeof first} */ { conversation, messages }) => [
    conversation?.id ?? "",
    ...messages.map(({ id }) => id),
  ];

  assert.deepEqual(idsOf(first), idsOf(again));
  assert.equal(new Set([...idsOf(first), ...idsOf(bobs)]).size, 6);
  for (const id of idsOf(first)) assert.match(id, UUID7);
  const ms = Number.parseInt((first.conversation?.id ?? "").replace("-", "").slice(0, 12), 16);
  assert.equal(ms, CREATED);
});

test("ids that are UUIDs of version 7 stay as they are", () => {
  const id = "01945f0a-1234-7abc-8def-0123456789ab";

  const { conversation, messages } = read({ id, messages: [{ id, role: "user", content: "" }] });

  assert.deepEqual([conversation?.id, conversation?.originalId], [id, undefined]);
  assert.deepEqual([messages[0]?.id, messages[0]?.originalId], [id, undefined]);
});

test("what has the same id as another, or none, has a row of its own all the same", () => {
  const message = { role: "user", content: "x", timestamp: 5 };
  const messages = [message, message, { ...message, id: "a" }, { ...message, id: "a" }];
  const [one, two] = readConversations([{ id: "c", messages }, { id: "c", messages: [] }, {}], "a");

  assert.notEqual(one?.conversation?.id, two?.conversation?.id);
  assert.equal(new Set(one?.messages.map(({ id }) => id)).size, 4);
});

test("times are read however they were kept", () => {
  const ms = 1_736_423_145_000;
  const kept = [
    ms,
    `${ms}`,
    "2025-01-09T11:45:45.000Z",
    new Date(ms),
    { __type: "Date", value: "2025-01-09T11:45:45.000Z" },
    { __type: "Date", value: ms },
    { $date: { $numberLong: `${ms}` } },
  ];

  assert.deepEqual(kept.map(timeOf), Array(kept.length).fill(ms));
  assert.deepEqual(
    [null, undefined, "soon", -1, Number.NaN, 2 ** 60, {}, true].map(timeOf),
    Array(8).fill(null),
  );
});

test("a conversation without times has that of its id, else of its first message", () => {
  assert.equal(read({ id: `conv-${CREATED}-abc` }).conversation?.createdAt, CREATED);
  const messages = [{ content: "" }, { content: "", timestamp: 1e12 }, { content: "" }];
  const { conversation, messages: rows } = read({ id: "c", messages });

  assert.equal(conversation?.createdAt, 1e12);
  assert.deepEqual(
    rows.map(({ timestamp }) => timestamp),
    [1e12, 1e12, 1e12],
  );
});

test("a conversation without the time of its creation is the same one after it has changed", () => {
  const messages = [{ id: "m", content: "", timestamp: 1e12 }];
  const [before, after] = [2e12, 2e12 + 1].map((updatedAt) =>
    read({ id: "c", updatedAt, messages }),
  );

  assert.equal(after?.conversation?.id, before?.conversation?.id);
  assert.equal(after?.messages[0]?.id, before?.messages[0]?.id);
});

test("a tool's values that the wire cannot carry become JSON text, all others stay", () => {
  const odd = [
    { $ref: "#/a" },
    { größe: 1 },
    { text: "\ud800" },
    { text: "\0" },
    Array.from({ length: 60 }).reduce((/** @type {unknown} */ inner) => [inner], 1),
  ];
  const fine = [{ a: [1, null, "ü"] }, "text", 1.5, null, []];
  const tools = [...odd, ...fine].map((args) => ({ name: "t", args, result: args }));

  const { message, fields } = readMessage({ role: "assistant", content: "", tools });

  assert.deepEqual(fields, []);
  const found = message.tools ?? [];
  assert.deepEqual(
    found
      .slice(0, odd.length)
      .map(({ args, result }) => [JSON.parse(String(args)), args === result]),
    odd.map((value) => [value, true]),
  );
  assert.deepEqual(
    found.slice(odd.length).map(({ args }) => args),
    fine,
  );
});

test("what is read otherwise than it was, or not at all, is reported with its place", () => {
  const { conversation, problems } = read({
    id: 7,
    title: { text: "x" },
    tags: "a",
    folder: "work",
    messages: [{ role: "tool", content: "a\0b", votes: 3, citations: [{ url: "u", page: 1 }] }, 5],
  });

  assert.deepEqual([conversation?.originalId, conversation?.title], ["7", '{"text":"x"}']);
  assert.deepEqual(problems.map(({ field }) => field).sort(), [
    "folder",
    "messages[0].citations[0].page",
    "messages[0].content",
    "messages[0].role",
    "messages[0].votes",
    "messages[1]",
    "messages[1].content",
    "messages[1].role",
    "tags",
    "title",
  ]);
  assert.ok(problems.every((problem) => problem.conversation === "7"));
});

test("contents in parts are joined, and of odd ones the JSON is kept", () => {
  const parts = [{ type: "text", text: "a" }, "b"];
  const image = [{ type: "image", image: "…" }];

  assert.deepEqual(readMessage({ role: "user", content: parts }), {
    message: { ...readMessage({ role: "user" }).message, content: "ab" },
    fields: [],
  });
  assert.deepEqual(
    readMessage({ role: "user", content: image }).message.content,
    JSON.stringify(image),
  );
  assert.deepEqual(readMessage({ role: "user", content: image }).fields, ["messages[0].content"]);
});

test("what is no conversation is reported, not fatal", () => {
  const found = readConversations([null, "x", [], SEEDED], "alice");

  assert.deepEqual(
    found.map(({ conversation, problems }) => [conversation !== null, problems.length]),
    [
      [false, 1],
      [false, 1],
      [false, 1],
      [true, 0],
    ],
  );
});

test("whatever JSON is found, what comes of it can be sent", () => {
  const message = fc.record(
    {
      id: fc.jsonValue(),
      role: fc.jsonValue(),
      content: fc.jsonValue(),
      timestamp: fc.jsonValue(),
      citations: fc.oneof(fc.jsonValue(), fc.array(fc.jsonValue())),
      reasoningText: fc.jsonValue(),
      tools: fc.array(fc.oneof(fc.jsonValue(), fc.record({ args: fc.jsonValue() }))),
    },
    { requiredKeys: [] },
  );
  const conversation = fc.record(
    {
      id: fc.jsonValue(),
      title: fc.jsonValue(),
      createdAt: fc.jsonValue(),
      tags: fc.jsonValue(),
      messages: fc.oneof(fc.jsonValue(), fc.array(fc.oneof(message, fc.jsonValue()))),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(conversation, fc.jsonValue())), (found) => {
      for (const { conversation, messages } of readConversations(found, "alice")) {
        encodeValue(/** @type {any} */ ({ conversation, messages }));
        for (const { id } of conversation ? [conversation, ...messages] : [])
          assert.match(id, UUID7);
      }
    }),
    { numRuns: 500 },
  );
});
