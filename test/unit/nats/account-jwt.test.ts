// The JWT of an account as an operator's tool makes it, read and changed by us.

import { type Account, decode, encodeAccount } from "@nats-io/jwt";
import { createAccount, createOperator, createUser, type KeyPair } from "@nats-io/nkeys";
import { beforeAll, describe, expect, it } from "vitest";
import { importSigningKey, type SigningKey } from "../../../src/crypto/signing.ts";
import { readAccountJwt, revise, signAccountJwt } from "../../../src/nats/account-jwt.ts";
import { signJwt } from "../../../src/nats/jwt.ts";
import { decodeSeed } from "../../../src/nats/nkey.ts";

const operator = createOperator();
const account = createAccount();
const [one, other] = [createUser().getPublicKey(), createUser().getPublicKey()];
const NOW = 2_000_000_000;
let signer: SigningKey;

beforeAll(async () => {
  signer = await importSigningKey(decodeSeed("operator", new TextDecoder().decode(operator.getSeed()))!);
});

const jwtOf = (change: object = {}, by: KeyPair = operator) =>
  encodeAccount(
    "USERS",
    account,
    {
      description: "R&D <x>",
      imports: [{ name: "i", subject: "a.>", account: account.getPublicKey(), type: "service" }],
      ...change,
    } as never,
    { signer: by },
  );
const read = (jwt: string) => readAccountJwt(jwt, { account: account.getPublicKey(), signer });
const claimsOf = async (jwt: string) => {
  const claims = await read(jwt);
  if (!claims.ok) throw new Error(claims.error);
  return claims.value;
};
const flippedSignature = (jwt: string) => {
  const at = jwt.lastIndexOf(".") + 5;
  return jwt.slice(0, at) + (jwt[at] === "A" ? "B" : "A") + jwt.slice(at + 1);
};

describe("an account's JWT", () => {
  it("is read when it is this account's, by this key", async () => {
    expect(await claimsOf(await jwtOf())).toMatchObject({
      sub: account.getPublicKey(),
      nats: { type: "account" },
    });
  });

  it.each<[string, () => string | Promise<string>]>([
    ["other_signer", () => jwtOf({}, createOperator())],
    ["other_signer", () => jwtOf({}, account)],
    ["other_account", () => encodeAccount("X", createAccount(), {}, { signer: operator })],
    ["signature_invalid", async () => flippedSignature(await jwtOf())],
    ["unreadable", () => ""],
    ["unreadable", () => "a.b.c"],
    ["unreadable", () => signJwt(signer, { iss: operator.getPublicKey(), sub: account.getPublicKey() })],
    ["unreadable", () => jwtOf({ revocations: ["U"] })],
    ["unreadable", () => jwtOf({ revocations: { [one]: "soon" } })],
  ])("is %s otherwise", async (fault, make) => {
    expect(await read(await make())).toEqual({ ok: false, error: fault });
  });

  it("changed holds what it held before, and the list as wanted; the library reads it", async () => {
    const before = await jwtOf({ revocations: { "*": 5, [other]: 7 } });
    const revised = revise(await claimsOf(before), { revoke: { [one]: 9 }, forget: {} })!;
    const after = await signAccountJwt(signer, revised, NOW);
    const [then, now] = [decode<Account>(before), decode<Account>(after)];
    expect(now).toEqual({
      ...then,
      iat: NOW,
      jti: now.jti,
      iss: operator.getPublicKey(),
      nats: { ...then.nats, revocations: { "*": 5, [other]: 7, [one]: 9 } },
    });
    expect(now.jti).not.toBe(then.jti);
    expect((await read(after)).ok).toBe(true);
  });

  it("is issued after the one it replaces, whatever the clock says", async () => {
    const claims = await claimsOf(await jwtOf());
    const after = await claimsOf(await signAccountJwt(signer, claims, 5));
    expect(after.iat).toBe((claims.iat as number) + 1);
  });
});

describe("the list", () => {
  const revised = async (
    list: Record<string, number>,
    revoke: Record<string, number>,
    forget: Record<string, number> = {},
  ) => {
    const claims = await claimsOf(await jwtOf(Object.keys(list).length === 0 ? {} : { revocations: list }));
    const after = revise(claims, { revoke, forget });
    return after && ((after.nats as { revocations?: object }).revocations ?? "none");
  };

  it("is left as it is when it says what is wanted already", async () => {
    expect(await revised({}, {})).toBeUndefined();
    expect(await revised({ [one]: 9 }, { [one]: 9 })).toBeUndefined();
    expect(await revised({ [one]: 10 }, { [one]: 9 }, { [other]: 3 })).toBeUndefined();
  });

  it("takes later times, and gives up what is to be forgotten unless a later time stands there", async () => {
    expect(await revised({ [one]: 8 }, { [one]: 9 })).toEqual({ [one]: 9 });
    expect(await revised({ [one]: 8, [other]: 3 }, {}, { [one]: 8 })).toEqual({ [other]: 3 });
    expect(await revised({ [one]: 8 }, {}, { [one]: 8 })).toBe("none");
    expect(await revised({ [one]: 8 }, {}, { [one]: 7 })).toBeUndefined();
  });

  it("never takes everyone", async () => {
    await expect(revised({}, { "*": NOW })).rejects.toThrow(TypeError);
    await expect(revised({}, { [account.getPublicKey()]: NOW })).rejects.toThrow(TypeError);
  });
});
