// What Parley is compared with: Node's `ws`, which broadcasts with no logic at all.
//
// `/broadcast`: a text that is a number makes so many bytes to all others there.
// `/sustained`: a text goes to all who are at `/broadcast`, and then "ok" to its sender.
//
//     node broadcast.mjs PORT
import { WebSocketServer } from "ws";

const [port] = process.argv.slice(2);
const server = new WebSocketServer({ port: Number(port), host: "127.0.0.1", perMessageDeflate: false });
const audience = new Set();

function broadcast(frame, sender) {
  for (const other of audience) {
    if (other !== sender) other.send(frame, { binary: false });
  }
}

server.on("connection", (socket, request) => {
  if (request.url === "/sustained") {
    socket.on("message", (text) => {
      broadcast(text, socket);
      socket.send("ok");
    });
    return;
  }
  audience.add(socket);
  socket.on("close", () => audience.delete(socket));
  socket.on("message", (text) => broadcast("x".repeat(Number(text)), socket));
});
server.on("listening", () => console.log("listening"));
