// Plays a person at a terminal: a vault of their own, kept between calls, against the stack of `npm run dev`.
//
//   npm run person -- <command> [options]          npm run person -- --help

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface, type Interface } from "node:readline/promises";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { parseArgs } from "node:util";
import {
  type Answer,
  type Ask,
  type ContractInfo,
  type Log,
  openSqliteStore,
  type Preview,
  type Receipt,
  UserVault,
  VaultError,
} from "../sdk/user-vault/index.ts";
import type { CapabilityGrant, Offering } from "../src/protocol/offer.ts";
import { makePrivateDir, PROJECT_ROOT, readJsonFile } from "./stack/files.ts";

const HELP = `Plays a person: a vault of their own, against the stack of \`npm run dev\`.

  npm run person -- <command> [options]

  preview <invite-url>        show what an invite grants, agree to nothing
  connect <invite-url>        agree to it
      --offering <id>         which, when the invite leaves a choice
      --match-code <digits>   the code whoever invited you told you
      --profile <name=value>  what to share; as often as needed
  run                         stay online; decide each ask at the keyboard
  asks                        what was asked, newest first
  approve <request>           approve an ask
      --match-code <digits>   the number shown where you are logging in
  deny <request>              deny it
      --not-me                ...and say that it was not you
      --reason <text>
  contracts                   with whom there is one
  record <contract>           the contract record as JSON; it proves itself
  updates                     changes that services propose to contracts
  accept-update <contract>    agree to one; a new contract takes the old one's place
  decline-update <contract>   turn it down; the contract stays as it is
      --reason <text>
  revoke-capability <contract> <capability>
                              take a single capability back; the rest stays
  history                     what services have confirmed to have of you
  revoke <contract>           end a contract
      --reason <text>

  --dir <path>                where this person's vault is kept    (.dev/person)
  --stack <path>              how to reach the platform            (.dev/stack.json)
  --timeout <seconds>         how long to wait for the service     (30)
  --verbose                   what the vault does, on stderr

Requests and contracts may be named by the first or last letters of their ids, if those are unique.`;

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const DEFAULT_TIMEOUT_SECONDS = 30;
const MAX_TIMEOUT_SECONDS = 3_600;
const MIN_PART_CHARACTERS = 4;
const LABEL_WIDTH = 12;

/** A command that makes no sense as it was typed. */
class UsageError extends Error {}

const COMMANDS = {
  preview,
  connect,
  run,
  asks,
  approve: (context: Context) => decide(context, "approved"),
  deny: (context: Context) => decide(context, "denied"),
  contracts,
  record,
  history,
  updates,
  "accept-update": acceptUpdate,
  "decline-update": declineUpdate,
  "revoke-capability": revokeCapability,
  revoke,
} satisfies { [name: string]: (context: Context) => Promise<void> };

const TAKES_TWO = new Set(["revoke-capability"]);

interface Context {
  vault: UserVault;
  /** What follows the command. */
  argument: string | undefined;
  /** What follows that, where a command takes two. */
  second: string | undefined;
  options: ReturnType<typeof readArguments>["values"];
  timeoutMs: number;
}

async function main(): Promise<number> {
  const { values, positionals } = readArguments();
  const [command, argument, second, ...rest] = positionals;
  if (values.help || command === undefined) {
    console.log(HELP);
    return values.help ? 0 : EXIT_USAGE;
  }
  if (!Object.hasOwn(COMMANDS, command)) throw new UsageError(`there is no command ${command}`);
  if (rest.length > 0 || (second !== undefined && !TAKES_TWO.has(command)))
    throw new UsageError(`too much after ${command} ${argument}`);
  const timeoutMs = readTimeout(values.timeout) * 1_000;
  const vault = await openVault(values);
  try {
    await COMMANDS[command as keyof typeof COMMANDS]({ vault, argument, second, options: values, timeoutMs });
  } finally {
    await vault.close();
  }
  return 0;
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        offering: { type: "string" },
        "match-code": { type: "string" },
        profile: { type: "string", multiple: true, default: [] },
        "not-me": { type: "boolean", default: false },
        reason: { type: "string" },
        dir: { type: "string", default: ".dev/person" },
        stack: { type: "string", default: ".dev/stack.json" },
        timeout: { type: "string", default: String(DEFAULT_TIMEOUT_SECONDS) },
        verbose: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function readTimeout(text: string): number {
  const seconds = Number(text);
  if (!(seconds > 0 && seconds <= MAX_TIMEOUT_SECONDS))
    throw new UsageError(`--timeout must be a number of seconds, at most ${MAX_TIMEOUT_SECONDS}`);
  return seconds;
}

/** What of `.dev/stack.json` a person needs. */
interface StackFile {
  messagespace: { ws: string; user_creds_file: string };
  ca_file?: string;
}

async function openVault(options: Context["options"]): Promise<UserVault> {
  const stackFile = resolve(PROJECT_ROOT, options.stack);
  const stack = readJsonFile<StackFile>(stackFile);
  if (stack?.messagespace === undefined)
    throw new Error(
      `${stackFile} is not there: start the stack with \`npm run dev\`, or name its file with --stack`,
    );
  if (stack.ca_file !== undefined)
    setDefaultCACertificates([...getCACertificates("default"), readFileSync(stack.ca_file, "utf8")]);
  const dir = makePrivateDir(resolve(PROJECT_ROOT, options.dir));
  return UserVault.open({
    store: openSqliteStore(join(dir, "vault.sqlite")),
    messageSpace: {
      endpoint: stack.messagespace.ws,
      creds: readFileSync(stack.messagespace.user_creds_file, "utf8"),
    },
    log: options.verbose ? logToStderr : () => {},
  });
}

const logToStderr: Log = (level, message, fields = {}) =>
  console.error(`${level.padEnd(5)} ${message} ${JSON.stringify(fields)}`);

// ---- commands -----------------------------------------------------------------------------------------------

async function preview({ vault, argument }: Context): Promise<void> {
  showPreview(await vault.preview(needed(argument, "preview <invite-url>")));
}

async function connect({ vault, argument, options, timeoutMs }: Context): Promise<void> {
  const url = needed(argument, "connect <invite-url>");
  const contract = await vault.connect(url, {
    profile: readProfile(options.profile),
    timeoutMs,
    ...(options["match-code"] === undefined ? {} : { matchCode: options["match-code"] }),
    ...(options.offering === undefined ? {} : { offeringId: options.offering }),
  });
  showContract(contract);
  if (contract.status === "pending")
    return print("\nThe service has not decided yet. It goes on with `run`, or the next time you connect.");
  // The service counts the contract as delivered when it has our receipt.
  if (!(await vault.settled(timeoutMs)))
    print("\nThe service has not confirmed our receipt yet; it is sent again.");
}

async function asks({ vault, timeoutMs }: Context): Promise<void> {
  await goOnline(vault, timeoutMs);
  const all = vault.asks();
  if (all.length === 0) print("Nothing was asked.");
  for (const ask of all) {
    showAsk(ask);
    print("");
  }
  await vault.settled(timeoutMs);
}

async function decide(
  { vault, argument, options, timeoutMs }: Context,
  decision: Answer["decision"],
): Promise<void> {
  const given = needed(argument, `${decision === "approved" ? "approve" : "deny"} <request>`);
  if (decision === "denied" && options["match-code"] !== undefined)
    throw new UsageError("--match-code goes with approve");
  if (decision === "approved" && (options["not-me"] || options.reason !== undefined))
    throw new UsageError("--not-me and --reason go with deny");
  await goOnline(vault, timeoutMs);
  const requestId = byPart(
    given,
    vault.asks().map(({ request_id }) => request_id),
    "request",
  );
  const answer: Answer =
    decision === "approved"
      ? { decision, ...(options["match-code"] === undefined ? {} : { match_code: options["match-code"] }) }
      : {
          decision,
          ...(options.reason === undefined ? {} : { reason: options.reason }),
          ...(options["not-me"] ? { report: true } : {}),
        };
  const { event_id } = await vault.answer(requestId, answer);
  showCounted(await vault.delivered(event_id, timeoutMs));
}

async function contracts({ vault, timeoutMs }: Context): Promise<void> {
  await goOnline(vault, timeoutMs);
  const all = vault.contracts();
  if (all.length === 0) print("There is no contract.");
  for (const contract of all) {
    showContract(contract);
    print("");
  }
  await vault.settled(timeoutMs);
}

async function record({ vault, argument }: Context): Promise<void> {
  const contractId = contractByPart(vault, needed(argument, "record <contract>"));
  print(JSON.stringify(vault.record(contractId), null, 2));
}

async function history({ vault, timeoutMs }: Context): Promise<void> {
  await goOnline(vault, timeoutMs);
  await vault.settled(timeoutMs);
  for (const receipt of vault.history())
    print(
      [
        receipt.received_at,
        receipt.event_type.padEnd(20),
        receipt.outcome,
        receipt.request_status ?? "",
        receipt.event_hash === undefined ? "" : `audit entry ${receipt.event_hash}`,
      ].join("  "),
    );
}

async function updates({ vault, timeoutMs }: Context): Promise<void> {
  await goOnline(vault, timeoutMs);
  const proposed = vault.contracts().filter(({ proposal }) => proposal !== undefined);
  if (proposed.length === 0) print("No change is proposed.");
  for (const contract of proposed) {
    showProposal(contract, vault.record(contract.contract_id).contract.offering_snapshot);
    print("");
  }
  await vault.settled(timeoutMs);
}

async function acceptUpdate({ vault, argument, timeoutMs }: Context): Promise<void> {
  const given = needed(argument, "accept-update <contract>");
  // What is agreed to is the newest proposal, so everything that waits is taken in and shown first.
  await goOnline(vault, timeoutMs);
  const contractId = contractByPart(vault, given);
  const before = vault.contract(contractId);
  if (before.proposal !== undefined)
    showProposal(before, vault.record(contractId).contract.offering_snapshot);
  const next = await vault.acceptUpdate(contractId, { timeoutMs });
  print("");
  showContract(next);
  if (next.status === "pending")
    return print(
      "\nThe service has not confirmed it yet. It goes on with `run`, or with this command again.",
    );
  if (!(await vault.settled(timeoutMs)))
    print("\nThe service has not confirmed our receipt yet; it is sent again.");
}

async function declineUpdate({ vault, argument, options, timeoutMs }: Context): Promise<void> {
  const given = needed(argument, "decline-update <contract>");
  await goOnline(vault, timeoutMs);
  const contractId = contractByPart(vault, given);
  const { event_id } = await vault.declineUpdate(contractId, options.reason);
  print(`The contract with ${plain(vault.contract(contractId).service_name)} stays as it is.`);
  showConfirmed(await vault.delivered(event_id, timeoutMs));
}

async function revokeCapability({ vault, argument, second, timeoutMs }: Context): Promise<void> {
  const usage = "revoke-capability <contract> <capability>";
  const given = needed(argument, usage);
  const capability = needed(second, usage);
  const contractId = contractByPart(vault, given);
  vault.start();
  const { event_id } = await vault.revokeCapabilities(contractId, [capability]);
  const { service_name, capabilities } = vault.contract(contractId);
  print(`${plain(service_name)} may do no more: ${plain(capability)}`);
  field("still may", capabilities.join(", ") || "nothing");
  showConfirmed(await vault.delivered(event_id, timeoutMs));
}

async function revoke({ vault, argument, options, timeoutMs }: Context): Promise<void> {
  const contractId = contractByPart(vault, needed(argument, "revoke <contract>"));
  vault.start();
  const { event_id } = await vault.revoke(contractId, options.reason);
  print(`The contract with ${plain(vault.contract(contractId).service_name)} has ended.`);
  showConfirmed(await vault.delivered(event_id, timeoutMs));
}

/** Stays online until interrupted; asks are decided one after another. */
async function run({ vault }: Context): Promise<void> {
  const interactive = process.stdin.isTTY === true;
  const keyboard = createInterface({ input: process.stdin, output: process.stdout, terminal: interactive });
  const ended = new AbortController();
  const end = () => ended.abort();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, end);
  // A closed terminal ends a person's session; a program that runs this without input wants it to stay.
  if (interactive) keyboard.once("close", end);
  keyboard.on("SIGINT", end);

  const waiting = new Map<string, AbortController>();
  let wake = () => {};
  vault.on((event) => {
    switch (event.type) {
      case "ask":
        waiting.set(event.ask.request_id, new AbortController());
        return wake();
      case "ask_changed": {
        const { ask } = event;
        waiting.get(ask.request_id)?.abort();
        waiting.delete(ask.request_id);
        if (ask.outcome !== undefined)
          print(`\n  ${short(ask.request_id)}: the service counts it as ${ask.outcome}`);
        else if (ask.state !== "answered") print(`\n  ${short(ask.request_id)}: ${ask.state}`);
        else if (ask.reason === "unsupported" || ask.reason === "not_granted")
          print(`\n  ${short(ask.request_id)}: denied for you, ${ask.reason}`);
        return;
      }
      case "contract_changed":
        return print(`\n  ${plain(event.contract.service_name)}: the contract is ${event.contract.status}`);
      case "undelivered":
        return print(`\n  a ${event.event_type} expired before the service confirmed it`);
      case "message_refused":
        return print(`\n  a message was not believed: ${event.reason}`);
      case "delivered":
      case "policy_failed":
        return;
    }
  });
  for (const { request_id } of vault.asks({ state: "open" }).reverse())
    waiting.set(request_id, new AbortController());
  vault.start();
  print(
    `Online. ${vault.contracts().filter(({ status }) => status === "active").length} active contracts. Ctrl-C ends.`,
  );

  ended.signal.addEventListener("abort", () => wake());
  while (!ended.signal.aborted) {
    const next = waiting.entries().next();
    if (next.done) {
      await new Promise<void>((resolveWake) => {
        wake = resolveWake;
        if (ended.signal.aborted || waiting.size > 0) resolveWake();
      });
      continue;
    }
    const [requestId, withdrawn] = next.value;
    waiting.delete(requestId);
    print("");
    showAsk(vault.ask(requestId));
    if (!interactive) continue;
    // Still in the map while it is on screen, so that a withdrawal takes the question away.
    waiting.set(requestId, withdrawn);
    try {
      const answer = await question(
        keyboard,
        vault.ask(requestId),
        AbortSignal.any([withdrawn.signal, ended.signal]),
      );
      waiting.delete(requestId);
      if (answer !== "later") await vault.answer(requestId, answer);
    } catch (error) {
      waiting.delete(requestId);
      if (error instanceof VaultError) print(`  ${error.message}`);
      else if ((error as Error).name !== "AbortError") throw error;
    }
  }
  keyboard.removeAllListeners("close");
  keyboard.close();
}

async function question(keyboard: Interface, ask: Ask, signal: AbortSignal): Promise<Answer | "later"> {
  for (;;) {
    const key = await keyboard.question("  [a] approve   [d] deny   [n] this was not me   [l] later  > ", {
      signal,
    });
    switch (key.trim().toLowerCase()) {
      case "a":
      case "approve": {
        if (!ask.match_code_required) return { decision: "approved" };
        const code = await keyboard.question("  The number shown where you are logging in  > ", { signal });
        if (/^\d{2,6}$/.test(code.trim())) return { decision: "approved", match_code: code.trim() };
        print("  That is not a number of 2 to 6 digits.");
        break;
      }
      case "d":
      case "deny":
        return { decision: "denied" };
      case "n":
        return { decision: "denied", report: true };
      case "l":
      case "later":
        print(`  Later: npm run person -- approve ${short(ask.request_id)}   (stop this first)`);
        return "later";
    }
  }
}

// ---- showing ------------------------------------------------------------------------------------------------

const print = (text: string): void => console.log(text);

/** What others wrote, without anything that moves a terminal's cursor or turns text around. */
const plain = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ");

/** Enough of an id to name it by: the end, because ids that route themselves all begin with the user's part. */
const short = (id: string): string => id.slice(-12);

const field = (label: string, value: string): void =>
  print(`  ${plain(label).padEnd(LABEL_WIDTH)} ${plain(value)}`);

function showPreview(shown: Preview): void {
  print(`${plain(shown.service_name)} (${plain(shown.service_type)})`);
  field("service", shown.service_id);
  if (shown.domain !== undefined)
    field(
      "domain",
      `${shown.domain.name}, ${shown.domain.proof === "verified" ? "verified" : "claimed, not verified"}`,
    );
  for (const { registry, statement, proof } of shown.attestations)
    field(
      proof === "verified" ? "attested" : "unverified",
      proof === "verified" ? `${registry}: ${statement}` : `a word of ${registry} that could not be verified`,
    );
  for (const offering of shown.offerings) {
    print(`\n${plain(offering.name)} [${offering.offering_id}]: ${plain(offering.description)}`);
    for (const grant of offering.grants) field("may", grantWords(grant));
    for (const data of offering.required_data) field("needs", `${data.data_type}: ${data.purpose}`);
    for (const data of offering.optional_data) field("would like", `${data.data_type}: ${data.purpose}`);
    if (offering.pricing !== undefined && offering.pricing.type !== "free")
      field(
        "costs",
        `${(offering.pricing.amount ?? 0) / 100} ${offering.pricing.currency} (${offering.pricing.type})`,
      );
    if (offering.match_code_needed) field("code", "whoever invited you tells you one");
    if (offering.acceptance === "manual") field("then", "someone at the service decides");
  }
}

const grantWords = ({ capability, description, scope }: CapabilityGrant): string =>
  `${description} (${capability}${scope ? `: ${scope.join(", ")}` : ""})`;

/** A proposed change: only what differs, each grant whole where it is new or changed. */
function showProposal(contract: ContractInfo, now: Offering): void {
  const { proposal } = contract;
  if (proposal === undefined) return;
  const { changes, offering: then } = proposal;
  print(`${plain(contract.service_name)}, ${plain(contract.offering_name)}: ${plain(proposal.summary)}`);
  field("contract", contract.contract_id);
  field("until", proposal.expires_at);
  const grants = (label: string, { capabilities }: Offering, names: readonly string[]) => {
    for (const grant of capabilities)
      if (names.includes(grant.capability)) field(label, `${grantWords(grant)}${boundsOf(grant)}`);
  };
  grants("adds", then, changes.capabilities_added);
  grants("removes", now, changes.capabilities_removed);
  for (const name of changes.capabilities_changed) {
    grants("may now", now, [name]);
    grants("then", then, [name]);
  }
  const needs = (label: string, { required_data }: Offering, names: readonly string[]) => {
    for (const { data_type, required, purpose } of required_data)
      if (names.includes(data_type)) field(label, `${data_type}${required ? "" : " (optional)"}: ${purpose}`);
  };
  needs("asks for", then, changes.data_added);
  needs("drops", now, changes.data_removed);
  for (const name of changes.data_changed) {
    needs("knows now", now, [name]);
    needs("then", then, [name]);
  }
  const valueIn = (offering: Offering, name: string) =>
    JSON.stringify((offering as { [name: string]: unknown })[name]) ?? "none";
  for (const name of changes.other) field(name, `${valueIn(now, name)} → ${valueIn(then, name)}`);
  if (proposal.contract_expires_at !== undefined)
    field("ends", `${contract.expires_at ?? "not by itself"} → ${proposal.contract_expires_at}`);
}

/** How far a grant goes, in a few words more. */
const boundsOf = ({ constraints, requires_approval_each_use }: CapabilityGrant): string =>
  [
    requires_approval_each_use ? ", approved each time" : ", without asking each time",
    ...Object.entries(constraints ?? {}).map(([name, bound]) => `, ${name} ${JSON.stringify(bound)}`),
  ].join("");

function showContract(contract: ContractInfo): void {
  print(`${plain(contract.service_name)}, ${plain(contract.offering_name)}: ${contract.status}`);
  field("contract", contract.contract_id);
  field("you are", contract.user_id);
  field("may", contract.capabilities.join(", "));
  if (contract.shared_data.length > 0) field("shared", contract.shared_data.join(", "));
  if (contract.activated_at !== undefined) field("since", contract.activated_at);
  if (contract.ended_at !== undefined)
    field("ended", `${contract.ended_at}${contract.ended_by ? ` by the ${contract.ended_by}` : ""}`);
  if (contract.reason !== undefined) field("reason", contract.reason);
  if (contract.proposal !== undefined) field("proposed", `${contract.proposal.summary} (see: updates)`);
}

function showAsk(ask: Ask): void {
  print(`${plain(ask.service_name)} asks: ${ask.kind}${ask.operation ? ` ${ask.operation}` : ""}`);
  if (ask.purpose !== undefined) field("purpose", ask.purpose);
  for (const [name, value] of Object.entries(ask.context ?? {})) field(name, String(value));
  for (const [name, value] of Object.entries((ask.payload ?? {}) as { [name: string]: unknown }))
    if (!SHOWN_ELSEWHERE.has(name)) field(name, typeof value === "string" ? value : JSON.stringify(value));
  field("request", ask.request_id);
  if (ask.state === "open")
    field("until", `${ask.expires_at}${ask.match_code_required ? ", with a match code" : ""}`);
  else field("is", ask.state);
  if (ask.decision !== undefined)
    field("you", `${ask.decision}${ask.reported ? ", not you" : ""}${ask.reason ? ` (${ask.reason})` : ""}`);
  if (ask.outcome !== undefined) field("counted as", ask.outcome);
  if (ask.undelivered) field("but", "the service never confirmed it");
}

const SHOWN_ELSEWHERE = new Set([
  "request_id",
  "kind",
  "operation",
  "purpose",
  "context",
  "challenge",
  "expires_at",
  "offline_grace_seconds",
  "match_code_required",
]);

function showCounted(receipt: Receipt): void {
  if (receipt.outcome === "refused")
    throw new Error(`the service refused it: ${receipt.reason ?? "no reason given"}`);
  print(
    `The service has it (${receipt.received_at}) and counts it as: ${receipt.request_status ?? "not told"}`,
  );
  if (receipt.event_hash !== undefined) field("audit entry", receipt.event_hash);
}

/** Of what holds here already, whatever the service says. */
function showConfirmed(receipt: Receipt): void {
  if (receipt.outcome === "refused")
    throw new Error(`the service refused it: ${receipt.reason ?? "no reason given"}`);
  print(`The service confirmed it at ${receipt.received_at}.`);
}

// ---- small things -------------------------------------------------------------------------------------------

/** Online, with everything the platform held for this vault handled. */
async function goOnline(vault: UserVault, timeoutMs: number): Promise<void> {
  vault.start();
  if (await vault.caughtUp(timeoutMs)) return;
  const { platform_error: error } = vault.status();
  throw new Error(`the platform cannot be reached${error === undefined ? "" : `: ${error}`}`);
}

function needed(argument: string | undefined, usage: string): string {
  if (argument === undefined) throw new UsageError(`usage: npm run person -- ${usage}`);
  return argument;
}

function readProfile(pairs: readonly string[]): { [name: string]: string } {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      if (at < 1) throw new UsageError(`--profile takes name=value, not ${pair}`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

const contractByPart = (vault: UserVault, given: string): string =>
  byPart(
    given,
    vault.contracts().map(({ contract_id }) => contract_id),
    "contract",
  );

function byPart(given: string, ids: readonly string[], what: string): string {
  if (ids.includes(given)) return given;
  const found =
    given.length < MIN_PART_CHARACTERS ? [] : ids.filter((id) => id.startsWith(given) || id.endsWith(given));
  if (found.length === 1) return found[0]!;
  throw new Error(
    found.length === 0 ? `there is no ${what} ${given}` : `${given} names more than one ${what}`,
  );
}

// Last, so that everything above is there when it runs.
process.exitCode = await main().catch((error: unknown) => {
  if (error instanceof UsageError) {
    console.error(`person: ${error.message}\nTry: npm run person -- --help`);
    return EXIT_USAGE;
  }
  const known = error instanceof VaultError || process.env.DEBUG === undefined;
  console.error(
    `person: ${known && error instanceof Error ? error.message : ((error as Error).stack ?? error)}`,
  );
  return EXIT_FAILED;
});
