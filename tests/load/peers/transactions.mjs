// What Parley is compared with: Node's `ws` and `pg`, one transaction for each message.
//
//     node transactions.mjs DSN PORT
import { WebSocketServer } from "ws";
import { worker } from "./jobs.mjs";

const [dsn, port] = process.argv.slice(2);
const work = worker(dsn);
const server = new WebSocketServer({ port: Number(port), host: "127.0.0.1", perMessageDeflate: false });
server.on("connection", (socket) => {
  socket.on("message", async (text) => {
    try {
      await work(JSON.parse(text));
      socket.send('{"success":true}');
    } catch (error) {
      socket.send(JSON.stringify({ success: false, error: String(error) }));
    }
  });
});
server.on("listening", () => console.log("listening"));
