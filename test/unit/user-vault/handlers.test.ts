// Answers computed from what the vault holds: with all their effects, exactly once, or not at all.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { defineHears, type Handler } from "../../../sdk/user-vault/handlers/handler.ts";
import { HoldingsDraft, MAX_HOLDING_BYTES, PERSONAL } from "../../../sdk/user-vault/holdings.ts";
import { openSqliteStore } from "../../../sdk/user-vault/sqlite-store.ts";
import type { VaultStore } from "../../../sdk/user-vault/store.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";
import { MailboxFixture } from "./mailbox-fixture.ts";
import { asAnswer, LOGIN, ServicePeer } from "./service-peer.ts";

let peer: ServicePeer;
let store: VaultStore;
let serviceId: string;
beforeEach(async () => {
  peer = await ServicePeer.make();
  store = openSqliteStore(":memory:");
  serviceId = peer.key.id;
});

async function connected(...handlers: Handler[]): Promise<MailboxFixture> {
  const fixture = new MailboxFixture(peer, store, handlers);
  await fixture.connect();
  return fixture;
}

const count = () => store.transaction((tx) => tx.holding(serviceId, "visits", "count"));

/** Counts logins in the service's shelf. */
const counting: Handler = {
  kind: "auth",
  answer: (_ask, _decision, { own }) => {
    own.put("visits", "count", ((own.get("visits", "count") as number | undefined) ?? 0) + 1);
    return {};
  },
};

async function asked(fixture: MailboxFixture): Promise<string> {
  const ask = await peer.ask();
  await fixture.receive(ask);
  return ask.eventId;
}

describe("a handler", () => {
  it("changes what is held together with the answer", async () => {
    const fixture = await connected(counting);
    await fixture.mailbox.answer(await asked(fixture), { decision: "approved" });
    expect(count()).toBe(1);
    expect(fixture.events).toContainEqual({
      type: "holdings_changed",
      service_id: serviceId,
      collection: "visits",
    });
  });

  it("changes nothing when the ask is denied, and nothing when it is answered a second time", async () => {
    const fixture = await connected(counting);
    await fixture.mailbox.answer(await asked(fixture), { decision: "denied" });
    expect(count()).toBeUndefined();
    const requestId = await asked(fixture);
    await fixture.mailbox.answer(requestId, { decision: "approved" });
    await expect(fixture.mailbox.answer(requestId, { decision: "approved" })).rejects.toThrow();
    expect(count()).toBe(1);
  });

  it("that refuses makes the answer a denial with its reason, and leaves no trace of what it wrote", async () => {
    const fixture = await connected({
      kind: "auth",
      answer: (_ask, _decision, { own }) => {
        own.put("visits", "count", 1);
        return { refuse: "not_found" };
      },
    });
    await fixture.mailbox.answer(await asked(fixture), { decision: "approved" });
    const [sent] = await fixture.sent();
    expect(asAnswer(sent!)).toMatchObject({ decision: "denied", reason: "not_found" });
    expect(count()).toBeUndefined();
  });

  it("that throws leaves the ask open and nothing changed", async () => {
    const fixture = await connected({
      kind: "auth",
      answer: (_ask, _decision, { own }) => {
        own.put("visits", "count", 1);
        throw new Error("no");
      },
    });
    const requestId = await asked(fixture);
    await expect(fixture.mailbox.answer(requestId, { decision: "approved" })).rejects.toThrow("no");
    expect(fixture.ask(requestId)?.state).toBe("open");
    expect(count()).toBeUndefined();
  });

  it("is called again when what it read changed before the answer was stored", async () => {
    let calls = 0;
    const fixture = await connected({
      kind: "auth",
      answer: async (ask, decision, holdings, signer) => {
        const handled = counting.answer!(ask, decision, holdings, signer);
        calls += 1;
        // Somebody else counts while the first answer is in the making.
        if (calls === 1) fixture.mailbox.hold(serviceId, "visits", "count", 41);
        return handled;
      },
    });
    await fixture.mailbox.answer(await asked(fixture), { decision: "approved" });
    expect(calls).toBe(2);
    expect(count()).toBe(42);
    expect(await fixture.sent()).toHaveLength(1);
  });

  it("whose ground never stops moving gives up, with the ask open", async () => {
    let calls = 0;
    const fixture = await connected({
      kind: "auth",
      answer: (_ask, _decision, { own }) => {
        own.list("visits");
        calls += 1;
        fixture.mailbox.hold(serviceId, "visits", "count", calls);
        return {};
      },
    });
    const requestId = await asked(fixture);
    await expect(fixture.mailbox.answer(requestId, { decision: "approved" })).rejects.toMatchObject({
      code: "store_busy",
    });
    expect(fixture.ask(requestId)?.state).toBe("open");
  });

  it("is not asked about an ask that could not be shown", async () => {
    const fixture = await connected(counting);
    await fixture.receive(await peer.ask({ extra: { hidden: true } }));
    expect(asAnswer((await fixture.sent())[0]!)).toMatchObject({ decision: "denied", reason: "unsupported" });
    expect(count()).toBeUndefined();
  });
});

describe("an ask for what was not agreed to", () => {
  const capabilities = (change: object = {}) => [
    {
      capability: "authorization_request",
      description: "Ask you to permit transfers",
      scope: ["transfer:account/*"],
      requires_approval_each_use: true,
      ...change,
    },
  ];
  const hour = (hours: number) => toTimestamp(Date.now() + hours * 3_600_000);

  it.each([
    ["within the scope", {}, "account/42", "open"],
    ["outside the scope", {}, "vault/1", "answered"],
    ["when the capability is over", { constraints: { valid_until: hour(-1) } }, "account/42", "answered"],
    ["before the capability begins", { constraints: { valid_from: hour(1) } }, "account/42", "answered"],
    ["under another capability", { capability: "authenticate" }, "account/42", "answered"],
  ])("%s is shown or denied as it should be", async (_what, change, resource, state) => {
    await peer.offerInstead({ ...LOGIN, capabilities: capabilities(change) });
    const fixture = await connected();
    const ask = await peer.ask({ kind: "authz", extra: { action: "transfer", resource } });
    await fixture.receive(ask);
    expect(fixture.ask(ask.eventId)?.state).toBe(state);
    if (state === "answered")
      expect(asAnswer((await fixture.sent())[0]!)).toMatchObject({
        decision: "denied",
        reason: "not_granted",
      });
  });
});

describe("a handler that hears", () => {
  const noting: Handler = {
    kind: "auth",
    hears: {
      "auth.note": defineHears({
        payload: z.strictObject({ text: z.string() }),
        run: ({ text }, { ref }, { own }) => {
          if (text === "no") return { refuse: "unwanted" };
          own.put("notes", ref ?? "none", text);
          return undefined;
        },
      }),
    },
  };

  it("changes what is held once, however often the message comes", async () => {
    const fixture = await connected(noting);
    const sent = await peer.seal("auth.note", { text: "hello" }, { ref: "r".repeat(22) });
    await fixture.receive(sent);
    fixture.mailbox.hold(serviceId, "notes", "r".repeat(22), "changed since");
    await fixture.receive(sent);
    expect(store.transaction((tx) => tx.holdings(serviceId, "notes"))).toEqual([
      { key: "r".repeat(22), value: "changed since" },
    ]);
    expect(fixture.events.filter(({ type }) => type === "heard")).toHaveLength(1);
  });

  it.each([
    ["a message it refuses", { text: "no" }, "unwanted"],
    ["a message of the wrong form", { txt: "hello" }, "malformed"],
  ])("says so in the receipt of %s", async (_what, payload, reason) => {
    const fixture = await connected(noting);
    const sent = await peer.seal("auth.note", payload);
    await fixture.receive(sent);
    const receipt = (await fixture.receipts()).find(({ header }) => header.ref === sent.eventId);
    expect(receipt?.payload).toMatchObject({ outcome: "refused", reason });
    expect(store.transaction((tx) => tx.holdings(serviceId, "notes"))).toEqual([]);
  });
});

describe("holdings", () => {
  it.each([
    ["a collection with another name", "Data!", "a", 1],
    ["an empty key", "data", "", 1],
    ["a key too long", "data", "k".repeat(513), 1],
    ["half a character as key", "data", "\ud800", 1],
    ["a value too large", "data", "a", "x".repeat(MAX_HOLDING_BYTES)],
    ["what is no JSON", "data", "a", Number.NaN],
  ])("refuse %s", async (_what, collection, key, value) => {
    const fixture = await connected();
    expect(() => fixture.mailbox.hold(PERSONAL, collection, key, value)).toThrow(
      expect.objectContaining({ code: "holding_invalid" }),
    );
  });

  it("keep each service's shelf apart from the person's and from the other's", () => {
    store.transaction((tx) => {
      tx.saveHolding("a", "notes", "x", 1);
      tx.saveHolding(PERSONAL, "notes", "x", 2);
    });
    const draft = new HoldingsDraft((work) => store.transaction(work), "b");
    expect(draft.own.get("notes", "x")).toBeUndefined();
    expect(draft.personal.get("notes", "x")).toBe(2);
    expect(draft.of("a").list("notes")).toEqual([{ key: "x", value: 1 }]);
  });

  it("show a draft its own writes, and nobody else before they are applied", () => {
    const draft = new HoldingsDraft((work) => store.transaction(work), "b");
    draft.own.put("notes", "b", 1);
    draft.own.put("notes", "a", 2);
    draft.own.delete("notes", "b");
    draft.own.put("notes", "a/1", 3);
    expect(draft.own.list("notes")).toEqual([
      { key: "a", value: 2 },
      { key: "a/1", value: 3 },
    ]);
    expect(draft.own.list("notes", "a/")).toEqual([{ key: "a/1", value: 3 }]);
    expect(draft.own.get("notes", "b")).toBeUndefined();
    expect(store.transaction((tx) => tx.holdings("b", "notes"))).toEqual([]);
    store.transaction((tx) => draft.apply(tx));
    expect(store.transaction((tx) => tx.holdings("b", "notes"))).toHaveLength(2);
  });

  it("come to a file of the version before", () => {
    const dir = mkdtempSync(join(tmpdir(), "holdings-"));
    try {
      const path = join(dir, "vault.sqlite");
      openSqliteStore(path).close();
      const db = new DatabaseSync(path);
      db.exec("DROP TABLE holdings; PRAGMA user_version = 1");
      db.close();
      const reopened = openSqliteStore(path);
      reopened.transaction((tx) => tx.saveHolding(PERSONAL, "data", "name", "Ada"));
      expect(reopened.transaction((tx) => tx.holding(PERSONAL, "data", "name"))).toBe("Ada");
      reopened.close();
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
