// Calls into the Worker as a backend or a vault makes them, and a person connected to it, for tests in workerd.

import { runInDurableObject } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { expect, inject } from "vitest";
import type { Directory } from "../../durable-objects/directory/directory.ts";
import type { UserConnection } from "../../durable-objects/user-connection/user-connection.ts";
import { Described, type OpenApiDocument } from "../../scripts/openapi/described.ts";
import { app } from "../../src/http/app.ts";
import { directoryOf, userConnectionOf } from "../../src/http/objects.ts";
import { openApiDocument } from "../../src/http/openapi-document.ts";
import type { AuditEntry } from "../../src/protocol/audit.ts";
import type { ContractAccepted } from "../../src/protocol/contract.ts";
import { fromBase64 } from "../../src/protocol/encoding.ts";
import { randomBytes } from "../../src/protocol/ids.ts";
import type { OfferingContent } from "../../src/protocol/offer.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { offeringContent } from "./offer.ts";
import { Peer } from "./peer.ts";

const PUBLIC_URL = "https://vault.example.com";

let described: Described | undefined;
/** What /openapi.json says, to hold every answer against. */
const description = (): Described =>
  (described ??= new Described(openApiDocument(app) as unknown as OpenApiDocument));

/** Any answer's body; tests look at what they expect. */
// biome-ignore lint/suspicious/noExplicitAny: a test reads whatever field it is about
export type Body = any;

export interface CallOptions {
  /** An API key's text; the admin key by default, none with `null`. */
  key?: string | null;
  body?: unknown;
  /** Sent as it is instead of `body`. */
  raw?: BodyInit;
  headers?: Record<string, string>;
}

export interface Answer {
  status: number;
  headers: Headers;
  body: Body;
}

/** An address of its own for each call, so that the brake on addresses is felt only by tests about it. */
const anyAddress = (): string =>
  `2001:db8::${[...randomBytes(4)].map((byte) => byte.toString(16)).join(":")}`;

const worker = (exports as unknown as { default: { fetch(request: Request): Promise<Response> } }).default;

export async function call(method: string, path: string, options: CallOptions = {}): Promise<Answer> {
  const { key = inject("adminApiKey"), body, raw, headers = {} } = options;
  const response = await worker.fetch(
    new Request(`${PUBLIC_URL}${path}`, {
      method,
      headers: {
        "cf-connecting-ip": anyAddress(),
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(raw !== undefined ? { body: raw } : body === undefined ? {} : { body: JSON.stringify(body) }),
    }),
  );
  const text = await response.text();
  const isJson = /json/.test(response.headers.get("content-type") ?? "");
  const answer = {
    status: response.status,
    headers: response.headers,
    body: isJson ? JSON.parse(text) : text,
  };
  const { pathname } = new URL(path, PUBLIC_URL);
  const contentType = response.headers.get("content-type");
  expect(description().faultsOf({ method, path: pathname }, { ...answer, contentType })).toEqual([]);
  return answer;
}

/** Publishes an offering and invites to it. */
export async function offerAndInvite(
  change: Partial<OfferingContent> = {},
  invite: object = {},
): Promise<{
  invite_id: string;
  invite_code: string;
  match_code?: string;
  invite_url: string;
  deep_link: string;
}> {
  const put = await call("PUT", "/api/v1/offerings/login", { body: { ...offeringContent, ...change } });
  expect(put.status).toBe(200);
  const made = await call("POST", "/api/v1/contracts/invite", { body: { offering_id: "login", ...invite } });
  expect(made.status).toBe(201);
  return made.body;
}

/** A person with an active contract, set up message by message. */
export async function connectedPeer(change: Partial<OfferingContent> = {}): Promise<Peer> {
  const { invite_code } = await offerAndInvite(change);
  const offer = await directoryOf(env).offer();
  const peer = await Peer.make();
  const submission = await peer.submission(peer.contract(offer), invite_code, {
    profile: { email: "ada@example.com" },
  });
  const { contractId } = peer;
  peer.contractId = undefined;
  await deliver(peer, await peer.submit(offer, submission));
  peer.contractId = contractId;
  const accepted = (await sealedMessages(peer)).find(
    ({ header }) => header.event_type === "contract.accepted",
  )!;
  const payload = accepted.payload as unknown as ContractAccepted;
  peer.serviceKey = fromBase64(payload.service_connection_key)!;
  const receipt = {
    event_id: accepted.header.event_id,
    received_at: toTimestamp(Date.now()),
    outcome: "stored",
  };
  await deliver(
    peer,
    await peer.message(inject("serviceId"), "receipt", receipt, { ref: accepted.header.event_id }),
  );
  await expect.poll(() => directoryOf(env).userOfContract(peer.contractId!)).toBe(peer.id);
  return peer;
}

export async function deliver(peer: Peer, message: { subject: string; bytes: Uint8Array }): Promise<void> {
  const [outcome] = await userConnectionOf(env, peer.id).receive([
    { subject: message.subject, bytes: message.bytes },
  ]);
  expect(outcome).toMatchObject({ handled: "done" });
  expect(outcome).not.toHaveProperty("rejected");
}

/** Whatever waits sealed in the user's object, opened by the peer. */
export async function sealedMessages(peer: Peer) {
  const sealed = await runInDurableObject(
    env.USER_CONNECTION.getByName(peer.id),
    (_: UserConnection, state) =>
      state.storage.sql
        .exec("SELECT sealed FROM outgoing WHERE sealed IS NOT NULL ORDER BY n")
        .toArray()
        .map((row) => new Uint8Array(row.sealed as ArrayBuffer)),
  );
  return Promise.all(sealed.map((bytes) => peer.open(bytes)));
}

/**
 * Whether the audit log has the last entry of a chain, a user's or the service's own, as far as its owner knows or finds
 * out: as who wants the entry's proof is told.
 */
export const isLogged = (stub: DurableObjectStub<UserConnection> | DurableObjectStub<Directory>) =>
  runInDurableObject(stub as DurableObjectStub<UserConnection>, async (object, { storage }) => {
    const [last] = storage.sql
      .exec<{ entry: string }>("SELECT entry FROM audit ORDER BY n DESC LIMIT 1")
      .toArray();
    return (await object.auditProof((JSON.parse(last!.entry) as AuditEntry).event_id)).ok;
  });
