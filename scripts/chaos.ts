// Load through backend, Worker, both clusters and many people's vaults, while each of them is killed again and again
// and each cluster's stream storage is lost once. Then the ledgers are held against each other: what the API answered,
// what the event feed tells, what each person's vault did and was told by receipts, and what the audit chains say.
//
//   npm run chaos -- [--requests 200] [--kills 3] [--people 8] [--keep]
//
// Prints lost, doubled, disagreeing and stuck, which must all be 0; else it exits with 1 and names the ids.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openSqliteStore, UserVault } from "../sdk/user-vault/index.ts";
import { verifyChain } from "../src/audit/chain.ts";
import { decisionOn } from "./chaos/decision.ts";
import { type PeopleSettings, vaultFile } from "./chaos/people.ts";
import { Backend } from "./stack/backend.ts";
import { ensureMessageSpaceStream } from "./stack/cluster.ts";
import { PROJECT_ROOT } from "./stack/files.ts";
import { ProcessGroup } from "./stack/process-group.ts";
import { type Stack, startStack, UNBRAKED, waitUntilReady } from "./stack/stack.ts";

const DEFAULT_REQUESTS = 200;
const DEFAULT_KILLS = 3;
const DEFAULT_PEOPLE = 8;
/** Asks under way at once. */
const CONCURRENCY = 8;
/** Long enough that nothing expires while everything is down. */
const EXPIRY_SECONDS = 1_800;
/** How long everything may take to settle after the last kill: repeats come after 20 s, 80 s and 380 s. */
const SETTLE_TIMEOUT_MS = 460_000;
const SETTLE_POLL_MS = 1_000;
const CALL_RETRY_MS = 200;
const DOWN_MS = 700;
/** A user may have five open logins; a sixth is told to wait. */
const RATE_LIMIT_PAUSE_MS = 300;
const PAGE = 100;

type Victim =
  | "worker"
  | "servicespace"
  | "messagespace"
  | "people"
  | "wipe_servicespace"
  | "wipe_messagespace";

interface Asked {
  requestId: string;
  userId: string;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

class Run {
  readonly #stack: Stack;
  readonly #backend: Backend;
  readonly #settingsFile: string;
  readonly #logFile: string;
  #people: ProcessGroup;
  readonly asked: Asked[] = [];

  constructor(stack: Stack, backend: Backend, settingsFile: string, logFile: string) {
    this.#stack = stack;
    this.#backend = backend;
    this.#settingsFile = settingsFile;
    this.#logFile = logFile;
    this.#people = this.#startPeople();
  }

  #startPeople(): ProcessGroup {
    return new ProcessGroup({
      name: "people",
      command: process.execPath,
      args: [join(PROJECT_ROOT, "scripts/chaos/people.ts"), this.#settingsFile],
      logFile: this.#logFile,
    });
  }

  async stopPeople(): Promise<void> {
    await this.#people.stop();
  }

  /** Calls until the API gives an answer that is not its absence. */
  async #insist(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    for (;;) {
      try {
        const answer = await this.#backend.call(method, path, body, { headers });
        if (answer.status < 500 && answer.status !== 429) return answer;
        await sleep(answer.status === 429 ? RATE_LIMIT_PAUSE_MS : CALL_RETRY_MS);
      } catch {
        await sleep(CALL_RETRY_MS);
      }
    }
  }

  /** One ask, repeated with the same Idempotency-Key until it is answered: it must be one request however often. */
  async ask(number: number, userId: string): Promise<void> {
    const body = { user_id: userId, purpose: `Login ${number}`, expires_in_seconds: EXPIRY_SECONDS };
    const answer = await this.#insist("POST", "auth/request", body, { "idempotency-key": `chaos-${number}` });
    if (answer.status !== 201)
      throw new Error(`ask ${number}: ${answer.status} ${JSON.stringify(answer.body)}`);
    this.asked.push({ requestId: answer.body.request_id, userId });
  }

  status = async (requestId: string): Promise<string> =>
    (await this.#insist("GET", `requests/${requestId}`)).body.status;

  get = async (path: string) => {
    const answer = await this.#insist("GET", path);
    if (answer.status !== 200)
      throw new Error(`GET ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };

  async kill(victim: Victim): Promise<void> {
    const { worker, serviceSpace, messageSpace } = this.#stack;
    switch (victim) {
      case "worker":
        await worker.kill();
        await sleep(DOWN_MS);
        await worker.restart();
        break;
      case "people":
        await this.#people.kill();
        await sleep(DOWN_MS);
        this.#people = this.#startPeople();
        break;
      case "servicespace":
      case "wipe_servicespace":
        await serviceSpace.server.kill();
        await sleep(DOWN_MS);
        if (victim === "wipe_servicespace") serviceSpace.server.wipeStreams();
        await serviceSpace.server.start();
        break;
      case "messagespace":
      case "wipe_messagespace":
        await messageSpace.server.kill();
        await sleep(DOWN_MS);
        if (victim === "wipe_messagespace") messageSpace.server.wipeStreams();
        await messageSpace.server.start();
        // The stream is the platform's: it comes back with it.
        if (victim === "wipe_messagespace") await ensureMessageSpaceStream(messageSpace);
        break;
    }
  }
}

interface Ledger {
  lost: string[];
  doubled: string[];
  disagreeing: string[];
  stuck: string[];
}

/** Holds the ledgers against each other, by request id. */
async function reconcile(run: Run, stack: Stack, settings: PeopleSettings): Promise<Ledger> {
  const ledger: Ledger = { lost: [], doubled: [], disagreeing: [], stuck: [] };
  const final = new Map<string, string>();
  for (const { requestId } of run.asked) {
    const status = await run.status(requestId);
    final.set(requestId, status);
    if (status === "pending") ledger.stuck.push(`${requestId}: pending at the API`);
    else if (status !== decisionOn(requestId))
      ledger.disagreeing.push(
        `${requestId}: the API says ${status}, the person decided ${decisionOn(requestId)}`,
      );
  }
  if (final.size !== run.asked.length) ledger.doubled.push("one id was given to two asks");

  // The feed: one event per request that ended.
  const events = new Map<string, string[]>();
  for (let after = ""; ; ) {
    const page = await run.get(
      `events?limit=${PAGE}&type=auth.response${after === "" ? "" : `&after=${after}`}`,
    );
    for (const event of page.events)
      events.set(event.data.request_id, [...(events.get(event.data.request_id) ?? []), event.data.status]);
    if (page.next_cursor === undefined || page.events.length === 0) break;
    after = page.next_cursor;
  }
  for (const [requestId, status] of final) {
    const told = events.get(requestId) ?? [];
    if (told.length === 0) ledger.lost.push(`${requestId}: no event`);
    else if (told.length > 1) ledger.doubled.push(`${requestId}: ${told.length} events`);
    else if (told[0] !== status)
      ledger.disagreeing.push(`${requestId}: the event says ${told[0]}, the API ${status}`);
  }

  // The people: what they did, and what the receipts told them.
  const hashes = new Set<string>();
  for (const person of settings.invites.keys()) {
    const vault = await UserVault.open({
      store: openSqliteStore(vaultFile(settings.dir, person)),
      messageSpace: settings.messageSpace,
    });
    const contract = vault.contracts()[0]!;
    const asks = new Map(vault.asks().map((ask) => [ask.request_id, ask]));
    const mine = run.asked.filter(({ userId }) => userId === contract.user_id);
    for (const { requestId } of mine) {
      const ask = asks.get(requestId);
      if (ask === undefined) ledger.lost.push(`${requestId}: never reached the person`);
      else if (ask.decision === undefined) ledger.stuck.push(`${requestId}: not answered by the person`);
      else if (ask.outcome === undefined)
        ledger.stuck.push(`${requestId}: no receipt for the person's answer`);
      else if (ask.outcome !== final.get(requestId))
        ledger.disagreeing.push(
          `${requestId}: the receipt says ${ask.outcome}, the API ${final.get(requestId)}`,
        );
    }
    if (asks.size !== mine.length)
      ledger.doubled.push(`person ${person}: ${asks.size} asks for ${mine.length} requests`);
    for (const { event_hash } of vault.history()) if (event_hash !== undefined) hashes.add(event_hash);

    // The chain: one entry for the ask, one for the answer, and every receipt's entry.
    const entries = [];
    for (let after = ""; ; ) {
      const page = await run.get(
        `audit?user_id=${contract.user_id}&limit=${PAGE}${after === "" ? "" : `&after=${after}`}`,
      );
      entries.push(...page.entries);
      if (page.next_cursor === undefined) break;
      after = page.next_cursor;
    }
    const { public_key } = await run.get("info");
    const report = await verifyChain(entries, { serviceId: stack.serviceId, publicKey: public_key });
    if (!report.valid)
      ledger.disagreeing.push(`person ${person}: the chain breaks at ${report.fault?.index}`);
    for (const { requestId } of mine)
      for (const operation of ["auth.request", "auth.response"]) {
        const found = entries.filter(
          (entry) =>
            entry.operation === operation &&
            entry.request_summary.request_id === requestId &&
            entry.status !== "error",
        );
        if (found.length === 0) ledger.lost.push(`${requestId}: no ${operation} in the chain`);
        if (found.length > 1) ledger.doubled.push(`${requestId}: ${found.length} entries of ${operation}`);
      }
    const chained = new Set(entries.map((entry) => entry.event_hash));
    for (const { event_hash } of vault.history())
      if (event_hash !== undefined && !chained.has(event_hash))
        ledger.lost.push(`person ${person}: a receipt names an entry that is not in the chain`);
    await vault.close();
  }
  return ledger;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      requests: { type: "string", default: String(DEFAULT_REQUESTS) },
      kills: { type: "string", default: String(DEFAULT_KILLS) },
      people: { type: "string", default: String(DEFAULT_PEOPLE) },
      keep: { type: "boolean", default: false },
    },
  });
  const [requests, kills, people] = [values.requests, values.kills, values.people].map(Number) as [
    number,
    number,
    number,
  ];
  if (![requests, kills, people].every((count) => Number.isSafeInteger(count) && count >= 0) || people < 1)
    throw new Error("--requests, --kills and --people must be whole numbers, at least one of people");

  const dir = mkdtempSync(join(tmpdir(), "service-vault-chaos-"));
  const stack = await startStack({ dir: join(dir, "stack"), vars: UNBRAKED });
  const backend = new Backend(stack.baseUrl, stack.adminApiKey);
  let run: Run | undefined;
  try {
    const { invite_url } = await backend.invite("login", undefined, { max_uses: people });
    const settings: PeopleSettings = {
      dir,
      invites: Array.from({ length: people }, () => invite_url),
      messageSpace: {
        endpoint: stack.messageSpace.server.wsUrl,
        creds: readFileSync(stack.userVaultCredsFile, "utf8"),
      },
      connectedFile: join(dir, "connected.json"),
      unsettledFile: join(dir, "unsettled"),
    };
    const settingsFile = join(dir, "people.json");
    writeFileSync(settingsFile, JSON.stringify(settings));
    run = new Run(stack, backend, settingsFile, join(dir, "people.log"));
    while (!existsSync(settings.connectedFile)) await sleep(CALL_RETRY_MS);
    await sleep(CALL_RETRY_MS);
    const userIds = JSON.parse(readFileSync(settings.connectedFile, "utf8")) as string[];
    console.log(`${people} people connected; ${requests} requests, ${kills} kills of each`);

    // The schedule: kills spread evenly over the requests, each kind in turn, each wipe once in the middle.
    const victims: Victim[] = Array.from(
      { length: kills },
      () => ["worker", "servicespace", "messagespace", "people"] as const,
    ).flat();
    if (kills > 0) {
      victims.splice(Math.floor(victims.length / 3), 0, "wipe_servicespace");
      victims.splice(Math.floor((victims.length * 2) / 3), 0, "wipe_messagespace");
    }
    const every = requests / (victims.length + 1);
    const began = Date.now();
    let next = 0;
    let killed = 0;
    let killing: Promise<void> = Promise.resolve();
    const worker = async () => {
      for (;;) {
        const number = next++;
        if (number >= requests) return;
        if (killed < victims.length && number >= (killed + 1) * every) {
          const victim = victims[killed++]!;
          killing = killing.then(() => run!.kill(victim));
          // Awaited after the asks; until then a failure must not end the process.
          killing.catch(() => {});
        }
        await run!.ask(number, userIds[number % userIds.length]!);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
    await killing;
    while (killed < victims.length) await run.kill(victims[killed++]!);
    await waitUntilReady(stack.worker);
    console.log(
      `asked ${run.asked.length} in ${Math.round((Date.now() - began) / 1_000)} s through ${killed} kills; settling`,
    );

    const settleBy = Date.now() + SETTLE_TIMEOUT_MS;
    let open = run.asked;
    while (open.length > 0 && Date.now() < settleBy) {
      const still: Asked[] = [];
      for (const asked of open) if ((await run.status(asked.requestId)) === "pending") still.push(asked);
      open = still;
      if (open.length > 0) await sleep(SETTLE_POLL_MS);
    }
    // The people's side settles later: a receipt that was lost is asked for again by repeating the answer.
    rmSync(settings.unsettledFile, { force: true });
    const unsettled = () =>
      existsSync(settings.unsettledFile) ? readFileSync(settings.unsettledFile, "utf8") : "unknown";
    while (unsettled() !== "0" && Date.now() < settleBy) await sleep(SETTLE_POLL_MS);
    const settled = Math.round((Date.now() - began) / 1_000);
    await run.stopPeople();

    const ledger = await reconcile(run, stack, settings);
    console.log(`settled after ${settled} s`);
    for (const [name, ids] of Object.entries(ledger)) console.log(`${name.padEnd(12)} ${ids.length}`);
    const problems = Object.entries(ledger).flatMap(([name, ids]) =>
      ids.map((id: string) => `${name}: ${id}`),
    );
    for (const problem of problems.slice(0, 50)) console.error(problem);
    return problems.length === 0 ? 0 : 1;
  } finally {
    await run?.stopPeople();
    await stack.stop();
    if (!values.keep) rmSync(dir, { recursive: true, force: true });
    else console.log(`kept: ${dir}`);
  }
}

process.exit(
  await main().catch((error: unknown) => {
    console.error(`chaos: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }),
);
