// Choosing free TCP ports.

import { connect, createServer } from "node:net";

/** All listeners of the stack are local. */
export const LOOPBACK = "127.0.0.1";

// Below the range the kernel hands to outgoing connections (32768 and up on Linux), so that nothing
// takes a server's port while that server is down between a kill and its restart.
const FIRST_PORT = 20_000;
const PORT_COUNT = 12_000;
const MAX_PORT_ATTEMPTS = 200;

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen({ port, host: LOOPBACK, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}

/** Gives `count` different ports that were free a moment ago. Another process may still take one: retry then. */
export async function freePorts(count: number): Promise<number[]> {
  const found = new Set<number>();
  for (let attempt = 0; attempt < MAX_PORT_ATTEMPTS && found.size < count; attempt++) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORT_COUNT);
    if (!found.has(port) && (await isFree(port))) found.add(port);
  }
  if (found.size < count)
    throw new Error(`found no ${count} free ports between ${FIRST_PORT} and ${FIRST_PORT + PORT_COUNT}`);
  return [...found];
}

/** Whether something accepts connections on the port now. */
export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: LOOPBACK });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** Waits until the port accepts connections (`true`) or refuses them (`false`). Says whether that came in time. */
export async function waitForPort(port: number, listening: boolean, timeoutMs: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    if ((await isListening(port)) === listening) return true;
    if (Date.now() >= deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, PORT_POLL_MS));
  }
}

const PORT_POLL_MS = 20;
