// Answers that no honest vault gives, message by message: each is recorded and refused, and the request stays open for
// the right one.

import { reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, inject, it } from "vitest";
import { signJson } from "../../src/crypto/signing.ts";
import { userConnectionOf } from "../../src/http/objects.ts";
import type { RequestPayload } from "../../src/protocol/asking.ts";
import { toBase64 } from "../../src/protocol/encoding.ts";
import { randomBytes } from "../../src/protocol/ids.ts";
import type { Json } from "../../src/protocol/json.ts";
import { LABELS } from "../../src/protocol/labels.ts";
import type { Receipt } from "../../src/protocol/messages.ts";
import { customKind } from "../../src/requests/kinds/custom.ts";
import { signedDocument } from "../../src/requests/kinds/sign.ts";
import type { Peer } from "../support/peer.ts";
import { call, connectedPeer } from "../support/worker.ts";

const serviceId = inject("serviceId");
const DOCUMENT = { name: "Lease", media_type: "text/plain", sha256: toBase64(randomBytes(32)) };
const CAPABILITIES = ["sign_document", "request_data", "verify_presence", "custom.loyalty"].map(
  (capability) => ({
    capability,
    description: "For the test",
    requires_approval_each_use: true,
  }),
);

afterEach(() => reset());

/** Delivers an approval with this result and gives the receipt's payload. */
async function answer(peer: Peer, payload: RequestPayload, result: Json): Promise<Receipt> {
  const response = await peer.answer(payload, serviceId, { result });
  const message = await peer.message(serviceId, `${payload.kind}.response`, response, {
    ref: payload.request_id,
  });
  const [outcome] = await userConnectionOf(env, peer.id).receive([
    { subject: message.subject, bytes: message.bytes },
  ]);
  const [reply] = outcome!.replies;
  return (await peer.open(new Uint8Array(reply!.bytes))).payload as unknown as Receipt;
}

interface Case {
  kind: string;
  operation: string;
  input: unknown;
  path: string;
  wrong: readonly ((peer: Peer, payload: RequestPayload) => Promise<Json> | Json)[];
  right: (peer: Peer, payload: RequestPayload) => Promise<Json> | Json;
}

const signed = async (peer: Peer, value: object): Promise<Json> => ({
  signature: await signJson(peer.signing, LABELS.document, value),
  signing_key: peer.signing.publicKeyText,
});

const cases: readonly Case[] = [
  {
    kind: "sign",
    operation: "document",
    input: { document: DOCUMENT },
    path: "sign/request",
    wrong: [
      (peer, { request_id }) => signed(peer, signedDocument(request_id, { ...DOCUMENT, name: "Deed" })),
      (peer, { request_id }) => signed(peer, { request_id }),
      (peer) => ({ signature: toBase64(new Uint8Array(64)), signing_key: peer.signing.publicKeyText }),
      async (peer, { request_id }) => ({
        ...((await signed(peer, signedDocument(request_id, DOCUMENT))) as object),
        signing_key: peer.nats.publicKeyText,
      }),
    ],
    right: (peer, { request_id }) => signed(peer, signedDocument(request_id, DOCUMENT)),
  },
  {
    kind: "data",
    operation: "request",
    input: { data_paths: ["email"] },
    path: "data/request",
    wrong: [
      () => ({ data: { email: "a@b.c", health: "unasked" }, share: "once" }),
      () => ({ data: {}, share: "once" }),
      () => ({ data: { email: "a@b.c" } }),
    ],
    right: () => ({ data: { email: "a@b.c" }, share: "once" }),
  },
  {
    kind: "presence",
    operation: "verify",
    input: {},
    path: "presence/request",
    wrong: [() => ({ available: "yes" }), () => ({ available: true, until: "later" })],
    right: () => ({ available: true }),
  },
  {
    kind: "custom.loyalty",
    operation: "loyalty",
    input: customKind("loyalty").operations[0]!.example,
    path: "custom/request",
    wrong: [() => ({ balance: "17" }), () => ({}), () => 17],
    right: () => ({ balance: 17 }),
  },
];

describe.each(cases)("an answer to $kind $operation", ({ kind, operation, input, path, wrong, right }) => {
  it("that is wrong is recorded and refused, and the right one still counts", async () => {
    const peer = await connectedPeer({ capabilities: CAPABILITIES });
    const asked = await userConnectionOf(env, peer.id).ask({
      userId: peer.id,
      kind,
      operation,
      input,
      purpose: "The test",
      expiresInSeconds: 300,
      offlineGraceSeconds: 0,
      keyId: "testkey00001",
    });
    if (!asked.ok) throw new Error(asked.error.detail);
    const payload = asked.value.request_payload as RequestPayload;
    for (const make of wrong) {
      const receipt = await answer(peer, payload, await make(peer, payload));
      expect(receipt).toMatchObject({
        outcome: "refused",
        reason: "result_invalid",
        request_status: "pending",
      });
    }
    const { body } = await call("GET", `/api/v1/audit?user_id=${peer.id}&operation=${kind}.response`);
    expect(body.entries).toHaveLength(wrong.length);
    for (const entry of body.entries)
      expect(entry).toMatchObject({ status: "error", response_summary: { reason: "result_invalid" } });
    expect((await call("GET", `/api/v1/${path}/${payload.request_id}`)).body.status).toBe("pending");

    const receipt = await answer(peer, payload, await right(peer, payload));
    expect(receipt).toMatchObject({ outcome: "stored", request_status: "approved" });
    const view = await call("GET", `/api/v1/${path}/${payload.request_id}`);
    expect(view.body).toMatchObject({ status: "approved", result: await right(peer, payload) });
  });
});
