import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import type { RequestPayload } from "../../../src/protocol/asking.ts";
import { requestPayloadBase } from "../../../src/protocol/asking.ts";
import { toBase58 } from "../../../src/protocol/encoding.ts";
import { newRoutedId, randomBytes } from "../../../src/protocol/ids.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";
import { auth } from "../../../src/requests/kinds/auth.ts";
import {
  type AskedRequest,
  buildPayload,
  countAnswer,
  newMatchCode,
  resendPauseMs,
  verifyAnswer,
  verifyApproval,
} from "../../../src/requests/lifecycle.ts";
import { Peer } from "../../support/peer.ts";

const NOW = Date.now();
const SERVICE = toBase58(randomBytes(32));
const operation = auth.operations[0]!;

let peer: Peer;
let payload: RequestPayload;
let asked: AskedRequest;

beforeAll(async () => {
  peer = await Peer.make();
  peer.contractId = toBase58(randomBytes(32));
  payload = buildPayload(
    auth,
    operation,
    {
      requestId: newRoutedId(peer.id, 1),
      purpose: "Log in",
      context: { device: "Firefox on Linux" },
      expiresAt: NOW + 300_000,
      graceSeconds: 0,
      matchCodeRequired: true,
    },
    {},
  );
  asked = {
    payload,
    operation,
    userId: peer.id,
    serviceId: SERVICE,
    contractId: peer.contractId,
    userSigningKey: peer.signing.publicKeyText,
  };
});

describe("a request's payload", () => {
  it("has the form of PROTOCOL §6 and no field with nothing in it", () => {
    expect(requestPayloadBase.safeParse(payload).success).toBe(true);
    const bare = buildPayload(
      auth,
      operation,
      { requestId: payload.request_id, expiresAt: NOW, graceSeconds: 0, matchCodeRequired: false },
      {},
    );
    expect(Object.keys(bare).sort()).toEqual([
      "challenge",
      "expires_at",
      "kind",
      "offline_grace_seconds",
      "request_id",
    ]);
  });

  it("carries a fresh challenge each time", () => {
    const again = buildPayload(
      auth,
      operation,
      { requestId: payload.request_id, expiresAt: NOW, graceSeconds: 0, matchCodeRequired: false },
      {},
    );
    expect(again.challenge).not.toBe(payload.challenge);
  });
});

describe("when an answer comes", () => {
  const times = { expiresAt: 1_000, graceUntil: 2_000 };
  it.each([
    ["approved", 999, "approved"],
    ["approved", 1_000, "offline_approved"],
    ["approved", 1_999, "offline_approved"],
    ["approved", 2_000, "late"],
    ["denied", 999, "denied"],
    ["denied", 1_999, "denied"],
    ["denied", 2_000, "late"],
  ] as const)("%s at %i counts as %s", (decision, now, counted) => {
    expect(countAnswer(decision, { ...times, now })).toBe(counted);
  });

  it("without grace is late the moment the request expires", () => {
    expect(countAnswer("approved", { expiresAt: 1_000, graceUntil: 1_000, now: 1_000 })).toBe("late");
  });
});

describe("an answer", () => {
  it("holds when the user signed exactly this request", async () => {
    expect(await verifyAnswer(await peer.answer(payload, SERVICE), asked)).toMatchObject({ ok: true });
  });

  it.each([
    ["of another request", { request_id: newRoutedId(toBase58(randomBytes(32)), 1) }],
    ["over another payload", { request_digest: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" }],
    ["of another kind", { kind: "payment" }],
    ["with another decision signed than said", { decision: "denied" as const }],
    ["by another user", { user_id: toBase58(randomBytes(32)) }],
    ["for another service", { service_id: toBase58(randomBytes(32)) }],
    ["under another contract", { contract_id: toBase58(randomBytes(32)) }],
  ])("%s is not this request's", async (_, statement) => {
    const answer = await peer.answer(payload, SERVICE, { statement });
    expect(await verifyAnswer(answer, asked)).toEqual({ ok: false, error: "statement_mismatch" });
  });

  it("signed by another key is refused", async () => {
    const stranger = await Peer.make();
    const answer = await peer.answer(payload, SERVICE, { signer: stranger.signing });
    expect(await verifyAnswer(answer, asked)).toEqual({ ok: false, error: "signature_invalid" });
  });

  it("changed after signing is refused", async () => {
    const answer = await peer.answer(payload, SERVICE);
    answer.approval.statement.responded_at = toTimestamp(NOW - 1);
    expect(await verifyAnswer(answer, asked)).toEqual({ ok: false, error: "signature_invalid" });
  });

  it("with a result where none is asked for is refused", async () => {
    const answer = await peer.answer(payload, SERVICE, { result: { anything: 1 } });
    expect(await verifyAnswer(answer, asked)).toEqual({ ok: false, error: "result_unexpected" });
  });

  describe("where a result is asked for", () => {
    const withResult = () => ({
      ...asked,
      operation: { ...operation, result: z.strictObject({ city: z.string() }) },
    });

    it("holds with a result of the right form", async () => {
      const answer = await peer.answer(payload, SERVICE, { result: { city: "Porto" } });
      expect(await verifyAnswer(answer, withResult())).toMatchObject({ ok: true });
    });

    it("is refused without one, with another than was signed, and with one of another form", async () => {
      const none = await peer.answer(payload, SERVICE);
      expect(await verifyAnswer(none, withResult())).toEqual({ ok: false, error: "result_missing" });
      const swapped = await peer.answer(payload, SERVICE, {
        result: { city: "Porto" },
        change: { result: { city: "Faro" } },
      });
      expect(await verifyAnswer(swapped, withResult())).toEqual({
        ok: false,
        error: "result_digest_mismatch",
      });
      const shapeless = await peer.answer(payload, SERVICE, { result: { town: "Porto" } });
      expect(await verifyAnswer(shapeless, withResult())).toEqual({ ok: false, error: "result_invalid" });
    });

    it("needs none when the user denies", async () => {
      const denied = await peer.answer(payload, SERVICE, { decision: "denied" });
      expect(await verifyAnswer(denied, withResult())).toMatchObject({ ok: true });
    });
  });
});

describe("an approval", () => {
  it("proves offline what was agreed to, from payload and key alone", async () => {
    const { approval } = await peer.answer(payload, SERVICE);
    expect(await verifyApproval(approval, payload, peer.signing.publicKeyText)).toBe(true);
    expect(
      await verifyApproval(approval, { ...payload, purpose: "Log out" }, peer.signing.publicKeyText),
    ).toBe(false);
    const stranger = await Peer.make();
    expect(await verifyApproval(approval, payload, stranger.signing.publicKeyText)).toBe(false);
  });
});

describe("small things", () => {
  it("match codes are two digits, leading zeros included", () => {
    const codes = new Set(Array.from({ length: 2_000 }, newMatchCode));
    for (const code of codes) expect(code).toMatch(/^\d\d$/);
    expect(codes.size).toBeGreaterThan(90);
  });

  it("pauses between resends grow and stay bounded", () => {
    const pauses = [1, 2, 3, 4, 5, 6, 100].map(resendPauseMs);
    expect(pauses).toEqual([...pauses].sort((a, b) => a - b));
    expect(resendPauseMs(100)).toBe(resendPauseMs(6));
  });
});
