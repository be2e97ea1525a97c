// The Directory with its real database: exact counts under concurrency, keys, versions, and a chain that holds
// through all of it.

import { abortAllDurableObjects, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { DIRECTORY_NAME, type Directory } from "../../durable-objects/directory/directory.ts";
import { MAX_WRONG_CODES } from "../../durable-objects/directory/invites.ts";
import {
  MAX_OFFERINGS,
  OFFER_REFRESH_MS,
  OFFER_VALIDITY_MS,
} from "../../durable-objects/directory/offerings.ts";
import { migrate, schemaVersion } from "../../durable-objects/migrations.ts";
import { verifyChain } from "../../src/audit/chain.ts";
import { parseNoteVerifierKey } from "../../src/audit/note.ts";
import { configOf } from "../../src/config.ts";
import { verifyOffer } from "../../src/contracts/offer.ts";
import { sha256 } from "../../src/crypto/hash.ts";
import { parseApiKey } from "../../src/http/api-key.ts";
import { directoryOf } from "../../src/http/objects.ts";
import type { AuditEntry } from "../../src/protocol/audit.ts";
import { toBase58 } from "../../src/protocol/encoding.ts";
import { newEventId, randomBytes } from "../../src/protocol/ids.ts";
import { utf8 } from "../../src/protocol/json.ts";
import { type OfferingContent, offering as offeringSchema } from "../../src/protocol/offer.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import type { ContractIndexRow, RpcResult } from "../../src/rpc.ts";
import { offeringContent } from "../support/offer.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const serviceId = inject("serviceId");
const caller = { keyId: "testkey00001" };

const directory = () => directoryOf(env);
const stub = () => env.DIRECTORY.getByName(DIRECTORY_NAME);
const randomId = () => toBase58(randomBytes(32));
const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const hashOf = (secret: string) => hex(sha256(utf8(secret)));

function must<T>(result: RpcResult<T>): T {
  if (!result.ok) throw new Error(`${result.error.code}: ${result.error.detail}`);
  return result.value;
}

const refusal = (result: RpcResult<unknown>): string => (result.ok ? "none" : result.error.code);

const put = async (id = "login", change: Partial<OfferingContent> = {}) =>
  must(await directory().putOffering(id, { ...offeringContent, ...change }, caller));

const invite = async (change: Partial<Parameters<Directory["createInvite"]>[0]> = {}) =>
  must(await directory().createInvite({ maxUses: 1, expiresInSeconds: 3_600, ...change }, caller));

async function use(code: string, change: Partial<Parameters<Directory["redeemInvite"]>[0]> = {}) {
  const offer = await directory().offer();
  return {
    code,
    userId: randomId(),
    contractId: randomId(),
    offerId: offer.offer_id,
    offering: offer.offerings.find(({ offering_id }) => offering_id === "login")!,
    now: Date.now(),
    ...change,
  };
}

async function entries(): Promise<AuditEntry[]> {
  const all: AuditEntry[] = [];
  let after: string | undefined;
  do {
    const page = must(await directory().audit({ limit: 100, ...(after === undefined ? {} : { after }) }));
    all.push(...page.items);
    after = page.nextCursor;
  } while (after !== undefined);
  return all;
}

async function chainHolds(): Promise<AuditEntry[]> {
  const all = await entries();
  const { signingKey } = await configOf(env);
  expect(await verifyChain(all, { serviceId, publicKey: signingKey.publicKeyText })).toMatchObject({
    valid: true,
    entries: all.length,
  });
  return all;
}

const sql = <T>(query: string): Promise<T[]> =>
  runInDurableObject(
    stub(),
    (_: Directory, state) => state.storage.sql.exec(query).toArray() as unknown as T[],
  );

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] });
});

afterEach(async () => {
  // Whatever a test did, the chain it left must hold.
  await chainHolds();
  vi.useRealTimers();
  await reset();
});

/** Moves the clock; what is waiting is not woken by it. */
const later = (ms: number) => vi.setSystemTime(Date.now() + ms);

describe("offerings", () => {
  it("get a new version for each change, none without one, and keep the old ones", async () => {
    expect(await put()).toMatchObject({ offering_id: "login", version: 1 });
    expect(await put()).toMatchObject({ version: 1 });
    expect(await put("login", { name: "Login" })).toMatchObject({ version: 2, name: "Login" });
    expect(await directory().offerings()).toHaveLength(1);
    expect(await directory().offering("login", 1)).toMatchObject({ name: offeringContent.name });
    expect(offeringSchema.safeParse(await directory().offering("login")).success).toBe(true);
    expect((await entries()).map(({ operation }) => operation)).toEqual([
      "offering.published",
      "offering.published",
    ]);
  });

  it("leave the offer when deleted, and go on counting when published again", async () => {
    await put();
    must(await directory().deleteOffering("login", caller));
    expect(await directory().offerings()).toEqual([]);
    expect(refusal(await directory().deleteOffering("login", caller))).toBe("not_found");
    expect(await put()).toMatchObject({ version: 2 });
    expect((await entries()).at(-2)).toMatchObject({
      operation: "offering.removed",
      status: "denied",
      request_summary: { key_id: caller.keyId, offering_id: "login" },
      response_summary: { code: "not_found" },
    });
  });

  it("are at most as many, and as long, as an offer carries", async () => {
    for (let n = 0; n < MAX_OFFERINGS; n++) await put(`offering-${n}`);
    expect(refusal(await directory().putOffering("one-more", offeringContent, caller))).toBe("conflict");
    expect(await put("offering-0", { name: "Changed" })).toMatchObject({ version: 2 });
    const huge = Array.from({ length: 64 }, (_, at) => ({
      capability: `custom.c${at}`,
      description: "d".repeat(500),
      scope: Array.from({ length: 10 }, () => "s".repeat(256)),
      requires_approval_each_use: true,
    }));
    expect(
      refusal(
        await directory().putOffering("offering-1", { ...offeringContent, capabilities: huge }, caller),
      ),
    ).toBe("payload_too_large");
    expect((await directory().offer()).offerings).toHaveLength(MAX_OFFERINGS);
  });
});

describe("the offer", () => {
  it("verifies, names the log's key, and is the same until something changes", async () => {
    await put();
    const offer = await directory().offer();
    expect(await verifyOffer(offer, { pinnedServiceId: serviceId, now: Date.now() })).toMatchObject({
      ok: true,
    });
    const { logKey } = await configOf(env);
    expect(parseNoteVerifierKey(offer.log_vkey)).toEqual({
      name: "vault.example.com/log",
      publicKey: logKey.publicKey,
    });
    expect(Date.parse(offer.valid_until) - Date.parse(offer.issued_at)).toBe(OFFER_VALIDITY_MS);
    expect(await directory().offer()).toEqual(offer);
    await abortAllDurableObjects();
    expect(await directory().offer()).toEqual(offer);

    await put("login", { name: "Login" });
    const changed = await directory().offer();
    expect(changed.offer_id).not.toBe(offer.offer_id);
    must(
      await directory().putManifest(
        {
          capabilities: [],
          event_handlers: [{ event_type: "restock", description: "Back in stock" }],
          plans: [],
        },
        caller,
      ),
    );
    expect((await directory().offer()).offer_id).not.toBe(changed.offer_id);
  });

  it("is made anew after a third of its validity, while the old one can still be accepted", async () => {
    await put();
    const { invite_code } = await invite({ maxUses: 3, expiresInSeconds: 30 * 86_400 });
    const first = await directory().offer();
    later(OFFER_REFRESH_MS - 1);
    expect((await directory().offer()).offer_id).toBe(first.offer_id);
    later(1);
    const second = await directory().offer();
    expect(second.offer_id).not.toBe(first.offer_id);
    expect(await directory().redeemInvite(await use(invite_code, { offerId: first.offer_id }))).toMatchObject(
      { ok: true },
    );
    later(OFFER_VALIDITY_MS - OFFER_REFRESH_MS);
    expect(await directory().redeemInvite(await use(invite_code, { offerId: first.offer_id }))).toMatchObject(
      { ok: false, reason: "offer_outdated" },
    );
  });

  it("is made once, however many ask for it at once", async () => {
    await put();
    const offers = await Promise.all(Array.from({ length: 20 }, () => directory().offer()));
    expect(new Set(offers.map(({ offer_id }) => offer_id)).size).toBe(1);
    expect(await sql("SELECT offer_id FROM offers")).toHaveLength(1);
  });

  it("can be narrowed to one offering, for an invite to it", async () => {
    await put();
    await put("premium");
    const { invite_code } = await invite({ offeringId: "premium" });
    const opened = await directory().openInvite(invite_code);
    expect(opened.ok && opened.offer.offerings.map(({ offering_id }) => offering_id)).toEqual(["premium"]);
    must(await directory().deleteOffering("premium", caller));
    expect(await directory().openInvite(invite_code)).toEqual({ ok: false, reason: "invite_invalid" });
  });
});

describe("invites", () => {
  it("count 50 simultaneous redemptions of 10 uses exactly", async () => {
    await put();
    const { invite_code } = await invite({ maxUses: 10 });
    const uses = await Promise.all(Array.from({ length: 50 }, () => use(invite_code)));
    const answers = await Promise.all(uses.map((one) => directory().redeemInvite(one)));
    expect(answers.filter(({ ok }) => ok)).toHaveLength(10);
    expect(answers.filter((answer) => !answer.ok && answer.reason === "invite_used_up")).toHaveLength(40);
    expect(must(await directory().invites({ limit: 10 })).items[0]).toMatchObject({
      uses: 10,
      status: "used_up",
    });
    expect((await entries()).filter(({ operation }) => operation === "invite.redeemed")).toHaveLength(10);
  });

  it("count a contract once, even when it comes again after the invite is used up, expired or after a crash", async () => {
    await put();
    const { invite_code } = await invite();
    const one = await use(invite_code);
    const answers = await Promise.all(Array.from({ length: 5 }, () => directory().redeemInvite(one)));
    expect(answers.every(({ ok }) => ok)).toBe(true);
    await abortAllDurableObjects();
    expect(await directory().redeemInvite(one)).toMatchObject({ ok: true });
    later(2 * HOUR_MS);
    expect(await directory().redeemInvite({ ...one, now: Date.now() })).toMatchObject({ ok: true });
    expect(await directory().redeemInvite(await use(invite_code))).toEqual({
      ok: false,
      reason: "invite_used_up",
    });
    expect(must(await directory().invites({ limit: 10 })).items[0]).toMatchObject({ uses: 1 });
  });

  it.each([
    ["unknown", async () => use(newEventId()), "invite_invalid"],
    [
      "expired",
      async (code: string) => {
        later(HOUR_MS);
        return use(code);
      },
      "invite_expired",
    ],
    [
      "withdrawn",
      async (code: string, inviteId: string) => {
        must(await directory().deleteInvite(inviteId, caller));
        return use(code);
      },
      "invite_invalid",
    ],
    [
      "for another offering",
      async (code: string) => use(code, { offering: await put("premium") }),
      "invite_invalid",
    ],
  ] as const)("that are %s are refused and change nothing", async (_what, attempt, reason) => {
    await put();
    await put("premium");
    await directory().offer();
    const made = await invite({ offeringId: "login" });
    const one = await attempt(made.invite_code, made.invite_id);
    const before = await entries();
    expect(await directory().redeemInvite(one)).toEqual({ ok: false, reason });
    expect(await entries()).toEqual(before);
    expect(must(await directory().invites({ limit: 10 })).items[0]).toMatchObject({ uses: 0 });
  });

  it("count nothing for terms that are no longer offered", async () => {
    const offering = await put();
    const { invite_code } = await invite();
    const redeem = async (change: object) => directory().redeemInvite(await use(invite_code, change));
    expect(await redeem({ offerId: randomId() })).toEqual({ ok: false, reason: "offer_outdated" });
    expect(await redeem({ offering: { ...offering, description: "Something else." } })).toEqual({
      ok: false,
      reason: "offering_changed",
    });
    expect(await redeem({ offering: { ...offering, offering_id: "gone" } })).toEqual({
      ok: false,
      reason: "offering_changed",
    });
    expect(await redeem({})).toEqual({ ok: true });
  });

  it("need something to invite to, and an offering that exists", async () => {
    const wanted = { maxUses: 1, expiresInSeconds: 60 };
    expect(refusal(await directory().createInvite(wanted, caller))).toBe("conflict");
    await put();
    expect(refusal(await directory().createInvite({ ...wanted, offeringId: "gone" }, caller))).toBe(
      "not_found",
    );
  });

  it("are listed newest first, page by page, without their codes", async () => {
    await put();
    const made = [];
    for (let n = 0; n < 5; n++) {
      later(1);
      made.push(await invite({ metadata: { n } }));
    }
    const first = must(await directory().invites({ limit: 3 }));
    const second = must(await directory().invites({ limit: 3, cursor: first.nextCursor! }));
    expect([...first.items, ...second.items].map(({ metadata }) => metadata)).toEqual(
      [4, 3, 2, 1, 0].map((n) => ({ n })),
    );
    expect(second.nextCursor).toBeUndefined();
    expect(JSON.stringify(first)).not.toContain(made[4]!.invite_code);
    expect(refusal(await directory().invites({ limit: 3, cursor: "nonsense" }))).toBe("invalid_request");
  });
});

describe("the match code", () => {
  const wrong = (code: string) => (code === "000000" ? "000001" : "000000");

  it("is asked for when the offering says so, and cannot be left out then", async () => {
    await put("login", { match_code: true });
    expect((await invite()).match_code).toMatch(/^\d{6}$/);
    expect(
      refusal(await directory().createInvite({ maxUses: 1, expiresInSeconds: 60, matchCode: false }, caller)),
    ).toBe("conflict");
  });

  it("closes a single-use invite for everyone when it is wrong once", async () => {
    await put();
    const made = await invite({ matchCode: true });
    const matchCode = made.match_code!;
    expect(
      await directory().redeemInvite(await use(made.invite_code, { matchCode: wrong(matchCode) })),
    ).toEqual({
      ok: false,
      reason: "match_code_wrong",
    });
    expect(await directory().redeemInvite(await use(made.invite_code, { matchCode }))).toEqual({
      ok: false,
      reason: "invite_used_up",
    });
    expect((await entries()).at(-1)).toMatchObject({ operation: "invite.redeemed", status: "denied" });
  });

  it("lets each user of a many-use invite try once, and all of them together ten times", async () => {
    await put();
    const made = await invite({ matchCode: true, maxUses: 100 });
    const matchCode = made.match_code!;
    const clumsy = randomId();
    const redeem = async (change: object) => directory().redeemInvite(await use(made.invite_code, change));
    expect(await redeem({ userId: clumsy, matchCode: wrong(matchCode) })).toMatchObject({ ok: false });
    expect(await redeem({ userId: clumsy, matchCode })).toEqual({ ok: false, reason: "match_code_wrong" });
    expect(await redeem({ matchCode })).toMatchObject({ ok: true });
    const guesses = await Promise.all(
      Array.from({ length: 30 }, () => redeem({ matchCode: wrong(matchCode) })),
    );
    expect(guesses.filter((guess) => !guess.ok && guess.reason === "match_code_wrong")).toHaveLength(
      MAX_WRONG_CODES - 1,
    );
    expect(await redeem({ matchCode })).toEqual({ ok: false, reason: "invite_used_up" });
  });

  it("is not guessed at by leaving it out", async () => {
    await put();
    const made = await invite({ matchCode: true });
    expect(await directory().redeemInvite(await use(made.invite_code))).toEqual({
      ok: false,
      reason: "match_code_wrong",
    });
    expect(
      await directory().redeemInvite(await use(made.invite_code, { matchCode: made.match_code! })),
    ).toMatchObject({ ok: true });
  });

  it("keeps out whoever has an older invite without one", async () => {
    await put();
    const { invite_code } = await invite();
    await put("login", { match_code: true });
    expect(await directory().redeemInvite(await use(invite_code))).toEqual({
      ok: false,
      reason: "invite_invalid",
    });
  });
});

describe("API keys", () => {
  const bootstrap = parseApiKey(inject("adminApiKey"));
  if (!bootstrap.ok) throw new Error("the test's admin key is malformed");
  const look = (id: string, secret: string) => directory().apiKey(id, hashOf(secret));
  const create = async (change: object = {}) =>
    must(await directory().createApiKey({ name: "backend", scopes: ["requests:read"], ...change }, caller));
  const secretOf = (apiKey: string): string => {
    const parsed = parseApiKey(apiKey);
    if (!parsed.ok) throw new Error(parsed.reason);
    return parsed.secret;
  };

  it("begin with the deployment's own, taken in once", async () => {
    expect(await look(bootstrap.id, "x".repeat(43))).toBeUndefined();
    const looks = await Promise.all(Array.from({ length: 10 }, () => look(bootstrap.id, bootstrap.secret)));
    expect(looks.every((facts) => facts?.scopes.includes("admin"))).toBe(true);
    expect((await entries()).map(({ operation }) => operation)).toEqual(["api_key.created"]);
  });

  it("do not come back from the deployment once deleted", async () => {
    await look(bootstrap.id, bootstrap.secret);
    expect(refusal(await directory().deleteApiKey(bootstrap.id, caller))).toBe("conflict");
    await create({ scopes: ["admin"] });
    must(await directory().deleteApiKey(bootstrap.id, caller));
    await abortAllDurableObjects();
    expect(await look(bootstrap.id, bootstrap.secret)).toBeUndefined();
  });

  it("are known by their secret alone, which is stored nowhere", async () => {
    const { key_id, api_key } = await create();
    const secret = secretOf(api_key);
    expect(await look(key_id, secret)).toEqual({ keyId: key_id, scopes: ["requests:read"] });
    expect(await look(key_id, `${secret.slice(0, -1)}!`)).toBeUndefined();
    expect(await look("nosuchkey000", secret)).toBeUndefined();
    expect(JSON.stringify(await sql("SELECT * FROM api_keys"))).not.toContain(secret);
  });

  it("stop when deleted and when their time is over", async () => {
    const deleted = await create();
    must(await directory().deleteApiKey(deleted.key_id, caller));
    expect(await look(deleted.key_id, secretOf(deleted.api_key))).toBeUndefined();
    expect(refusal(await directory().deleteApiKey(deleted.key_id, caller))).toBe("not_found");

    const short = await create({ expiresInSeconds: 60 });
    expect(await look(short.key_id, secretOf(short.api_key))).toMatchObject({
      expiresAt: Date.now() + 60_000,
    });
    expect((await directory().apiKeys()).map(({ key_id }) => key_id)).toEqual([short.key_id]);
  });

  it("work on for the grace time after a rotation, and not a moment longer", async () => {
    const { key_id, api_key } = await create();
    const rotated = must(await directory().rotateApiKey(key_id, 3_600, caller));
    const graceEnds = Date.now() + HOUR_MS;
    expect(await look(key_id, secretOf(rotated.api_key))).toEqual({
      keyId: key_id,
      scopes: ["requests:read"],
    });
    expect(await look(key_id, secretOf(api_key))).toMatchObject({ expiresAt: graceEnds });
    later(HOUR_MS);
    expect(await look(key_id, secretOf(api_key))).toBeUndefined();

    const again = must(await directory().rotateApiKey(key_id, 0, caller));
    expect(await look(key_id, secretOf(rotated.api_key))).toBeUndefined();
    expect(await look(key_id, secretOf(again.api_key))).toBeDefined();
  });

  it("remember the day of their last use, with one write a day", async () => {
    const { key_id, api_key } = await create();
    await look(key_id, secretOf(api_key));
    await look(key_id, secretOf(api_key));
    const [view] = await directory().apiKeys();
    expect(view?.last_used_day).toBe(toTimestamp(Date.now()).slice(0, 10));
    later(DAY_MS);
    await look(key_id, secretOf(api_key));
    expect((await directory().apiKeys())[0]?.last_used_day).toBe(toTimestamp(Date.now()).slice(0, 10));
  });
});

describe("a call that creates", () => {
  const idempotency = { key: "order-17", digest: "A" };

  it("gives the first answer again for the same key and body, and a conflict for another body", async () => {
    await put();
    const create = (change: object) =>
      directory().createInvite({ maxUses: 1, expiresInSeconds: 60 }, { ...caller, ...change });
    const answers = await Promise.all(Array.from({ length: 5 }, () => create({ idempotency })));
    expect(new Set(answers.map((answer) => JSON.stringify(must(answer)))).size).toBe(1);
    expect(refusal(await create({ idempotency: { ...idempotency, digest: "B" } }))).toBe("conflict");
    // Another backend's word is its own.
    expect(must(await create({ keyId: "otherkey0001", idempotency }))).not.toEqual(must(answers[0]!));
    expect(must(await directory().invites({ limit: 10 })).items).toHaveLength(2);
    later(DAY_MS);
    expect(must(await create({ idempotency }))).not.toEqual(must(answers[0]!));
  });

  it("keeps no secret in the clear for it", async () => {
    await put();
    const made = must(
      await directory().createApiKey({ name: "k", scopes: ["admin"] }, { ...caller, idempotency }),
    );
    const invited = await invite({ matchCode: true, metadata: { customer: "Ada Lovelace" } });
    const stored = await runInDurableObject(stub(), (_: Directory, state) =>
      state.storage.sql
        .exec<{ name: string }>(
          "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
        )
        .toArray()
        .flatMap(({ name }) => state.storage.sql.exec(`SELECT * FROM ${name}`).toArray())
        .flatMap((row) => Object.values(row))
        .map((value) =>
          value instanceof ArrayBuffer ? new TextDecoder("latin1").decode(value) : String(value),
        )
        .join("\n"),
    );
    for (const secret of [made.api_key, invited.invite_code, invited.match_code!, "Ada Lovelace"])
      expect(stored).not.toContain(secret);
  });
});

describe("the index of contracts", () => {
  const row = (n: number, change: Partial<ContractIndexRow> = {}): ContractIndexRow => {
    const contractId = change.contractId ?? randomId();
    const userId = change.userId ?? randomId();
    return {
      contractId,
      userId,
      offeringId: "login",
      offeringName: "Login",
      status: "active",
      createdAt: 1_000 + n,
      version: 1,
      view: { contract_id: contractId, user_id: userId, cancelled_reason: "told nobody" } as never,
      ...change,
    };
  };

  it("takes newer versions only, and never another user's claim to a contract", async () => {
    const first = row(0);
    await directory().indexContracts([first]);
    await directory().indexContracts([{ ...first, status: "cancelled", version: 3 }]);
    await directory().indexContracts([{ ...first, status: "paused", version: 2 }]);
    await directory().indexContracts([{ ...first, userId: randomId(), version: 9 }]);
    expect(await directory().userOfContract(first.contractId)).toBe(first.userId);
    expect(must(await directory().contracts({ limit: 10, status: "cancelled" })).totalCount).toBe(1);
    expect(must(await directory().contracts({ limit: 10, status: "active" })).totalCount).toBe(0);
    expect(await directory().userOfContract(randomId())).toBeUndefined();
  });

  it("lists newest first by filter, cursor and offset, with the count of all", async () => {
    const userId = randomId();
    const rows = Array.from({ length: 25 }, (_, n) =>
      row(n, { ...(n % 5 === 0 ? { userId } : {}), offeringId: n % 2 === 0 ? "login" : "premium" }),
    );
    await directory().indexContracts(rows);
    const expected = rows.map(({ contractId }) => contractId).reverse();
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = must(
        await directory().contracts({ limit: 10, ...(cursor === undefined ? {} : { cursor }) }),
      );
      expect(page.totalCount).toBe(25);
      seen.push(...page.items.map(({ contract_id }) => contract_id));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    expect(seen).toEqual(expected);
    expect(
      must(await directory().contracts({ limit: 5, offset: 20 })).items.map((view) => view.contract_id),
    ).toEqual(expected.slice(20));
    expect(must(await directory().contracts({ limit: 10, userId })).totalCount).toBe(5);
    expect(must(await directory().contracts({ limit: 10, offeringId: "premium" })).totalCount).toBe(12);
    expect(must(await directory().contracts({ limit: 10, userId, offeringId: "premium" })).totalCount).toBe(
      2,
    );
    expect(refusal(await directory().contracts({ limit: 10, cursor: "AAAA" }))).toBe("invalid_request");
    expect(JSON.stringify(await sql("SELECT hex(view) AS view FROM contracts"))).not.toContain(
      hex(utf8("told nobody")).toUpperCase(),
    );
  });
});

describe("the chain", () => {
  it("is read in order from any entry, and by operation", async () => {
    await put();
    await directory().offer();
    await invite();
    const all = await entries();
    expect(all.map(({ operation }) => operation)).toEqual([
      "offering.published",
      "offer.issued",
      "invite.created",
    ]);
    const rest = must(await directory().audit({ after: all[0]!.event_id, limit: 1 }));
    expect(rest.items).toEqual([all[1]]);
    expect(rest.nextCursor).toBe(all[1]!.event_id);
    expect(must(await directory().audit({ operation: "invite.created", limit: 10 })).items).toEqual([all[2]]);
    expect(refusal(await directory().audit({ after: newEventId(), limit: 1 }))).toBe("invalid_request");
  });

  it("shows a changed entry", async () => {
    await put();
    await put("login", { name: "Login" });
    const all = await entries();
    const { signingKey } = await configOf(env);
    const changed = all.map((entry, at) => (at === 0 ? { ...entry, operation: "offering.removed" } : entry));
    expect(await verifyChain(changed, { serviceId, publicKey: signingKey.publicKeyText })).toMatchObject({
      valid: false,
      fault: { index: 0, reason: "event_hash" },
    });
  });
});

describe("what has run out", () => {
  it("is deleted by the alarm, which comes again while there is something left", async () => {
    await put();
    await directory().offer();
    const made = await invite({ expiresInSeconds: 60 });
    await directory().redeemInvite(await use(made.invite_code));
    must(
      await directory().createInvite(
        { maxUses: 1, expiresInSeconds: 60 },
        { ...caller, idempotency: { key: "k", digest: "d" } },
      ),
    );
    const counts = async () =>
      Object.fromEntries(
        await Promise.all(
          ["offers", "invites", "invite_uses", "idempotency"].map(async (table) => [
            table,
            (await sql<{ n: number }>(`SELECT count(*) AS n FROM ${table}`))[0]!.n,
          ]),
        ),
      );
    expect(await runDurableObjectAlarm(stub())).toBe(true);
    expect(await counts()).toEqual({ offers: 1, invites: 2, invite_uses: 1, idempotency: 1 });
    later(DAY_MS);
    expect(await runDurableObjectAlarm(stub())).toBe(true);
    expect(await counts()).toEqual({ offers: 1, invites: 2, invite_uses: 1, idempotency: 0 });
    later(31 * DAY_MS);
    expect(await runDurableObjectAlarm(stub())).toBe(true);
    expect(await counts()).toEqual({ offers: 0, invites: 0, invite_uses: 0, idempotency: 0 });
    // The chain's head is still on its way into the audit log; once it is there, nothing is left to wake for.
    await expect.poll(() => runDurableObjectAlarm(stub()), { timeout: 10_000 }).toBe(false);
  });
});

describe("migrations", () => {
  const steps = ["CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y; INSERT INTO a VALUES (1, 2)"];
  const inFreshObject = <T>(test: (storage: DurableObjectStorage) => T) =>
    runInDurableObject(env.USER_CONNECTION.getByName(randomId()), (_, { storage }) => test(storage));
  const writes = (storage: DurableObjectStorage): number =>
    storage.sql.exec<{ n: number }>("SELECT total_changes() AS n").one().n;

  it("take each step once, and write nothing when there is none to take", async () => {
    await inFreshObject((storage) => {
      const before = storage.sql.databaseSize;
      expect(schemaVersion(storage)).toBe(0);
      expect(storage.sql.databaseSize).toBe(before);
      migrate(storage, steps.slice(0, 1));
      expect(schemaVersion(storage)).toBe(1);
      migrate(storage, steps);
      const changes = writes(storage);
      migrate(storage, steps);
      migrate(storage, steps.slice(0, 1));
      expect(writes(storage)).toBe(changes);
      expect(schemaVersion(storage)).toBe(2);
      expect(storage.sql.exec("SELECT * FROM a").toArray()).toEqual([{ x: 1, y: 2 }]);
    });
  });

  it("leave nothing of a step that fails", async () => {
    await inFreshObject((storage) => {
      expect(() => migrate(storage, [...steps, "INSERT INTO nowhere VALUES (1)"])).toThrow();
      expect(schemaVersion(storage)).toBe(0);
      migrate(storage, steps);
      expect(schemaVersion(storage)).toBe(2);
    });
  });

  it("happen inside a transaction of the caller's too", async () => {
    await inFreshObject((storage) => {
      expect(() =>
        storage.transactionSync(() => {
          migrate(storage, steps);
          throw new Error("the caller gives up");
        }),
      ).toThrow("gives up");
      expect(schemaVersion(storage)).toBe(0);
    });
  });
});
