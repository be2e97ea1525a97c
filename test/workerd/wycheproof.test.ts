// Wycheproof's cases against the primitives as they are shipped, in the runtime they are shipped to. Every case is
// accounted for: accepted, refused, or, where Wycheproof leaves the choice, decided here by its flags.

import { describe, expect, inject, test } from "vitest";
import { decrypt, encrypt } from "../../src/crypto/aead.ts";
import { importAgreementKey, sharedSecret } from "../../src/crypto/agreement.ts";
import { deriveKey, hmacSha256 } from "../../src/crypto/hash.ts";
import { isSoundSigningKey } from "../../src/crypto/keys.ts";
import { verify } from "../../src/crypto/signing.ts";
import { equalBytes } from "../../src/protocol/encoding.ts";
import type { WycheproofCase, WycheproofFile } from "../wycheproof-setup.ts";

const hex = (digits: unknown): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(String(digits).match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

interface Tally {
  /** Valid and accepted, invalid and refused. */
  validAccepted: number;
  invalidRefused: number;
  /** "acceptable" cases, by our decision and the flag that decided. */
  acceptable: Record<string, number>;
  /** Cases that went another way than they must. Empty unless something is wrong. */
  wrong: string[];
}

/**
 * Runs every case. `accepts` says whether our code takes it with the very result the case states; `decide` gives,
 * for the flags of an "acceptable" case, our decision and the flag it rests on.
 */
async function tally(
  file: WycheproofFile,
  accepts: (one: WycheproofCase, group: WycheproofFile["testGroups"][number]) => Promise<boolean>,
  decide: (flags: string[]) => { accept: boolean; flag: string } | undefined = () => undefined,
): Promise<Tally> {
  const result: Tally = { validAccepted: 0, invalidRefused: 0, acceptable: {}, wrong: [] };
  for (const group of file.testGroups) {
    for (const one of group.tests) {
      const accepted = await accepts(one, group);
      const name = `${one.tcId} (${one.result}, ${one.flags?.join(", ")}): ${one.comment}`;
      if (one.result === "acceptable") {
        const decision = decide(one.flags ?? []);
        if (decision === undefined) result.wrong.push(`${name} – no decision for these flags`);
        else if (decision.accept !== accepted)
          result.wrong.push(`${name} – ${accepted ? "accepted" : "refused"} against our decision`);
        else {
          const line = `${decision.flag}: ${accepted ? "accepted" : "refused"}`;
          result.acceptable[line] = (result.acceptable[line] ?? 0) + 1;
        }
      } else if (accepted !== (one.result === "valid")) {
        result.wrong.push(`${name} – ${accepted ? "accepted" : "refused"}`);
      } else if (accepted) {
        result.validAccepted++;
      } else {
        result.invalidRefused++;
      }
    }
  }
  return result;
}

const total = ({ validAccepted, invalidRefused, acceptable, wrong }: Tally) =>
  validAccepted +
  invalidRefused +
  wrong.length +
  Object.values(acceptable).reduce((sum, count) => sum + count, 0);

const files = inject("wycheproof");
if (files === undefined)
  throw new Error("test/wycheproof-setup.ts is missing from this project's globalSetup");

if (files === null) test.skip("Wycheproof: skipped, VECTORS_DIR does not say where its files are", () => {});

describe.runIf(files !== null)("Wycheproof in workerd", () => {
  test("Ed25519: a sound key and a strict verification", async () => {
    const file = files!.ed25519;
    const counts = await tally(file, async (one, group) => {
      const key = hex(group.publicKey!.pk);
      return isSoundSigningKey(key) && (await verify(key, hex(one.msg), hex(one.sig)));
    });
    expect(counts).toEqual({ validAccepted: 88, invalidRefused: 63, acceptable: {}, wrong: [] });
    expect(total(counts)).toBe(file.numberOfTests);
  });

  test("X25519: the shared secret, from canonical keys that are not of small order", async () => {
    const file = files!.x25519;
    const counts = await tally(
      file,
      async (one) => {
        const { privateKey } = await importAgreementKey(hex(one.private));
        const shared = await sharedSecret(privateKey, hex(one.public));
        return shared !== undefined && equalBytes(shared, hex(one.shared));
      },
      // The first that applies. A twist point is a fine public key of X25519: RFC 7748 takes it, and so do we.
      (flags) => {
        if (flags.includes("ZeroSharedSecret")) return { accept: false, flag: "ZeroSharedSecret" };
        if (flags.includes("NonCanonicalPublic")) return { accept: false, flag: "NonCanonicalPublic" };
        if (flags.includes("Twist")) return { accept: true, flag: "Twist" };
        return undefined;
      },
    );
    expect(counts).toEqual({
      validAccepted: 264,
      invalidRefused: 0,
      acceptable: {
        "Twist: accepted": 210,
        "NonCanonicalPublic: refused": 13,
        "ZeroSharedSecret: refused": 31,
      },
      wrong: [],
    });
    expect(total(counts)).toBe(file.numberOfTests);
  });

  test("XChaCha20-Poly1305: seals to the stated bytes and opens them, and nothing that was changed", async () => {
    const file = files!.xchacha20_poly1305;
    const counts = await tally(file, async (one) => {
      const [key, nonce, aad, plaintext] = [hex(one.key), hex(one.iv), hex(one.aad), hex(one.msg)];
      const sealed = new Uint8Array([...hex(one.ct), ...hex(one.tag)]);
      const opened = decrypt(key, nonce, aad, sealed);
      if (opened === undefined) return false;
      return equalBytes(opened, plaintext) && equalBytes(encrypt(key, nonce, aad, plaintext), sealed);
    });
    expect(counts).toEqual({ validAccepted: 246, invalidRefused: 69, acceptable: {}, wrong: [] });
    expect(total(counts)).toBe(file.numberOfTests);
  });

  test("HKDF-SHA256: the derived key, and none longer than 255 blocks", async () => {
    const file = files!.hkdf_sha256;
    const counts = await tally(file, async (one) => {
      try {
        const derived = deriveKey(hex(one.ikm), hex(one.salt), hex(one.info), one.size as number);
        return equalBytes(derived, hex(one.okm));
      } catch {
        return false;
      }
    });
    expect(counts).toEqual({ validAccepted: 83, invalidRefused: 3, acceptable: {}, wrong: [] });
    expect(total(counts)).toBe(file.numberOfTests);
  });

  test("HMAC-SHA256: the tag, cut to the stated length, and no other", async () => {
    const file = files!.hmac_sha256;
    const counts = await tally(file, async (one, group) => {
      const tag = await hmacSha256(hex(one.key), hex(one.msg));
      return equalBytes(tag.subarray(0, group.tagSize! / 8), hex(one.tag));
    });
    expect(counts).toEqual({ validAccepted: 66, invalidRefused: 108, acceptable: {}, wrong: [] });
    expect(total(counts)).toBe(file.numberOfTests);
  });
});
