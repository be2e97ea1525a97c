// Two resolvers and a registry for the tests inside workerd, as real HTTP servers. They do what a test tells them
// over HTTP: `PUT /control` with the resolvers' zones and faults, or with what the registry shall answer.

import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestProject } from "vitest/node";
import { startResolver } from "./support/resolver.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** DOH_RESOLVERS of the Worker under test. */
    dohResolvers: string;
    /** `http://127.0.0.1:port`: `PUT /control` sets `ResolverControl[]`, one for each resolver. */
    resolverControl: string;
    /** `http://127.0.0.1:port` */
    registry: string;
  }
}

export interface ResolverControl {
  zone?: Record<string, string[]>;
  fault?: { code?: number; status?: number; text?: string };
}

/** What a registry answers: its document, and to a registration. */
export interface RegistryControl {
  document?: { status?: number; body: unknown };
  registration?: { status?: number; body: unknown };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

/** Called by the runner before the first test; what it returns is called after the last. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const resolvers = [await startResolver(), await startResolver()];
  let registry: RegistryControl = {};
  const received: unknown[] = [];
  const server = createServer((request, response) => {
    const answer = async () => {
      const { url, method } = request;
      const body = await bodyOf(request);
      if (url === "/control/resolvers") {
        const controls = JSON.parse(body) as ResolverControl[];
        resolvers.forEach((resolver, at) => {
          resolver.zone = controls[at]?.zone ?? {};
          resolver.fault = controls[at]?.fault;
        });
        return response.end("{}");
      }
      if (url === "/control/registry") {
        if (method === "PUT") {
          registry = JSON.parse(body) as RegistryControl;
          received.length = 0;
        }
        return response.end(JSON.stringify(received));
      }
      if (url === "/registrations") received.push(JSON.parse(body));
      const said = url === "/registrations" ? registry.registration : registry.document;
      if (said === undefined) return request.socket.destroy();
      response.writeHead(said.status ?? 200, { "content-type": "application/json" });
      return response.end(JSON.stringify(said.body));
    };
    answer().catch(() => request.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  project.provide("dohResolvers", resolvers.map(({ url }) => url).join(","));
  project.provide("resolverControl", `${origin}/control/resolvers`);
  project.provide("registry", origin);
  return async () => {
    for (const resolver of resolvers) await resolver.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
}
