// What the client verifies offline: the published vectors hold, whatever is changed in them does not, and nothing
// passes here that the vault's own verification refuses.

import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";
import { beforeAll, describe, expect, it } from "vitest";
import {
  type ExpectedContract,
  VerificationError,
  verifyApproval,
  verifyAuditProof,
  verifyChain,
  verifyContractRecord,
  verifyWebhook,
} from "../../../sdk/typescript/src/index.ts";
import { MAX_DELIVERY_BYTES } from "../../../sdk/typescript/src/verify/webhook.ts";
import { verifyChain as vaultVerifiesChain } from "../../../src/audit/chain.ts";
import { signCheckpoint } from "../../../src/audit/checkpoint.ts";
import { leafOf, openingBytes } from "../../../src/audit/leaf.ts";
import { inclusionProof, leafHash, rootHash } from "../../../src/audit/merkle.ts";
import { cosign, formatNote, noteVerifierKey, parseNote } from "../../../src/audit/note.ts";
import { formatProof } from "../../../src/audit/proof.ts";
import { appendLeaves, readerOver } from "../../../src/audit/tiles.ts";
import { verifyContractRecord as vaultVerifiesRecord } from "../../../src/contracts/agreement.ts";
import { importSigningKey, type SigningKey, signJson } from "../../../src/crypto/signing.ts";
import type { ApprovalStatement } from "../../../src/protocol/asking.ts";
import { toBase58, toBase64 } from "../../../src/protocol/encoding.ts";
import { randomBytes } from "../../../src/protocol/ids.ts";
import { LABELS } from "../../../src/protocol/labels.ts";
import { verifyApproval as vaultVerifiesApproval } from "../../../src/requests/lifecycle.ts";
import { newSecret, publicKeyText, signedHeaders } from "../../../src/webhooks/signature.ts";

// biome-ignore lint/suspicious/noExplicitAny: the vectors' own test checks their shape
type Case = Record<string, any>;
const casesOf = (name: string): Case[] =>
  JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), "utf8")).cases;
const unhex = (text: string) => Uint8Array.from(text.match(/../g)!, (pair) => Number.parseInt(pair, 16));
const clone = <T>(value: T): T => structuredClone(value);

/** The code something fails with; "verified" when it does not. */
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "verified",
    (error: unknown) => {
      if (!(error instanceof VerificationError)) throw error;
      return error.code;
    },
  );

/** Every place of a JSON value that holds a scalar, as a function that changes it there. */
function mutations(value: unknown): { path: string; apply: (root: unknown) => void }[] {
  const found: { path: string; apply: (root: unknown) => void }[] = [];
  const walk = (member: unknown, path: (string | number)[]) => {
    if (typeof member === "object" && member !== null) {
      for (const [name, inner] of Object.entries(member)) walk(inner, [...path, name]);
      if (!Array.isArray(member))
        found.push({
          path: [...path, "(added)"].join("."),
          apply: (root) => {
            const place = path.reduce((at, name) => (at as Case)[name], root) as Case;
            place.added = "x";
          },
        });
      return;
    }
    found.push({
      path: path.join("."),
      apply: (root) => {
        const place = path.slice(0, -1).reduce((at, name) => (at as Case)[name], root) as Case;
        const last = path.at(-1)!;
        place[last] =
          typeof member === "string"
            ? (member[0] === "A" ? "B" : "A") + member.slice(1)
            : typeof member === "number"
              ? member + 1
              : !member;
      },
    });
  };
  walk(value, []);
  return found;
}

describe("an approval", () => {
  const approvals = casesOf("approval").filter(({ response }) => response.decision === "approved");
  const [first] = approvals as [Case];
  const evidenceOf = ({ response, request_payload, approval_signature }: Case) => ({
    approval: response.approval,
    request_payload,
    user_signing_key: approval_signature.public_key as string,
  });
  const statementOf = ({ response }: Case) => response.approval.statement as ApprovalStatement;
  const expectedOf = (vector: Case) => ({ userId: statementOf(vector).user_id, now: 0 });

  it.each(approvals.map((vector) => [vector.name, vector] as const))(
    "%s, gives its statement",
    async (_, vector) => {
      const expected = {
        ...expectedOf(vector),
        serviceId: statementOf(vector).service_id,
        contractId: statementOf(vector).contract_id,
        requestId: statementOf(vector).request_id,
      };
      expect(await verifyApproval(evidenceOf(vector), expected)).toEqual(statementOf(vector));
    },
  );

  it("that is a denial verifies only as one", async () => {
    const denied = casesOf("approval").find(({ response }) => response.decision === "denied")!;
    expect(await codeOf(verifyApproval(evidenceOf(denied), expectedOf(denied)))).toBe("not_approved");
    const expected = { ...expectedOf(denied), decision: "denied" } as const;
    expect((await verifyApproval(evidenceOf(denied), expected)).decision).toBe("denied");
    expect(
      await codeOf(verifyApproval(evidenceOf(first), { ...expectedOf(first), decision: "denied" })),
    ).toBe("not_approved");
  });

  it.each(["userId", "serviceId", "contractId", "requestId"])("of another %s is a mismatch", async (name) => {
    const expected = { ...expectedOf(first), [name]: toBase58(randomBytes(32)) };
    expect(await codeOf(verifyApproval(evidenceOf(first), expected))).toBe("mismatch");
  });

  it("needs to be told whose it must be", async () => {
    await expect(verifyApproval(evidenceOf(first), {} as never)).rejects.toThrow(TypeError);
    await expect(verifyApproval(evidenceOf(first), undefined as never)).rejects.toThrow(TypeError);
  });

  it("self-made by someone with another key is not the user's", async () => {
    const key = await importSigningKey(randomBytes(32));
    const statement = { ...statementOf(first), user_id: key.id };
    const evidence = {
      ...evidenceOf(first),
      user_signing_key: key.publicKeyText,
      approval: { statement, signature: await signJson(key, LABELS.approval, statement) },
    };
    expect(await vaultVerifiesApproval(evidence.approval, evidence.request_payload, key.publicKeyText)).toBe(
      true,
    );
    expect(await codeOf(verifyApproval(evidence, expectedOf(first)))).toBe("mismatch");
  });

  it("lapses with its valid_until", async () => {
    const key = await importSigningKey(unhex(first.seed_hex));
    const validUntil = "2026-03-03T13:00:00.000Z";
    const sign = async (valid_until: string) => {
      const statement = { ...statementOf(first), valid_until };
      return {
        ...evidenceOf(first),
        approval: { statement, signature: await signJson(key, LABELS.approval, statement) },
      };
    };
    const at = (now: number) => ({ ...expectedOf(first), now });
    const until = Date.parse(validUntil);
    expect(await codeOf(verifyApproval(await sign(validUntil), at(until - 1)))).toBe("verified");
    expect(await codeOf(verifyApproval(await sign(validUntil), at(until)))).toBe("lapsed");
    expect(await codeOf(verifyApproval(await sign("whenever"), at(0)))).toBe("lapsed");
  });

  it("under a key that anyone could sign under is refused", async () => {
    const evidence = { ...evidenceOf(first), user_signing_key: toBase64(new Uint8Array(32)) };
    expect(await codeOf(verifyApproval(evidence, expectedOf(first)))).toBe("key_refused");
  });

  it("changed anywhere is refused, here as by the vault", async () => {
    const evidence = evidenceOf(first);
    for (const { path, apply } of mutations(evidence)) {
      if (path === "(added)") continue;
      const changed = clone(evidence);
      apply(changed);
      expect([path, await codeOf(verifyApproval(changed, expectedOf(first)))]).not.toEqual([
        path,
        "verified",
      ]);
      if (path === "approval.(added)") continue;
      expect(
        await vaultVerifiesApproval(changed.approval, changed.request_payload, changed.user_signing_key),
      ).toBe(false);
    }
  });

  it.each([undefined, null, 7, "text", [], {}])("%j is malformed, in each part", async (value) => {
    const evidence = evidenceOf(first);
    for (const part of ["approval", "request_payload", "user_signing_key"])
      expect(
        await codeOf(verifyApproval({ ...evidence, [part]: value } as never, expectedOf(first))),
      ).toMatch(/^(malformed|mismatch)$/);
  });

  it("nested without end is refused", async () => {
    let nested: unknown = {};
    for (let depth = 0; depth < 100_000; depth++) nested = [nested];
    const evidence = evidenceOf(first);
    const payload = { ...evidence.request_payload, context: nested };
    const statement = { ...statementOf(first), constraints: nested };
    for (const changed of [
      { ...evidence, request_payload: payload },
      { ...evidence, approval: { ...evidence.approval, statement } },
    ])
      expect(await codeOf(verifyApproval(changed, expectedOf(first)))).toMatch(
        /^(malformed|mismatch|signature_invalid)$/,
      );
  });
});

describe("a contract record", () => {
  const vectors = casesOf("contract").filter(({ record }) => record !== undefined);
  const [first] = vectors as [Case];

  it.each(vectors.map((vector) => [vector.name, vector] as const))("%s verifies", async (_, vector) => {
    const verified = await verifyContractRecord(vector.record, { contractId: vector.contract_id });
    expect(verified.contractId).toBe(vector.contract_id);
    expect(verified.checks.every(({ ok }) => ok)).toBe(true);
    const { user_id: userId, service_id: serviceId } = vector.record.contract;
    expect(await codeOf(verifyContractRecord(vector.record, { userId, serviceId }))).toBe("verified");
  });

  it("changed anywhere is refused, with what does not hold", async () => {
    const { user_id: userId, service_id: serviceId } = first.record.contract;
    for (const { path, apply } of mutations(first.record)) {
      const changed = clone(first.record);
      apply(changed);
      expect([path, await codeOf(verifyContractRecord(changed, { userId, serviceId }))]).not.toEqual([
        path,
        "verified",
      ]);
      expect((await vaultVerifiesRecord(changed)).valid).toBe(false);
    }
    const changed = clone(first.record);
    changed.accepted_at = "2026-01-01T00:00:00.000Z";
    const error = (await verifyContractRecord(changed, { userId, serviceId }).catch(
      (thrown) => thrown,
    )) as VerificationError;
    expect(error.code).toBe("signature_invalid");
    expect(error.checks.filter(({ ok }) => !ok).map(({ check }) => check)).toEqual(["service_signature"]);
  });

  it("of others is a mismatch", async () => {
    const other = toBase58(randomBytes(32));
    const { user_id: userId, service_id: serviceId } = first.record.contract;
    const wrong: ExpectedContract[] = [
      { contractId: other },
      { userId: other, serviceId },
      { userId, serviceId: other },
      { contractId: first.contract_id, userId: other },
    ];
    for (const expected of wrong)
      expect(await codeOf(verifyContractRecord(first.record, expected))).toBe("mismatch");
  });

  it("needs to be told which it must be", async () => {
    for (const expected of [undefined, {}, { userId: "x" }, { serviceId: "x" }])
      await expect(verifyContractRecord(first.record, expected as never)).rejects.toThrow(TypeError);
  });

  it.each([undefined, null, 7, "text", [], {}, { contract: {} }])("%j is malformed", async (value) => {
    expect(await codeOf(verifyContractRecord(value, { contractId: "x" }))).toBe("malformed");
  });
});

describe("a chain", () => {
  const entries = casesOf("audit").map(({ entry }) => entry);
  const [first] = casesOf("audit") as [Case];
  const expected = {
    serviceId: first.entry.service_id as string,
    publicKey: first.entry_signature.public_key as string,
    userId: first.entry.user_id as string,
  };

  it("verifies to its head, from a list or as it comes", async () => {
    const head = entries.at(-1).event_hash;
    expect(await verifyChain(entries, expected)).toEqual({ entries: entries.length, head });
    async function* coming() {
      yield* entries;
    }
    expect(await verifyChain(coming(), expected)).toEqual({ entries: entries.length, head });
    expect((await verifyChain([], expected)).entries).toBe(0);
  });

  it("goes on from a head verified before, and from no other", async () => {
    const after = entries[0].event_hash;
    expect((await verifyChain(entries.slice(1), { ...expected, after })).entries).toBe(entries.length - 1);
    expect(await codeOf(verifyChain(entries.slice(1), expected))).toBe("chain_broken");
  });

  it.each([
    ["an entry removed", (chain: Case[]) => chain.splice(1, 1)],
    ["an entry twice", (chain: Case[]) => chain.splice(1, 0, chain[1]!)],
    ["two entries exchanged", (chain: Case[]) => chain.splice(0, 2, chain[1]!, chain[0]!)],
  ])("with %s is broken", async (_, change) => {
    const chain = clone(entries);
    change(chain);
    expect(await codeOf(verifyChain(chain, expected))).toBe("chain_broken");
  });

  it("changed anywhere is refused, here as by the vault", async () => {
    for (const { path, apply } of mutations(entries)) {
      const changed = clone(entries);
      apply(changed);
      expect([path, await codeOf(verifyChain(changed, expected))]).not.toEqual([path, "verified"]);
      expect((await vaultVerifiesChain(changed, expected)).valid).toBe(false);
    }
  });

  it("of another user, or under another key, is refused", async () => {
    expect(await codeOf(verifyChain(entries, { ...expected, userId: toBase58(randomBytes(32)) }))).toBe(
      "chain_broken",
    );
    const { userId: _, ...service } = expected;
    expect(await codeOf(verifyChain(entries, service))).toBe("chain_broken");
    const key = await importSigningKey(randomBytes(32));
    expect(await codeOf(verifyChain(entries, { ...expected, publicKey: key.publicKeyText }))).toBe(
      "mismatch",
    );
    expect(await codeOf(verifyChain(entries, { ...expected, publicKey: toBase64(new Uint8Array(32)) }))).toBe(
      "key_refused",
    );
    expect(await codeOf(verifyChain(entries, { ...expected, publicKey: "AAAA" }))).toBe("malformed");
  });
});

describe("an audit proof", () => {
  const SIZE = 300;
  const INDEX = 200;
  const opening = {
    salt: randomBytes(32),
    ownerId: toBase58(randomBytes(32)),
    head: toBase64(randomBytes(32)),
  };
  let proof: string;
  let logKey: string;
  let witnessKey: string;
  let expected: { ownerId: string; head: string; logKey: string };

  const proofOf = (extra: Uint8Array | undefined, hashes: Uint8Array[], checkpoint: string) =>
    formatProof({ ...(extra === undefined ? {} : { extra }), index: INDEX, hashes, checkpoint });
  let hashes: Uint8Array[];
  let checkpoint: string;

  beforeAll(async () => {
    const key = await importSigningKey(randomBytes(32));
    const witness = await importSigningKey(randomBytes(32));
    const leaves = Array.from({ length: SIZE }, (_, at) =>
      leafHash(at === INDEX ? leafOf(opening) : randomBytes(32)),
    );
    const tiles = appendLeaves(0, leaves, () => undefined);
    const read = readerOver(
      ({ level, n }) => tiles.find((tile) => tile.level === level && tile.n === n)?.hashes,
    );
    const origin = "vault.example.com/log";
    const note = parseNote(await signCheckpoint(key, { origin, size: SIZE, root: rootHash(SIZE, read) }))!;
    note.signatures.push(await cosign(witness, "witness.example", note.text, 1_700_000_000));
    checkpoint = formatNote(note);
    hashes = inclusionProof(INDEX, SIZE, read);
    proof = proofOf(openingBytes(opening), hashes, checkpoint);
    logKey = noteVerifierKey(origin, key.publicKey);
    witnessKey = noteVerifierKey("witness.example", witness.publicKey, "cosignature");
    expected = { ownerId: opening.ownerId, head: opening.head, logKey };
  });

  it("says where the head is, and who saw it", async () => {
    const verified = await verifyAuditProof(proof, {
      ...expected,
      witnessKeys: [witnessKey],
      minWitnesses: 1,
    });
    expect(verified).toEqual({
      index: INDEX,
      checkpoint: {
        origin: "vault.example.com/log",
        size: SIZE,
        cosigners: [{ name: "witness.example", timeSeconds: 1_700_000_000 }],
      },
    });
  });

  it("of another head or chain is a mismatch", async () => {
    expect(await codeOf(verifyAuditProof(proof, { ...expected, head: toBase64(randomBytes(32)) }))).toBe(
      "mismatch",
    );
    expect(await codeOf(verifyAuditProof(proof, { ...expected, ownerId: toBase58(randomBytes(32)) }))).toBe(
      "mismatch",
    );
  });

  it("that leads nowhere, or is signed by another log, is refused", async () => {
    const elsewhere = { ...opening, salt: randomBytes(32) };
    expect(
      await codeOf(verifyAuditProof(proofOf(openingBytes(elsewhere), hashes, checkpoint), expected)),
    ).toBe("not_in_log");
    const other = await importSigningKey(randomBytes(32));
    const otherKey = noteVerifierKey("vault.example.com/log", other.publicKey);
    expect(await codeOf(verifyAuditProof(proof, { ...expected, logKey: otherKey }))).toBe(
      "signature_invalid",
    );
  });

  it("with too few witnesses is refused", async () => {
    const unseen = noteVerifierKey(
      "other.example",
      (await importSigningKey(randomBytes(32))).publicKey,
      "cosignature",
    );
    expect(
      await codeOf(verifyAuditProof(proof, { ...expected, witnessKeys: [unseen], minWitnesses: 1 })),
    ).toBe("witnesses_missing");
    await expect(verifyAuditProof(proof, { ...expected, minWitnesses: 1 })).rejects.toThrow(TypeError);
    await expect(verifyAuditProof(proof, { ...expected, logKey: "no key" })).rejects.toThrow(TypeError);
    await expect(verifyAuditProof(proof, { ...expected, witnessKeys: [logKey] })).rejects.toThrow(TypeError);
  });

  it("without an opening, or of no proof's form, is malformed", async () => {
    for (const text of [
      "",
      "proof",
      proofOf(undefined, hashes, checkpoint),
      proofOf(randomBytes(95), hashes, checkpoint),
      7,
    ])
      expect(await codeOf(verifyAuditProof(text as string, expected))).toBe("malformed");
  });
});

describe("a webhook", () => {
  const NOW = 1_800_000_000_000;
  const event = {
    type: "auth.response",
    timestamp: "2027-01-15T08:00:00.000Z",
    event_id: "7RvQ8h2bYtZkXc4dWmNp3A",
    data: { request_id: "abc", status: "approved" },
  };
  const body = JSON.stringify(event);
  const secrets = [newSecret(), newSecret()] as const;
  let key: SigningKey;
  let headers: Record<string, string>;
  const at = { now: NOW };
  const bytes = (text: string) => new TextEncoder().encode(text);

  beforeAll(async () => {
    key = await importSigningKey(randomBytes(32));
    headers = await signedHeaders({
      id: event.event_id,
      now: NOW,
      body: bytes(body),
      secrets: [secrets[0]],
      key,
    });
  });

  it("gives its event, by secret or by public key, from a Request or raw", async () => {
    const publicKeys = [publicKeyText(key.publicKey)];
    const request = () => new Request("https://shop.example/hook", { method: "POST", headers, body });
    expect(await verifyWebhook(request(), { secrets: [secrets[0]] }, at)).toEqual(event);
    expect(await verifyWebhook(request(), { publicKeys }, at)).toEqual(event);
    expect(await verifyWebhook({ headers, body }, { publicKeys }, at)).toEqual(event);
    expect(
      await verifyWebhook({ headers: new Headers(headers), body: bytes(body) }, { publicKeys }, at),
    ).toEqual(event);
    const listed = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]));
    expect(await verifyWebhook({ headers: listed, body }, { publicKeys }, at)).toEqual(event);
  });

  it("takes either secret while rotating", async () => {
    expect(await verifyWebhook({ headers, body }, { secrets: [secrets[1], secrets[0]] }, at)).toEqual(event);
    expect(await codeOf(verifyWebhook({ headers, body }, { secrets: [secrets[1]] }, at))).toBe(
      "signature_invalid",
    );
    const both = await signedHeaders({ id: event.event_id, now: NOW, body: bytes(body), secrets, key });
    expect(await verifyWebhook({ headers: both, body }, { secrets: [secrets[1]] }, at)).toEqual(event);
  });

  it("signed by the official library verifies here", async () => {
    const signature = new Webhook(secrets[0]).sign(event.event_id, new Date(NOW), body);
    const official = {
      "webhook-id": event.event_id,
      "webhook-timestamp": String(NOW / 1_000),
      "webhook-signature": signature,
    };
    expect(await verifyWebhook({ headers: official, body }, { secrets: [secrets[0]] }, at)).toEqual(event);
  });

  it("too old or too new is refused, to the second", async () => {
    const trusted = { secrets: [secrets[0]] };
    const after = (seconds: number, toleranceSeconds?: number) =>
      codeOf(
        verifyWebhook({ headers, body }, trusted, {
          now: NOW + seconds * 1_000,
          ...(toleranceSeconds === undefined ? {} : { toleranceSeconds }),
        }),
      );
    expect(await after(300)).toBe("verified");
    expect(await after(301)).toBe("timestamp_too_old");
    expect(await after(-300)).toBe("verified");
    expect(await after(-301)).toBe("timestamp_too_new");
    expect(await after(11, 10)).toBe("timestamp_too_old");
    for (const toleranceSeconds of [Number.NaN, -1])
      await expect(verifyWebhook({ headers, body }, trusted, { toleranceSeconds })).rejects.toThrow(
        TypeError,
      );
  });

  it("changed in body or headers is refused", async () => {
    const trusted = { secrets: [secrets[0]], publicKeys: [publicKeyText(key.publicKey)] };
    const refused = async (change: { headers?: Record<string, string>; body?: string }) =>
      codeOf(
        verifyWebhook({ headers: { ...headers, ...change.headers }, body: change.body ?? body }, trusted, at),
      );
    expect(await refused({ body: `${body} ` })).toBe("signature_invalid");
    expect(await refused({ body: "" })).toBe("signature_invalid");
    expect(await refused({ headers: { "webhook-id": "other" } })).toBe("signature_invalid");
    expect(await refused({ headers: { "webhook-timestamp": String(NOW / 1_000 + 1) } })).toBe(
      "signature_invalid",
    );
    expect(await refused({ headers: { "webhook-timestamp": "now" } })).toBe("malformed");
    expect(await refused({ headers: { "webhook-signature": "v1,AAAA v1a,AAAA v2,x" } })).toBe(
      "signature_invalid",
    );
    expect(await refused({ headers: { "webhook-signature": "" } })).toBe("signature_invalid");
    expect(await codeOf(verifyWebhook({ headers: {}, body }, trusted, at))).toBe("malformed");
  });

  it("whose body is not the event its headers name is refused, though signed", async () => {
    for (const text of [
      "null",
      "[]",
      "{",
      JSON.stringify({ ...event, event_id: "another" }),
      `{"event_id":"x"}`,
    ]) {
      const signed = await signedHeaders({ id: event.event_id, now: NOW, body: bytes(text), secrets, key });
      expect(await codeOf(verifyWebhook({ headers: signed, body: text }, { secrets }, at))).toBe("malformed");
    }
  });

  it("too long to be an event is refused unread", async () => {
    const long = "x".repeat(MAX_DELIVERY_BYTES + 1);
    expect(await codeOf(verifyWebhook({ headers, body: long }, { secrets }, at))).toBe("malformed");
    const request = new Request("https://shop.example", {
      method: "POST",
      headers: { ...headers, "content-length": String(long.length) },
      body: long,
    });
    expect(await codeOf(verifyWebhook(request, { secrets }, at))).toBe("malformed");
  });

  it("cannot be verified against nothing", async () => {
    for (const keys of [{}, { secrets: [] }, { secrets: ["whsec_short"] }, { publicKeys: ["whpk_x"] }])
      await expect(verifyWebhook({ headers, body }, keys, at)).rejects.toThrow(TypeError);
    await expect(verifyWebhook({ headers, body: event as never }, { secrets }, at)).rejects.toThrow(
      TypeError,
    );
  });
});
