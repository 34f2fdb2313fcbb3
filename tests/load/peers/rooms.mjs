// What Parley is compared with: socket.io, with one transaction of `pg` for each message.
//
// "work": a message's job, then an answer. "change": a number makes so many bytes to all who joined.
//
//     node rooms.mjs DSN PORT
import { createServer } from "node:http";
import { Server } from "socket.io";
import { worker } from "./jobs.mjs";

const [dsn, port] = process.argv.slice(2);
const work = worker(dsn);
const http = createServer();
const server = new Server(http, { transports: ["websocket"], perMessageDeflate: false });
server.on("connection", (socket) => {
  socket.on("join", () => socket.join("room"));
  socket.on("change", (size) => server.to("room").emit("changed", "x".repeat(size)));
  socket.on("work", async (message) => {
    try {
      await work(message);
      socket.emit("done", { success: true });
    } catch (error) {
      socket.emit("done", { success: false, error: String(error) });
    }
  });
});
http.listen(Number(port), "127.0.0.1", () => console.log("listening"));
