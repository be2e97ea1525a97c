// The pure parts of the kinds: what may be asked, what may be answered, what is shown.

import { describe, expect, it } from "vitest";
import { identityOf, requestDigestOf, resultDigestOf } from "../../../../src/crypto/hash.ts";
import { importSigningKey, signJson } from "../../../../src/crypto/signing.ts";
import type { ApprovalStatement, RequestPayload, ResponsePayload } from "../../../../src/protocol/asking.ts";
import { toBase58, toBase64 } from "../../../../src/protocol/encoding.ts";
import { newEventId, randomBytes } from "../../../../src/protocol/ids.ts";
import type { Json } from "../../../../src/protocol/json.ts";
import { canonicalJson } from "../../../../src/protocol/json.ts";
import { LABELS } from "../../../../src/protocol/labels.ts";
import { toTimestamp } from "../../../../src/protocol/primitives.ts";
import type { Kind, KindOperation } from "../../../../src/requests/kind.ts";
import { authz } from "../../../../src/requests/kinds/authz.ts";
import { customInput, customKind, manifestFaults } from "../../../../src/requests/kinds/custom.ts";
import {
  data,
  MAX_DATA_PATHS,
  MAX_SHARED_BYTES,
  MAX_WRITTEN_BYTES,
} from "../../../../src/requests/kinds/data.ts";
import { presence } from "../../../../src/requests/kinds/presence.ts";
import { sign, signedDocument } from "../../../../src/requests/kinds/sign.ts";
import { buildPayload, signApproval, verifyAnswer } from "../../../../src/requests/lifecycle.ts";
import { kindNamed, kinds } from "../../../../src/requests/registry.ts";
import { MAX_VALUE_DEPTH } from "../../../../src/requests/values.ts";

const operation = (kind: Kind, name: string): KindOperation =>
  kind.operations.find((one) => one.name === name)!;
const accepts = (kind: Kind, name: string, input: unknown) =>
  operation(kind, name).input.safeParse(input).success;
const answers = (kind: Kind, name: string, result: unknown) =>
  operation(kind, name).result!.safeParse(result).success;

const deep = (levels: number): Json => (levels === 0 ? 1 : [deep(levels - 1)]);

describe.each(
  [...kinds, customKind("loyalty")].flatMap((kind) => kind.operations.map((one) => [kind, one] as const)),
)("$0.name $1.name", (kind, one) => {
  it("takes its own example, and sends the person exactly what the schema returns", () => {
    const input = one.input.parse(one.example);
    if (one.about !== undefined) return;
    const payload = one.toPayload(input, undefined);
    expect(canonicalJson(one.payload.parse(payload))).toBe(canonicalJson(payload));
  });
  it("says a capability it documents", () => {
    const input = one.input.parse(one.example);
    if (one.about !== undefined) return;
    expect(one.capabilities).toContain(one.grant(input, undefined).capability);
  });
  it("would take its own example of a result", () => {
    if (one.exampleResult !== undefined) expect(one.result!.safeParse(one.exampleResult).success).toBe(true);
  });
  it("refuses a payload with a field it does not show", () => {
    if (one.about !== undefined || kind.name.startsWith("custom.")) return;
    const payload = one.toPayload(one.input.parse(one.example), undefined) as object;
    expect(one.payload.safeParse({ ...payload, hidden: true }).success).toBe(false);
  });
});

describe("authz", () => {
  it.each([
    [
      "an action with a colon, which would read as another action's resource",
      { action: "a:b", resource: "c" },
    ],
    ["no resource", { action: "a" }],
    ["an empty action", { action: "", resource: "c" }],
    ["an action that hides its end", { action: "pay\u202e", resource: "c" }],
    ["a resource too long", { action: "a", resource: "r".repeat(513) }],
  ])("refuses %s", (_, input) => expect(accepts(authz, "authorize", input)).toBe(false));

  const payload = { action: "transfer", resource: "account/42" };
  it("is allowed or not once it is decided, with the limits the person set", () => {
    const approval = {
      statement: { constraints: { max: 5 }, valid_until: "2026-01-31T08:15:00.000Z" },
      signature: "",
    } as never;
    expect(authz.view({ status: "pending", payload })).toEqual(payload);
    expect(authz.view({ status: "approved", payload, approval })).toEqual({
      ...payload,
      allowed: true,
      constraints: { max: 5 },
      approval_expires_at: "2026-01-31T08:15:00.000Z",
    });
    for (const status of ["denied", "expired", "cancelled"])
      expect(authz.view({ status, payload, approval })).toEqual({ ...payload, allowed: false });
  });
});

describe("data", () => {
  it.each([
    ["browse", "no types, when some are named", { data_types: [] }],
    ["browse", "a type named twice", { data_types: ["a", "a"] }],
    ["request", "no paths", { data_paths: [] }],
    [
      "request",
      "too many paths",
      { data_paths: Array.from({ length: MAX_DATA_PATHS + 1 }, (_, n) => `p${n}`) },
    ],
    ["request", "a path that is no text", { data_paths: [1] }],
    ["request", "a path too long", { data_paths: ["p".repeat(257)] }],
    ["write", "a value too large", { key: "k", value: "x".repeat(MAX_WRITTEN_BYTES) }],
    ["write", "a value too deep", { key: "k", value: deep(MAX_VALUE_DEPTH + 1) }],
    ["write", "no value", { key: "k" }],
    ["write", "no key", { key: "", value: 1 }],
    ["read", "a key named twice", { keys: ["a", "a"] }],
  ])("%s refuses %s", (name, _, input) => expect(accepts(data, name, input)).toBe(false));

  it("writes a value as deep as allowed, and null", () => {
    expect(accepts(data, "write", { key: "k", value: deep(MAX_VALUE_DEPTH) })).toBe(true);
    expect(accepts(data, "write", { key: "k", value: null })).toBe(true);
  });

  it.each([
    ["request", "nothing shared", { data: {}, share: "once" }],
    ["request", "no word on how it may be used", { data: { a: 1 } }],
    ["request", "another word", { data: { a: 1 }, share: "for ever" }],
    ["request", "values that are no object", { data: ["a"], share: "once" }],
    ["request", "more than an answer carries", { data: { a: "x".repeat(MAX_SHARED_BYTES) }, share: "once" }],
    ["request", "a value too deep", { data: { a: deep(MAX_VALUE_DEPTH) }, share: "once" }],
    [
      "browse",
      "a type named twice",
      {
        metadata: [
          { data_type: "a", name: "A" },
          { data_type: "a", name: "B" },
        ],
      },
    ],
    ["browse", "values", { metadata: [{ data_type: "a", name: "A", value: 1 }] }],
    ["read", "a member it was not asked for", { data: {}, more: 1 }],
  ])("%s is not answered by %s", (name, _, result) => expect(answers(data, name, result)).toBe(false));

  it("is not answered by what was not asked, but may be by less", async () => {
    const request = operation(data, "request");
    const facts = { payload: { data_paths: ["a", "b"] } as never, userSigningKey: "" };
    expect(await request.check!({ data: { a: 1 }, share: "once" }, facts)).toBe(true);
    expect(await request.check!({ data: { a: 1, c: 1 }, share: "once" }, facts)).toBe(false);
    const read = operation(data, "read");
    expect(await read.check!({ data: {} }, { ...facts, payload: { keys: ["a"] } as never })).toBe(true);
    expect(await read.check!({ data: { b: 1 } }, { ...facts, payload: { keys: ["a"] } as never })).toBe(
      false,
    );
  });

  it("reaches the paths and keys it names, for the scope to cover", () => {
    expect(operation(data, "request").grant({ data_paths: ["a", "b"] }, undefined).resources).toEqual([
      "a",
      "b",
    ]);
    expect(operation(data, "write").grant({ key: "k", value: 1 }, undefined).resources).toEqual(["k"]);
  });
});

describe("presence", () => {
  it("is answered by yes or no and a time, and nothing else", () => {
    expect(answers(presence, "verify", { available: false })).toBe(true);
    expect(answers(presence, "verify", { available: true, until: "tomorrow" })).toBe(false);
    expect(answers(presence, "verify", { available: true, where: "home" })).toBe(false);
    expect(answers(presence, "verify", {})).toBe(false);
  });
});

describe("sign", () => {
  const sha = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
  const document = { name: "Lease", media_type: "application/pdf", sha256: sha };
  it("takes a document's bytes only when they have the digest", () => {
    expect(accepts(sign, "document", { document: { ...document, bytes: "" } })).toBe(true);
    expect(accepts(sign, "document", { document: { ...document, bytes: "YQ==" } })).toBe(false);
    expect(
      operation(sign, "document").payload.safeParse({ document: { ...document, bytes: "YQ==" } }).success,
    ).toBe(false);
  });
  it.each([
    ["a digest too short", { document: { ...document, sha256: "47DE" } }],
    ["a media type that is none", { document: { ...document, media_type: "pdf" } }],
    ["bytes that are not base64", { document: { ...document, bytes: "%%" } }],
    ["more bytes than fit", { document: { ...document, bytes: toBase64(new Uint8Array(393_217)) } }],
    ["a field of its own", { document: { ...document, page: 1 } }],
  ])("refuses a document with %s", (_, input) => expect(accepts(sign, "document", input)).toBe(false));
  it.each([
    ["nothing in it", { transaction: { format: "ed25519", payload: "" } }],
    ["no format", { transaction: { payload: "YQ==" } }],
    ["a format that is no name", { transaction: { format: "Bit Coin", payload: "YQ==" } }],
    ["base64 that is not canonical", { transaction: { format: "ed25519", payload: "YR==" } }],
  ])("refuses a transaction with %s", (_, input) => expect(accepts(sign, "transaction", input)).toBe(false));
});

describe("an answer whose signature is over something else", async () => {
  const user = await importSigningKey(randomBytes(32));
  const other = await importSigningKey(randomBytes(32));
  const serviceId = toBase58(randomBytes(32));
  const contractId = toBase58(randomBytes(32));

  async function verified(
    name: string,
    input: unknown,
    result: (payload: RequestPayload) => Promise<Json> | Json,
  ) {
    const one = operation(sign, name);
    const now = Date.now();
    const payload = buildPayload(
      sign,
      one,
      { requestId: newEventId(), expiresAt: now + 60_000, graceSeconds: 0, matchCodeRequired: false },
      one.input.parse(input),
    );
    const value = await result(payload);
    const salt = toBase64(randomBytes(32));
    const statement: ApprovalStatement = {
      v: 1,
      request_id: payload.request_id,
      request_digest: requestDigestOf(payload),
      kind: "sign",
      decision: "approved",
      user_id: identityOf(user.publicKey),
      service_id: serviceId,
      contract_id: contractId,
      responded_at: toTimestamp(now),
      result_digest: resultDigestOf(value, salt),
    };
    const answer: ResponsePayload = {
      request_id: payload.request_id,
      decision: "approved",
      result: value as never,
      salt,
      approval: await signApproval(user, statement),
    };
    const outcome = await verifyAnswer(answer, {
      payload,
      operation: one,
      userId: user.id,
      serviceId,
      contractId,
      userSigningKey: user.publicKeyText,
    });
    return outcome.ok ? "counts" : outcome.error;
  }

  const document = { name: "Lease", media_type: "text/plain", sha256: toBase64(randomBytes(32)) };
  const over =
    (key: typeof user, change: object = {}, label: (typeof LABELS)[keyof typeof LABELS] = LABELS.document) =>
    async (payload: RequestPayload): Promise<Json> => ({
      signature: await signJson(key, label, { ...signedDocument(payload.request_id, document), ...change }),
      signing_key: user.publicKeyText,
    });

  it("does not count; the right one does", async () => {
    expect(await verified("document", { document }, over(user))).toBe("counts");
    expect(await verified("document", { document }, over(other))).toBe("result_invalid");
    expect(await verified("document", { document }, over(user, { name: "Another" }))).toBe("result_invalid");
    expect(await verified("document", { document }, over(user, { request_id: newEventId() }))).toBe(
      "result_invalid",
    );
    expect(await verified("document", { document }, over(user, {}, LABELS.result))).toBe("result_invalid");
    expect(
      await verified("document", { document }, async (payload) => ({
        signature: await signJson(other, LABELS.document, signedDocument(payload.request_id, document)),
        signing_key: other.publicKeyText,
      })),
    ).toBe("result_invalid");
  });

  const bytes = randomBytes(40);
  const transaction = { format: "ed25519", payload: toBase64(bytes) };
  const signedBy = async (key: typeof user, what = bytes): Promise<Json> => ({
    signature: toBase64(await key.sign(what)),
    signing_key: key.publicKeyText,
  });

  it("of a transaction neither, nor one by the identity key", async () => {
    expect(await verified("transaction", { transaction }, () => signedBy(other))).toBe("counts");
    expect(await verified("transaction", { transaction }, () => signedBy(other, randomBytes(40)))).toBe(
      "result_invalid",
    );
    expect(await verified("transaction", { transaction }, () => signedBy(user))).toBe("result_invalid");
    expect(
      await verified("transaction", { transaction }, () => ({
        signature: "YQ==",
        signing_key: toBase64(new Uint8Array(32)),
      })),
    ).toBe("result_invalid");
  });

  it("of a format only the backend knows is the backend's to check, but never by the identity key", async () => {
    const foreign = { transaction: { format: "bitcoin_psbt", payload: "YQ==" } };
    expect(await verified("transaction", foreign, () => ({ signature: "YQ==", signing_key: "YQ==" }))).toBe(
      "counts",
    );
    expect(
      await verified("transaction", foreign, () => ({ signature: "YQ==", signing_key: user.publicKeyText })),
    ).toBe("result_invalid");
  });
});

describe("a custom kind", () => {
  const capability = {
    name: "loyalty",
    description: "Points",
    request_schema: {
      type: "object",
      properties: { points: { type: "integer", minimum: 1 } },
      required: ["points"],
      additionalProperties: false,
    },
    response_schema: { type: "object", properties: { balance: { type: "integer" } }, required: ["balance"] },
  };
  const manifest = { capabilities: [capability], event_handlers: [], plans: [] };

  it("is one by its name's form, and no registered kind can be taken for one", () => {
    expect(kindNamed("custom.loyalty")?.operations[0]?.capabilities).toEqual(["custom.loyalty"]);
    for (const name of ["custom", "custom.", "custom.Loyalty", "custom.a.b", "loyalty"])
      expect(kindNamed(name)).toBeUndefined();
  });

  it("takes what fits the manifest's schema and says where something does not", () => {
    expect(customInput("loyalty", { points: 1 }, manifest)).toMatchObject({ ok: true });
    expect(customInput("other", { points: 1 }, manifest)).toEqual({
      ok: false,
      fault: { reason: "unknown" },
    });
    const wrong = customInput("loyalty", { points: 0 }, manifest);
    expect(
      !wrong.ok && wrong.fault.reason === "mismatch" && wrong.fault.details.map(({ path }) => path),
    ).toContain("points");
    const open = { ...capability, request_schema: { type: "object" } };
    expect(
      customInput("loyalty", { challenge: "mine" }, { ...manifest, capabilities: [open] }),
    ).toMatchObject({ ok: false, fault: { reason: "mismatch" } });
    expect(
      customInput("loyalty", {}, { ...manifest, capabilities: [{ ...open, request_schema: { $ref: "#" } }] }),
    ).toEqual({ ok: false, fault: { reason: "schema_unusable" } });
  });

  it("is answered by what fits the response schema", async () => {
    const [one] = customKind("loyalty").operations;
    const input = customInput("loyalty", { points: 1 }, manifest);
    const facts = { payload: {} as never, userSigningKey: "", input: input.ok ? input.value : undefined };
    expect(await one!.check!({ balance: 1 }, facts)).toBe(true);
    expect(await one!.check!({ balance: "1" }, facts)).toBe(false);
  });

  it.each([
    ["a name twice", [capability, capability], ["capabilities", 1, "name"]],
    [
      "a field that every ask has",
      [{ ...capability, request_schema: { type: "object", properties: { purpose: {} } } }],
      ["capabilities", 0, "request_schema", "properties", "purpose"],
    ],
    [
      "a request that is no object",
      [{ ...capability, request_schema: { type: "string" } }],
      ["capabilities", 0, "request_schema", "type"],
    ],
    [
      "a keyword that may not end",
      [{ ...capability, response_schema: { pattern: "(a+)+" } }],
      ["capabilities", 0, "response_schema"],
    ],
  ])("is not published with %s", (_, capabilities, path) => {
    expect(manifestFaults({ ...manifest, capabilities }).map((fault) => fault.path)).toContainEqual(path);
  });
});
