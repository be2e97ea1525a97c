// A person with a vault, for end-to-end tests.

import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Stack } from "../../../scripts/stack/stack.ts";
import { openSqliteStore, type Policy, UserVault } from "../../../sdk/user-vault/index.ts";

export const PROFILE = { email: "ada@example.com" };

/** What the person does, by the ask's purpose: "later…" leaves it open, "deny…" denies, anything else is approved. */
export const byPurpose: Policy = ({ purpose = "" }) =>
  purpose.startsWith("later")
    ? "later"
    : purpose.startsWith("deny")
      ? { decision: "denied", reason: "not now" }
      : { decision: "approved" };

export class Person {
  readonly dir = mkdtempSync(join(tmpdir(), "person-"));
  readonly storeFile = join(this.dir, "vault.sqlite");
  readonly #stack: Stack;
  vault!: UserVault;

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  static async online(stack: Stack, policy: Policy = byPurpose): Promise<Person> {
    const person = new Person(stack);
    await person.open(policy);
    person.vault.start();
    return person;
  }

  /** Opens the vault on its file, as after a restart of the phone. */
  async open(policy: Policy = byPurpose): Promise<void> {
    this.vault = await UserVault.open({
      store: openSqliteStore(this.storeFile),
      messageSpace: {
        endpoint: this.#stack.messageSpace.server.wsUrl,
        creds: readFileSync(this.#stack.userVaultCredsFile, "utf8"),
      },
      policy,
    });
  }

  /** As if the stored NATS credentials of a contract had run out. The vault must be closed. */
  forgetCredentials(contractId: string): void {
    const db = new DatabaseSync(this.storeFile);
    db.prepare("UPDATE contracts SET state = json_remove(state, '$.credentials') WHERE contract_id = ?").run(
      contractId,
    );
    db.close();
  }

  /** The stored NATS credentials of a contract, as whoever copied the phone would have them. */
  credentials(contractId: string): { user_jwt: string; endpoint: string; expires_at: string; seed: string } {
    // The vault holds its file locked; a thief takes a copy.
    const copy = mkdtempSync(join(this.dir, "copy-"));
    for (const ending of ["", "-wal"])
      if (existsSync(this.storeFile + ending))
        copyFileSync(this.storeFile + ending, join(copy, `v.sqlite${ending}`));
    const db = new DatabaseSync(join(copy, "v.sqlite"));
    try {
      const row = db
        .prepare(
          "SELECT state ->> '$.credentials' AS credentials, state ->> '$.natsSeed' AS seed FROM contracts WHERE contract_id = ?",
        )
        .get(contractId) as { credentials: string; seed: string };
      return { ...JSON.parse(row.credentials), seed: row.seed };
    } finally {
      db.close();
    }
  }

  async gone(): Promise<void> {
    await this.vault.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
