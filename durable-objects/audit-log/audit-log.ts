// The AuditLog: one Merkle log over the heads of all chains (PROTOCOL §8). One object per deployment, fed in batches
// by the Journal, on nobody's path: while it is away or halted, operations go on and their heads wait to be offered
// again.
//
// A batch goes through these steps, each of which can be the last before a crash:
//
//   1. The pool. Offered leaves wait in memory. A crash loses them; their carriers, who have had no answer, offer
//      them again.
//   2. The commit. Leaves, tiles, the new size and the signed checkpoint of it become durable in one SQLite
//      transaction. The signature exists before the commit but has not left this object, so a crash before it means
//      that nothing was signed. From the commit on each leaf has its index for good, and the checkpoint may be seen:
//      a crash after it means that this very checkpoint, or one that follows it, is published later.
//   3. Tiles to R2, each created once and never replaced. A crash leaves some of them; the next start writes the
//      rest, finding the first ones as it would write them.
//   4. The checkpoint to R2, replacing exactly the one this object published before (compare and swap). Its arrival
//      is the publication. A crash between the swap and step 5 leaves R2 ahead of what is noted here: the next start
//      reads R2 first and recognises its own checkpoint.
//   5. The note of it in SQLite, after which the carriers are told the indexes. A crash before the answer makes them
//      offer again what is in the log; they get the index it has.
//
// Then witnesses are asked for cosignatures, which are added to the published checkpoint by the same swap.
//
// Going back: Durable Object storage can be put back to any point of the last 30 days, and a log that went on from
// there would sign a second history. So nothing is written to R2 before R2's checkpoint has been compared with the
// tree held here (`#reconcile`, at each start and whenever a swap finds something else). If R2 is ahead, or holds
// another root for a size this tree has, the log halts. Then no leaf is lost: heads stay with their carriers until
// an operator has put right what was wrong (`resume`). What this cannot show is storage and bucket put back
// together, by whoever may do both: that shows only against a checkpoint held elsewhere, by a witness or a customer.

import { DurableObject } from "cloudflare:workers";
import { atPoint } from "../../src/at-point.ts";
import {
  openCheckpoint,
  parseCheckpoint,
  signCheckpoint,
  type TreeHead,
} from "../../src/audit/checkpoint.ts";
import { LEAF_BYTES } from "../../src/audit/leaf.ts";
import {
  consistencyProof,
  HASH_BYTES,
  inclusionProof,
  leafHash,
  rootHash,
  verifyInclusion,
} from "../../src/audit/merkle.ts";
import {
  formatNote,
  isSignedBy,
  type NoteSignature,
  parseNote,
  type VerifierKey,
} from "../../src/audit/note.ts";
import { formatProof } from "../../src/audit/proof.ts";
import { TILE_WIDTH, tilesBetween, tileWidth } from "../../src/audit/tiles.ts";
import type { WitnessAddress } from "../../src/audit/witness.ts";
import { type Config, configOf, inMaintenance } from "../../src/config.ts";
import type { Env } from "../../src/env.ts";
import { errorText, type LogFields, type LogLevel, log } from "../../src/log.ts";
import { equalBytes, toBase64 } from "../../src/protocol/encoding.ts";
import type {
  AuditLogForJournal,
  AuditLogForRoutes,
  AuditLogState,
  HaltReason,
  LeafPosition,
  LeafProof,
  OfferedLeaf,
  RpcResult,
  Transferable,
  TransferPage,
} from "../../src/rpc.ts";
import { migrate } from "../migrations.ts";
import { Serial } from "../serial.ts";
import { exportPage, importPage, MAINTENANCE_ALARM_MS } from "../transfer.ts";
import { SCHEMA } from "./schema.ts";
import { type LogStore, R2LogStore, TileConflict } from "./store.ts";
import { StoredTree } from "./tree.ts";
import { askWitness } from "./witnesses.ts";

/** The name of the one object. */
export const AUDIT_LOG_NAME = "audit-log";
/** What the first leaf after a quiet time waits for others. From one batch to the next it is `AUDIT_BATCH_SECONDS`. */
export const GATHER_MS = 100;
/** Leaves in one call. */
export const MAX_OFFERED_LEAVES = 5_000;
/** Leaves that wait for the next batch; more are refused, to be offered again. */
export const MAX_POOLED_LEAVES = 20_000;
/** How soon an alarm looks again after what an outage left undone, and how seldom at last. */
export const RETRY_MS = 10_000;
const MAX_RETRY_MS = 15 * 60_000;
/**
 * After a commit, in case nothing comes of it: its leaves' owners come again sooner, and so does the next batch. Long,
 * as an alarm that is set is left as it is: under steady load it costs a row for many batches.
 */
const RECOVERY_MS = 60_000;
/** A witness that has not cosigned a checkpoint by this age is asked for the next one only. */
const WITNESS_PATIENCE_MS = 3 * 3_600_000;
/** Swaps of a checkpoint that finds another of ours in its place. */
const MAX_SWAPS = 3;
/** R2 calls under way at once; the runtime holds back more than six. */
const R2_CALLS_AT_ONCE = 6;
/** Leaves that `resume` takes back from R2 at once: their hashes are 32 MB. */
const MAX_RESUMED_LEAVES = 1_000_000;

interface LogRow extends Record<string, SqlStorageValue> {
  origin: string;
  size: number;
  checkpoint: string;
  published_size: number;
  published: string | null;
  etag: string | null;
  published_at: number | null;
  halted: HaltReason | null;
  halted_detail: string | null;
}

interface CosignedRow extends Record<string, SqlStorageValue> {
  size: number;
  checkpoint: string;
  cosigners: number;
}

/** What the log needs of the settings. */
export type LogSettings = Pick<Config, "logKey" | "logOrigin" | "witnesses" | "AUDIT_BATCH_SECONDS">;

/** The log has stopped; `reason` says why. */
class Halted extends Error {
  readonly reason: HaltReason;
  constructor(reason: HaltReason, detail: string) {
    super(detail);
    this.name = "Halted";
    this.reason = reason;
  }
}

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const report = (level: LogLevel, event: string, facts: LogFields): void =>
  log(level, `audit_log.${event}`, facts);

export class AuditLog
  extends DurableObject<Env>
  implements AuditLogForJournal, AuditLogForRoutes, Transferable
{
  /** Replaced by tests, which let calls fail before or after they took effect. Not reachable over RPC. */
  store: LogStore;
  /** As `store`. */
  settings: () => Promise<LogSettings>;

  readonly #serial = new Serial();
  readonly #tree: StoredTree;
  /** Whether R2 has been compared with the tree since this object started. */
  #reconciled = false;
  /** Leaf hashes that wait for the next batch, by their hex. */
  #pool = new Map<string, Uint8Array>();
  /** The round that will take the pool as it is; undefined when none is planned. */
  #round: Promise<void> | undefined;
  /** When the last round began that had leaves to take. */
  #lastBatchAt = 0;
  #alarmSet = false;
  /** Witnesses being asked now, and the end of the last time they were. */
  readonly #asking = new Set<string>();
  #questions: Promise<void> = Promise.resolve();
  /** Whether the published checkpoint is signed by a key of before and must be replaced by the same tree's. */
  #resign = false;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.store = new R2LogStore(env.AUDIT_R2);
    this.settings = () => configOf(env);
    this.#tree = new StoredTree(ctx.storage.sql);
    ctx.blockConcurrencyWhile(async () => {
      migrate(ctx.storage, SCHEMA);
      this.#alarmSet = (await ctx.storage.getAlarm()) !== null;
    });
  }

  // ---- for the Journal ----------------------------------------------------------------------------------

  /**
   * Puts leaves into the log and answers when they are under a published checkpoint, in the order given. A leaf
   * offered again, by whomever, has the index it got first. After an error, or no answer, offer the same again.
   */
  async offer(leaves: OfferedLeaf[]): Promise<RpcResult<LeafPosition[]>> {
    if (leaves.length > MAX_OFFERED_LEAVES || !leaves.every(({ leaf }) => leaf.length === LEAF_BYTES)) {
      const detail = `leaves: at most ${MAX_OFFERED_LEAVES}, each of ${LEAF_BYTES} bytes`;
      return { ok: false, error: { code: "invalid_request", detail } };
    }
    if (inMaintenance(this.env)) return this.#unavailable("the vault is in maintenance");
    const hashes = leaves.map(({ leaf }) => leafHash(leaf));
    const waiting = hashes.filter((hash) => this.#publishedPosition(hash) === undefined);
    if (waiting.length > 0) {
      const halted = this.#row()?.halted;
      if (halted) return this.#unavailable(`it has halted: ${halted}`);
      if (this.#pool.size + waiting.length > MAX_POOLED_LEAVES)
        return this.#unavailable("too many leaves wait for the next batch");
      for (const hash of waiting) this.#pool.set(hex(hash), hash);
      try {
        await this.#nextRound();
      } catch (error) {
        report("warn", "round_failed", { reason: errorText(error) });
        return this.#unavailable(error instanceof Halted ? `it has halted: ${error.reason}` : "try again");
      }
    }
    const positions = hashes.map((hash) => this.#publishedPosition(hash));
    if (!positions.every((index) => index !== undefined)) return this.#unavailable("try again");
    return { ok: true, value: positions.map((index) => ({ index })) };
  }

  async position({ leaf }: OfferedLeaf): Promise<Partial<LeafPosition>> {
    const index = this.#publishedPosition(leafHash(leaf));
    return index === undefined ? {} : { index };
  }

  #unavailable(why: string): {
    ok: false;
    error: { code: "unavailable"; detail: string; retryAfterSeconds: number };
  } {
    return {
      ok: false,
      error: {
        code: "unavailable",
        detail: `the audit log takes no leaves now: ${why}`,
        retryAfterSeconds: RETRY_MS / 1_000,
      },
    };
  }

  // ---- for the routes -----------------------------------------------------------------------------------

  /** The checkpoint as published, with its cosignatures; undefined before the first batch. */
  async checkpoint(): Promise<string | undefined> {
    return this.#row()?.published ?? undefined;
  }

  /**
   * The proof that a leaf is in the log, as c2sp.org/tlog-proof without `extra`. Its checkpoint is, of those that
   * cover the leaf, the one with the most cosignatures, and the newest of these.
   */
  async proof(leaf: { leaf: Uint8Array } | { index: number }): Promise<RpcResult<LeafProof>> {
    const row = this.#row();
    const index = "index" in leaf ? leaf.index : this.#publishedPosition(leafHash(leaf.leaf));
    if (
      row === undefined ||
      row.published === null ||
      index === undefined ||
      !Number.isSafeInteger(index) ||
      index < 0 ||
      index >= row.published_size
    )
      return { ok: false, error: { code: "not_found", detail: "the log has published no such leaf" } };
    const checkpoint = this.#bestCheckpoint(index) ?? row.published;
    const { size, root } = parseCheckpoint(checkpoint)!.checkpoint;
    const hashes = inclusionProof(index, size, this.#tree.read);
    // Held against what was signed before it is given out: storage that was touched makes no false proofs.
    const hash = "leaf" in leaf ? leafHash(leaf.leaf) : this.#tree.read({ level: 0, index });
    if (!verifyInclusion(hash, index, size, root, hashes)) throw new Error("the stored tree is damaged");
    return { ok: true, value: { index, size, proof: formatProof({ index, hashes, checkpoint }) } };
  }

  /** The proof that the tree of `to` leaves begins with that of `from` (RFC 6962 §2.1.2), hashes as base64. */
  async consistency(from: number, to: number): Promise<RpcResult<string[]>> {
    const published = this.#row()?.published_size ?? 0;
    if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 0 || from > to || to > published) {
      const detail = `from and to must be sizes from 0 to ${published}, from not above to`;
      return { ok: false, error: { code: "invalid_request", detail } };
    }
    return { ok: true, value: consistencyProof(from, to, this.#tree.read).map(toBase64) };
  }

  async state(): Promise<AuditLogState> {
    const row = this.#row();
    const witnesses = this.ctx.storage.sql
      .exec<{ name: string; size: number }>("SELECT name, size FROM witnesses ORDER BY name")
      .toArray();
    return {
      status: row?.halted ? "halted" : "open",
      ...(row?.halted ? { reason: row.halted, detail: row.halted_detail ?? "" } : {}),
      size: row?.size ?? 0,
      published_size: row?.published_size ?? 0,
      waiting: this.#pool.size,
      witnesses: witnesses.map(({ name, size }) => ({ name, size })),
    };
  }

  /**
   * An operator's step when the log has halted: looks again, and goes on if what was wrong has been put right.
   *
   * `behind`, with the published log whole: takes the missing leaves back from R2, where the checkpoint bears this
   * log's signature and commits to each of them, and goes on from there. `republish`, when the bucket was lost and
   * this storage is known to be the newest: publishes everything again. Nothing else can be overruled: while R2 shows
   * another tree than this one, the log stays halted.
   */
  async resume(options: { republish?: boolean } = {}): Promise<AuditLogState> {
    await this.#serial.run(async () => {
      const config = await this.settings();
      const row = this.#row();
      if (row?.halted == null) return;
      const remote = await this.store.readCheckpoint();
      if (row.halted === "behind" && remote !== undefined) await this.#takeBack(remote.text, row, config);
      const isLost = row.halted === "checkpoint_missing" || row.halted === "checkpoint_went_back";
      if (isLost && options.republish === true)
        this.#update({ published_size: 0, published: null, etag: remote?.etag ?? null });
      this.#update({ halted: null, halted_detail: null });
      this.#reconciled = false;
      await this.#start(config).catch((error: unknown) => {
        if (!(error instanceof Halted)) throw error;
      });
      if (this.#row()?.halted === null) {
        report("info", "resumed", { size: this.#row()?.size });
        await this.#publish(config);
      }
    });
    return this.state();
  }

  // ---- rounds -------------------------------------------------------------------------------------------

  /** Resolves when everything in the pool now is published; rejects when that failed. */
  #nextRound(): Promise<void> {
    if (this.#round === undefined) {
      const round = this.#runRound();
      this.#round = round;
      // It takes itself away when it takes the pool; one that fails before must not be waited for again.
      round.catch(() => {
        if (this.#round === round) this.#round = undefined;
      });
    }
    return this.#round;
  }

  async #runRound(): Promise<void> {
    const gathered = Date.now() + GATHER_MS;
    const { AUDIT_BATCH_SECONDS } = await this.settings();
    const due = Math.max(gathered, this.#lastBatchAt + AUDIT_BATCH_SECONDS * 1_000);
    await sleep(due - Date.now());
    await this.#serial.run(async () => {
      // What is offered from here on belongs to the next round. When this one fails, those who offered are told, and
      // offer again.
      this.#round = undefined;
      const leaves = [...this.#pool.values()];
      this.#pool = new Map();
      if (leaves.length > 0) this.#lastBatchAt = Date.now();
      const config = await this.settings();
      await this.#start(config);
      // While R2 is away nothing is sequenced: what is owed stays at one batch.
      await this.#publish(config);
      if (await this.#sequence(leaves, config)) await this.#publish(config);
    });
    // Not awaited: those who offered have their leaves published, and a slow witness holds up no round.
    this.#questions = this.#askWitnesses().catch((error: unknown) =>
      report("warn", "witness_failed", { reason: errorText(error) }),
    );
  }

  /** Before anything is written: this object's own tree against its own checkpoint, and both against R2. */
  async #start(config: LogSettings): Promise<void> {
    const row = this.#row();
    if (row?.halted) throw new Halted(row.halted, row.halted_detail ?? "");
    if (this.#reconciled) return;
    // A log without leaves was written down only to say why it halted.
    if (row !== undefined && row.size > 0) {
      if (row.origin !== config.logOrigin)
        this.#halt("origin_changed", `the log is ${row.origin}, the settings say ${config.logOrigin}`);
      const own = parseCheckpoint(row.checkpoint)?.checkpoint;
      if (own?.size !== row.size || !equalBytes(this.#rootAt(row.size), own.root))
        this.#halt(
          "storage_damaged",
          `the stored tree is not that of the stored checkpoint, size ${row.size}`,
        );
    }
    await this.#reconcile(config);
    await this.#renewSignature(config);
    this.#reconciled = true;
  }

  /**
   * Compares R2's checkpoint with the tree held here. It may be any tree between the one last noted as published and
   * the newest: a write whose answer was lost. Anything else halts the log.
   */
  async #reconcile(config: LogSettings): Promise<void> {
    const remote = await this.store.readCheckpoint();
    const row = this.#row();
    if (remote === undefined) {
      if (row?.etag != null)
        this.#halt(
          "checkpoint_missing",
          `R2 holds no checkpoint; one of size ${row.published_size} was published`,
        );
      return;
    }
    const published = parseCheckpoint(remote.text)?.checkpoint;
    if (published === undefined)
      this.#halt("checkpoint_unreadable", "R2's checkpoint is not a checkpoint", config);
    const { origin, size, root } = published;
    const ownSize = row?.size ?? 0;
    if (origin !== config.logOrigin)
      this.#halt("origin_changed", `R2's checkpoint is of ${origin}, this is ${config.logOrigin}`, config);
    if (size > ownSize)
      this.#halt("behind", `R2's checkpoint has ${size} leaves, this storage ${ownSize}`, config);
    if (!equalBytes(this.#rootAt(size), root))
      this.#halt("forked", `R2's checkpoint of size ${size} has another root than this storage`, config);
    if (size < (row?.published_size ?? 0))
      this.#halt(
        "checkpoint_went_back",
        `R2's checkpoint has ${size} leaves, ${row?.published_size} were published`,
      );
    if (row !== undefined && (row.etag !== remote.etag || row.published_size !== size))
      this.#update({
        published_size: size,
        published: remote.text,
        etag: remote.etag,
        published_at: Date.now(),
      });
  }

  /** After a change of the log's key: the same tree, signed by the new one. Witnesses must be told the key. */
  async #renewSignature(config: LogSettings): Promise<void> {
    const row = this.#row();
    if (row === undefined || row.size === 0) return;
    const key = this.#verifierKey(config);
    const isOurs = (note: string) =>
      parseNote(note)?.signatures.some((line) => isSignedBy(line, key)) === true;
    if (!isOurs(row.checkpoint)) {
      const head = { origin: row.origin, size: row.size, root: this.#rootAt(row.size) };
      const checkpoint = await signCheckpoint(config.logKey, head);
      this.ctx.storage.transactionSync(() => {
        this.#update({ checkpoint });
        // Signed by the key before: verifiers who know the new one would refuse them.
        this.ctx.storage.sql.exec("DELETE FROM cosigned");
      });
      report("info", "key_changed", { size: row.size });
    }
    // Makes the next #publish swap in the new signature.
    if (row.published !== null && !isOurs(row.published)) this.#resign = true;
  }

  #rootAt(size: number): Uint8Array {
    try {
      return rootHash(size, this.#tree.read);
    } catch {
      // Tiles are missing: no root of any tree.
      return new Uint8Array(HASH_BYTES);
    }
  }

  /** Step 2. Whether anything was new. */
  async #sequence(offered: readonly Uint8Array[], config: LogSettings): Promise<boolean> {
    const row = this.#row();
    const size = row?.size ?? 0;
    const leaves = offered.filter((hash) => this.#tree.position(hash) === undefined);
    if (leaves.length === 0) return false;
    const { changed, read } = this.#tree.plan(size, leaves);
    const head: TreeHead = {
      origin: config.logOrigin,
      size: size + leaves.length,
      root: rootHash(size + leaves.length, read),
    };
    const checkpoint = await signCheckpoint(config.logKey, head);
    const { sql } = this.ctx.storage;
    atPoint("log.commit", () => {
      this.ctx.storage.transactionSync(() => {
        this.#tree.write(size, leaves, changed);
        sql.exec(
          `INSERT INTO log (id, origin, size, checkpoint, published_size) VALUES (1, ?, ?, ?, 0)
           ON CONFLICT (id) DO UPDATE SET size = excluded.size, checkpoint = excluded.checkpoint`,
          head.origin,
          head.size,
          checkpoint,
        );
      });
      // In the same turn, so that it commits with the batch: from here on something is owed to R2.
      this.#arm(RECOVERY_MS);
    });
    return true;
  }

  /** Steps 3 to 5, for whatever is sequenced and not published. */
  async #publish(config: LogSettings): Promise<void> {
    for (let swap = 0; swap < MAX_SWAPS; swap++) {
      const row = this.#row();
      if (row === undefined || row.size === 0) return;
      if (row.published_size === row.size && row.etag !== null && !this.#resign) return;
      // Nothing may be seen outside that a crash of this machine could undo.
      await this.ctx.storage.sync();
      const tiles = tilesBetween(row.published_size, row.size);
      try {
        await inGroups(tiles, (tile) => {
          const hashes = this.#tree.readTile(tile)!.subarray(0, tile.width * HASH_BYTES);
          return atPoint("log.tile", () => this.store.writeTile(tile, hashes));
        });
      } catch (error) {
        if (error instanceof TileConflict) this.#halt("forked", error.message);
        throw error;
      }
      const etag = await atPoint("log.checkpoint", () => this.store.swapCheckpoint(row.checkpoint, row.etag));
      if (etag !== undefined) {
        this.#resign = false;
        const published = { published_size: row.size, published: row.checkpoint, etag };
        atPoint("log.published", () => this.#update({ ...published, published_at: Date.now() }));
        await this.#dropPartials(tiles.filter(({ width }) => width === TILE_WIDTH));
        return;
      }
      // Something else is there: a write of ours whose answer was lost, or another's.
      await this.#reconcile(config);
    }
    throw new Error("the checkpoint in R2 changes under this log");
  }

  /** The full tile serves in their place, so that losing this costs space only. */
  async #dropPartials(full: readonly { level: number; n: number }[]): Promise<void> {
    try {
      await inGroups(full, (place) => this.store.deletePartials(place));
    } catch (error) {
      report("warn", "partials_kept", { reason: errorText(error) });
    }
  }

  // ---- witnesses ----------------------------------------------------------------------------------------

  #verifierKey(config: LogSettings): VerifierKey {
    return { name: config.logOrigin, type: "ed25519", publicKey: config.logKey.publicKey };
  }

  /** Witnesses whose cosignature the published checkpoint lacks. */
  #lacking(config: LogSettings): WitnessAddress[] {
    const signatures = parseNote(this.#row()?.published ?? "")?.signatures ?? [];
    return config.witnesses.filter(({ key }) => !signatures.some((line) => isSignedBy(line, key)));
  }

  /** Asks every witness for the published checkpoint, each on its own; nothing waits for them but the alarm. */
  async #askWitnesses(): Promise<void> {
    const row = this.#row();
    if (row?.published == null || row.halted !== null) return;
    const config = await this.settings();
    const { published } = row;
    const asked = this.#lacking(config).filter(({ key }) => !this.#asking.has(key.name));
    await Promise.all(
      asked.map(async (witness) => {
        this.#asking.add(witness.key.name);
        try {
          await this.#ask(witness, published);
        } catch (error) {
          report("warn", "witness_failed", { witness: witness.key.name, reason: errorText(error) });
        } finally {
          this.#asking.delete(witness.key.name);
        }
      }),
    );
  }

  async #ask(witness: WitnessAddress, published: string): Promise<void> {
    const { note, checkpoint } = parseCheckpoint(published)!;
    const { name } = witness.key;
    const { sql } = this.ctx.storage;
    const [known] = sql.exec<{ size: number }>("SELECT size FROM witnesses WHERE name = ?", name).toArray();
    const answer = await askWitness(
      witness,
      {
        text: note.text,
        checkpoint: published,
        size: checkpoint.size,
        // Never more than what is asked about, whatever was noted.
        oldSize: Math.min(known?.size ?? 0, checkpoint.size),
        proofFrom: (size) => consistencyProof(size, checkpoint.size, this.#tree.read),
      },
      fetch,
      Date.now(),
    );
    switch (answer.outcome) {
      case "cosigned":
        await this.#serial.run(() => this.#addCosignature(name, published, answer.signature));
        return;
      case "ahead":
        // No reason to halt: a witness must not be able to stop the log. But someone should look.
        report("error", "witness_ahead", { witness: name, its_size: answer.size, our_size: checkpoint.size });
        return;
      case "failed":
        report("warn", "witness_failed", { witness: name, reason: answer.reason });
        return;
    }
  }

  /**
   * Keeps a cosignature for proofs, and adds it to the checkpoint in R2 if that is still the one it is for. A crash
   * before either loses a cosignature: the witness gives it again.
   */
  async #addCosignature(witness: string, asked: string, signature: NoteSignature): Promise<void> {
    const { sql } = this.ctx.storage;
    const { note, checkpoint } = parseCheckpoint(asked)!;
    const [kept] = sql
      .exec<CosignedRow>("SELECT size, checkpoint, cosigners FROM cosigned WHERE size = ?", checkpoint.size)
      .toArray();
    const current = parseNote(this.#row()?.published ?? "");
    // All that are known for this very text, each signer once.
    const signatures = new Map<string, NoteSignature>();
    for (const source of [note, kept && parseNote(kept.checkpoint), current])
      if (source?.text === note.text)
        for (const line of source.signatures) signatures.set(`${line.name} ${hex(line.keyId)}`, line);
    signatures.set(`${signature.name} ${hex(signature.keyId)}`, signature);
    const merged = formatNote({ text: note.text, signatures: [...signatures.values()] });
    const cosigners = signatures.size - 1;
    this.ctx.storage.transactionSync(() => {
      sql.exec("INSERT OR REPLACE INTO witnesses (name, size) VALUES (?, ?)", witness, checkpoint.size);
      sql.exec(
        "INSERT OR REPLACE INTO cosigned (size, checkpoint, cosigners) VALUES (?, ?, ?)",
        checkpoint.size,
        merged,
        cosigners,
      );
      sql.exec(
        `DELETE FROM cosigned WHERE EXISTS (
           SELECT 1 FROM cosigned AS later WHERE later.size > cosigned.size AND later.cosigners >= cosigned.cosigners)`,
      );
    });
    const row = this.#row();
    if (row === undefined || row.halted !== null || current?.text !== note.text) return;
    const etag = await this.store.swapCheckpoint(merged, row.etag);
    // Something else is there: the next round's swap finds out what.
    if (etag !== undefined) this.#update({ published: merged, etag });
  }

  /** The checkpoint that covers a leaf with the most cosignatures; undefined when none has any. */
  #bestCheckpoint(index: number): string | undefined {
    const [best] = this.ctx.storage.sql
      .exec<CosignedRow>(
        "SELECT size, checkpoint, cosigners FROM cosigned WHERE size > ? ORDER BY cosigners DESC, size DESC LIMIT 1",
        index,
      )
      .toArray();
    return best?.checkpoint;
  }

  // ---- after a halt -------------------------------------------------------------------------------------

  /** Takes leaves back from R2, up to its checkpoint. Leaves everything as it is when they do not fit together. */
  async #takeBack(remote: string, row: LogRow, config: LogSettings): Promise<void> {
    const opened = await openCheckpoint(remote, this.#verifierKey(config));
    if (!opened.ok) return;
    const { size, root } = opened.value;
    if (size <= row.size || size - row.size > MAX_RESUMED_LEAVES) return;
    const leaves: Uint8Array[] = [];
    const first = Math.floor(row.size / TILE_WIDTH);
    for (let n = first; n * TILE_WIDTH < size; n++) {
      const width = tileWidth({ level: 0, n }, size);
      const hashes = await this.store.readTile({ level: 0, n, width });
      if (hashes?.length !== width * HASH_BYTES) return;
      for (let at = Math.max(0, row.size - n * TILE_WIDTH); at < width; at++)
        leaves.push(hashes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES));
    }
    // The tree continued from what is held here must be the one that was signed: this shows at once that R2's leaves
    // are whole and that what is held is how that tree begins.
    const { changed, read } = this.#tree.plan(row.size, leaves);
    if (!equalBytes(rootHash(size, read), root)) return;
    this.ctx.storage.transactionSync(() => {
      this.#tree.write(row.size, leaves, changed);
      this.#update({ size, checkpoint: remote });
    });
    report("info", "taken_back", { from: row.size, to: size });
  }

  // ---- storage ------------------------------------------------------------------------------------------

  #row(): LogRow | undefined {
    return this.ctx.storage.sql
      .exec<LogRow>(
        `SELECT origin, size, checkpoint, published_size, published, etag, published_at, halted, halted_detail
         FROM log`,
      )
      .toArray()[0];
  }

  #update(change: Partial<LogRow>): void {
    const names = Object.keys(change);
    this.ctx.storage.sql.exec(
      `UPDATE log SET ${names.map((name) => `${name} = ?`).join(", ")}`,
      ...names.map((name) => change[name] ?? null),
    );
  }

  /** The index of a leaf that is under the published checkpoint. */
  #publishedPosition(hash: Uint8Array): number | undefined {
    const position = this.#tree.position(hash);
    return position !== undefined && position < (this.#row()?.published_size ?? 0) ? position : undefined;
  }

  /** Stops the log. `config` is given where there may be no row yet to say it in. */
  #halt(reason: HaltReason, detail: string, config?: LogSettings): never {
    if (config !== undefined && this.#row() === undefined) {
      this.ctx.storage.sql.exec(
        "INSERT INTO log (id, origin, size, checkpoint, published_size) VALUES (1, ?, 0, '', 0)",
        config.logOrigin,
      );
    }
    this.#update({ halted: reason, halted_detail: detail });
    report("error", "halted", { reason, detail });
    throw new Halted(reason, detail);
  }

  // ---- the alarm ----------------------------------------------------------------------------------------

  #arm(delayMs: number): void {
    if (this.#alarmSet) return;
    this.#alarmSet = true;
    void this.ctx.storage.setAlarm(Date.now() + delayMs);
  }

  // ---- Moving a deployment ------------------------------------------------------------------------------

  async exportPage(after?: string): Promise<RpcResult<TransferPage>> {
    return exportPage(this.ctx.storage, after);
  }

  async importPage(page: TransferPage): Promise<RpcResult<{ rows: number; done: boolean }>> {
    const { storage } = this.ctx;
    const bucketInUse = (await this.store.readCheckpoint()) !== undefined;
    return importPage(storage, page, {
      steps: SCHEMA,
      finish: () => {
        // Into a bucket of its own: everything is published there again, from what is stored here.
        if (!bucketInUse) this.#update({ published_size: 0, published: null, etag: null });
        void storage.setAlarm(Date.now());
      },
    });
  }

  async restart(): Promise<void> {
    this.ctx.abort("restarted after an import");
  }

  /** Publishes what a crash or an outage left owed, and asks witnesses again; not set when neither is due. */
  override async alarm(): Promise<void> {
    // Nothing is done, and nothing forgotten.
    if (inMaintenance(this.env)) return this.ctx.storage.setAlarm(Date.now() + MAINTENANCE_ALARM_MS);
    this.#alarmSet = false;
    try {
      await this.#nextRound();
      await this.#questions;
    } catch (error) {
      report("warn", "round_failed", { reason: errorText(error) });
    }
    const row = this.#row();
    if (row === undefined || row.halted !== null) return;
    const age = Date.now() - (row.published_at ?? 0);
    const isOwed = row.published_size < row.size;
    const isLacking = age < WITNESS_PATIENCE_MS && this.#lacking(await this.settings()).length > 0;
    // Longer and longer, by the age of what is published: it outlives this object, a count would not.
    if (isOwed || isLacking) this.#arm(Math.min(Math.max(age, RETRY_MS), MAX_RETRY_MS));
  }
}

/** Runs a few at a time. When one fails the others of its group are awaited before its error is thrown. */
async function inGroups<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += R2_CALLS_AT_ONCE) {
    const results = await Promise.allSettled(items.slice(at, at + R2_CALLS_AT_ONCE).map(run));
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }
}
