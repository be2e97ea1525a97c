// The backend's webhook receiver in the chaos run, a process of its own: it checks signatures, fails some first
// attempts, and writes down what it has taken before it says so.
//
//   node scripts/chaos/receiver.ts <settings.json>

import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import { verifyDelivery } from "../../src/webhooks/signature.ts";
import { LOOPBACK } from "../stack/ports.ts";

/** What the chaos run hands over. */
export interface ReceiverSettings {
  port: number;
  /** Of the endpoint. Written by the run once the endpoint is made: until then nothing comes. */
  secretFile: string;
  /** One JSON line for each delivery taken. */
  takenFile: string;
  /** A line with the id of each delivery that was failed on purpose: once, whichever life of the receiver did it. */
  failedFile: string;
}

export interface TakenDelivery {
  webhook_id: string;
  type: string;
  request_id?: string;
  status?: string;
}

const MAX_BODY_BYTES = 1_000_000;
/** One of so many deliveries is not answered with 2xx when it first comes; it comes again after 5 s. */
const FAIL_ONE_OF = 25;

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new Error("the body is too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Fixed by the id: which ones fail does not depend on when the receiver was killed. */
const failsFirst = (webhookId: string): boolean =>
  [...webhookId].reduce((sum, character) => sum + character.charCodeAt(0), 0) % FAIL_ONE_OF === 0;

function main(): void {
  const settings = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as ReceiverSettings;
  const failed = new Set(
    existsSync(settings.failedFile) ? readFileSync(settings.failedFile, "utf8").split("\n") : [],
  );
  createServer(async (request, response) => {
    try {
      const body = await readBody(request);
      const secret = existsSync(settings.secretFile) ? readFileSync(settings.secretFile, "utf8") : undefined;
      if (secret === undefined) return void response.writeHead(503).end();
      const headers = new Headers(request.headers as Record<string, string>);
      const verified = await verifyDelivery(headers, body, { secrets: [secret] });
      if (!verified.ok) return void response.writeHead(400).end();
      const { id } = verified.value;
      if (failsFirst(id) && !failed.has(id)) {
        failed.add(id);
        appendFileSync(settings.failedFile, `${id}\n`);
        return void response.writeHead(500).end();
      }
      const event = JSON.parse(body.toString("utf8")) as { type: string; data: Record<string, string> };
      const taken: TakenDelivery = {
        webhook_id: id,
        type: event.type,
        ...(event.data.request_id === undefined ? {} : { request_id: event.data.request_id }),
        ...(event.data.status === undefined ? {} : { status: event.data.status }),
      };
      appendFileSync(settings.takenFile, `${JSON.stringify(taken)}\n`);
      response.writeHead(204).end();
    } catch {
      request.socket.destroy();
    }
  }).listen(settings.port, LOOPBACK);
}

// Imported for its types by the run itself.
if (process.argv[1]?.endsWith("receiver.ts")) main();
