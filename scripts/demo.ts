// The main job from beginning to end, on real parts: two NATS clusters, the Worker in workerd, a user vault.
// Each step says what was verified; the first that does not hold ends the demo with exit code 1.
//
//   npm run demo             the story of one contract
//   npm run demo -- --all    every kind of request once, as a table

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openSqliteStore, type Policy, UserVault } from "../sdk/user-vault/index.ts";
import { verifyChain } from "../src/audit/chain.ts";
import { verifyContractRecord } from "../src/contracts/agreement.ts";
import { verifyApproval } from "../src/requests/lifecycle.ts";
import { runAllKinds, table } from "./demo-all.ts";
import { Backend } from "./stack/backend.ts";
import { type Stack, startStack } from "./stack/stack.ts";

/** The shortest expiry the API allows. */
const SHORTEST_EXPIRY_SECONDS = 60;
const EXPIRY_SLACK_SECONDS = 15;

const dir = mkdtempSync(join(tmpdir(), "service-vault-demo-"));
let step = 0;

function say(title: string, ...facts: string[]): void {
  step += 1;
  console.log(`\n${String(step).padStart(2)}. ${title}`);
  for (const fact of facts) console.log(`    ✓ ${fact}`);
}

function must(condition: boolean, claim: string): void {
  if (!condition) throw new Error(`does not hold: ${claim}`);
}

/** What the person does with each ask, by its purpose. */
const decide: Policy = ({ purpose }) => {
  if (purpose?.startsWith("Leave open")) return "later";
  if (purpose?.startsWith("Deny")) return { decision: "denied", reason: "not now" };
  return { decision: "approved" };
};

const openVault = (stack: Stack): Promise<UserVault> =>
  UserVault.open({
    store: openSqliteStore(join(dir, "person.sqlite")),
    messageSpace: {
      endpoint: stack.messageSpace.server.wsUrl,
      creds: readFileSync(stack.userVaultCredsFile, "utf8"),
    },
    policy: decide,
  });

async function run(stack: Stack): Promise<void> {
  const backend = new Backend(stack.baseUrl, stack.adminApiKey);
  const ready = await backend.expect(200, "GET", "/ready");
  say("The stack is up", `Worker ${stack.baseUrl}, both NATS sessions ready`, `service ${stack.serviceId}`);
  must(ready.status === "ready", "/ready says ready");

  const invite = await backend.invite();
  say("The operator publishes an offering and makes an invite", invite.invite_url);

  const vault = await openVault(stack);
  vault.start();
  const preview = await vault.preview(invite.invite_url);
  must(preview.service_id === stack.serviceId, "the offer is the pinned service's");
  const contract = await vault.connect(invite.invite_url, { profile: { email: "ada@example.com" } });
  must(contract.status === "active", "the contract is active");
  say(
    "A person opens it, reads the signed offer and connects",
    `offer signed by the service the link names: ${preview.service_name}`,
    `contract ${contract.contract_id}`,
    `the person is ${contract.user_id} to this service, and nobody to any other`,
  );

  const record = (await backend.expect(200, "GET", `contracts/${contract.contract_id}`)).record;
  const verification = await verifyContractRecord(record);
  must(verification.valid, "the contract record verifies from its own content");
  const held = await verifyContractRecord(vault.record(contract.contract_id));
  must(held.valid, "the person's copy verifies too");
  say(
    "Both sides hold a contract record that proves itself",
    ...verification.checks.map(({ check, detail }) => `${check}: ${detail}`),
  );

  const userId = contract.user_id;
  // Asked now, so that it can run out while the rest goes on.
  const expiring = await backend.ask(userId, "Leave open until it expires", {
    expires_in_seconds: SHORTEST_EXPIRY_SECONDS,
  });

  const asked = await backend.ask(userId, "Log in to the shop", { context: { device: "Firefox on Linux" } });
  const approved = await backend.settled(asked.request_id);
  must(approved.status === "approved" && approved.result.authenticated === true, "the login is approved");
  must(
    await verifyApproval(approved.approval, approved.request_payload, record.contract.user_signing_key),
    "the approval verifies offline",
  );
  const forged = structuredClone(approved.approval);
  forged.statement.valid_until = "2099-01-01T00:00:00.000Z";
  must(
    !(await verifyApproval(forged, approved.request_payload, record.contract.user_signing_key)),
    "a changed approval does not verify",
  );
  say(
    "The backend asks for a login; the person approves",
    `request ${asked.request_id.slice(0, 16)}… is ${approved.status}`,
    "the user's signature over the request checked offline; a changed one refused",
  );

  const toDeny = await backend.ask(userId, "Deny this one");
  const denied = await backend.settled(toDeny.request_id);
  must(denied.status === "denied" && denied.result.authenticated === false, "the login is denied");
  const again = await backend.call("POST", "auth/request", { user_id: userId, purpose: "Deny this one" });
  must(again.status === 429 && again.headers.has("retry-after"), "the same ask is cooling off");
  say(
    "Another is denied, and the same ask at once is refused",
    `denied, reason: ${denied.reason}`,
    `429 ${again.body.code}, Retry-After ${again.headers.get("retry-after")} s`,
  );

  await vault.stop();
  const whileOffline = await backend.ask(userId, "Log in while the phone is off");
  const stillOpen = await backend.expect(200, "GET", `auth/request/${whileOffline.request_id}?wait=2`);
  must(stillOpen.status === "pending", "nobody answered while the vault was offline");
  vault.start();
  const late = await backend.settled(whileOffline.request_id);
  must(late.status === "approved", "the offline vault answers when it is back");
  say(
    "One is asked while the person's vault is offline",
    "pending for as long",
    "approved once it came back",
  );

  const expired = await backend.settled(expiring.request_id, SHORTEST_EXPIRY_SECONDS + EXPIRY_SLACK_SECONDS);
  must(expired.status === "expired", "the unanswered login expires");
  say("The one nobody answered", `expired after ${SHORTEST_EXPIRY_SECONDS} s`);

  const own = await vault.revoke(contract.contract_id, "Enough");
  await vault.delivered(own.event_id);
  const after = await backend.expect(200, "GET", `contracts/${contract.contract_id}`);
  must(
    after.status === "cancelled" && after.cancelled_by === "user",
    "the contract is cancelled by the user",
  );
  const refused = await backend.call("POST", "auth/request", { user_id: userId, purpose: "Log in" });
  must(refused.status === 403 && refused.body.code === "contract_required", "the next ask is refused");
  must(
    (await backend.call("GET", `users/${userId}/profile`)).status === 404,
    "the profile is gone with the contract",
  );
  say(
    "The person revokes",
    "the contract is cancelled by the user's signature",
    `the next ask: 403 ${refused.body.code}`,
    "the shared profile is gone",
  );

  const { entries } = await backend.expect(200, "GET", `audit?user_id=${userId}&limit=100`);
  const publicKey = record.service_public_key;
  const report = await verifyChain(entries, { serviceId: stack.serviceId, publicKey });
  must(report.valid, "the audit chain verifies");
  const cut = entries.toSpliced(2, 1);
  must(!(await verifyChain(cut, { serviceId: stack.serviceId, publicKey })).valid, "a removed entry shows");
  const hashes = new Set(entries.map((entry: { event_hash: string }) => entry.event_hash));
  const receipts = vault.history(contract.contract_id).filter(({ event_hash }) => event_hash !== undefined);
  must(
    receipts.length > 0 && receipts.every(({ event_hash }) => hashes.has(event_hash)),
    "every receipt the person holds is in the chain",
  );
  say(
    "Every step is on the user's audit chain",
    `${entries.length} signed entries verified; with one removed they do not`,
    `all ${receipts.length} receipts the person holds name entries of it`,
    ...entries.map(
      (entry: { operation: string; status: string; timestamp: string }) =>
        `${entry.timestamp}  ${entry.operation}  ${entry.status}`,
    ),
  );
  await vault.close();
}

const { values } = parseArgs({ options: { all: { type: "boolean", default: false } } });
const stack = await startStack({ dir: join(dir, "stack") });
try {
  if (values.all) console.log(table(await runAllKinds(stack, dir)));
  else await run(stack);
  console.log("\nAll of it held.");
} catch (error) {
  process.exitCode = 1;
  console.error(`\ndemo: ${error instanceof Error ? error.message : String(error)}`);
  console.error(`The Worker's log: ${stack.worker.logTail()}`);
} finally {
  await stack.stop();
  rmSync(dir, { recursive: true, force: true });
}
process.exit();
