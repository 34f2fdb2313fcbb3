/**
 * The model server as tabs of a simulated browser reach it: sockets that take their time, break,
 * and do not open where there is no network.
 *
 * @module
 */

/** @import {Socket} from "../../src/types.js" */
/** @import {Sim, SimTab} from "./sim.js" */
/** @import {Connection} from "./model-server.js" */

import { ModelServer } from "./model-server.js";

const PING_MS = 15_000;

/** @typedef {{tab: SimTab, socket: Socket, connection: Connection, isOpen: boolean, url: string}} Link */

export class SimServer {
  model = new ModelServer();
  /** @type {Set<Link>} */
  links = new Set();
  /** @type {{requestId: number, token: string | null}[]} mutations as they came, and under which token */
  ran = [];
  /** @type {WeakMap<Connection, string>} */
  #tokens = new WeakMap();
  /** @type {WeakMap<Connection, string>} */
  #sessions = new WeakMap();
  /** @type {Map<string, Map<number, {ts: number}>>} what is remembered of each session's requests */
  #requests = new Map();
  /** @type {(number | null)[]} actions that ran */
  acted = [];
  /** Whether actions are never answered. */
  isMute = false;
  isDown = false;
  /** Most sockets that were open at once. */
  most = 0;
  opened = 0;
  latencyMs = 5;
  #sim;
  #home;

  /** @param {Sim} sim */
  constructor(sim) {
    this.#sim = sim;
    this.#home = sim.tab();
    sim.tabs.pop();
  }

  /** @param {string} url @param {SimTab} tab @returns {Socket} */
  openSocket = (url, tab) => {
    /** @type {Link} */
    const link = {
      tab,
      url,
      connection: this.model.accept(),
      isOpen: false,
      socket: {
        onopen: null,
        onmessage: null,
        onclose: null,
        send: (text) => link.isOpen && this.#later(this.#home, () => this.#hear(link, text)),
        close: () => this.#forget(link),
      },
    };
    const entry = { drop: () => this.drop(link) };
    tab.sockets.add(entry);
    this.#later(tab, () => {
      if (!tab.isOnline || this.isDown) return this.drop(link);
      this.links.add(link);
      this.most = Math.max(this.most, this.links.size);
      this.opened++;
      link.isOpen = true;
      link.socket.onopen?.();
      this.#ping(link);
    });
    return link.socket;
  };

  /** As the server does: a client that hears nothing for a minute would come anew. @param {Link} link */
  #ping(link) {
    if (!link.isOpen) return;
    const data = JSON.stringify({ type: "Ping" });
    this.#later(link.tab, () => link.socket.onmessage?.({ data }));
    this.#sim.schedule(this.#home, PING_MS, () => this.#ping(link));
  }

  /** The connection breaks, seen by both. @param {Link} link */
  drop(link) {
    this.#forget(link);
    this.#sim.schedule(link.tab, 1, () => link.socket.onclose?.({ code: 1006, reason: "" }));
  }

  /** Somebody else writes. */
  write() {
    this.model.write();
    this.#tell();
  }

  /** @param {Link} link */
  #forget(link) {
    link.isOpen = false;
    this.links.delete(link);
    this.model.connections.delete(link.connection);
  }

  /** @param {SimTab} tab @param {() => void} run */
  #later(tab, run) {
    this.#sim.schedule(tab, this.latencyMs, run);
  }

  /** @param {Link} link @param {string} text */
  #hear(link, text) {
    // What has arrived is done, though the connection may be gone by now.
    const { connection } = link;
    const message = JSON.parse(text);
    const token = this.#tokens.get(connection) ?? null;
    if (message.type === "Authenticate") this.#tokens.set(connection, message.value);
    if (message.type === "Mutation") this.ran.push({ requestId: message.requestId, token });
    if (message.type === "Action") return this.#act(link, message);
    if (message.type === "Connect") this.#sessions.set(connection, message.sessionId);
    const session = this.#sessions.get(connection) ?? "";
    this.model.requests = this.#requests.get(session) ?? new Map();
    this.#requests.set(session, this.model.requests);
    connection.up.push(text);
    this.model.read(connection);
    while (connection.work.length > 0) this.model.run(connection);
    while (connection.answers.length > 0) this.model.answer(connection);
    this.#tell();
  }

  /** @param {Link} link @param {{requestId: number, args: {id: number}[]}} message */
  #act({ tab, socket }, { requestId, args }) {
    const result = args[0]?.id ?? null;
    this.acted.push(result);
    if (this.isMute) return;
    const data = JSON.stringify({
      type: "ActionResponse",
      requestId,
      success: true,
      result,
      logLines: [],
    });
    this.#later(tab, () => socket.onmessage?.({ data }));
  }

  #tell() {
    for (const { connection, socket, tab } of this.links) {
      this.model.transit(connection);
      for (const data of connection.down.splice(0)) {
        this.#later(tab, () => socket.onmessage?.({ data }));
      }
    }
  }
}
