// User JWTs as the published library reads them and as a real server takes them.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decode, type User } from "@nats-io/jwt";
import { createAccount, createUser, fromPublic } from "@nats-io/nkeys";
import { connect, type NatsConnection } from "nats.ws";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Cluster, startServiceSpace } from "../../../scripts/stack/cluster.ts";
import { makeIdentity } from "../../../scripts/stack/identity.ts";
import { connectWithCreds } from "../../../scripts/stack/nats-client.ts";
import { makeUserCreds, type ServiceSpaceMaterial } from "../../../scripts/stack/operator.ts";
import { importSigningKey, type SigningKey } from "../../../src/crypto/signing.ts";
import { CredsError, credsAuthenticator, credsText, parseCreds } from "../../../src/nats/creds.ts";
import { MAX_MESSAGE_BYTES } from "../../../src/nats/limits.ts";
import { decodeSeed, encodeNkey } from "../../../src/nats/nkey.ts";
import { BRIDGE_CONSUMER, ensureFromUser, FROM_USER_STREAM } from "../../../src/nats/stream.ts";
import { daysLeft, jwtExpiry, mintUserJwt, type UserJwtOptions } from "../../../src/nats/user-jwt.ts";
import { serviceInboxPrefix, userInboxPrefix, userPermissions } from "../../../src/protocol/subjects.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const utf8 = (value: string) => new TextEncoder().encode(value);
const nowSeconds = () => Math.floor(Date.now() / 1_000);

const account = createAccount().getPublicKey();
const signer = createAccount();
const user = createUser();
let signingKey: SigningKey;

beforeAll(async () => {
  signingKey = await importSigningKey(decodeSeed("account", text(signer.getSeed()))!);
});

const options = (changes: Partial<UserJwtOptions> = {}): UserJwtOptions => ({
  signingKey,
  account,
  userNatsKey: user.getPublicKey(),
  name: "alice",
  permissions: { publish: ["a.>"], subscribe: ["b.>", "c"] },
  maxSubscriptions: 20,
  expiresAtSeconds: 2_000_000_600,
  nowSeconds: 2_000_000_000,
  ...changes,
});

describe("a minted JWT", () => {
  test("says to the library what was asked for, and nothing more", async () => {
    const jwt = await mintUserJwt(options());
    const claims = decode<User>(jwt);
    expect(claims).toEqual({
      jti: expect.stringMatching(/^[A-Z2-7]{52}$/),
      iat: 2_000_000_000,
      exp: 2_000_000_600,
      iss: signer.getPublicKey(),
      name: "alice",
      sub: user.getPublicKey(),
      nats: {
        type: "user",
        version: 2,
        issuer_account: account,
        pub: { allow: ["a.>"] },
        sub: { allow: ["b.>", "c"] },
        subs: 20,
        data: -1,
        payload: MAX_MESSAGE_BYTES,
      },
    });
    const [header, body, signature] = jwt.split(".");
    expect(JSON.parse(Buffer.from(header!, "base64url").toString())).toEqual({
      typ: "JWT",
      alg: "ed25519-nkey",
    });
    const signed = utf8(`${header}.${body}`);
    expect(fromPublic(signer.getPublicKey()).verify(signed, Buffer.from(signature!, "base64url"))).toBe(true);
  });

  test("is not made for a malformed key, for no subjects (NATS reads that as all), or for a time that has passed", async () => {
    const bad: [Partial<UserJwtOptions>, ErrorConstructor][] = [
      [{ account: user.getPublicKey() }, TypeError],
      [{ userNatsKey: account }, TypeError],
      [{ userNatsKey: `${user.getPublicKey()}A` }, TypeError],
      [{ permissions: { publish: [], subscribe: ["b"] } }, RangeError],
      [{ permissions: { publish: ["a"], subscribe: [] } }, RangeError],
      [{ maxSubscriptions: 0 }, RangeError],
      [{ maxSubscriptions: -1 }, RangeError],
      [{ maxSubscriptions: Number.NaN }, RangeError],
      [{ expiresAtSeconds: 2_000_000_000 }, RangeError],
      [{ expiresAtSeconds: Number.NaN }, RangeError],
      [{ expiresAtSeconds: 2_000_000_000.5 }, RangeError],
      [{ nowSeconds: Number.NaN }, RangeError],
    ];
    for (const [changes, error] of bad) await expect(mintUserJwt(options(changes))).rejects.toThrow(error);
  });
});

describe("a .creds text", () => {
  const seed = text(user.getSeed());

  test("gives the expiry of its JWT and the days that are left", async () => {
    const creds = credsText(await mintUserJwt(options()), seed);
    expect(jwtExpiry(creds)).toBe(2_000_000_600);
    expect(daysLeft(creds, (2_000_000_600 - 86_400 * 3) * 1_000)).toBe(3);
    expect(daysLeft(creds, (2_000_000_600 - 86_399) * 1_000)).toBe(0);
    expect(daysLeft(creds, 2_100_000_000_000)).toBe(0);
  });

  test("of a JWT without expiry has none", () => {
    const forever = `e30.${Buffer.from(JSON.stringify({ sub: "x" })).toString("base64url")}.e30`;
    expect(jwtExpiry(credsText(forever, seed))).toBeUndefined();
    expect(daysLeft(credsText(forever, seed), 0)).toBeUndefined();
  });

  test("is read with either line ending", async () => {
    const jwt = await mintUserJwt(options());
    expect(parseCreds(credsText(jwt, seed).replaceAll("\n", "\r\n"))).toEqual(
      parseCreds(credsText(jwt, seed)),
    );
    expect(parseCreds(credsText(jwt, seed)).jwt).toBe(jwt);
  });

  test("that is malformed is refused without repeating it", async () => {
    const jwt = await mintUserJwt(options());
    for (const bad of [
      "",
      jwt,
      credsText(jwt, "SUAOOPS"),
      credsText(jwt, text(signer.getSeed())),
      credsText("x.!.y", seed),
    ]) {
      const refusal = (() => {
        try {
          return jwtExpiry(bad);
        } catch (error) {
          return error;
        }
      })();
      expect(refusal).toBeInstanceOf(CredsError);
      expect((refusal as Error).message).not.toContain(jwt.slice(0, 20));
      expect((refusal as Error).message).not.toContain(seed.slice(0, 10));
    }
  });
});

describe("at a real server", () => {
  const dir = mkdtempSync(join(tmpdir(), "service-vault-jwt-"));
  const serviceId = makeIdentity("dev").service_id;
  const userId = makeIdentity("dev").service_id;
  const open: NatsConnection[] = [];
  let cluster: Cluster<ServiceSpaceMaterial>;

  beforeAll(async () => {
    cluster = await startServiceSpace({ dir, serviceId });
    bridge = await connectWithCreds(
      cluster.server.wsUrl,
      cluster.material.creds.bridge,
      serviceInboxPrefix(serviceId),
    );
    await ensureFromUser(bridge, serviceId);
  });
  afterEach(async () => {
    for (const connection of open.splice(0)) await connection.close();
  });
  afterAll(async () => {
    await bridge?.close();
    await cluster?.server.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  async function session(changes: Partial<UserJwtOptions> = {}): Promise<NatsConnection> {
    const { users_account } = cluster.material;
    const jwt = await mintUserJwt({
      signingKey: await importSigningKey(decodeSeed("account", users_account.signing_seed!)!),
      account: users_account.public_key,
      userNatsKey: user.getPublicKey(),
      name: userId,
      permissions: userPermissions(serviceId, userId, "lasting"),
      maxSubscriptions: 3,
      nowSeconds: nowSeconds(),
      expiresAtSeconds: nowSeconds() + 600,
      ...changes,
    });
    const connection = await connect({
      servers: cluster.server.wsUrl,
      authenticator: credsAuthenticator(credsText(jwt, text(user.getSeed()))),
      inboxPrefix: userInboxPrefix(serviceId, userId),
      reconnect: false,
      timeout: 3_000,
    });
    open.push(connection);
    return connection;
  }

  /** The first error the server reports on a session. */
  async function firstError(connection: NatsConnection): Promise<string> {
    for await (const status of connection.status()) {
      if (status.type === "error") return `${status.data} ${status.permissionContext?.subject ?? ""}`.trim();
    }
    return "closed";
  }

  /** A second person, and the stream that holds what users send, as the bridge makes it. */
  const otherId = makeIdentity("dev").service_id;
  let bridge: NatsConnection;

  const ACCOUNT_INFO = "$JS.API.INFO";
  const streamApi = (verb: string) => `$JS.API.${verb}.${FROM_USER_STREAM}`;
  const from = (id: string, rest: string) => `ServiceSpace.${serviceId}.fromUser.${id}.${rest}`;
  const to = (id: string, rest: string) => `ServiceSpace.${serviceId}.toUser.${id}.${rest}`;

  type Verdict = "stored" | "refused";
  /** What setup credentials and a contract's may publish. */
  const PUBLISH: readonly [subject: string, setup: Verdict, lasting: Verdict][] = [
    [from(userId, "contract.submit"), "stored", "stored"],
    [from(userId, "contract.revoke"), "stored", "stored"],
    [from(userId, "contract.update.denied.ref"), "stored", "stored"],
    [from(userId, "auth.response.ref"), "refused", "stored"],
    [from(userId, "receipt.ref"), "refused", "stored"],
    [from(userId, "key.rotated.ref"), "refused", "stored"],
    [from(userId, "events.ping"), "refused", "stored"],
    [from(userId, "contract"), "refused", "stored"],
    [from(otherId, "contract.submit"), "refused", "refused"],
    [from(otherId, "auth.response.ref"), "refused", "refused"],
    [from(`${userId}x`, "contract.submit"), "refused", "refused"],
    [`ServiceSpace.${serviceId}.fromUser.${userId}`, "refused", "refused"],
    [`ServiceSpace.${serviceId}.fromUser`, "refused", "refused"],
    [`ServiceSpace.${otherId}.fromUser.${userId}.contract.submit`, "refused", "refused"],
    [to(userId, "contract.accepted.ref"), "refused", "refused"],
    [to(otherId, "contract.accepted.ref"), "refused", "refused"],
    [`ServiceSpace.${serviceId}.internal.health`, "refused", "refused"],
    [`MessageSpace.space.fromService.${serviceId}.auth.request`, "refused", "refused"],
    [ACCOUNT_INFO, "refused", "refused"],
    ...[
      "STREAM.INFO",
      "STREAM.CREATE",
      "STREAM.PURGE",
      "STREAM.DELETE",
      "STREAM.MSG.GET",
      "STREAM.MSG.DELETE",
    ].map((verb): [string, Verdict, Verdict] => [streamApi(verb), "refused", "refused"]),
    [`${streamApi("CONSUMER.MSG.NEXT")}.${BRIDGE_CONSUMER}`, "refused", "refused"],
    [`${streamApi("CONSUMER.DELETE")}.${BRIDGE_CONSUMER}`, "refused", "refused"],
    [`$JS.ACK.${FROM_USER_STREAM}.${BRIDGE_CONSUMER}.1.1.1.1.0`, "refused", "refused"],
    ["$SYS.REQ.CLAIMS.UPDATE", "refused", "refused"],
    ["$SYS.REQ.ACCOUNT.PING.CONNZ", "refused", "refused"],
    [`_INBOX_${serviceId}.x`, "refused", "refused"],
    ["_INBOX.x", "refused", "refused"],
  ];
  /** What either may subscribe to: the same. */
  const SUBSCRIBE: readonly [subject: string, allowed: boolean][] = [
    [to(userId, ">"), true],
    [to(userId, "contract.accepted.ref"), true],
    [to(userId, "*.*"), true],
    [to(otherId, ">"), false],
    [to("*", ">"), false],
    [`ServiceSpace.${serviceId}.toUser.>`, false],
    [`ServiceSpace.${serviceId}.toUser.${userId}`, false],
    [`ServiceSpace.*.toUser.${userId}.>`, false],
    [from(userId, ">"), false],
    [from(otherId, ">"), false],
    [`ServiceSpace.${serviceId}.internal.>`, false],
    ["MessageSpace.>", false],
    ["_INBOX.>", false],
    [`_INBOX_${serviceId}.>`, false],
    ["$JS.>", false],
    ["$SYS.>", false],
    [">", false],
  ];
  /** What may be named as the reply to a publish that is allowed. NATS checks none; each has to be harmless. */
  const REPLY: readonly string[] = [
    streamApi("STREAM.PURGE"),
    streamApi("STREAM.DELETE"),
    streamApi("STREAM.MSG.DELETE"),
    `${streamApi("CONSUMER.DELETE")}.${BRIDGE_CONSUMER}`,
    `${streamApi("CONSUMER.MSG.NEXT")}.${BRIDGE_CONSUMER}`,
    from(otherId, "contract.submit"),
    from(userId, "auth.response.ref"),
    `ServiceSpace.${serviceId}.internal.health`,
    "$SYS.REQ.CLAIMS.UPDATE",
    `_INBOX_${serviceId}.x`,
  ];

  /** With this as reply the server takes the message for a delivery, and drops it: the sender's loss alone. */
  const ACK_REPLY = `$JS.ACK.${FROM_USER_STREAM}.${BRIDGE_CONSUMER}.1.1.1.1.0`;

  /** What the stream holds, and that its consumer is there. */
  async function held(): Promise<{ bySubject: Record<string, number>; lastSeq: number }> {
    const manager = await bridge.jetstreamManager({ checkAPI: false });
    const { state } = await manager.streams.info(FROM_USER_STREAM, { subjects_filter: ">" });
    expect((await manager.consumers.info(FROM_USER_STREAM, BRIDGE_CONSUMER)).name).toBe(BRIDGE_CONSUMER);
    return { bySubject: state.subjects ?? {}, lastSeq: state.last_seq };
  }

  /** Subjects the server refuses on a session, as they are reported. */
  function refusals(connection: NatsConnection): string[] {
    const refused: string[] = [];
    void (async () => {
      for await (const { type, permissionContext } of connection.status())
        if (type === "error" && permissionContext !== undefined) refused.push(permissionContext.subject);
    })();
    return refused;
  }

  describe.each(["setup", "lasting"] as const)("with the permissions of %s credentials", (extent) => {
    const withExtent = () =>
      session({ permissions: userPermissions(serviceId, userId, extent), maxSubscriptions: 100 });
    const verdictOf = ([, setup, lasting]: (typeof PUBLISH)[number]) =>
      extent === "setup" ? setup : lasting;

    test("each subject of the table is published to, or refused and nowhere to be found", async () => {
      const connection = await withExtent();
      const refused = refusals(connection);
      const before = await held();
      for (const [subject] of PUBLISH) connection.publish(subject, "x");
      await connection.flush();
      const wanted = (verdict: Verdict) =>
        PUBLISH.filter((row) => verdictOf(row) === verdict).map(([subject]) => subject);
      await expect.poll(() => refused).toEqual(wanted("refused"));
      await expect.poll(async () => (await held()).lastSeq - before.lastSeq).toBe(wanted("stored").length);
      const { bySubject } = await held();
      for (const subject of wanted("stored"))
        expect(bySubject[subject], subject).toBe((before.bySubject[subject] ?? 0) + 1);
    });

    test("each subject of the table is subscribed to, or refused", async () => {
      const connection = await withExtent();
      const refused = refusals(connection);
      for (const [subject] of SUBSCRIBE) connection.subscribe(subject, { callback: () => {} });
      await connection.flush();
      const wanted = SUBSCRIBE.filter(([, allowed]) => !allowed).map(([subject]) => subject);
      await expect.poll(() => refused).toEqual(wanted);
    });

    test("each subject of the table can be named as reply, and nothing comes of it", async () => {
      const connection = await withExtent();
      // In the account that owns the streams: everything of the service's, and the inbox that was named.
      const { service_account } = cluster.material;
      const listener = await connectWithCreds(
        cluster.server.wsUrl,
        await makeUserCreds({
          name: "listener",
          accountPublicKey: service_account.public_key,
          issuerSeed: service_account.seed,
          publish: [],
          subscribe: ["ServiceSpace.>", `_INBOX_${serviceId}.x`],
        }),
      );
      open.push(listener);
      const heard: string[] = [];
      for (const subject of ["ServiceSpace.>", `_INBOX_${serviceId}.x`])
        listener.subscribe(subject, { callback: (_, message) => heard.push(message.subject) });
      await listener.flush();
      const before = await held();
      const own = from(userId, "contract.submit");
      for (const reply of [...REPLY, ACK_REPLY]) connection.publish(own, "x", { reply });
      // What comes after them in the same session has been acknowledged: so have they.
      await connection.jetstream().publish(own, "x");
      const after = await held();
      expect(after.lastSeq - before.lastSeq).toBe(REPLY.length + 1);
      expect(after.bySubject).toEqual({
        ...before.bySubject,
        [own]: (before.bySubject[own] ?? 0) + REPLY.length + 1,
      });
      await listener.flush();
      expect(new Set(heard)).toEqual(new Set([own]));
    });
  });

  test("is refused more subscriptions than it has", async () => {
    const connection = await session();
    const refused = firstError(connection);
    for (let n = 0; n < 4; n++) connection.subscribe(`${userInboxPrefix(serviceId, userId)}.${n}`);
    expect(await refused).not.toBe("");
  });

  test("is cut off by a message larger than an envelope may be", async () => {
    const connection = await session();
    await connection.flush();
    const info = connection.info!;
    expect(info.max_payload).toBe(MAX_MESSAGE_BYTES);
    info.max_payload *= 2; // a client that does not keep to what it was told
    connection.publish(
      `ServiceSpace.${serviceId}.fromUser.${userId}.receipt`,
      new Uint8Array(MAX_MESSAGE_BYTES + 1),
    );
    await connection.closed();
    expect(connection.isClosed()).toBe(true);
  });

  test("is not accepted from another signer, or after it expired", async () => {
    await expect(session({ signingKey })).rejects.toThrow(/authorization/i);
    await expect(
      session({ nowSeconds: nowSeconds() - 100, expiresAtSeconds: nowSeconds() - 1 }),
    ).rejects.toThrow(/authorization|authentication/i);
    expect(encodeNkey("account", signingKey.publicKey)).not.toBe(
      cluster.material.users_account.signing_public_key,
    );
  });
});
