// Our nkeys against those of the published library.

import { createAccount, createOperator, createUser, fromPublic, fromSeed } from "@nats-io/nkeys";
import { describe, expect, test } from "vitest";
import { importSigningKey } from "../../../src/crypto/signing.ts";
import { decodeNkey, decodeSeed, encodeNkey, encodeSeed, type NkeyKind } from "../../../src/nats/nkey.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const utf8 = (value: string) => new TextEncoder().encode(value);
const kinds: [NkeyKind, () => ReturnType<typeof createUser>, RegExp, RegExp][] = [
  ["user", createUser, /^U[A-Z2-7]{55}$/, /^SU[A-Z2-7]{56}$/],
  ["account", createAccount, /^A[A-Z2-7]{55}$/, /^SA[A-Z2-7]{56}$/],
  ["operator", createOperator, /^O[A-Z2-7]{55}$/, /^SO[A-Z2-7]{56}$/],
];
const other = (kind: NkeyKind): NkeyKind => (kind === "user" ? "account" : "user");

describe.each(kinds)("an nkey of a %s", (kind, create, publicForm, seedForm) => {
  test("made by the library is read, and written the same", async () => {
    const pair = create();
    const seedText = text(pair.getSeed());
    const seed = decodeSeed(kind, seedText)!;
    const { publicKey } = await importSigningKey(seed);
    expect(decodeNkey(kind, pair.getPublicKey())).toEqual(publicKey);
    expect(encodeNkey(kind, publicKey)).toBe(pair.getPublicKey());
    expect(encodeSeed(kind, seed)).toBe(seedText);
  });

  test("made by us is taken by the library, and signs for the same key", async () => {
    const seed = crypto.getRandomValues(new Uint8Array(32));
    const key = await importSigningKey(seed);
    const publicText = encodeNkey(kind, key.publicKey);
    const seedText = encodeSeed(kind, seed);
    expect(publicText).toMatch(publicForm);
    expect(seedText).toMatch(seedForm);
    expect(fromSeed(utf8(seedText)).getPublicKey()).toBe(publicText);
    expect(fromPublic(publicText).verify(utf8("nonce"), await key.sign(utf8("nonce")))).toBe(true);
  });

  test("of another kind, with one letter changed, cut or extended is not read", () => {
    const pair = create();
    const [publicText, seedText] = [pair.getPublicKey(), text(pair.getSeed())];
    const changed = (value: string, at: number) =>
      value.slice(0, at) + (value[at] === "A" ? "B" : "A") + value.slice(at + 1);
    for (let at = 0; at < publicText.length; at++)
      expect(decodeNkey(kind, changed(publicText, at))).toBeUndefined();
    for (let at = 0; at < seedText.length; at++)
      expect(decodeSeed(kind, changed(seedText, at))).toBeUndefined();
    for (const bad of [
      "",
      publicText.slice(1),
      `${publicText}A`,
      publicText.toLowerCase(),
      seedText,
      "U",
      "é",
    ]) {
      expect(decodeNkey(kind, bad)).toBeUndefined();
    }
    for (const bad of ["", seedText.slice(1), `${seedText}A`, `${seedText}==`, publicText]) {
      expect(decodeSeed(kind, bad)).toBeUndefined();
    }
    expect(decodeNkey(other(kind), publicText)).toBeUndefined();
    expect(decodeSeed(other(kind), seedText)).toBeUndefined();
  });

  test("holds 32 bytes and nothing else", () => {
    for (const length of [0, 31, 33]) {
      expect(() => encodeNkey(kind, new Uint8Array(length))).toThrow(RangeError);
      expect(() => encodeSeed(kind, new Uint8Array(length))).toThrow(RangeError);
    }
  });
});
