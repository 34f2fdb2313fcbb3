// What the peers do in Postgres: one transaction for each message, of the statements of a job.
import { randomUUID } from "node:crypto";
import pg from "pg";

const RETRIED = new Set(["40001", "40P01"]); // serialization failure, deadlock
const CONVERSATIONS = 20_000;
const CONNECTIONS = 32;

const idOf = (number) => `00000000-0000-7000-8000-${number.toString(16).padStart(12, "0")}`;

// Named statements are prepared once per connection.
const touch = {
  name: "touch",
  text: "update conversations set updated_at = clock_timestamp() where id = $1",
};
const add = {
  name: "add",
  text: "insert into messages (id, conversation_id, role, content) values ($1, $2, 'user', $3)",
};
const lock = {
  name: "lock",
  text: "select id, balance from accounts where id in ($1, $2) order by id for update",
};
const move = {
  name: "move",
  text: `update accounts set balance = balance + case id when $1 then -$3::bigint else $3 end
    where id in ($1, $2)`,
};

const jobs = {
  async addMessage(connection, { content }) {
    const conversation = idOf(1 + Math.floor(Math.random() * CONVERSATIONS));
    await connection.query({ ...touch, values: [conversation] });
    await connection.query({ ...add, values: [randomUUID(), conversation, content] });
  },
  async transfer(connection, { sourceId, targetId, amount }) {
    const { rows } = await connection.query({ ...lock, values: [sourceId, targetId] });
    const source = rows.find((row) => row.id === sourceId);
    if (rows.length !== 2 || Number(source.balance) < amount) throw new Error("not enough");
    await connection.query({ ...move, values: [sourceId, targetId, amount] });
  },
};

/** Return what does a message's job, and tries it again when Postgres says so. */
export function worker(dsn) {
  const pool = new pg.Pool({ connectionString: dsn, max: CONNECTIONS });
  return async (message) => {
    const connection = await pool.connect();
    try {
      for (;;) {
        try {
          await connection.query("begin");
          await jobs[message.do](connection, message);
          await connection.query("commit");
          return;
        } catch (error) {
          await connection.query("rollback");
          if (!RETRIED.has(error.code)) throw error;
        }
      }
    } finally {
      connection.release();
    }
  };
}
