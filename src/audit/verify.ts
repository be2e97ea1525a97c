// What an auditor looks at, and what is said of it: a chain, the proofs of its heads, the log's checkpoints and
// tiles. Pure: whoever uses it hands in what was fetched, or a reader. Nothing handed in is believed.
//
// What each part can show (docs/AUDIT.md):
//   - a chain by itself: entries changed, removed from its middle, reordered;
//   - a chain and the log: that it is the one whose heads were logged;
//   - a chain or a log against what was seen before (`compareHashes`, `checkHistory`): truncated, rolled back,
//     rewritten whole with the service's own key, forked;
//   - cosignatures: that witnesses saw this very history of the log.

import { auditHashOf } from "../crypto/hash.ts";
import { verifyJson } from "../crypto/signing.ts";
import { type AuditEntry, auditEntry, CHAIN_START } from "../protocol/audit.ts";
import { equalBytes } from "../protocol/encoding.ts";
import { parseRoutedId } from "../protocol/ids.ts";
import { LABELS } from "../protocol/labels.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import type { OpenedCheckpoint } from "./checkpoint.ts";
import { type LeafOpening, leafOf, parseOpening } from "./leaf.ts";
import {
  consistencyProof,
  consistencySubtrees,
  inclusionProof,
  inclusionSubtrees,
  leafHash,
  rootHash,
  rootSubtrees,
  type Subtree,
  verifyConsistency,
  verifyInclusion,
} from "./merkle.ts";
import type { VerifierKey } from "./note.ts";
import { type ProofFault, parseProof, verifyProof } from "./proof.ts";
import { readerOver, type Tile, tilesHolding } from "./tiles.ts";

export type FindingKind =
  /** An entry is not what was signed, or not what it was. */
  | "changed"
  /** An entry that others name, or that was seen before, is not there. */
  | "removed"
  | "reordered"
  /** The chain ends before where it ended. */
  | "truncated"
  /** Soundly signed, and another chain than the one seen before. */
  | "rewritten"
  /** An entry is not one of this chain, or has not its form. */
  | "foreign"
  /** The log shows less than it did. */
  | "rolled_back"
  /** The log shows another history than it did. */
  | "forked"
  /** Checkpoint, tiles or a proof do not hold together. */
  | "log_damaged"
  /** A head that was said to be in the log is not, or is nobody's. */
  | "not_in_log"
  /** A witness that is relied upon has not cosigned. */
  | "not_cosigned";

export interface Finding {
  kind: FindingKind;
  /** Place in the chain, from 0, counted from the first entry handed in. */
  entry?: number;
  event_id?: string;
  detail: string;
}

export interface ChainKeys {
  serviceId: string;
  /** Ed25519, base64. */
  publicKey: string;
  /** `user_id`, or `service_id` for the service's own chain. */
  ownerId: string;
}

export interface ChainReading {
  findings: Finding[];
  /** `event_hash` of each entry as it names itself, "" where it has not an entry's form. */
  hashes: string[];
  eventIds: string[];
}

/** Looks at every entry of a chain, and goes on behind what does not hold. `after`: CHAIN_START unless pruned. */
export async function readChain(
  entries: readonly unknown[],
  { serviceId, publicKey, ownerId }: ChainKeys,
  after = CHAIN_START,
): Promise<ChainReading> {
  const parsed = entries.map((entry) => auditEntry.safeParse(entry).data);
  const hashes = parsed.map((entry) => entry?.event_hash ?? "");
  const eventIds = parsed.map((entry) => entry?.event_id ?? "");
  const findings: Finding[] = [];
  let head = after;
  for (const [at, entry] of parsed.entries()) {
    const found = (kind: FindingKind, detail: string): void => {
      findings.push({
        kind,
        entry: at,
        ...(entry === undefined ? {} : { event_id: entry.event_id }),
        detail,
      });
    };
    if (entry === undefined) {
      found("foreign", "it has not the form of an entry");
      continue;
    }
    if (entry.service_id !== serviceId || (entry.user_id ?? entry.service_id) !== ownerId)
      found("foreign", "it is of another service or another user");
    if (auditHashOf(entry) !== entry.event_hash)
      found("changed", "its content is not the one that was hashed");
    else if (!(await verifyJson(publicKey, LABELS.audit, { event_hash: entry.event_hash }, entry.signature)))
      found("changed", "it is not signed by the service");
    // Next to an entry of no form nothing can be said of the link.
    if (entry.previous_hash !== head && !(at > 0 && hashes[at - 1] === "")) {
      const elsewhere = hashes.indexOf(entry.previous_hash);
      if (elsewhere !== -1 || (entry.previous_hash === after && at > 0))
        found("reordered", "the entry before it is not the one it names, which is elsewhere in the chain");
      else found("removed", "the entry it names as the one before it is not in the chain");
    }
    head = entry.event_hash;
  }
  return { findings, hashes, eventIds };
}

/** A chain as it was seen before: hashes and ids, the first entry first. */
export interface SeenChain {
  hashes: string[];
  event_ids: string[];
}

/**
 * Holds a chain against what was seen of it before: it may only have grown, or have lost its beginning to pruning.
 * `after`: the hash before the first entry now.
 */
export function compareHashes(seen: SeenChain, now: SeenChain, after = CHAIN_START): Finding[] {
  if (seen.hashes.length === 0) return [];
  const skipped = after === CHAIN_START ? 0 : seen.hashes.indexOf(after) + 1;
  if (after !== CHAIN_START && skipped === 0)
    return [
      {
        kind: "rewritten",
        detail: "it begins behind an entry that was not in the chain when it was last seen",
      },
    ];
  const findings: Finding[] = [];
  const known = seen.hashes.slice(skipped);
  const ids = seen.event_ids.slice(skipped);
  const isThere = new Set(now.hashes);
  const differing = known.filter((hash, at) => now.hashes[at] !== hash);
  if (differing.length === 0) return [];
  const kept = known.filter((hash) => isThere.has(hash)).length;
  const first = known.findIndex((hash, at) => now.hashes[at] !== hash);
  // A chain that ends where an earlier one went on, and is the same up to there.
  if (first === now.hashes.length)
    return [
      {
        kind: "truncated",
        entry: first,
        event_id: ids[first]!,
        detail: `it had ${known.length} entries when it was last seen and has ${now.hashes.length}`,
      },
    ];
  // What is behind a difference bears other hashes only if it was signed anew.
  if (known.slice(first).every((hash) => !isThere.has(hash)))
    return [
      {
        kind: "rewritten",
        entry: first,
        event_id: ids[first]!,
        detail: `${known.length - kept} entries from here on are others than when it was last seen, and signed`,
      },
    ];
  for (const [at, hash] of known.entries()) {
    if (now.hashes[at] === hash) continue;
    const event_id = ids[at]!;
    const place = now.hashes.indexOf(hash);
    const sameId = now.event_ids.indexOf(event_id);
    if (place === -1 && sameId !== -1)
      findings.push({
        kind: "changed",
        entry: sameId,
        event_id,
        detail: "it is another than when it was last seen",
      });
    else if (place === -1)
      findings.push({
        kind: "removed",
        entry: at,
        event_id,
        detail: "it was in the chain when it was last seen",
      });
    else if (findings.length === 0)
      findings.push({
        kind: "reordered",
        entry: place,
        event_id,
        detail: `it was entry ${at} when it was last seen`,
      });
  }
  return findings;
}

const rowOf = ({ event_id }: Pick<AuditEntry, "event_id">): number => parseRoutedId(event_id)?.row ?? 0;

/**
 * Holds a chain against a copy that a sink was sent: entries in any order, some of them twice. Either may lack the
 * beginning; the copy may lack the end, and what the sink has lost.
 */
export function compareCopy(copy: readonly AuditEntry[], entries: readonly AuditEntry[]): Finding[] {
  const kept = [...new Map(copy.map((entry) => [entry.event_hash, entry])).values()].sort(
    (one, other) => rowOf(one) - rowOf(other),
  );
  if (kept.length === 0) return [];
  const twice = kept.find((entry, at) => at > 0 && rowOf(entry) === rowOf(kept[at - 1]!));
  if (twice !== undefined)
    return [
      {
        kind: "rewritten",
        event_id: twice.event_id,
        detail: "the copy has two entries in this one's place, both signed",
      },
    ];
  const from = Math.max(rowOf(kept[0]!), entries[0] === undefined ? 0 : rowOf(entries[0]));
  const seen = kept.filter((entry) => rowOf(entry) >= from);
  const places = new Set(seen.map(rowOf));
  const now = entries.filter((entry) => places.has(rowOf(entry)));
  const chain = (of: readonly AuditEntry[]): SeenChain => ({
    hashes: of.map(({ event_hash }) => event_hash),
    event_ids: of.map(({ event_id }) => event_id),
  });
  return compareHashes(chain(seen), chain(now)).map(({ entry, ...finding }) => {
    const found = entry === undefined ? undefined : now[entry];
    return {
      ...finding,
      ...(found === undefined ? {} : { entry: entries.indexOf(found) }),
      detail: `against the copy: ${finding.detail}`,
    };
  });
}

/** Opens a proof with its opening, and checks it against its own checkpoint. */
export async function openProof(
  text: string,
  log: VerifierKey,
  witnesses: readonly VerifierKey[] = [],
): Promise<Result<{ opening: LeafOpening; index: number; checkpoint: OpenedCheckpoint }, ProofFault>> {
  const extra = parseProof(text)?.extra;
  const opening = extra && parseOpening(extra);
  if (opening === undefined) return err("malformed");
  const verified = await verifyProof(text, leafOf(opening), log, witnesses);
  return verified.ok ? ok({ opening, ...verified.value }) : verified;
}

/** Fetches a tile by its path under /log, or says that it is not there. */
export type FetchTile = (tile: Tile) => Promise<Uint8Array | undefined>;

export interface SignedTree {
  size: number;
  root: Uint8Array;
}

/** A reader of the subtrees named, over tiles of a tree of `size` leaves fetched first. */
async function readerOf(subtrees: Subtree[], size: number, fetchTile: FetchTile) {
  const tiles = new Map<string, Uint8Array>();
  for (const tile of tilesHolding(subtrees, size)) {
    const bytes = await fetchTile(tile);
    if (bytes !== undefined) tiles.set(`${tile.level}/${tile.n}`, bytes);
  }
  return readerOver(({ level, n }) => tiles.get(`${level}/${n}`));
}

/** What is computed from tiles; undefined when one is missing or too short. */
async function fromTiles<T>(
  subtrees: Subtree[],
  size: number,
  fetchTile: FetchTile,
  compute: (read: Awaited<ReturnType<typeof readerOf>>) => T,
): Promise<T | undefined> {
  try {
    return compute(await readerOf(subtrees, size, fetchTile));
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Whether the tiles published are those of the signed tree: its root, computed from them. */
export async function checkTiles({ size, root }: SignedTree, fetchTile: FetchTile): Promise<Finding[]> {
  const computed = await fromTiles(rootSubtrees(size), size, fetchTile, (read) => rootHash(size, read));
  if (computed !== undefined && equalBytes(computed, root)) return [];
  const detail =
    computed === undefined
      ? "tiles of the signed tree are missing"
      : "the tiles do not hash to the signed root";
  return [{ kind: "log_damaged", detail }];
}

/** Holds a tree against one that the log signed before. */
export async function checkHistory(
  earlier: SignedTree,
  now: SignedTree,
  fetchTile: FetchTile,
): Promise<Finding[]> {
  if (now.size < earlier.size)
    return [
      {
        kind: "rolled_back",
        detail: `the log had ${earlier.size} leaves when it was last seen and has ${now.size}`,
      },
    ];
  const proof =
    now.size === earlier.size
      ? []
      : await fromTiles(consistencySubtrees(earlier.size, now.size), now.size, fetchTile, (read) =>
          consistencyProof(earlier.size, now.size, read),
        );
  if (proof === undefined)
    return [
      { kind: "log_damaged", detail: `tiles between ${earlier.size} and ${now.size} leaves are missing` },
    ];
  return verifyConsistency(earlier, now, proof)
    ? []
    : [
        {
          kind: "forked",
          detail: `the tree of ${now.size} leaves does not begin with the one of ${earlier.size} that was signed before`,
        },
      ];
}

/** Whether a head's leaf is at its place in the signed tree, by tiles alone. */
export async function checkLeaf(
  opening: LeafOpening,
  index: number,
  { size, root }: SignedTree,
  fetchTile: FetchTile,
): Promise<Finding[]> {
  if (index >= size)
    return [
      { kind: "not_in_log", detail: `the log has ${size} leaves; the head was said to be leaf ${index}` },
    ];
  const path = await fromTiles(inclusionSubtrees(index, size), size, fetchTile, (read) =>
    inclusionProof(index, size, read),
  );
  if (path === undefined) return [{ kind: "log_damaged", detail: `tiles over leaf ${index} are missing` }];
  return verifyInclusion(leafHash(leafOf(opening)), index, size, root, path)
    ? []
    : [{ kind: "not_in_log", detail: `leaf ${index} of the log is not this head's` }];
}

export interface Evidence {
  entries: readonly unknown[];
  /** Hash before the first entry; absent: the chain's beginning. */
  after?: string;
  /** tlog-proofs with openings, of heads among the entries. */
  proofs: readonly string[];
}

export interface EvidenceReading extends ChainReading {
  /** Heads proven, with their place in the log. */
  heads: { entry: number; index: number; opening: LeafOpening; checkpoint: OpenedCheckpoint }[];
  /** Entries up to the last proven head. */
  covered: number;
}

/** A chain with the proofs of its heads: each must be about this chain, and about an entry of it. */
export async function readEvidence(
  { entries, after, proofs }: Evidence,
  keys: ChainKeys,
  log: VerifierKey,
  witnesses: readonly VerifierKey[] = [],
): Promise<EvidenceReading> {
  const chain = await readChain(entries, keys, after);
  const findings = [...chain.findings];
  const heads: EvidenceReading["heads"] = [];
  for (const text of proofs) {
    const opened = await openProof(text, log, witnesses);
    if (!opened.ok) {
      findings.push({ kind: "log_damaged", detail: `a proof does not hold: ${opened.error}` });
      continue;
    }
    const { opening, index, checkpoint } = opened.value;
    const entry = chain.hashes.indexOf(opening.head);
    if (opening.ownerId !== keys.ownerId || entry === -1)
      findings.push({
        kind: "not_in_log",
        detail: `leaf ${index} of the log is the head of another chain, or of entries that are not in this one`,
      });
    else heads.push({ entry, index, opening, checkpoint });
  }
  heads.sort((one, other) => one.entry - other.entry);
  const covered = (heads.at(-1)?.entry ?? -1) + 1;
  return { ...chain, findings, heads, covered };
}

/** The witnesses of a checkpoint that are relied upon and have not cosigned it. */
export function checkCosigners(checkpoint: OpenedCheckpoint, witnesses: readonly VerifierKey[]): Finding[] {
  return witnesses
    .filter(({ name }) => !checkpoint.cosigners.some((cosigner) => cosigner.name === name))
    .map(({ name }) => ({
      kind: "not_cosigned" as const,
      detail: `${name} has not cosigned the checkpoint of ${checkpoint.size} leaves`,
    }));
}
