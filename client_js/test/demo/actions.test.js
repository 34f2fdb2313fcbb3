import assert from "node:assert/strict";
import { test } from "node:test";
import { Actions } from "../../demo/actions.js";
import { createDeletions, createKept } from "../../demo/kept.js";
import { Observable } from "../../demo/observable.js";
import { Toasts } from "../../demo/toasts.js";
import { HandClient } from "../support/hand-client.js";

/** @import {ActionsEnv} from "../../demo/actions.js" */

function world() {
  const client = new HandClient();
  const toasts = new Toasts();
  const deletions = createDeletions(
    createKept(() => {
      throw new Error("no storage here");
    }),
  );
  const page = { who: "alice" };
  const actions = new Actions(
    /** @type {ActionsEnv} */ (
      /** @type {unknown} */ ({
        client,
        toasts,
        deletions,
        route: { opened: new Observable(null), open: () => {} },
        who: () => page.who,
        hasAssistant: () => false,
      })
    ),
  );
  return { client, toasts, deletions, page, actions };
}

const conversation = /** @type {any} */ ({ _id: "c1", title: "Plans" });

test("a deletion whose time to undo ends after somebody else came waits for who decided it", () => {
  const { client, toasts, deletions, page, actions } = world();
  actions.remove(conversation);
  page.who = "bob";
  toasts.flush();

  assert.equal(client.calls.length, 0);
  assert.deepEqual(deletions.list("alice"), ["c1"]);

  page.who = "alice";
  actions.finishDeletions();
  assert.deepEqual(
    client.calls.map(([kind, , args]) => [kind, args]),
    [["mutation", { conversationId: "c1" }]],
  );
});
