// Load through backend, Worker, both clusters and many people's vaults, while each of them and the webhook receiver is
// killed again and again, every connection to the clusters is cut as often, and each cluster's stream storage is lost
// once. Then the ledgers are held against each other: what the API answered; what the event feed tells and the
// receiver took; what each person's vault did and was told by receipts; and what the audit chains say.
//
//   npm run chaos -- [--requests 200] [--kills 3] [--people 8] [--seed 1] [--minutes 60] [--keep]
//
// Prints lost, doubled, disagreeing and stuck, which must all be 0; else it exits with 1 and names the ids. The seed
// decides the order of the kills and whom each is asked of; processes still die at whatever instruction they are at.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openSqliteStore, UserVault } from "../sdk/user-vault/index.ts";
import { verifyChain } from "../src/audit/chain.ts";
import { decisionOn } from "./chaos/decision.ts";
import { type PeopleSettings, vaultFile } from "./chaos/people.ts";
import type { ReceiverSettings, TakenDelivery } from "./chaos/receiver.ts";
import { Wire } from "./chaos/wire.ts";
import { Backend } from "./stack/backend.ts";
import { ensureMessageSpaceStream } from "./stack/cluster.ts";
import { PROJECT_ROOT } from "./stack/files.ts";
import { freePorts, LOOPBACK } from "./stack/ports.ts";
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
/** A run that takes longer than asked for has hung: it says where and fails. */
const DEFAULT_MINUTES = 60;
const MINUTE_MS = 60_000;
const PROGRESS_INTERVAL_MS = 10_000;
/** Problems printed by name. */
const MAX_NAMED = 50;

const KILLED = ["worker", "servicespace", "messagespace", "people", "receiver", "wires"] as const;
type Victim = (typeof KILLED)[number] | "wipe_servicespace" | "wipe_messagespace";

interface Asked {
  requestId: string;
  userId: string;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const seconds = (ms: number): number => Math.round(ms / 1_000);

/** Numbers in [0, 1) that follow from a seed (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const result = [...items];
  for (let at = result.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [result[at], result[other]] = [result[other]!, result[at]!];
  }
  return result;
}

/** Runs a few at a time. */
async function each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const waiting = [...items].reverse();
  const worker = async () => {
    for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) await work(item);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
}

class Run {
  readonly #stack: Stack;
  readonly #backend: Backend;
  readonly #settingsFile: string;
  readonly #wires: readonly Wire[];
  readonly #deadline: number;
  #people: ProcessGroup;
  #receiver: ProcessGroup;
  readonly asked: Asked[] = [];
  cutConnections = 0;

  constructor(options: {
    stack: Stack;
    backend: Backend;
    wires: readonly Wire[];
    deadline: number;
    settingsFile: string;
  }) {
    this.#stack = options.stack;
    this.#backend = options.backend;
    this.#wires = options.wires;
    this.#deadline = options.deadline;
    this.#settingsFile = options.settingsFile;
    this.#people = this.#start("people");
    this.#receiver = this.#start("receiver");
  }

  #start(name: "people" | "receiver"): ProcessGroup {
    return new ProcessGroup({
      name,
      command: process.execPath,
      args: [join(PROJECT_ROOT, `scripts/chaos/${name}.ts`), this.#settingsFile],
      logFile: `${this.#settingsFile}.${name}.log`,
    });
  }

  async stopPeople(): Promise<void> {
    await this.#people.stop();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#people.stop(), this.#receiver.stop()]);
  }

  /** Calls until the API gives an answer that is not its absence. */
  async #insist(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    for (;;) {
      if (Date.now() > this.#deadline) throw new Error(`the time is over: ${method} ${path} has no answer`);
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
        this.#people = this.#start("people");
        break;
      case "receiver":
        await this.#receiver.kill();
        await sleep(DOWN_MS);
        this.#receiver = this.#start("receiver");
        break;
      case "wires":
        for (const wire of this.#wires) this.cutConnections += wire.cut();
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
async function reconcile(
  run: Run,
  stack: Stack,
  settings: PeopleSettings,
  taken: readonly TakenDelivery[],
): Promise<Ledger> {
  const ledger: Ledger = { lost: [], doubled: [], disagreeing: [], stuck: [] };
  const final = new Map<string, string>();
  await each(run.asked, async ({ requestId }) => {
    final.set(requestId, await run.status(requestId));
  });
  for (const [requestId, status] of final) {
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

  // The receiver: at least once each, under one webhook-id, and with the same word.
  const deliveries = new Map<string, Map<string, string | undefined>>();
  for (const { type, webhook_id, request_id, status } of taken) {
    if (type !== "auth.response" || request_id === undefined) continue;
    const ids = deliveries.get(request_id) ?? new Map<string, string | undefined>();
    deliveries.set(request_id, ids.set(webhook_id, status));
  }
  for (const [requestId, status] of final) {
    const told = [...(deliveries.get(requestId)?.values() ?? [])];
    if (told.length === 0) ledger.lost.push(`${requestId}: no delivery at the webhook receiver`);
    else if (told.length > 1) ledger.doubled.push(`${requestId}: delivered as ${told.length} events`);
    else if (told[0] !== status)
      ledger.disagreeing.push(`${requestId}: the delivery says ${told[0]}, the API ${status}`);
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

/** What the receiver has taken so far; a line that is being written is not there yet. */
function readTaken(file: string): TakenDelivery[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as TakenDelivery);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      requests: { type: "string", default: String(DEFAULT_REQUESTS) },
      kills: { type: "string", default: String(DEFAULT_KILLS) },
      people: { type: "string", default: String(DEFAULT_PEOPLE) },
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      minutes: { type: "string", default: String(DEFAULT_MINUTES) },
      keep: { type: "boolean", default: false },
    },
  });
  const [requests, kills, people, seed, minutes] = (
    ["requests", "kills", "people", "seed", "minutes"] as const
  ).map((name) => Number(values[name])) as [number, number, number, number, number];
  const counts = [requests, kills, people, seed, minutes];
  if (!counts.every((count) => Number.isSafeInteger(count) && count >= 0) || people < 1 || minutes < 1)
    throw new Error("every option is a whole number; at least one of --people, and one of --minutes");
  const random = randomFrom(seed);
  const began = Date.now();
  const deadline = began + minutes * MINUTE_MS;

  const dir = mkdtempSync(join(tmpdir(), "service-vault-chaos-"));
  const [servicePort, messagePort, receiverPort] = (await freePorts(3)) as [number, number, number];
  const wires = [await Wire.to(servicePort), await Wire.to(messagePort)] as const;
  const [serviceUrl, messageUrl] = wires.map(({ port }) => `ws://${LOOPBACK}:${port}`) as [string, string];
  const stack = await startStack({
    dir: join(dir, "stack"),
    ports: { serviceSpace: { ws: servicePort }, messageSpace: { ws: messagePort } },
    vars: {
      ...UNBRAKED,
      SERVICESPACE_URL: serviceUrl,
      SERVICESPACE_PUBLIC_ENDPOINT: serviceUrl,
      MESSAGESPACE_URL: messageUrl,
    },
  });
  const backend = new Backend(stack.baseUrl, stack.adminApiKey);
  let run: Run | undefined;
  let progress: ReturnType<typeof setInterval> | undefined;
  try {
    const { invite_url } = await backend.invite("login", undefined, { max_uses: people });
    const settings: PeopleSettings & ReceiverSettings = {
      dir,
      invites: Array.from({ length: people }, () => invite_url),
      messageSpace: {
        endpoint: messageUrl,
        creds: readFileSync(stack.userVaultCredsFile, "utf8"),
      },
      connectedFile: join(dir, "connected.json"),
      unsettledFile: join(dir, "unsettled"),
      port: receiverPort,
      secretFile: join(dir, "webhook-secret"),
      takenFile: join(dir, "taken.jsonl"),
      failedFile: join(dir, "failed"),
    };
    const settingsFile = join(dir, "people.json");
    writeFileSync(settingsFile, JSON.stringify(settings));
    run = new Run({ stack, backend, wires, deadline, settingsFile });
    const { secret } = await backend.expect(201, "POST", "webhooks", {
      url: `http://${LOOPBACK}:${receiverPort}/`,
    });
    writeFileSync(settings.secretFile, secret);
    while (!existsSync(settings.connectedFile)) {
      if (Date.now() > deadline) throw new Error("the people do not connect");
      await sleep(CALL_RETRY_MS);
    }
    await sleep(CALL_RETRY_MS);
    const userIds = JSON.parse(readFileSync(settings.connectedFile, "utf8")) as string[];
    console.log(
      `${requests} requests of ${people} people, ${kills} kills of each of: ${KILLED.join(", ")}; ` +
        `each cluster wiped once; seed ${seed}; at most ${minutes} minutes`,
    );

    // The schedule: kills spread evenly over the requests, in turns of all kinds, each wipe once in the middle.
    const victims: Victim[] = Array.from({ length: kills }, () => shuffled<Victim>(KILLED, random)).flat();
    if (kills > 0) {
      victims.splice(Math.floor(victims.length / 3), 0, "wipe_servicespace");
      victims.splice(Math.floor((victims.length * 2) / 3), 0, "wipe_messagespace");
    }
    const order = shuffled(
      Array.from({ length: requests }, (_, number) => userIds[number % userIds.length]!),
      random,
    );
    const every = requests / (victims.length + 1);
    const asking = Date.now();
    let next = 0;
    let killed = 0;
    const state: { killed: number; open?: number } = { killed: 0 };
    let killing: Promise<void> = Promise.resolve();
    const worker = async () => {
      for (;;) {
        const number = next++;
        if (number >= requests) return;
        if (killed < victims.length && number >= (killed + 1) * every) {
          const victim = victims[killed++]!;
          killing = killing.then(async () => {
            await run!.kill(victim);
            state.killed += 1;
          });
          // Awaited after the asks; until then a failure must not end the process.
          killing.catch(() => {});
        }
        await run!.ask(number, order[number]!);
      }
    };
    progress = setInterval(() => {
      const left = state.open === undefined ? "" : `, ${state.open} open`;
      console.log(
        `${String(seconds(Date.now() - began)).padStart(5)} s  asked ${run!.asked.length} of ${requests}, killed ${state.killed} of ${victims.length}${left}`,
      );
    }, PROGRESS_INTERVAL_MS);
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
    await killing;
    while (killed < victims.length) {
      await run.kill(victims[killed++]!);
      state.killed = killed;
    }
    await waitUntilReady(stack.worker);
    console.log(
      `asked ${run.asked.length} in ${seconds(Date.now() - asking)} s through ${killed} kills (${run.cutConnections} connections cut); settling`,
    );

    const settleBy = Date.now() + SETTLE_TIMEOUT_MS;
    let open = run.asked;
    while (open.length > 0 && Date.now() < settleBy) {
      const still: Asked[] = [];
      await each(open, async (asked) => {
        if ((await run!.status(asked.requestId)) === "pending") still.push(asked);
      });
      open = still;
      state.open = open.length;
      if (open.length > 0) await sleep(SETTLE_POLL_MS);
    }
    // The people's side settles later: a receipt that was lost is asked for again by repeating the answer.
    rmSync(settings.unsettledFile, { force: true });
    const unsettled = () =>
      existsSync(settings.unsettledFile) ? readFileSync(settings.unsettledFile, "utf8") : "unknown";
    while (unsettled() !== "0" && Date.now() < settleBy) await sleep(SETTLE_POLL_MS);
    // So does the receiver's: what it refused comes again after 5 s, or 30 s, or 2 min.
    const taken = () => readTaken(settings.takenFile);
    const told = () => new Set(taken().map(({ request_id }) => request_id));
    const lacks = () => {
      const known = told();
      return run!.asked.some(({ requestId }) => !known.has(requestId));
    };
    while (lacks() && Date.now() < settleBy) await sleep(SETTLE_POLL_MS);
    const settled = seconds(Date.now() - asking);
    await run.stopPeople();

    const ledger = await reconcile(run, stack, settings, taken());
    const deliveries = taken();
    const repeated = deliveries.length - new Set(deliveries.map(({ webhook_id }) => webhook_id)).size;
    console.log(
      `settled after ${settled} s; ${deliveries.length} deliveries taken, ${repeated} of them repeats; ` +
        `reconciled and done after ${seconds(Date.now() - began)} s, ${Math.round(process.memoryUsage().rss / 1e6)} MB here`,
    );
    for (const [name, ids] of Object.entries(ledger)) console.log(`${name.padEnd(12)} ${ids.length}`);
    const problems = Object.entries(ledger).flatMap(([name, ids]) =>
      ids.map((id: string) => `${name}: ${id}`),
    );
    for (const problem of problems.slice(0, MAX_NAMED)) console.error(problem);
    if (problems.length > MAX_NAMED) console.error(`and ${problems.length - MAX_NAMED} more`);
    return problems.length === 0 ? 0 : 1;
  } finally {
    clearInterval(progress);
    await run?.stop();
    await stack.stop();
    for (const wire of wires) wire.close();
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
