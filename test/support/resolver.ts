// A resolver of DNS over HTTPS (JSON form) as a real HTTP server, and its zone: what tests say it is.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface Resolver {
  /** As DOH_RESOLVERS takes it. */
  url: string;
  /** TXT records by name; a name that is not here does not exist. */
  zone: Record<string, string[]>;
  /** What it answers instead: a DNS response code, an HTTP status, text that is no JSON. */
  fault: { code?: number; status?: number; text?: string } | undefined;
  close(): Promise<void>;
}

const NOERROR = 0;
const NXDOMAIN = 3;
const TXT = 16;

export async function startResolver(): Promise<Resolver> {
  const server = createServer((request, response) => {
    const query = new URL(request.url ?? "/", "http://resolver").searchParams;
    const { fault, zone } = resolver;
    if (request.headers.accept !== "application/dns-json" || query.get("type") !== "TXT") {
      response.writeHead(400).end();
      return;
    }
    if (fault?.status !== undefined || fault?.text !== undefined) {
      response.writeHead(fault.status ?? 200).end(fault.text ?? "");
      return;
    }
    const name = query.get("name") ?? "";
    const texts = zone[name];
    response.setHeader("content-type", "application/dns-json");
    response.end(
      JSON.stringify({
        Status: fault?.code ?? (texts === undefined ? NXDOMAIN : NOERROR),
        Question: [{ name, type: TXT }],
        ...(texts === undefined
          ? {}
          : { Answer: texts.map((text) => ({ name, type: TXT, TTL: 300, data: quoted(text) })) }),
      }),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const resolver: Resolver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/resolve`,
    zone: {},
    fault: undefined,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return resolver;
}

/** As resolvers write it: strings of at most 255 characters, quoted. */
const quoted = (text: string): string =>
  (text.match(/.{1,255}/g) ?? [""]).map((part) => `"${part.replace(/(["\\])/g, "\\$1")}"`).join(" ");
