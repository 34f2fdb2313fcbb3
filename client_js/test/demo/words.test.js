import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  connectionStatus,
  deedWords,
  failureWords,
  roleWords,
  sendingWords,
  shortened,
  titleFrom,
} from "../../demo/words.js";

/** @import {ConnectionState} from "../../src/types.js" */

const NOW = 1_000_000;

/** @param {Partial<ConnectionState>} changes */
const said = (changes) =>
  connectionStatus(
    {
      hasInflightRequests: false,
      isWebSocketConnected: true,
      timeOfOldestInflightRequest: null,
      hasEverConnected: true,
      connectionCount: 1,
      connectionRetries: 0,
      inflightMutations: 0,
      inflightActions: 0,
      phase: "connected",
      since: 0,
      reason: null,
      retryAt: null,
      role: "leader",
      unsent: 0,
      failed: 0,
      account: "issuer|alice",
      durable: true,
      ...changes,
    },
    NOW,
  );

describe("the connection's status", () => {
  test("is one word when all is well", () => {
    assert.deepEqual(said({}), { tone: "good", text: "Connected" });
  });

  test("counts what is being sent", () => {
    assert.deepEqual(said({ unsent: 2 }), { tone: "busy", text: "Connected, sending 2 changes" });
  });

  test("says that offline changes are kept, one or many", () => {
    assert.equal(
      said({ phase: "offline", unsent: 1 }).text,
      "Offline: 1 change is kept on this device and will be sent",
    );
    assert.equal(
      said({ phase: "offline", unsent: 3 }).text,
      "Offline: 3 changes are kept on this device and will be sent",
    );
  });

  test("counts the seconds until the next try, and none below zero", () => {
    assert.equal(said({ phase: "reconnecting", retryAt: NOW + 3_200 }).text, "Reconnecting in 4 s");
    assert.equal(said({ phase: "reconnecting", retryAt: NOW - 50 }).text, "Reconnecting");
    assert.equal(said({ phase: "reconnecting" }).text, "Reconnecting");
  });

  test("says why nobody is signed in, and when it is tried again", () => {
    assert.deepEqual(said({ phase: "needs-auth" }), { tone: "bad", text: "Signed out" });
    assert.equal(
      said({ phase: "needs-auth", reason: "no answer", retryAt: NOW + 8_000, unsent: 1 }).text,
      "Not signed in (no answer), trying again in 8 s: " +
        "1 change is kept on this device and will be sent",
    );
  });

  test("adds what failed, whatever the connection is", () => {
    assert.deepEqual(said({ failed: 1 }), { tone: "bad", text: "Connected · 1 change failed" });
    assert.equal(said({ phase: "offline", failed: 2 }).text, "Offline · 2 changes failed");
  });

  test("promises a guest nothing about sending", () => {
    const { text } = said({ phase: "guest", unsent: 5 });

    assert.equal(text, "No account: everything stays on this device");
  });

  test("has words for the first try and for the end", () => {
    assert.equal(said({ phase: "connecting" }).text, "Connecting");
    assert.deepEqual(said({ phase: "closed" }), { tone: "bad", text: "Disconnected" });
  });
});

test("each role of a tab is told apart", () => {
  const words = [roleWords("leader"), roleWords("follower"), roleWords("alone")];

  assert.equal(new Set(words).size, 3);
});

test("an unsent message says how far it is", () => {
  assert.equal(sendingWords("stored", "connected"), "Sending");
  assert.equal(sendingWords("sent", "reconnecting"), "Waiting for connection");
  assert.equal(sendingWords("failed", "connected"), "Not sent");
  assert.equal(sendingWords("stored", "guest"), null);
});

test("a write is called by what it does and to what", () => {
  const path = "conversations:addMessage";

  assert.equal(deedWords({ path, args: { content: "Hi\nthere" } }), "Message: “Hi”");
  assert.equal(deedWords({ path: "conversations:remove", args: {} }), "Deletion of a conversation");
  assert.equal(deedWords({ path: "other:thing", args: {} }), "other:thing");
});

test("a long line is cut between words, and between characters where there are none", () => {
  assert.equal(shortened("one two three", 13), "one two three");
  assert.equal(shortened("one two three", 12), "one two…");
  assert.equal(shortened("😀".repeat(5), 4), "😀😀😀…");
  assert.equal(shortened("first\nsecond", 50), "first");
});

test("a title is the first message without Markdown's marks", () => {
  assert.equal(titleFrom("## Compare **three** `ways`\nplease"), "Compare three ways");
  assert.equal(titleFrom("***"), "New conversation");
});

test("a failure is told in the application's words, else as it is", () => {
  const ours = Object.assign(new Error("[Request ID: 1] Server Error"), { data: "It is full" });

  assert.equal(failureWords(ours), "It is full");
  assert.equal(failureWords(new Error("Server Error")), "Server Error");
  assert.equal(failureWords(null), "unknown");
});
