// node pages.mjs: pages in DOMs of their own, driven by a test.
import { readFile } from "node:fs/promises";
import { JSDOM, VirtualConsole } from "jsdom";
import { emit, serve } from "./channel.mjs";

const windows = new Map();
const sent = new Map();

await serve(
  {
    /**
     * Opens a page; what a user sees then arrives as events of the page's name, at every change.
     *
     * @param globals put on `window` before the page's script runs.
     * @param stored what localStorage already holds.
     */
    async open(name, bundle, globals, stored = {}) {
      const virtualConsole = new VirtualConsole();
      virtualConsole.on("jsdomError", (error) => emit(`${name}.error`, String(error.detail ?? error)));
      virtualConsole.on("error", (...texts) => emit(`${name}.console`, texts.map(String).join(" ")));
      const { window } = new JSDOM('<!doctype html><div id="root"></div>', {
        url: "http://localhost:3000/",
        runScripts: "outside-only",
        pretendToBeVisual: true,
        virtualConsole,
      });
      windows.set(name, window);
      const frames = [];
      sent.set(name, frames);
      const { send } = window.WebSocket.prototype;
      window.WebSocket.prototype.send = function (frame) {
        frames.push(JSON.parse(frame));
        send.call(this, frame);
      };
      // Browsers have these, jsdom does not.
      Object.assign(window, { TextDecoder, TextEncoder, structuredClone }, globals);
      for (const [key, value] of Object.entries(stored)) window.localStorage.setItem(key, value);
      new window.MutationObserver(() => emit(name, window.visible())).observe(
        window.document.getElementById("root"),
        { childList: true, subtree: true, attributes: true, characterData: true },
      );
      window.eval(await readFile(bundle, "utf8"));
    },
    /** Calls what a button of the page would call. */
    async call(name, action, ...args) {
      return await windows.get(name).page[action](...args);
    },
    visible(name) {
      return windows.get(name).visible();
    },
    rendered(name) {
      return windows.get(name).rendered;
    },
    /** Every message that the page's client has sent. */
    sent(name) {
      return sent.get(name);
    },
    stored(name, key) {
      return windows.get(name).localStorage.getItem(key);
    },
    close(name) {
      windows.get(name).close();
    },
  },
  (error) => ({ message: String(error?.message ?? error), data: error?.data }),
);
