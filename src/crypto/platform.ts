// What is used of the platform's synchronous cryptography, where there is one: Node, Deno, Bun and Workers. Asked for
// at run time, not imported: the client's package runs where there is no such module, with @noble.

interface Cipher {
  setAAD(aad: Uint8Array): void;
  update(bytes: Uint8Array): Uint8Array;
  /** Throws when the tag is not that of what went in. */
  final(): Uint8Array;
}

export type AeadName = "chacha20-poly1305";

export interface PlatformCrypto {
  createHash(algorithm: "sha256"): { update(bytes: Uint8Array): { digest(): Uint8Array } };
  hkdfSync(
    digest: "sha256",
    secret: Uint8Array,
    salt: Uint8Array,
    info: Uint8Array,
    length: number,
  ): ArrayBuffer;
  createCipheriv(
    name: AeadName,
    key: Uint8Array,
    nonce: Uint8Array,
    options: { authTagLength: number },
  ): Cipher & { getAuthTag(): Uint8Array };
  createDecipheriv(
    name: AeadName,
    key: Uint8Array,
    nonce: Uint8Array,
    options: { authTagLength: number },
  ): Cipher & { setAuthTag(tag: Uint8Array): void };
}

export const platformCrypto = (
  globalThis as { process?: { getBuiltinModule?(name: string): PlatformCrypto | undefined } }
).process?.getBuiltinModule?.("node:crypto");
