// What every error of this package has in common; apart from the others so that a verifier brings no client along.

/** The base of every error this package throws on purpose. `code` is what to switch on; it never changes. */
export abstract class ServiceVaultError extends Error {
  abstract readonly code: string;
}
