// The list of revoked NATS credentials on its way to a real cluster. Each test has an account of its own there, which
// the operator made: what is in it beside the list is the operator's, and stays.

import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { encodeAccount } from "@nats-io/jwt";
import { createAccount, createOperator, fromSeed, type KeyPair } from "@nats-io/nkeys";
import { connect, type NatsConnection } from "nats.ws";
import { afterEach, describe, expect, inject, it } from "vitest";
import { DIRECTORY_NAME, type Directory } from "../../durable-objects/directory/directory.ts";
import { Ledger } from "../../durable-objects/directory/ledger.ts";
import { LOOK_INTERVAL_MS, Revocations } from "../../durable-objects/directory/revocations.ts";
import { Serial } from "../../durable-objects/serial.ts";
import { type Config, configOf } from "../../src/config.ts";
import { importSigningKey, type SigningKey } from "../../src/crypto/signing.ts";
import { directoryOf } from "../../src/http/objects.ts";
import type { AccountChange } from "../../src/nats/account-jwt.ts";
import { type AccountUpdate, updateAccount } from "../../src/nats/account-update.ts";
import { claimsOf, credsAuthenticator, credsText } from "../../src/nats/creds.ts";
import { decodeSeed, encodeNkey, encodeSeed } from "../../src/nats/nkey.ts";
import { mintUserJwt } from "../../src/nats/user-jwt.ts";
import { randomBytes } from "../../src/protocol/ids.ts";
import { serviceInboxPrefix } from "../../src/protocol/subjects.ts";
import type { ContractIndexRow } from "../../src/rpc.ts";

const { ws, systemCreds, operatorSigningSeed, usersSigningSeed } = inject("serviceSpace");
const DAY_MS = 24 * 3_600_000;
const nowSeconds = () => Math.floor(Date.now() / 1_000);
const operator = fromSeed(new TextEncoder().encode(operatorSigningSeed));

const open: NatsConnection[] = [];
afterEach(async () => {
  for (const connection of open.splice(0)) await connection.close();
  await reset();
});

const kept = async (connection: Promise<NatsConnection>): Promise<NatsConnection> => {
  open.push(await connection);
  return connection;
};

/** In a session of the system account, as the bridge opens one: each time anew, for the object or test that uses it. */
async function asSystem<T>(use: (session: NatsConnection) => Promise<T>): Promise<T> {
  const session = await connect({
    servers: ws,
    authenticator: credsAuthenticator(systemCreds),
    inboxPrefix: serviceInboxPrefix(inject("serviceId")),
    reconnect: false,
  });
  try {
    return await use(session);
  } finally {
    await session.close();
  }
}

/** An account of the operator's on the cluster, with whatever the operator put there. */
class Account {
  readonly keys = createAccount();
  readonly signer = createAccount();

  static async make(): Promise<Account> {
    const account = new Account();
    await account.push();
    return account;
  }

  get id(): string {
    return this.keys.getPublicKey();
  }

  /** The JWT as the operator's own tool makes it. */
  jwt(revocations: Record<string, number> = {}, signer: KeyPair = operator): Promise<string> {
    const claims = {
      limits: {
        subs: -1,
        data: -1,
        payload: -1,
        imports: -1,
        exports: -1,
        conn: 77,
        leaf: -1,
        wildcards: true,
      },
      signing_keys: [this.signer.getPublicKey()],
      description: "the operator's",
      ...(Object.keys(revocations).length === 0 ? {} : { revocations }),
    };
    return encodeAccount("USERS", this.keys, claims, { signer });
  }

  async push(jwt?: string): Promise<void> {
    const pushed = jwt ?? (await this.jwt());
    const answer = await asSystem((session) => session.request("$SYS.REQ.CLAIMS.UPDATE", pushed));
    expect(answer.json()).toMatchObject({ data: { code: 200 } });
  }

  async onCluster(): Promise<{ jwt: string; claims: Record<string, unknown>; list: Record<string, number> }> {
    const subject = `$SYS.REQ.ACCOUNT.${this.id}.CLAIMS.LOOKUP`;
    const jwt = (await asSystem((session) => session.request(subject))).string();
    const claims = claimsOf(jwt);
    const { revocations = {} } = claims.nats as { revocations?: Record<string, number> };
    return { jwt, claims, list: revocations };
  }
}

/** A user of an account, with credentials that the account's signing key made. */
class User {
  readonly key: SigningKey;
  readonly #seed: Uint8Array;
  readonly #account: Account;
  issuedAt = 0;
  #jwt = "";

  private constructor(account: Account, seed: Uint8Array, key: SigningKey) {
    this.#account = account;
    this.#seed = seed;
    this.key = key;
  }

  static async of(account: Account): Promise<User> {
    const seed = randomBytes(32);
    const user = new User(account, seed, await importSigningKey(seed));
    await user.renew(nowSeconds());
    return user;
  }

  get nkey(): string {
    return encodeNkey("user", this.key.publicKey);
  }

  async renew(issuedAt: number): Promise<void> {
    this.issuedAt = issuedAt;
    this.#jwt = await mintUserJwt({
      signingKey: await importSigningKey(
        decodeSeed("account", new TextDecoder().decode(this.#account.signer.getSeed()))!,
      ),
      account: this.#account.id,
      userNatsKey: this.nkey,
      name: "user",
      permissions: { publish: ["a"], subscribe: ["b"] },
      maxSubscriptions: 5,
      nowSeconds: issuedAt,
      expiresAtSeconds: nowSeconds() + 3_600,
    });
  }

  session(): Promise<NatsConnection> {
    return kept(
      connect({
        servers: ws,
        authenticator: credsAuthenticator(credsText(this.#jwt, encodeSeed("user", this.#seed))),
        reconnect: false,
        timeout: 3_000,
      }),
    );
  }

  /** What the user's object tells the Directory once the contract is over. */
  ended(change: { contractId?: string; expiresAt?: number } = {}): ContractIndexRow {
    const { contractId = this.nkey, expiresAt = Date.now() + DAY_MS } = change;
    return {
      contractId,
      userId: this.nkey,
      offeringId: "login",
      offeringName: "Login",
      status: "cancelled",
      createdAt: Date.now(),
      version: 2,
      view: {} as ContractIndexRow["view"],
      natsKey: this.nkey,
      revocation: { issuedAtSeconds: this.issuedAt, expiresAt },
    };
  }
}

interface Life {
  revocations: Revocations;
  storage: DurableObjectStorage;
  /** When the alarm was wanted. */
  wakes: number[];
  put(...rows: ContractIndexRow[]): void;
  rows(): Record<string, SqlStorageValue>[];
}

type Update = (change: AccountChange) => Promise<AccountUpdate>;

/** A life of the list, in the Directory's own storage. `around` gets what talks to the cluster. */
async function alive(
  account: Account,
  test: (life: Life) => Promise<void>,
  options: { around?: (update: Update) => Update; config?: Partial<Config> } = {},
): Promise<void> {
  await directoryOf(env).offerings();
  const signer = await importSigningKey(decodeSeed("operator", operatorSigningSeed)!);
  const config: Config = {
    ...(await configOf(env)),
    SERVICESPACE_USERS_ACCOUNT: account.id,
    revoking: {
      operatorKey: await importSigningKey(decodeSeed("operator", operatorSigningSeed)!),
      systemCreds,
    },
    ...options.config,
  };
  const update: Update = (change) =>
    asSystem((session) => updateAccount(session, { account: account.id, signer, change }));
  await runInDurableObject(env.DIRECTORY.getByName(DIRECTORY_NAME), async (_: Directory, { storage }) => {
    const wakes: number[] = [];
    const revocations = new Revocations({
      storage,
      config,
      ledger: new Ledger(storage, config, config.wrapperFor("directory"), new Serial(), () => {}),
      update: options.around?.(update) ?? update,
      wakeBy: (at) => wakes.push(at),
    });
    await test({
      revocations,
      storage,
      wakes,
      put: (...rows) => void storage.transactionSync(() => revocations.put(rows, Date.now())),
      rows: () => storage.sql.exec("SELECT * FROM revocations ORDER BY nats_key").toArray(),
    });
  });
}

describe("revoked credentials", () => {
  it("end the live session and do not come back; other users, and all else in the account, stay", async () => {
    const account = await Account.make();
    const foreign = (await User.of(account)).nkey;
    await account.push(await account.jwt({ [foreign]: 1_700_000_000 }));
    const [one, other] = [await User.of(account), await User.of(account)];
    const [session, otherSession] = [await one.session(), await other.session()];
    const before = await account.onCluster();
    await alive(account, async ({ revocations, put, rows, wakes }) => {
      put(one.ended());
      expect(revocations.state()).toMatchObject({ mode: "revocable", waiting: 1 });
      await revocations.look();
      expect(revocations.state()).toMatchObject({ waiting: 0, revocations: 1 });
      expect(revocations.state()).not.toHaveProperty("problem");
      expect(rows()).toMatchObject([{ nats_key: one.nkey, listed_at: expect.any(Number) }]);
      expect(wakes.at(-1)! - Date.now()).toBeLessThanOrEqual(LOOK_INTERVAL_MS);
    });
    await session.closed();
    await expect(one.session()).rejects.toThrow();
    await otherSession.flush();

    const { claims, list } = await account.onCluster();
    expect(list).toEqual({ [one.nkey]: one.issuedAt, [foreign]: 1_700_000_000 });
    const rest = ({ iat: _iat, jti: _jti, nats, ...claims }: Record<string, unknown>) => {
      const { revocations: _list, ...others } = nats as Record<string, unknown>;
      return { ...claims, ...others };
    };
    expect(rest(claims)).toEqual(rest(before.claims));
    expect(claims.iat).toBeGreaterThan(before.claims.iat as number);
  });

  it("hit what was issued until then: a JWT of a later second is good", async () => {
    const account = await Account.make();
    const user = await User.of(account);
    await user.renew(nowSeconds() - 10);
    await alive(account, async ({ revocations, put }) => {
      put(user.ended());
      await revocations.look();
    });
    await expect(user.session()).rejects.toThrow();
    await user.renew(nowSeconds());
    await (await user.session()).flush();
  });

  it("that come while the list is being pushed, or in one batch, are all on it", async () => {
    const account = await Account.make();
    const users = await Promise.all(Array.from({ length: 5 }, () => User.of(account)));
    let pushes = 0;
    let life: Life | undefined;
    await alive(
      account,
      async (it) => {
        life = it;
        it.put(users[0]!.ended());
        await Promise.all([it.revocations.look(), it.revocations.look()]);
        expect(it.revocations.state()).toMatchObject({ waiting: 0, revocations: 5 });
      },
      {
        around: (update) => async (change) => {
          pushes += 1;
          const outcome = await update(change);
          // The cluster has the first one; nothing has been written about it.
          if (pushes === 1) life!.put(...users.slice(1).map((user) => user.ended()));
          return outcome;
        },
      },
    );
    expect(pushes).toBe(2);
    expect(Object.keys((await account.onCluster()).list).sort()).toEqual(
      users.map(({ nkey }) => nkey).sort(),
    );
  });

  it.each([
    ["before the push", async (_: Update, __: AccountChange) => Promise.reject(new Error("killed"))],
    [
      "after the push",
      async (update: Update, change: AccountChange) => {
        await update(change);
        throw new Error("killed");
      },
    ],
  ])("survive the object when it dies %s", async (_when, dying) => {
    const account = await Account.make();
    const user = await User.of(account);
    await alive(
      account,
      async ({ revocations, put, rows, wakes }) => {
        put(user.ended());
        await revocations.look();
        expect(rows()).toMatchObject([{ listed_at: null }]);
        expect(revocations.state()).toMatchObject({ waiting: 1, problem: expect.stringContaining("killed") });
        expect(wakes.at(-1)).toBeGreaterThan(Date.now());
      },
      { around: (update) => (change) => dying(update, change) },
    );
    const between = await account.onCluster();
    await alive(account, async ({ revocations, rows }) => {
      await revocations.work(Date.now());
      expect(rows()).toMatchObject([{ listed_at: expect.any(Number) }]);
    });
    const after = await account.onCluster();
    expect(after.list).toEqual({ [user.nkey]: user.issuedAt });
    // It is recorded once, whichever life pushed it.
    const recorded = await directoryOf(env).audit({ operation: "credentials.revoked", limit: 10 });
    expect(recorded.ok && recorded.value.items).toMatchObject([
      { response_summary: { listed: 1, added: 1 } },
    ]);
    // What was pushed already is not pushed again.
    if (Object.keys(between.list).length > 0) expect(after.jwt).toBe(between.jwt);
  });

  it("return to a cluster that was restored without them", async () => {
    const account = await Account.make();
    const user = await User.of(account);
    await alive(account, async ({ revocations, put, rows }) => {
      put(user.ended());
      await revocations.look();
      await account.push();
      expect((await account.onCluster()).list).toEqual({});
      await revocations.look();
      expect((await account.onCluster()).list).toEqual({ [user.nkey]: user.issuedAt });
      expect(rows()).toHaveLength(1);
    });
  });

  it("leave the list when they have run out, and nothing else does", async () => {
    const account = await Account.make();
    const [user, staying, foreign] = [await User.of(account), await User.of(account), await User.of(account)];
    await account.push(await account.jwt({ [foreign.nkey]: 1_700_000_000 }));
    await alive(account, async ({ revocations, put, rows, storage }) => {
      put(user.ended(), staying.ended());
      await revocations.look();
      expect(Object.keys((await account.onCluster()).list)).toHaveLength(3);
      storage.sql.exec("UPDATE revocations SET expires_at = ? WHERE nats_key = ?", 1, user.nkey);
      await revocations.look();
      expect(rows()).toMatchObject([{ nats_key: staying.nkey }]);
      expect((await account.onCluster()).list).toEqual({
        [staying.nkey]: staying.issuedAt,
        [foreign.nkey]: 1_700_000_000,
      });
    });
  });

  it("that the operator has set later stay as the operator set them", async () => {
    const account = await Account.make();
    const user = await User.of(account);
    await alive(account, async ({ revocations, put, rows, storage }) => {
      put(user.ended());
      await revocations.look();
      await account.push(await account.jwt({ [user.nkey]: 1_900_000_000 }));
      storage.sql.exec("UPDATE revocations SET expires_at = 1");
      await revocations.look();
      expect(rows()).toEqual([]);
      expect((await account.onCluster()).list).toEqual({ [user.nkey]: 1_900_000_000 });
    });
  });

  it("are pushed to no account that another key has signed, and to it once it is put right", async () => {
    const account = await Account.make();
    const user = await User.of(account);
    const wrong = await account.jwt({}, createOperator());
    await account.push(wrong);
    await alive(account, async ({ revocations, put }) => {
      put(user.ended());
      await revocations.look();
      expect(revocations.state()).toMatchObject({
        waiting: 1,
        problem: expect.stringContaining("SERVICESPACE_OPERATOR_SIGNING_SEED"),
      });
      expect((await account.onCluster()).jwt).toBe(wrong);
      await account.push();
      await revocations.look();
      expect(revocations.state()).toMatchObject({ waiting: 0 });
      expect((await account.onCluster()).list).toEqual({ [user.nkey]: user.issuedAt });
    });
  });

  it("need an account that the cluster knows", async () => {
    const account = await Account.make();
    const gone = createAccount().getPublicKey();
    await alive(
      account,
      async ({ revocations, put }) => {
        put((await User.of(account)).ended());
        await revocations.look();
        expect(revocations.state()).toMatchObject({
          waiting: 1,
          problem: expect.stringContaining("does not know"),
        });
      },
      { around: () => (change) => unknownAccount(gone, change) },
    );
  });

  const unknownAccount = async (account: string, change: AccountChange) =>
    asSystem(async (session) =>
      updateAccount(session, {
        account,
        signer: await importSigningKey(decodeSeed("operator", operatorSigningSeed)!),
        change,
      }),
    );

  it("of a contract whose nkey another contract in force names are left alone", async () => {
    const account = await Account.make();
    const victim = await User.of(account);
    const directory = env.DIRECTORY.getByName(DIRECTORY_NAME);
    const { revocation: _none, ...living } = victim.ended({ contractId: "living" });
    await directory.indexContracts([{ ...living, status: "active" }]);
    await alive(account, async ({ revocations, put, rows }) => {
      put(victim.ended({ contractId: "attackers" }));
      expect(rows()).toEqual([]);
      // The contract's own end is another matter.
      put(victim.ended({ contractId: "living" }));
      expect(rows()).toHaveLength(1);
      await revocations.look();
    });
  });

  it("only run out where no operator's key is set, and are forgotten then", async () => {
    const account = await Account.make();
    const user = await User.of(account);
    await alive(
      account,
      async ({ revocations, put, rows, storage }) => {
        put(user.ended());
        await revocations.look();
        expect(rows()).toMatchObject([{ listed_at: null }]);
        expect(revocations.state()).toEqual({ mode: "short_lived", user_jwt_lifetime_seconds: 86_400 });
        expect((await account.onCluster()).list).toEqual({});
        storage.sql.exec("UPDATE revocations SET expires_at = 1");
        await revocations.look();
        expect(rows()).toEqual([]);
      },
      { config: { revoking: undefined } },
    );
  });
});

describe("the settings", () => {
  const settings = (change: object) => configOf({ ...env, ...change });
  const SEED = { SERVICESPACE_OPERATOR_SIGNING_SEED: operatorSigningSeed };
  const CREDS = { SERVICESPACE_SYSTEM_CREDS: systemCreds };

  it("take the operator's key and the system account together, or neither", async () => {
    expect((await settings({})).revoking).toBeUndefined();
    expect((await settings({ ...SEED, ...CREDS })).revoking).toMatchObject({ systemCreds });
    await expect(settings(SEED)).rejects.toThrow(
      "SERVICESPACE_OPERATOR_SIGNING_SEED is set without SERVICESPACE_SYSTEM_CREDS: set both, or neither",
    );
    await expect(settings(CREDS)).rejects.toThrow(
      "SERVICESPACE_SYSTEM_CREDS is set without SERVICESPACE_OPERATOR_SIGNING_SEED: set both, or neither",
    );
  });

  it.each([
    [
      "a seed of another kind",
      { ...CREDS, SERVICESPACE_OPERATOR_SIGNING_SEED: usersSigningSeed },
      "operator seed",
    ],
    ["something that is no .creds file", { ...SEED, SERVICESPACE_SYSTEM_CREDS: "x" }, ".creds file"],
    ["the key in force as the one before", { VAULT_KEK_PREVIOUS: env.VAULT_KEK }, "must not be VAULT_KEK"],
  ])("refuse %s, and repeat no secret", async (_what, change, said) => {
    const refusal = await settings(change).then(
      () => "",
      (error: Error) => error.message,
    );
    expect(refusal).toContain(said);
    for (const secret of [usersSigningSeed, operatorSigningSeed, env.VAULT_KEK])
      expect(refusal).not.toContain(secret);
  });
});
