// Verifies a service's audit log from outside, over HTTP only: its checkpoint and tiles, its consistency with what
// was seen before, witnesses' cosignatures, and a chain of entries with their places in the log.
//
//   npm run audit:verify -- <base_url> [--service <service_id>] [--witness <vkey>]… [--remember <file>]
//                           [--chain <file>]… [--user <user_id>]… [--own] [--copy <file>]…
//
// Without a chain only the log is looked at. `--chain`: a file with `{ owner_id, entries, after?, proofs? }`, as the
// answer of GET /api/v1/audit/{event_id}/proof is. `--user` and `--own` read chains with an API key of the scope
// audit:read from AUDIT_API_KEY. `--copy`: what a sink was sent (JSON Lines, or the body of a delivery); every chain
// that is read is held against it. `--remember`: what was seen is kept there and held against what is seen the next
// time; without it, and without a witness, whoever runs the service can show a history made up today.
//
// Ends with 0 when nothing was found, 1 when something was, 2 when it could not be done.

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { LOG_PATH, openCheckpoint, parseCheckpoint } from "../src/audit/checkpoint.ts";
import { parseVerifierKey, type VerifierKey } from "../src/audit/note.ts";
import { tilePath } from "../src/audit/tiles.ts";
import {
  checkCosigners,
  checkHistory,
  checkLeaf,
  checkTiles,
  compareCopy,
  compareHashes,
  type Evidence,
  type FetchTile,
  type Finding,
  readEvidence,
  type SeenChain,
} from "../src/audit/verify.ts";
import { verifyOffer } from "../src/contracts/offer.ts";
import { type AuditEntry, auditEntry } from "../src/protocol/audit.ts";

const TOO_MANY_REQUESTS = 429;
/** Of a call that is told to wait each time. */
const MAX_ATTEMPTS = 5;
const FETCH_TIMEOUT_MS = 15_000;
const PAGE_LIMIT = 100;
/** Cosignatures come after the checkpoint: what a witness may take before it counts as missing. */
const WITNESS_WAIT_MS = 5_000;
/** What an entry may take to be in the log, by Retry-After, before it is reported as not logged. */
const PROOF_ATTEMPTS = 5;
const POLL_MS = 1_000;

/** What one run leaves for the next. */
export interface Memory {
  service_id: string;
  log_vkey: string;
  /** The signed note. */
  checkpoint: string;
  chains: Record<string, SeenChain>;
}

export interface ChainInput extends Evidence {
  ownerId: string;
}

export interface VerifyOptions {
  baseUrl: string;
  /** Absent: the one remembered, else whichever the offer is signed by. */
  serviceId?: string;
  witnesses?: readonly VerifierKey[];
  memory?: Memory;
  chains?: readonly ChainInput[];
  /** Entries that sinks were sent, of any chains, in any order. */
  copies?: readonly AuditEntry[];
  /** Owners whose chains are read over the API; "own" is the service's. */
  owners?: readonly string[];
  apiKey?: string;
  fetch?: typeof fetch;
}

export interface Report {
  /** In words, what was looked at and holds. */
  held: string[];
  findings: (Finding & { owner?: string })[];
  /** To be kept for the next run; what was remembered stays when something was found. */
  memory: Memory;
}

const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

class Source {
  readonly #base: string;
  readonly #key: string | undefined;
  readonly #fetch: typeof fetch;
  constructor({ baseUrl, apiKey, fetch: fetcher }: VerifyOptions) {
    this.#base = baseUrl.replace(/\/+$/, "");
    this.#key = apiKey;
    this.#fetch = fetcher ?? fetch;
  }

  /** Waits where the vault asks a reader to: a large log is more tiles than it gives out in a minute. */
  async get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    for (let attempt = 1; ; attempt++) {
      const response = await this.#fetch(`${this.#base}${path}`, {
        headers: { connection: "close", ...headers },
        redirect: "error",
        signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
      });
      if (response.status !== TOO_MANY_REQUESTS || attempt >= MAX_ATTEMPTS) return response;
      await response.body?.cancel();
      const seconds = Number(response.headers.get("retry-after") ?? 1);
      await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
    }
  }

  async must(path: string, headers?: Record<string, string>): Promise<Response> {
    const response = await this.get(path, headers);
    if (!response.ok) throw new Error(`GET ${path} answered ${response.status}`);
    return response;
  }

  readonly tile: FetchTile = async (tile) => {
    const response = await this.get(`${LOG_PATH}/${tilePath(tile)}`);
    if (response.status === 404) return undefined;
    if (!response.ok) throw new Error(`${tilePath(tile)} answered ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  };

  #authorized(): Record<string, string> {
    if (this.#key === undefined) throw new Error("AUDIT_API_KEY is needed to read a chain over the API");
    return { authorization: `Bearer ${this.#key}` };
  }

  /** A whole chain, with the proof of each of its logged heads. */
  async chain(ownerId: string, isOwn: boolean): Promise<{ input: ChainInput; unlogged: boolean }> {
    const headers = this.#authorized();
    const of = isOwn ? "" : `user_id=${ownerId}&`;
    const entries: AuditEntry[] = [];
    let after: string | undefined;
    let cursor: string | undefined;
    do {
      const page = (await (
        await this.must(
          `/api/v1/audit?${of}limit=${PAGE_LIMIT}${cursor === undefined ? "" : `&cursor=${cursor}`}`,
          headers,
        )
      ).json()) as { entries: AuditEntry[]; next_cursor?: string; pruned_to?: string };
      entries.push(...page.entries);
      after ??= page.pruned_to;
      cursor = page.next_cursor;
    } while (cursor !== undefined);
    const proofs: string[] = [];
    let unlogged = false;
    for (let at = 0; at < entries.length; ) {
      const found = await this.#proof(entries[at]!.event_id, isOwn ? "" : `?user_id=${ownerId}`, headers);
      if (found === undefined) {
        unlogged = true;
        break;
      }
      proofs.push(found.proof);
      // A head further on than what was read belongs to entries written since.
      at += Math.max(1, found.entries.length);
    }
    // Entries written since the chain was read may be under the last head: they complete it.
    return {
      input: {
        ownerId,
        entries: await this.#completed(entries, of, headers),
        proofs,
        ...(after === undefined ? {} : { after }),
      },
      unlogged,
    };
  }

  async #completed(
    entries: AuditEntry[],
    of: string,
    headers: Record<string, string>,
  ): Promise<AuditEntry[]> {
    const last = entries.at(-1);
    if (last === undefined) return entries;
    const more = await this.get(`/api/v1/audit?${of}limit=${PAGE_LIMIT}&after=${last.event_id}`, headers);
    return more.ok ? [...entries, ...((await more.json()) as { entries: AuditEntry[] }).entries] : entries;
  }

  async #proof(
    eventId: string,
    query: string,
    headers: Record<string, string>,
  ): Promise<{ proof: string; entries: AuditEntry[] } | undefined> {
    for (let attempt = 1; attempt <= PROOF_ATTEMPTS; attempt++) {
      const response = await this.get(`/api/v1/audit/${encodeURIComponent(eventId)}/proof${query}`, headers);
      if (response.ok) return (await response.json()) as { proof: string; entries: AuditEntry[] };
      if (response.status !== 503) return undefined;
      await sleep(POLL_MS);
    }
    return undefined;
  }
}

/** Looks at everything asked for. Rejects when the service cannot be reached or answers what nobody can read. */
export async function verifyAudit(options: VerifyOptions): Promise<Report> {
  const { memory, witnesses = [] } = options;
  const source = new Source(options);
  const held: string[] = [];
  const findings: Report["findings"] = [];

  const pinned = options.serviceId ?? memory?.service_id;
  const offered = await (await source.must("/.well-known/vettid-service")).json();
  const offer = await verifyOffer(offered, {
    now: Date.now(),
    pinnedServiceId: pinned ?? (offered as { service_id: string }).service_id,
  });
  if (!offer.ok) throw new Error(`the service's offer does not verify: ${offer.error}`);
  const { service_id: serviceId, service_public_key: publicKey, log_vkey } = offer.value;
  held.push(`offer signed by ${serviceId}${pinned === undefined ? " (not pinned)" : ""}`);
  if (memory !== undefined && memory.log_vkey !== log_vkey)
    findings.push({ kind: "forked", detail: "the log's name or key is another than the one remembered" });
  const log = parseVerifierKey(log_vkey);
  if (log?.type !== "ed25519") throw new Error("the offer names no key of a log");

  // The log.
  const read = async () => {
    const text = await (await source.must(`${LOG_PATH}/checkpoint`)).text();
    const opened = await openCheckpoint(text, log, witnesses);
    return { text, opened };
  };
  let { text, opened } = await read();
  for (
    const until = Date.now() + WITNESS_WAIT_MS;
    opened.ok && checkCosigners(opened.value, witnesses).length > 0 && Date.now() < until;
  ) {
    await sleep(POLL_MS);
    ({ text, opened } = await read());
  }
  if (!opened.ok) {
    findings.push({ kind: "log_damaged", detail: `the checkpoint does not hold: ${opened.error}` });
    return {
      held,
      findings,
      memory: memory ?? { service_id: serviceId, log_vkey, checkpoint: "", chains: {} },
    };
  }
  let tree = opened.value;
  findings.push(...checkCosigners(tree, witnesses), ...(await checkTiles(tree, source.tile)));
  held.push(`checkpoint of ${tree.size} leaves, signed by ${log.name}`);
  held.push(
    ...tree.cosigners.map(
      ({ name, timeSeconds }) => `cosigned by ${name} at ${new Date(timeSeconds * 1_000).toISOString()}`,
    ),
  );
  const seen = memory === undefined ? undefined : parseCheckpoint(memory.checkpoint)?.checkpoint;
  if (seen !== undefined) {
    const history = await checkHistory(seen, tree, source.tile);
    findings.push(...history);
    if (history.length === 0) held.push(`consistent with the checkpoint of ${seen.size} leaves seen before`);
  }

  // The chains.
  const inputs: { input: ChainInput; unlogged: boolean }[] = (options.chains ?? []).map((input) => ({
    input,
    unlogged: false,
  }));
  for (const owner of options.owners ?? [])
    inputs.push(await source.chain(owner === "own" ? serviceId : owner, owner === "own"));
  if (inputs.length > 0) {
    // Their heads may be newer than the checkpoint read first.
    const again = await read();
    if (again.opened.ok) {
      findings.push(...(await checkHistory(tree, again.opened.value, source.tile)));
      if (checkCosigners(again.opened.value, witnesses).length === 0) text = again.text;
      tree = again.opened.value;
    }
  }
  const chains: Record<string, SeenChain> = { ...memory?.chains };
  for (const { input, unlogged } of inputs) {
    const owner = input.ownerId;
    const reading = await readEvidence(input, { serviceId, publicKey, ownerId: owner }, log, witnesses);
    const own: Finding[] = [...reading.findings];
    for (const { opening, index } of reading.heads)
      own.push(...(await checkLeaf(opening, index, tree, source.tile)));
    const now = { hashes: reading.hashes, event_ids: reading.eventIds };
    const before = memory?.chains[owner];
    if (before !== undefined) own.push(...compareHashes(before, now, input.after));
    const copied = (options.copies ?? []).filter((entry) => (entry.user_id ?? entry.service_id) === owner);
    // An entry that is none is a finding already.
    const whole = input.entries.filter((entry) => auditEntry.safeParse(entry).success) as AuditEntry[];
    if (copied.length > 0 && whole.length === input.entries.length) {
      const differing = compareCopy(copied, whole);
      own.push(...differing);
      if (differing.length === 0) held.push(`${copied.length} copied entries are in the chain of ${owner}`);
    }
    if (unlogged)
      own.push({
        kind: "not_in_log",
        entry: reading.covered,
        ...(reading.eventIds[reading.covered] === undefined
          ? {}
          : { event_id: reading.eventIds[reading.covered]! }),
        detail: "entries from here on are not in the log",
      });
    findings.push(...own.map((finding) => ({ ...finding, owner })));
    if (own.length === 0) {
      const pruned =
        input.after === undefined || before === undefined ? 0 : before.hashes.indexOf(input.after) + 1;
      chains[owner] = {
        hashes: [...(before?.hashes.slice(0, pruned) ?? []), ...now.hashes],
        event_ids: [...(before?.event_ids.slice(0, pruned) ?? []), ...now.event_ids],
      };
    }
    held.push(
      `chain of ${owner}: ${input.entries.length} entries read, ${reading.covered} under ${reading.heads.length} logged heads`,
    );
  }
  // What is in doubt never takes the place of what was seen before.
  const isSound = findings.length === 0;
  return {
    held,
    findings,
    memory: {
      service_id: memory?.service_id ?? serviceId,
      log_vkey: memory?.log_vkey ?? log_vkey,
      checkpoint: isSound || memory === undefined ? text : memory.checkpoint,
      chains: isSound ? chains : (memory?.chains ?? {}),
    },
  };
}

function readChainFile(file: string): ChainInput {
  const read = JSON.parse(readFileSync(file, "utf8")) as {
    owner_id?: string;
    entries?: AuditEntry[];
    after?: string;
    pruned_to?: string;
    proofs?: string[];
    proof?: string;
  };
  const { entries = [] } = read;
  const ownerId = read.owner_id ?? entries[0]?.user_id ?? entries[0]?.service_id;
  if (ownerId === undefined) throw new Error(`${file}: it says neither owner_id nor any entry`);
  // The proof of one entry is a stretch of its chain, wherever that begins.
  const isStretch = read.proof !== undefined && read.after === undefined && read.pruned_to === undefined;
  const after = read.after ?? read.pruned_to ?? (isStretch ? entries[0]?.previous_hash : undefined);
  return {
    ownerId,
    entries,
    proofs: [...(read.proofs ?? []), ...(read.proof === undefined ? [] : [read.proof])],
    ...(after === undefined ? {} : { after }),
  };
}

function readCopy(file: string): AuditEntry[] {
  const text = readFileSync(file, "utf8").trim();
  const lines = text === "" ? [] : text.split("\n").map((line) => JSON.parse(line) as unknown);
  const delivery = lines.length === 1 ? (lines[0] as { data?: { entries?: unknown[] } }) : undefined;
  return (delivery?.data?.entries ?? lines).map((entry) => {
    const parsed = auditEntry.safeParse(entry);
    if (!parsed.success) throw new Error(`${file}: a line is no entry`);
    return parsed.data;
  });
}

function witnessKey(text: string): VerifierKey {
  const key = parseVerifierKey(text);
  if (key?.type !== "cosignature")
    throw new Error(`"${text}" is not the verifier key of a cosigner (type 0x04)`);
  return key;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      service: { type: "string" },
      witness: { type: "string", multiple: true, default: [] },
      remember: { type: "string" },
      chain: { type: "string", multiple: true, default: [] },
      user: { type: "string", multiple: true, default: [] },
      own: { type: "boolean", default: false },
      copy: { type: "string", multiple: true, default: [] },
    },
  });
  const [baseUrl] = positionals;
  if (baseUrl === undefined || positionals.length > 1)
    throw new Error(
      "usage: npm run audit:verify -- <base_url> [--service <id>] [--witness <vkey>]… [--remember <file>] [--chain <file>]… [--user <id>]… [--own] [--copy <file>]…",
    );
  const { remember } = values;
  const apiKey = process.env.AUDIT_API_KEY;
  const report = await verifyAudit({
    baseUrl,
    ...(values.service === undefined ? {} : { serviceId: values.service }),
    witnesses: values.witness.map(witnessKey),
    ...(remember !== undefined && existsSync(remember)
      ? { memory: JSON.parse(readFileSync(remember, "utf8")) as Memory }
      : {}),
    chains: values.chain.map(readChainFile),
    copies: values.copy.flatMap(readCopy),
    owners: [...values.user, ...(values.own ? ["own"] : [])],
    ...(apiKey === undefined ? {} : { apiKey }),
  });
  for (const line of report.held) console.log(`  ${line}`);
  for (const { kind, owner, entry, event_id, detail } of report.findings) {
    const where = [owner && `chain ${owner}`, entry !== undefined && `entry ${entry}`, event_id]
      .filter(Boolean)
      .join(", ");
    console.log(`! ${kind}${where === "" ? "" : ` (${where})`}: ${detail}`);
  }
  if (remember !== undefined) {
    writeFileSync(`${remember}.tmp`, JSON.stringify(report.memory, null, 1));
    renameSync(`${remember}.tmp`, remember);
  }
  console.log(
    report.findings.length === 0 ? "Nothing speaks against it." : `${report.findings.length} findings.`,
  );
  return report.findings.length === 0 ? 0 : 1;
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    process.exitCode = await main();
  } catch (error) {
    console.error(`audit:verify: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 2;
  }
}
