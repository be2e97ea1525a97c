// Real witnesses for the tests inside workerd, which start and stop them over HTTP: each test has a log of its own
// and needs a witness that knows it.

import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { startWitness, type Witness } from "../scripts/witness.ts";

/** POST one as JSON. */
export type WitnessOrder =
  /** The same name again is the same witness, with what it remembers. Answers with its `{ url, vkey }`. */
  | { order: "start"; name: string; logs: string[] }
  | { order: "stop"; name: string }
  /** A server that takes requests and never answers. Answers with its `{ url }`. */
  | { order: "silent" };

declare module "vitest" {
  interface ProvidedContext {
    /** Where orders are taken. */
    witnessHost: string;
  }
}

const json = async (request: IncomingMessage): Promise<unknown> => {
  let text = "";
  for await (const chunk of request) text += chunk;
  return JSON.parse(text);
};
const urlOf = (address: unknown) => `http://127.0.0.1:${(address as AddressInfo).port}`;

/** Called by the runner before the first test; what it returns is called after the last. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dir = mkdtempSync(join(tmpdir(), "service-vault-witness-"));
  const running = new Map<string, Witness>();
  const silent = createServer(() => {});

  async function carryOut(order: WitnessOrder): Promise<object> {
    switch (order.order) {
      case "start": {
        await running.get(order.name)?.stop();
        const { name, logs } = order;
        const witness = await startWitness({ dir: join(dir, name.replaceAll("/", "_")), name, logs });
        running.set(name, witness);
        return { url: witness.url, vkey: witness.vkey };
      }
      case "stop":
        await running.get(order.name)?.stop();
        running.delete(order.name);
        return {};
      case "silent":
        if (!silent.listening) await new Promise<void>((done) => silent.listen(0, "127.0.0.1", done));
        return { url: urlOf(silent.address()) };
    }
  }

  const host = createServer(async (request, response) => {
    try {
      response.end(JSON.stringify(await carryOut((await json(request)) as WitnessOrder)));
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  });
  await new Promise<void>((done) => host.listen(0, "127.0.0.1", done));
  project.provide("witnessHost", urlOf(host.address()));

  return async () => {
    for (const witness of running.values()) await witness.stop();
    for (const server of [host, silent]) {
      server.closeAllConnections();
      if (server.listening) await new Promise<void>((done) => server.close(() => done()));
    }
    rmSync(dir, { recursive: true, force: true });
  };
}
