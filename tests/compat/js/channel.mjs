// How a test and a process of clients talk: one JSON object a line. The test sends
// {id, command, args}; it gets {id, value} or {id, error}, and at any time {event, value}.
import { createInterface } from "node:readline";

function write(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

/** Tells the test that something named `event` happened. */
export function emit(event, value) {
  write({ event, value: value ?? null });
}

/**
 * Answers the test until it closes our standard input, then ends the process.
 *
 * @param {Record<string, (...args: any[]) => unknown>} commands what the test can call.
 * @param {(error: unknown) => unknown} describe an error as JSON.
 */
export async function serve(commands, describe) {
  const answer = async ({ id, command, args }) => {
    try {
      write({ id, value: (await commands[command](...args)) ?? null });
    } catch (error) {
      write({ id, error: describe(error) });
    }
  };
  for await (const line of createInterface({ input: process.stdin })) void answer(JSON.parse(line));
  process.exit(0);
}
