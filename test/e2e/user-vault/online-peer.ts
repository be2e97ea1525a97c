// The scripted service on real brokers: its two sessions, and the HTTP side as a `fetch` that never leaves the
// process. Signatures on credential requests are checked; JWTs are minted as the Worker mints them.

import type { Cluster } from "../../../scripts/stack/cluster.ts";
import type { MessageSpaceMaterial, ServiceSpaceMaterial } from "../../../scripts/stack/operator.ts";
import { credentialsForm, setupForm, verifyRevocation } from "../../../src/contracts/agreement.ts";
import { identityOf, labelledJson } from "../../../src/crypto/hash.ts";
import { importSigningKey, verify, verifyJson } from "../../../src/crypto/signing.ts";
import { decodeNkey, decodeSeed } from "../../../src/nats/nkey.ts";
import { Publisher } from "../../../src/nats/publish.ts";
import { pullMessages } from "../../../src/nats/pull.ts";
import { BrokerSession } from "../../../src/nats/session.ts";
import { BRIDGE_CONSUMER, ensureFromUser, FROM_USER_STREAM } from "../../../src/nats/stream.ts";
import { mintUserJwt } from "../../../src/nats/user-jwt.ts";
import type {
  LastingCredentialsRequest,
  NatsCredentials,
  Revocation,
  SetupCredentialsRequest,
} from "../../../src/protocol/contract.ts";
import { fromBase64 } from "../../../src/protocol/encoding.ts";
import { LABELS } from "../../../src/protocol/labels.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";
import { serviceInboxPrefix, userInboxPrefix, userPermissions } from "../../../src/protocol/subjects.ts";
import type { Opened, Sent, ServicePeer } from "../../unit/user-vault/service-peer.ts";

const SETUP_JWT_SECONDS = 900;
const LASTING_JWT_SECONDS = 24 * 3_600;
const MAX_SUBSCRIPTIONS = 20;

export class OnlinePeer {
  readonly peer: ServicePeer;
  readonly #serviceSpace: Cluster<ServiceSpaceMaterial>;
  readonly #bridge: BrokerSession;
  readonly #platform: BrokerSession;
  readonly #publisher: Publisher;
  readonly #toUser: Publisher;
  /** Everything received, in order, repeats too. */
  readonly received: Opened[] = [];
  readonly requests: string[] = [];
  /** Told to each message; answers by receipt unless told not to. */
  receipts = true;
  accept: "at_once" | "never" = "at_once";
  /** Receipts for answers say so. */
  requestStatus = "approved";
  revocation: Revocation | undefined;
  /** The acceptance carries a JWT that has expired. */
  expiredCredentials = false;
  reachable = true;

  constructor(
    peer: ServicePeer,
    serviceSpace: Cluster<ServiceSpaceMaterial>,
    messageSpace: Cluster<MessageSpaceMaterial>,
  ) {
    this.peer = peer;
    this.#serviceSpace = serviceSpace;
    const inboxPrefix = serviceInboxPrefix(peer.key.id);
    this.#bridge = new BrokerSession({
      url: serviceSpace.server.wsUrl,
      creds: serviceSpace.material.creds.bridge,
      inboxPrefix,
      name: "bridge",
      onUp: async (live) => {
        await ensureFromUser(live.connection, peer.key.id);
        pullMessages(live, {
          stream: FROM_USER_STREAM,
          consumer: BRIDGE_CONSUMER,
          onDelivery: (delivery) => {
            this.#onMessage(delivery.subject, delivery.bytes).then(
              () => delivery.ack(),
              (error) => {
                console.error("the peer could not read a message", error);
                delivery.terminate();
              },
            );
          },
        });
      },
    });
    this.#platform = new BrokerSession({
      url: messageSpace.server.wsUrl,
      creds: messageSpace.material.creds.service,
      inboxPrefix,
      name: "service",
    });
    this.#publisher = new Publisher(this.#platform);
    this.#toUser = new Publisher(this.#bridge);
  }

  start(): void {
    this.#bridge.start();
    this.#platform.start();
  }

  stop(): void {
    this.#bridge.stop();
    this.#platform.stop();
  }

  /** Publishes on MessageSpace until the broker has it. */
  async send(sent: Sent, copy = 1): Promise<void> {
    for (;;) {
      const [outcome] = await this.#publisher.publish([
        {
          cluster: "messagespace",
          subject: sent.subject,
          bytes: sent.bytes,
          msgId: `${sent.eventId}-${copy}`,
        },
      ]);
      if (outcome === "stored") return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  ofType(eventType: string): Opened[] {
    return this.received.filter(({ header }) => header.event_type === eventType);
  }

  /** The first message of a type, waiting for it. */
  async next(eventType: string, count = 1, timeoutMs = 15_000): Promise<Opened> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const found = this.ofType(eventType)[count - 1];
      if (found !== undefined) return found;
      if (Date.now() > deadline) throw new Error(`no ${count} ${eventType} within ${timeoutMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async #onMessage(subject: string, bytes: Uint8Array): Promise<void> {
    const opened = await this.peer.open(subject, bytes);
    this.received.push(opened);
    const { header } = opened;
    if (header.event_type === "receipt" || !this.receipts) return;
    if (header.event_type === "contract.submit") {
      await this.send(await this.peer.receipt(header.event_id, {}, true));
      if (this.accept === "at_once") await this.acceptContract();
      return;
    }
    const status = header.event_type.endsWith(".response") ? { request_status: this.requestStatus } : {};
    await this.send(await this.peer.receipt(header.event_id, status));
  }

  /** The same sealed bytes on both ways, as PROTOCOL §5 says. */
  async acceptContract(): Promise<void> {
    const credentials = await this.#credentials(this.peer.contract!.nats_public_key, "lasting");
    const sent = await this.peer.accept(
      this.expiredCredentials ? { ...credentials, expires_at: toTimestamp(Date.now() - 1_000) } : credentials,
    );
    const { user_id } = this.peer.contract!;
    await this.#toUser.publish([
      {
        cluster: "servicespace",
        subject: `${userInboxPrefix(this.peer.key.id, user_id)}.contract.accepted.${this.peer.submit!.header.event_id}`,
        bytes: sent.bytes,
      },
    ]);
    await this.send(sent);
  }

  async #credentials(
    natsKey: string,
    extent: "setup" | "lasting",
    userId?: string,
  ): Promise<NatsCredentials> {
    const { users_account } = this.#serviceSpace.material;
    const nowSeconds = Math.floor(Date.now() / 1_000);
    const expiresAtSeconds = nowSeconds + (extent === "setup" ? SETUP_JWT_SECONDS : LASTING_JWT_SECONDS);
    const jwt = await mintUserJwt({
      signingKey: await importSigningKey(decodeSeed("account", users_account.signing_seed!)!),
      account: users_account.public_key,
      userNatsKey: natsKey,
      name: "user",
      permissions: userPermissions(this.peer.key.id, userId ?? this.peer.contract!.user_id, extent),
      maxSubscriptions: MAX_SUBSCRIPTIONS,
      expiresAtSeconds,
      nowSeconds,
    });
    return {
      endpoint: this.#serviceSpace.server.wsUrl,
      user_jwt: jwt,
      expires_at: toTimestamp(expiresAtSeconds * 1_000),
    };
  }

  /** The HTTP side. */
  readonly fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const { pathname } = new URL(url);
    this.requests.push(`${init.method} ${pathname}`);
    if (!this.reachable) throw new TypeError("fetch failed");
    const problem = (status: number, code: string) => Response.json({ code, detail: code }, { status });
    const body: unknown = init.body === undefined ? undefined : JSON.parse(String(init.body));
    const { code, key, offer } = this.peer;
    if (pathname === `/connect/${code}`) return Response.json(offer);
    if (pathname === `/connect/${code}/credentials`) {
      const request = body as SetupCredentialsRequest;
      const form = setupForm(key.id, code, request);
      if (!(await bothHold(request.signing_key, request, LABELS.setup, form)))
        return problem(400, "signature_invalid");
      const userId = identityOf(fromBase64(request.signing_key)!);
      const credentials = await this.#credentials(request.nats_public_key, "setup", userId);
      return Response.json({ ...credentials, inbox_prefix: userInboxPrefix(key.id, userId) });
    }
    if (pathname === "/connect/credentials") {
      const request = body as LastingCredentialsRequest;
      if (request.contract_id !== this.peer.contractId || this.revocation !== undefined)
        return problem(403, "forbidden");
      const form = credentialsForm(request);
      if (!(await bothHold(this.peer.contract!.user_signing_key, request, LABELS.credentials, form)))
        return problem(400, "signature_invalid");
      return Response.json(await this.#credentials(request.nats_public_key, "lasting"));
    }
    if (pathname === "/connect/revoke") {
      const revocation = body as Revocation;
      if (!(await verifyRevocation(this.peer.contract!.user_signing_key, revocation)))
        return problem(400, "signature_invalid");
      this.revocation = revocation;
      return Response.json({ status: "cancelled" });
    }
    return problem(404, "not_found");
  };
}

async function bothHold(
  signingKey: string,
  request: { nats_public_key: string; signature: string; nats_signature: string },
  label: (typeof LABELS)[keyof typeof LABELS],
  form: object,
): Promise<boolean> {
  const natsKey = decodeNkey("user", request.nats_public_key);
  return (
    natsKey !== undefined &&
    (await verifyJson(signingKey, label, form, request.signature)) &&
    (await verify(natsKey, labelledJson(label, form), fromBase64(request.nats_signature)!))
  );
}
