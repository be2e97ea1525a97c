import { beforeAll, describe, expect, it } from "vitest";
import { signEntry } from "../../../src/audit/chain.ts";
import { type LeafOpening, leafOf } from "../../../src/audit/leaf.ts";
import { leafHash, rootHash } from "../../../src/audit/merkle.ts";
import { appendLeaves, readerOver, type Tile } from "../../../src/audit/tiles.ts";
import {
  checkHistory,
  checkLeaf,
  checkTiles,
  compareCopy,
  compareHashes,
  readChain,
  type SeenChain,
} from "../../../src/audit/verify.ts";
import { importSigningKey, type SigningKey } from "../../../src/crypto/signing.ts";
import { type AuditEntry, CHAIN_START } from "../../../src/protocol/audit.ts";
import { newRoutedId, randomBytes } from "../../../src/protocol/ids.ts";

/** base58 of 32 bytes. */
const OWNER = "4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi";

let key: SigningKey;
let other: SigningKey;
let chain: AuditEntry[];

async function entriesFrom(count: number, after = CHAIN_START): Promise<AuditEntry[]> {
  const entries: AuditEntry[] = [];
  let head = after;
  for (let n = 1; n <= count; n++) {
    const entry = await signEntry(
      key,
      {
        event_id: newRoutedId(other.id, n),
        timestamp: "2026-01-01T00:00:00.000Z",
        service_id: key.id,
        user_id: other.id,
        operation: "auth.request",
        status: "success",
        request_summary: {},
        response_summary: {},
      },
      head,
    );
    entries.push(entry);
    head = entry.event_hash;
  }
  return entries;
}

beforeAll(async () => {
  key = await importSigningKey(randomBytes(32));
  other = await importSigningKey(randomBytes(32));
  chain = await entriesFrom(6);
});

const read = (entries: readonly unknown[], after?: string) =>
  readChain(entries, { serviceId: key.id, publicKey: key.publicKeyText, ownerId: other.id }, after);
const kindsOf = async (entries: readonly unknown[], after?: string) =>
  (await read(entries, after)).findings.map(({ kind, entry }) => [kind, entry]);

describe("a chain by itself", () => {
  it("whole, or behind what was pruned, holds", async () => {
    expect(await kindsOf(chain)).toEqual([]);
    expect(await kindsOf(chain.slice(2), chain[1]!.event_hash)).toEqual([]);
    expect(await kindsOf([])).toEqual([]);
  });

  it("says what was changed, removed, moved or is of elsewhere, and where", async () => {
    expect(await kindsOf(chain.with(2, { ...chain[2]!, status: "denied" }))).toEqual([["changed", 2]]);
    expect(await kindsOf(chain.with(2, { ...chain[2]!, signature: chain[1]!.signature }))).toEqual([
      ["changed", 2],
    ]);
    expect(await kindsOf(chain.toSpliced(3, 1))).toEqual([["removed", 3]]);
    expect(await kindsOf(chain.slice(1))).toEqual([["removed", 0]]);
    const moved = chain.with(2, chain[3]!).with(3, chain[2]!);
    expect((await kindsOf(moved)).every(([kind]) => kind === "reordered")).toBe(true);
    expect(await kindsOf(chain.with(1, {} as AuditEntry))).toEqual([["foreign", 1]]);
    const keys = { serviceId: key.id, publicKey: key.publicKeyText, ownerId: key.id };
    expect((await readChain(chain, keys)).findings).toHaveLength(chain.length);
  });
});

const seen = (entries: readonly AuditEntry[]): SeenChain => ({
  hashes: entries.map(({ event_hash }) => event_hash),
  event_ids: entries.map(({ event_id }) => event_id),
});
const compared = (now: readonly AuditEntry[], after?: string) =>
  compareHashes(seen(chain), seen(now), after).map(({ kind }) => kind);

describe("a chain against what was seen of it", () => {
  it("may have grown, or lost its beginning", async () => {
    const grown = await entriesFrom(2, chain.at(-1)!.event_hash);
    expect(compared([...chain, ...grown])).toEqual([]);
    expect(compared(chain.slice(3), chain[2]!.event_hash)).toEqual([]);
    expect(compareHashes({ hashes: [], event_ids: [] }, seen(chain))).toEqual([]);
  });

  it("must not end sooner, be another, or begin where it never was", async () => {
    expect(compared(chain.slice(0, 4))).toEqual(["truncated"]);
    expect(compared([])).toEqual(["truncated"]);
    expect(compared(await entriesFrom(6))).toEqual(["rewritten"]);
    const forked = [...chain.slice(0, 3), ...(await entriesFrom(3, chain[2]!.event_hash))];
    expect(compareHashes(seen(chain), seen(forked))).toEqual([
      expect.objectContaining({ kind: "rewritten", entry: 3 }),
    ]);
    expect(compared(chain.slice(3), chain[2]!.salt)).toEqual(["rewritten"]);
    expect(compared(chain.toSpliced(2, 1))).toContain("removed");
  });
});

/** A log of leaves, as tiles. */
function logOf(leaves: readonly Uint8Array[]) {
  const tiles = new Map<string, Uint8Array>();
  const place = ({ level, n }: { level: number; n: number }) => `${level}/${n}`;
  for (const tile of appendLeaves(0, leaves.map(leafHash), () => undefined))
    tiles.set(place(tile), tile.hashes);
  const read = readerOver((tile) => tiles.get(place(tile)));
  return {
    tiles,
    fetch: async (tile: Tile) => tiles.get(place(tile))?.subarray(0, tile.width * 32),
    at: (size: number) => ({ size, root: rootHash(size, read) }),
  };
}

describe("the log", () => {
  const openings = Array.from({ length: 300 }, (): LeafOpening => {
    const head = Buffer.from(randomBytes(32)).toString("base64");
    return { salt: randomBytes(32), ownerId: OWNER, head };
  });
  const leaves = openings.map(leafOf);
  const log = logOf(leaves);

  it("is what it signed, and goes on from what it signed before", async () => {
    expect(await checkTiles(log.at(300), log.fetch)).toEqual([]);
    for (const size of [0, 1, 255, 256, 257, 300])
      expect(await checkHistory(log.at(size), log.at(300), log.fetch)).toEqual([]);
    for (const index of [0, 255, 256, 299])
      expect(await checkLeaf(openings[index]!, index, log.at(300), log.fetch)).toEqual([]);
  });

  it("shows that it went back, forked, was damaged, or does not hold a head", async () => {
    const kinds = async (findings: Promise<{ kind: string }[]>) => (await findings).map(({ kind }) => kind);
    const fork = logOf(leaves.with(100, leaves[101]!));
    expect(await kinds(checkHistory(log.at(300), log.at(299), log.fetch))).toEqual(["rolled_back"]);
    expect(await kinds(checkHistory(log.at(200), fork.at(300), fork.fetch))).toEqual(["forked"]);
    expect(await kinds(checkHistory(log.at(300), fork.at(300), fork.fetch))).toEqual(["forked"]);
    expect(await checkHistory(log.at(100), fork.at(300), fork.fetch)).toEqual([]);
    expect(await kinds(checkTiles(log.at(300), fork.fetch))).toEqual(["log_damaged"]);
    expect(await kinds(checkTiles(log.at(300), async () => undefined))).toEqual(["log_damaged"]);
    expect(await kinds(checkLeaf(openings[100]!, 100, fork.at(300), fork.fetch))).toEqual(["not_in_log"]);
    expect(await kinds(checkLeaf(openings[1]!, 300, log.at(300), log.fetch))).toEqual(["not_in_log"]);
    expect(await kinds(checkLeaf(openings[1]!, 1, log.at(300), async () => undefined))).toEqual([
      "log_damaged",
    ]);
  });
});

describe("a chain against a sink's copy", () => {
  const kinds = (copy: AuditEntry[], entries: AuditEntry[]) =>
    compareCopy(copy, entries).map(({ kind, entry }) => [kind, entry]);

  it("is the same however the copy came: out of order, twice, with gaps, without beginning or end", () => {
    const [first, second, third, fourth, fifth, sixth] = chain as [
      AuditEntry,
      AuditEntry,
      AuditEntry,
      AuditEntry,
      AuditEntry,
      AuditEntry,
    ];
    expect(kinds([fifth, sixth, first, second, third, fourth, second], chain)).toEqual([]);
    expect(kinds([first, fourth], chain)).toEqual([]);
    expect(kinds(chain.slice(2, 4), chain)).toEqual([]);
    expect(kinds([], chain)).toEqual([]);
  });

  it("may have lost its beginning to pruning since", () => {
    expect(kinds(chain, chain.slice(3))).toEqual([]);
    expect(kinds(chain.slice(0, 2), chain.slice(3))).toEqual([]);
  });

  it("shows what was cut, removed, changed or rewritten", async () => {
    expect(kinds(chain, chain.slice(0, 4))).toEqual([["truncated", undefined]]);
    expect(kinds(chain, chain.toSpliced(2, 1))).toContainEqual(["removed", 2]);
    const rewritten = await entriesFrom(6);
    expect(kinds(chain, rewritten)).toEqual([["rewritten", 0]]);
    expect(kinds(chain.slice(2), [...chain.slice(0, 2), ...rewritten.slice(2)])).toEqual([["rewritten", 2]]);
    const changed = chain.with(3, { ...rewritten[3]!, event_id: chain[3]!.event_id });
    expect(kinds(chain, changed)).toEqual([["changed", 3]]);
  });

  it("shows a copy that holds two chains", async () => {
    const [, , other] = await entriesFrom(3);
    expect(kinds([...chain, other!], chain)).toEqual([["rewritten", undefined]]);
  });
});
