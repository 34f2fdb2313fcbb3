// node patched.mjs: the browser client, and how much the server tells it. Driven by a test.
import { createClient } from "../../../client_js/src/client.js";
import { nodeEnv } from "../../../client_js/test/support/node-env.js";
import { emit, serve } from "./channel.mjs";

const devices = new Map();

/** Counts what comes, and in which ways results come. */
function counting(device) {
  const env = nodeEnv();
  const { openSocket } = env;
  env.openSocket = (url, ...rest) => {
    const socket = openSocket(url, ...rest);
    device.socket = socket;
    socket.addEventListener("message", ({ data }) => {
      device.characters += data.length;
      for (const { type } of JSON.parse(data).modifications ?? []) device.kinds.push(type);
    });
    return socket;
  };
  return env;
}

await serve(
  {
    async open(name, url, token) {
      const device = { characters: 0, kinds: [] };
      devices.set(name, device);
      device.client = createClient(url, { env: counting(device), expectAuth: true });
      device.client.setAuth(async () => token);
    },
    /** Tells each result, what came until then, and whether one that was shown has changed since. */
    watch(name, path, args) {
      const device = devices.get(name);
      let before;
      let wasChanged = false;
      device.client.subscribe(path, args, ({ value }) => {
        if (before) wasChanged ||= JSON.stringify(before.value) !== before.text;
        before = { value, text: JSON.stringify(value) };
        const { characters, kinds } = device;
        emit(name, { shown: value, characters, kinds, wasChanged });
      });
    },
    /** Loses the connection. */
    drop: (name) => devices.get(name).socket.close(),
  },
  (error) => ({ message: String(error?.stack ?? error) }),
);
