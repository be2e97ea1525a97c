// Many people in one process, for the chaos run: killed and started again like phones. Each has a vault of their own
// on disk. Whom to connect to is handed over in a file; what each did is read from the vaults afterwards.
//
//   node scripts/chaos/people.ts <settings.json>

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openSqliteStore, UserVault } from "../../sdk/user-vault/index.ts";
import { decisionOn } from "./decision.ts";

/** What the chaos run hands over. */
export interface PeopleSettings {
  /** One vault file for each person is kept here. */
  dir: string;
  /** Invite URLs, one each. */
  invites: string[];
  messageSpace: { endpoint: string; creds: string };
  /** Written when everyone is connected: user ids in the order of the invites. */
  connectedFile: string;
  /** Written every second: how many asks are not both answered and confirmed by the service's receipt. */
  unsettledFile: string;
}

export const vaultFile = (dir: string, person: number): string => join(dir, `person-${person}.sqlite`);

const CONNECT_TIMEOUT_MS = 60_000;
const REPORT_INTERVAL_MS = 1_000;

async function main(): Promise<void> {
  const settings = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as PeopleSettings;
  const userIds: string[] = [];
  const vaults: UserVault[] = [];
  for (const [person, invite] of settings.invites.entries()) {
    const vault = await UserVault.open({
      store: openSqliteStore(vaultFile(settings.dir, person)),
      messageSpace: settings.messageSpace,
      policy: ({ request_id }) =>
        decisionOn(request_id) === "approved" ? { decision: "approved" } : { decision: "denied" },
    });
    vault.start();
    vaults.push(vault);
    const known = vault.contracts()[0];
    const contract =
      known ??
      (await vault.connect(invite, {
        profile: { email: `p${person}@example.com` },
        timeoutMs: CONNECT_TIMEOUT_MS,
      }));
    userIds.push(contract.user_id);
  }
  if (!existsSync(settings.connectedFile)) writeFileSync(settings.connectedFile, JSON.stringify(userIds));
  setInterval(() => {
    const unsettled = vaults.flatMap((vault) => vault.asks()).filter(({ outcome }) => outcome === undefined);
    writeFileSync(settings.unsettledFile, String(unsettled.length));
  }, REPORT_INTERVAL_MS);
}

// Imported for its types and paths by the run itself.
if (process.argv[1]?.endsWith("people.ts")) await main();
