// A real HTTP server that receives webhooks, for the tests inside workerd: it writes down what comes and answers as
// it was told to. Tests talk to it over HTTP, too: `/control/<name>` for the receiver at `/hook/<name>`.

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestProject } from "vitest/node";

export interface ReceivedDelivery {
  /** Milliseconds since the epoch. */
  at: number;
  method: string;
  headers: Record<string, string>;
  body: string;
}

/** How the next calls are answered; the last rule stays. */
export interface ReceiverRule {
  status?: number;
  headers?: Record<string, string>;
  /** Milliseconds before the answer. */
  delayMs?: number;
  /** Never answers. */
  hang?: boolean;
  /** Closes the connection instead of answering. */
  drop?: boolean;
  /** Only for bodies that contain this text; others get 200. */
  onlyFor?: string;
  /** Bytes of an answer that never ends. */
  endless?: boolean;
}

declare module "vitest" {
  interface ProvidedContext {
    /** `http://127.0.0.1:port` */
    webhookReceiver: string;
  }
}

interface Receiver {
  received: ReceivedDelivery[];
  rules: ReceiverRule[];
  open: number;
  maxOpen: number;
}

const MAX_BODY_BYTES = 1_000_000;
const ENDLESS_CHUNK = "x".repeat(65_536);

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > MAX_BODY_BYTES) throw new Error("the body is too large");
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function answerEndlessly(response: ServerResponse): void {
  response.writeHead(200);
  const write = () => {
    if (!response.destroyed && response.write(ENDLESS_CHUNK)) setImmediate(write);
  };
  response.on("drain", write);
  response.on("error", () => {});
  write();
}

async function receive(
  receiver: Receiver,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  receiver.open += 1;
  receiver.maxOpen = Math.max(receiver.maxOpen, receiver.open);
  response.once("close", () => {
    receiver.open -= 1;
  });
  const body = await readText(request);
  receiver.received.push({
    at: Date.now(),
    method: request.method ?? "",
    headers: request.headers as Record<string, string>,
    body,
  });
  const rule = receiver.rules.length > 1 ? receiver.rules.shift() : receiver.rules[0];
  if (rule === undefined || (rule.onlyFor !== undefined && !body.includes(rule.onlyFor))) {
    response.writeHead(200).end("ok");
    return;
  }
  if (rule.delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, rule.delayMs));
  if (rule.hang) return;
  if (rule.drop) request.socket.destroy();
  else if (rule.endless) answerEndlessly(response);
  else response.writeHead(rule.status ?? 200, rule.headers).end("answered");
}

/** Called by the runner before the first test; what it returns is called after the last. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const receivers = new Map<string, Receiver>();
  const named = (name: string): Receiver => {
    const receiver = receivers.get(name) ?? { received: [], rules: [], open: 0, maxOpen: 0 };
    receivers.set(name, receiver);
    return receiver;
  };
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const [, kind, name = ""] = (request.url ?? "").split("?")[0]!.split("/");
    const receiver = named(name);
    if (kind === "hook") return receive(receiver, request, response);
    if (request.method === "PUT") receiver.rules = JSON.parse(await readText(request)) as ReceiverRule[];
    const { received, maxOpen } = receiver;
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ received, maxOpen }));
  };
  const server = createServer((request, response) => {
    handle(request, response).catch(() => request.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  project.provide("webhookReceiver", `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
}
