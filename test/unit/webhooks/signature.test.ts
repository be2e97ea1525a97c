import { createHmac, createPublicKey, verify as nodeVerify, randomBytes } from "node:crypto";
import { Webhook, WebhookVerificationError } from "standardwebhooks";
import { describe, expect, it } from "vitest";
import { importSigningKey } from "../../../src/crypto/signing.ts";
import { utf8 } from "../../../src/protocol/json.ts";
import {
  DEFAULT_TOLERANCE_SECONDS,
  newSecret,
  publicKeyText,
  secretText,
  signedHeaders,
  verifyDelivery,
  verifyOlderSignature,
} from "../../../src/webhooks/signature.ts";

const key = await importSigningKey(randomBytes(32));
const otherKey = await importSigningKey(randomBytes(32));
const body = '{"type":"contract.activated","data":{"status":"active","café":1}}';
const id = "1AbCdEfGhJkMnPqRsTuVwX";
const now = Date.now();
const sign = (secrets: string[], at = now) => signedHeaders({ id, now: at, body: utf8(body), secrets, key });
const spki = (publicKey: Uint8Array) =>
  createPublicKey({
    key: Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), publicKey]),
    format: "der",
    type: "spki",
  });

describe("what the official library says of our v1", () => {
  it("accepts a delivery, and reads the event out of it", async () => {
    const secret = newSecret();
    expect(new Webhook(secret).verify(body, await sign([secret]))).toEqual(JSON.parse(body));
  });

  it("accepts it with either secret while rotating, and with no third one", async () => {
    const [fresh, old] = [newSecret(), newSecret()];
    const headers = await sign([fresh, old]);
    for (const secret of [fresh, old]) expect(() => new Webhook(secret).verify(body, headers)).not.toThrow();
    expect(() => new Webhook(newSecret()).verify(body, headers)).toThrow(WebhookVerificationError);
  });

  it("makes the same signature as it does itself", async () => {
    const secret = newSecret();
    const headers = await sign([secret]);
    const theirs = new Webhook(secret).sign(id, new Date(now), body);
    expect(headers["webhook-signature"]!.split(" ")[0]).toBe(theirs);
  });

  it("refuses a changed body, id or timestamp", async () => {
    const secret = newSecret();
    const headers = await sign([secret]);
    const webhook = new Webhook(secret);
    expect(() => webhook.verify(`${body} `, headers)).toThrow(WebhookVerificationError);
    expect(() => webhook.verify(body, { ...headers, "webhook-id": `${id}2` })).toThrow();
    expect(() =>
      webhook.verify(body, { ...headers, "webhook-timestamp": String(Math.floor(now / 1_000) + 1) }),
    ).toThrow();
  });

  it.each([24, 32, 64])("takes secrets of %i bytes, as we do", async (length) => {
    const secret = secretText(randomBytes(length));
    expect(() => new Webhook(secret)).not.toThrow();
    expect(new Webhook(secret).verify(body, await sign([secret]))).toBeDefined();
  });
});

describe("v1a by hand", () => {
  it("is Ed25519 over id.timestamp.body, as Node's own implementation verifies it", async () => {
    const headers = await sign([newSecret()]);
    const entry = headers["webhook-signature"]!.split(" ").find((part) => part.startsWith("v1a,"))!;
    const content = Buffer.from(`${id}.${headers["webhook-timestamp"]}.${body}`);
    const signature = Buffer.from(entry.slice("v1a,".length), "base64");
    expect(signature).toHaveLength(64);
    expect(nodeVerify(null, content, spki(key.publicKey), signature)).toBe(true);
    expect(nodeVerify(null, content, spki(otherKey.publicKey), signature)).toBe(false);
  });
});

describe("the headers of older receivers", () => {
  it("are the event's id, the time, and the body's HMAC in hex with the secret's text as key", async () => {
    const secret = newSecret();
    const headers = await sign([secret, newSecret()]);
    expect(headers["X-VettID-Event-ID"]).toBe(id);
    expect(headers["X-VettID-Timestamp"]).toBe(headers["webhook-timestamp"]);
    const expected = `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;
    expect(headers["X-VettID-Signature"]).toBe(expected);
    expect(await verifyOlderSignature(expected, body, secret)).toBe(true);
    expect(await verifyOlderSignature(expected, `${body} `, secret)).toBe(false);
    expect(await verifyOlderSignature(expected, body, newSecret())).toBe(false);
  });
});

describe("the verifying half", () => {
  const secret = newSecret();
  const publicKey = publicKeyText(key.publicKey);

  it("accepts by secret alone, by public key alone, and from a Headers object or a plain one", async () => {
    const headers = await sign([secret]);
    const expected = { ok: true, value: { id, timestamp: Math.floor(now / 1_000) } };
    expect(await verifyDelivery(headers, body, { secrets: [secret] })).toEqual(expected);
    expect(await verifyDelivery(new Headers(headers), utf8(body), { publicKeys: [publicKey] })).toEqual(
      expected,
    );
    const capitals = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name.toUpperCase(), value]),
    );
    expect(await verifyDelivery(capitals, body, { secrets: [secret] })).toEqual(expected);
  });

  it("accepts what the official library signs", async () => {
    const timestamp = new Date(now);
    const headers = {
      "webhook-id": id,
      "webhook-timestamp": String(Math.floor(now / 1_000)),
      "webhook-signature": new Webhook(secret).sign(id, timestamp, body),
    };
    expect((await verifyDelivery(headers, body, { secrets: [secret] })).ok).toBe(true);
  });

  it.each([
    ["another secret", {}, { secrets: [newSecret()] }, body, "signature_invalid"],
    ["another key", {}, { publicKeys: [publicKeyText(otherKey.publicKey)] }, body, "signature_invalid"],
    ["a changed body", {}, { secrets: [secret], publicKeys: [publicKey] }, `${body} `, "signature_invalid"],
    ["another id", { "webhook-id": "other" }, { secrets: [secret] }, body, "signature_invalid"],
    ["an id with a dot", { "webhook-id": `${id}.1` }, { secrets: [secret] }, body, "headers_missing"],
    ["no id", { "webhook-id": undefined }, { secrets: [secret] }, body, "headers_missing"],
    ["no timestamp", { "webhook-timestamp": undefined }, { secrets: [secret] }, body, "headers_missing"],
    [
      "a timestamp with a sign",
      { "webhook-timestamp": "-5" },
      { secrets: [secret] },
      body,
      "headers_missing",
    ],
    ["no signature", { "webhook-signature": undefined }, { secrets: [secret] }, body, "headers_missing"],
    ["an empty signature", { "webhook-signature": "" }, { secrets: [secret] }, body, "signature_invalid"],
    [
      "signature rubbish",
      { "webhook-signature": "v1,%% v1a, v2,AAAA x" },
      { secrets: [secret] },
      body,
      "signature_invalid",
    ],
  ] as const)("refuses %s", async (_what, change, trusted, text, error) => {
    const headers = { ...(await sign([secret])), ...change };
    expect(await verifyDelivery(headers, text, trusted as never)).toEqual({ ok: false, error });
  });

  it("does not take a v1 signature for a v1a one, or the other way round", async () => {
    const headers = await sign([secret]);
    const [v1, v1a] = headers["webhook-signature"]!.split(" ").map((part) => part.split(",")[1]);
    const swapped = { ...headers, "webhook-signature": `v1,${v1a} v1a,${v1}` };
    expect((await verifyDelivery(swapped, body, { secrets: [secret], publicKeys: [publicKey] })).ok).toBe(
      false,
    );
  });

  it("holds the timestamp against the clock, both ways, to the second", async () => {
    const trusted = { secrets: [secret] };
    const at = Math.floor(now / 1_000) * 1_000;
    const headers = await sign([secret], at);
    const check = (offsetSeconds: number) =>
      verifyDelivery(headers, body, trusted, { now: at + offsetSeconds * 1_000 });
    expect((await check(DEFAULT_TOLERANCE_SECONDS)).ok).toBe(true);
    expect((await check(-DEFAULT_TOLERANCE_SECONDS)).ok).toBe(true);
    expect(await check(DEFAULT_TOLERANCE_SECONDS + 1)).toEqual({ ok: false, error: "timestamp_too_old" });
    expect(await check(-DEFAULT_TOLERANCE_SECONDS - 1)).toEqual({ ok: false, error: "timestamp_too_new" });
  });

  it("throws when it is given nothing to verify against, or nothing usable", async () => {
    const headers = await sign([secret]);
    for (const trusted of [{}, { secrets: [] }, { secrets: ["whsec_short"] }, { publicKeys: ["whpk_AAAA"] }])
      await expect(verifyDelivery(headers, body, trusted)).rejects.toThrow(TypeError);
  });
});

it("does not sign under an id with a dot, without a secret, or with something that is none", async () => {
  const delivery = { id, now, body: utf8(body), secrets: [newSecret()], key };
  await expect(signedHeaders({ ...delivery, id: "a.b" })).rejects.toThrow(TypeError);
  await expect(signedHeaders({ ...delivery, secrets: [] })).rejects.toThrow(TypeError);
  await expect(signedHeaders({ ...delivery, secrets: ["whsec_AAAA"] })).rejects.toThrow(TypeError);
});
