// Broadcasts with Node's `ws` and no logic at all: "size text" makes `size` bytes to everybody else.
import { createRequire } from "node:module";

const require = createRequire(new URL("../compat/js/package.json", import.meta.url));
const { WebSocketServer } = require("ws");

const server = new WebSocketServer({
  port: Number(process.argv.at(-1)),
  host: "127.0.0.1",
  perMessageDeflate: false,
});
server.on("connection", (socket) => {
  socket.on("message", (text) => {
    const frame = "x".repeat(Number(text));
    for (const other of server.clients) {
      if (other !== socket) other.send(frame);
    }
  });
});
server.on("listening", () => console.log("listening"));
