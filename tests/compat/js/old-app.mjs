// node old-app.mjs: devices with SEED.md's old store (zustand, persisted), whose conversations are
// brought to a server, or kept in step with it, by the browser client. Driven by a test.
import { createRequire } from "node:module";
import { createClient } from "../../../client_js/src/client.js";
import { dualWrite } from "../../../client_js/src/dual-write.js";
import { migrateLocalStorage } from "../../../client_js/src/migrate.js";
import { MemoryStorage } from "../../../client_js/test/support/chat-model.js";
import { nodeEnv } from "../../../client_js/test/support/node-env.js";
import { emit, serve } from "./channel.mjs";

const require = createRequire(new URL("../../../client_js/package.json", import.meta.url));
require("fake-indexeddb/auto");
const { IDBFactory } = require("fake-indexeddb");
const { createStore } = require("zustand/vanilla");
const { createJSONStorage, persist } = require("zustand/middleware");

const KEY = "siam-conversations";
const devices = new Map();

const known = (client) =>
  new Promise((resolve) => {
    const look = () => client.connectionState().account && resolve();
    client.subscribeToConnectionState(look);
    look();
  });

/** Starts the page on a device: what it kept is there, nothing else. */
async function start(name, device) {
  const env = nodeEnv({ indexedDB: device.indexedDB });
  device.client = createClient(device.url, { env, expectAuth: true });
  device.client.setAuth(async () => device.token);
  await known(device.client);
  device.store = createStore(
    persist(() => ({ conversations: [] }), {
      name: KEY,
      version: 2,
      storage: createJSONStorage(() => device.storage),
    }),
  );
  const tell = () => emit(name, device.store.getState().conversations);
  device.store.subscribe(tell);
  tell();
}

await serve(
  {
    async open(name, url, token, kept) {
      const storage = new MemoryStorage(kept ? { [KEY]: kept } : {});
      const device = { url, token, storage, indexedDB: new IDBFactory() };
      devices.set(name, device);
      await start(name, device);
    },
    async reload(name) {
      const device = devices.get(name);
      device.link?.stop();
      await device.client.close();
      await start(name, device);
    },
    async migrate(name, removeLocal) {
      const { client, storage } = devices.get(name);
      return migrateLocalStorage(client, { storage, removeLocal });
    },
    /** Migrates until the first conversation is over, and no further. */
    async breakOff(name) {
      const { client, storage } = devices.get(name);
      await new Promise((resolve, reject) => {
        const onProgress = ({ done }) => done === 1 && client.close().then(resolve, reject);
        migrateLocalStorage(client, { storage, onProgress }).catch(() => {});
      });
    },
    link(name) {
      const device = devices.get(name);
      const onProblem = (problem) => emit(`${name}.problem`, problem);
      const toTime = (ms) => new Date(ms).toISOString();
      const { client, store, storage } = device;
      device.link = dualWrite(client, store, { storage, toTime, delayMs: 20, onProblem });
    },
    set(name, conversations) {
      devices.get(name).store.setState({ conversations });
    },
    kept: (name) => devices.get(name).storage.getItem(KEY),
    query: (name, path, args) => devices.get(name).client.query(path, args),
    mutation: (name, path, args) => devices.get(name).client.mutation(path, args),
  },
  (error) => ({ message: String(error?.stack ?? error) }),
);
