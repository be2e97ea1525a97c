// Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019):
// a length leaks at most O(log log n) bits and grows by at most 12 %.

/** The Padmé length of `length` bytes, at least `minimum`. */
export function paddedLength(length: number, minimum: number): number {
  const wanted = Math.max(length, minimum);
  if (wanted < 2) return wanted;
  const exponent = Math.floor(Math.log2(wanted));
  const mantissaBits = Math.floor(Math.log2(exponent)) + 1;
  const lastBits = exponent - mantissaBits;
  const mask = 2 ** lastBits - 1;
  return wanted + ((mask + 1 - (wanted % (mask + 1))) % (mask + 1));
}

const SPACE = 0x20;

/** JSON text's bytes followed by spaces, which every JSON parser passes over. */
export function pad(json: Uint8Array, minimum: number): Uint8Array<ArrayBuffer> {
  const padded = new Uint8Array(paddedLength(json.length, minimum)).fill(SPACE);
  padded.set(json);
  return padded;
}
