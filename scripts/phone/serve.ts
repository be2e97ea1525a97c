// A page for this machine alone: node:http in front of a fetch handler. What makes it safe to leave open beside other
// pages in the same browser is decided here: the address it is bound to, the names it answers to, and that only its
// own forms are taken.

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { LOOPBACK } from "../stack/ports.ts";

/** The largest form there is has a person's data in a few fields. */
const MAX_BODY_BYTES = 256 * 1_024;

export interface Served {
  url: string;
  close(): Promise<void>;
}

type Handle = (request: Request) => Promise<Response> | Response;

/** Serves on the loopback address; port 0 chooses a free one. */
export async function serve(handle: Handle, port: number): Promise<Served> {
  let names = new Set<string>();
  const server = createServer((incoming, outgoing) => {
    answer(handle, names, incoming, outgoing).catch((error: unknown) => {
      console.error("phone:", error);
      if (outgoing.headersSent) outgoing.destroy();
      else refuse(outgoing, 500, "Something went wrong; the terminal says more.");
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, LOOPBACK, resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the phone has no port");
  // A name that some other site points at this machine is not one of these.
  names = new Set([`${LOOPBACK}:${address.port}`, `localhost:${address.port}`]);
  return {
    url: `http://${LOOPBACK}:${address.port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  handle: Handle,
  names: ReadonlySet<string>,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const { method = "GET", url = "/", headers } = incoming;
  const host = headers.host ?? "";
  if (!names.has(host)) return refuse(outgoing, 421, "This address is not the phone's.");
  if (!url.startsWith("/")) return refuse(outgoing, 400, "A path is needed.");
  const reading = method === "GET" || method === "HEAD";
  if (!reading && !isOwnForm(headers, host))
    return refuse(outgoing, 403, "Only the phone's own pages may do that.");
  const body = reading ? undefined : await readBody(incoming);
  if (body === "too_large") return refuse(outgoing, 413, "That is more than any of these forms holds.");

  const request = new Request(`http://${host}${url}`, {
    method,
    headers: { "content-type": headers["content-type"] ?? "" },
    ...(body === undefined ? {} : { body: new Uint8Array(body) }),
  });
  const response = await handle(request);
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  if (response.body === null || method === "HEAD") {
    await response.body?.cancel();
    outgoing.end();
    return;
  }
  const reader = response.body.getReader();
  outgoing.once("close", () => void reader.cancel().catch(() => {}));
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    outgoing.write(value);
  }
  outgoing.end();
}

/** Browsers say where a request comes from, and no page can make them say otherwise. */
function isOwnForm(headers: IncomingMessage["headers"], host: string): boolean {
  const site = headers["sec-fetch-site"];
  if (site !== undefined && site !== "same-origin") return false;
  return headers.origin === `http://${host}`;
}

async function readBody(incoming: IncomingMessage): Promise<Buffer | "too_large"> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of incoming) {
    bytes += (part as Buffer).length;
    if (bytes > MAX_BODY_BYTES) return "too_large";
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts);
}

function refuse(outgoing: ServerResponse, status: number, text: string): void {
  outgoing.writeHead(status, { "content-type": "text/plain; charset=utf-8", connection: "close" });
  outgoing.end(`${text}\n`);
}
