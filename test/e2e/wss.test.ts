// The same over TLS: both clusters answer wss alone, with certificates of a local authority that the Worker and the
// person's vault are told to trust.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Backend } from "../../scripts/stack/backend.ts";
import { type Stack, startStack } from "../../scripts/stack/stack.ts";
import { Person, PROFILE } from "./support/person.ts";

let dir: string;
let stack: Stack;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "wss-"));
  stack = await startStack({ dir, tls: true });
});

afterAll(async () => {
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
});

describe("over wss with a local authority", () => {
  it("a person connects and logs in", async () => {
    expect(stack.serviceSpace.server.wsUrl).toMatch(/^wss:/);
    expect(stack.messageSpace.server.wsUrl).toMatch(/^wss:/);
    const backend = new Backend(stack.baseUrl, stack.adminApiKey);
    const { invite_url } = await backend.invite();
    const person = await Person.online(stack);
    try {
      const contract = await person.vault.connect(invite_url, { profile: PROFILE });
      const asked = await backend.ask(contract.user_id, "Log in");
      expect((await backend.settled(asked.request_id)).status).toBe("approved");
    } finally {
      await person.gone();
    }
  });
});
