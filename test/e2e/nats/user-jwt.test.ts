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
import type { ServiceSpaceMaterial } from "../../../scripts/stack/operator.ts";
import { importSigningKey, type SigningKey } from "../../../src/crypto/signing.ts";
import { CredsError, credsAuthenticator, parseCreds } from "../../../src/nats/creds.ts";
import { MAX_MESSAGE_BYTES } from "../../../src/nats/limits.ts";
import { decodeSeed, encodeNkey } from "../../../src/nats/nkey.ts";
import { daysLeft, jwtExpiry, mintUserJwt, type UserJwtOptions } from "../../../src/nats/user-jwt.ts";
import { userInboxPrefix, userPermissions } from "../../../src/protocol/subjects.ts";
import { credsText } from "./harness.ts";

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
  });
  afterEach(async () => {
    for (const connection of open.splice(0)) await connection.close();
  });
  afterAll(async () => {
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

  test("is accepted, and may do what it says", async () => {
    const connection = await session();
    const mine = userInboxPrefix(serviceId, userId);
    const subscription = connection.subscribe(`${mine}.x`);
    connection.publish(`ServiceSpace.${serviceId}.fromUser.${userId}.receipt`);
    await connection.flush();
    expect(subscription.isClosed()).toBe(false);
  });

  test("is refused a subject outside its permissions, to publish and to subscribe", async () => {
    const connection = await session();
    const refused = firstError(connection);
    const foreign = `ServiceSpace.${serviceId}.fromUser.${serviceId}.receipt`;
    connection.publish(foreign);
    expect(await refused).toBe(`PERMISSIONS_VIOLATION ${foreign}`);
    const spying = firstError(connection);
    connection.subscribe(`ServiceSpace.${serviceId}.toUser.>`, { callback: () => {} });
    expect(await spying).toBe(`PERMISSIONS_VIOLATION ServiceSpace.${serviceId}.toUser.>`);
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
