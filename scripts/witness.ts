// A small witness of transparency logs: https://c2sp.org/tlog-witness, `add-checkpoint`. For tests, demos, and for
// whoever wants to watch one log with little.
//
//   npm run witness -- --dir .witness --name witness.example/w1 --log <vkey> [--log <vkey>…] [--port 7380]
//
// For each log it remembers the largest tree it has cosigned, and never cosigns one that does not contain it: whoever
// asks for this witness's signature cannot be shown two histories. All that rests on its folder. Trusted: nothing
// that is sent. An attacker who can write the folder can make it sign anything; one who can put the folder back to an
// earlier state can make it cosign a second history from there.

import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openCheckpoint, parseCheckpoint, parseHash } from "../src/audit/checkpoint.ts";
import { EMPTY_ROOT, verifyConsistency } from "../src/audit/merkle.ts";
import {
  cosign,
  noteVerifierKey,
  parseVerifierKey,
  signatureLine,
  type VerifierKey,
} from "../src/audit/note.ts";
import { ADD_CHECKPOINT_PATH, parseAddCheckpoint, SIZE_TYPE } from "../src/audit/witness.ts";
import { importSigningKey, type SigningKey } from "../src/crypto/signing.ts";
import { equalBytes, fromBase64, toBase64 } from "../src/protocol/encoding.ts";
import { randomBytes } from "../src/protocol/ids.ts";

const DEFAULT_PORT = 7_380;
const MAX_BODY_BYTES = 262_144;
const REQUEST_TIMEOUT_MS = 10_000;
const SEED_BYTES = 32;
const PRIVATE_FILE_MODE = 0o600;
const PRIVATE_DIR_MODE = 0o700;

export interface WitnessOptions {
  /** Folder of the key and of what was cosigned. One process at a time. */
  dir: string;
  /** Name in the cosignatures; by convention a URL without its scheme. */
  name: string;
  /** Verifier keys (type 0x01) of the logs it knows; the key's name is the log's origin. */
  logs: string[];
  /** 0 or left out: chosen freely. */
  port?: number;
}

export interface Witness {
  /** Submission prefix: `<url>/add-checkpoint`. */
  url: string;
  /** What its cosignatures are checked with, type 0x04. */
  vkey: string;
  stop(): Promise<void>;
}

/** The last cosigned tree of a log. */
interface Cosigned {
  origin: string;
  size: number;
  /** base64. */
  root: string;
}

interface Answer {
  status: number;
  body?: string;
  type?: string;
}

/**
 * Writes a file whole or not at all, and not before it is on the disk does it return: what is signed afterwards must
 * be remembered even if the machine stops at once.
 */
function writeDurably(dir: string, name: string, text: string): void {
  const temporary = join(dir, `${name}.tmp`);
  const file = openSync(temporary, "w", PRIVATE_FILE_MODE);
  writeSync(file, text);
  fsyncSync(file);
  closeSync(file);
  renameSync(temporary, join(dir, name));
  const folder = openSync(dir, "r");
  fsyncSync(folder);
  closeSync(folder);
}

/** The witness's state and its one decision. */
class Records {
  readonly #dir: string;
  constructor(dir: string) {
    this.#dir = dir;
  }

  #fileOf(origin: string): string {
    return `${createHash("sha256").update(origin).digest("hex")}.json`;
  }

  /** A log never cosigned is remembered as the empty tree. Throws when the file is there and cannot be read. */
  last(origin: string): { size: number; root: Uint8Array } {
    const path = join(this.#dir, this.#fileOf(origin));
    if (!existsSync(path)) return { size: 0, root: EMPTY_ROOT };
    const { size, root } = JSON.parse(readFileSync(path, "utf8")) as Cosigned;
    const hash = parseHash(root);
    if (!Number.isSafeInteger(size) || hash === undefined) throw new Error(`${path} is damaged`);
    return { size, root: hash };
  }

  /**
   * Judges a checkpoint whose signature holds, and remembers it if it is to be cosigned. From the reading to the
   * writing there is no await: no other request can come between (tlog-witness: both "must be performed atomically").
   */
  advance(
    { origin, size, root }: { origin: string; size: number; root: Uint8Array },
    oldSize: number,
    proof: Uint8Array[],
  ): Answer | "cosign" {
    if (oldSize > size) return { status: 400, body: "the old size is above the checkpoint's\n" };
    const last = this.last(origin);
    const conflict: Answer = { status: 409, body: `${last.size}\n`, type: SIZE_TYPE };
    if (oldSize !== last.size) return conflict;
    if (oldSize === size && !equalBytes(root, last.root)) return conflict;
    if (!verifyConsistency(last, { size, root }, proof))
      return { status: 422, body: "the consistency proof does not hold\n" };
    const record: Cosigned = { origin, size, root: toBase64(root) };
    writeDurably(this.#dir, this.#fileOf(origin), JSON.stringify(record));
    return "cosign";
  }
}

/** The key kept in the folder, made on the first start. */
async function loadKey(dir: string): Promise<SigningKey> {
  const path = join(dir, "seed");
  if (!existsSync(path)) writeDurably(dir, "seed", toBase64(randomBytes(SEED_BYTES)));
  const seed = fromBase64(readFileSync(path, "utf8").trim());
  if (seed?.length !== SEED_BYTES) throw new Error(`${path} must hold base64 of ${SEED_BYTES} bytes`);
  return importSigningKey(seed);
}

async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    return undefined;
  }
}

/** Starts a witness on this machine. */
export async function startWitness({ dir, name, logs, port = 0 }: WitnessOptions): Promise<Witness> {
  mkdirSync(dir, { recursive: true, mode: PRIVATE_DIR_MODE });
  const key = await loadKey(dir);
  const records = new Records(dir);
  const known = new Map<string, VerifierKey>();
  for (const vkey of logs) {
    const log = parseVerifierKey(vkey);
    if (log?.type !== "ed25519") throw new Error(`"${vkey}" is not the verifier key of a log (type 0x01)`);
    known.set(log.name, log);
  }

  /** In the order of tlog-witness: the log, its signature, the sizes, the proof. */
  async function addCheckpoint(body: string | undefined): Promise<Answer> {
    const request = body === undefined ? undefined : parseAddCheckpoint(body);
    const parsed = request && parseCheckpoint(request.checkpoint);
    if (request === undefined || parsed === undefined) return { status: 400, body: "malformed\n" };
    const log = known.get(parsed.checkpoint.origin);
    if (log === undefined) return { status: 404, body: "unknown log\n" };
    const opened = await openCheckpoint(request.checkpoint, log);
    if (!opened.ok) return { status: 403, body: "no signature by the log's key\n" };
    const verdict = records.advance(opened.value, request.oldSize, request.proof);
    if (verdict !== "cosign") return verdict;
    const time = Math.floor(Date.now() / 1_000);
    return { status: 200, body: signatureLine(await cosign(key, name, parsed.note.text, time)) };
  }

  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, async (request, response) => {
    let answer: Answer;
    try {
      if (request.url !== ADD_CHECKPOINT_PATH) answer = { status: 404 };
      else if (request.method !== "POST") answer = { status: 405 };
      else answer = await addCheckpoint(await readBody(request));
    } catch (error) {
      console.error("witness:", error);
      answer = { status: 500 };
    }
    response.writeHead(answer.status, { "Content-Type": answer.type ?? "text/plain; charset=utf-8" });
    response.end(answer.body);
  });
  await new Promise<void>((started, failed) => {
    server.once("error", failed);
    server.listen(port, "127.0.0.1", started);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    vkey: noteVerifierKey(name, key.publicKey, "cosignature"),
    stop: () =>
      new Promise((stopped) => {
        server.close(() => stopped());
        server.closeAllConnections();
      }),
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      dir: { type: "string", default: ".witness" },
      name: { type: "string" },
      log: { type: "string", multiple: true, default: [] },
      port: { type: "string", default: String(DEFAULT_PORT) },
    },
  });
  if (values.name === undefined || values.log.length === 0)
    throw new Error("usage: npm run witness -- --name <name> --log <vkey> [--dir .witness] [--port 7380]");
  const witness = await startWitness({
    dir: resolve(values.dir),
    name: values.name,
    logs: values.log,
    port: Number(values.port),
  });
  console.log(`The witness runs. For the log's setting WITNESSES:\n\n  ${witness.vkey}|${witness.url}\n`);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(0));
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await main().catch((error: unknown) => {
    console.error(`witness: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  });
}
