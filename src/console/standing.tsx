// How the deployment stands beside its sessions: the public log, credentials, the wrapping key; and what an operator
// should know of them. Pure.

import type { Child } from "hono/jsx";
import type { AuditLogState, BridgeState, HaltReason } from "../rpc.ts";
import { Badge, Facts, sentence } from "./ui.tsx";
import { countWords } from "./words.ts";

/** GET /ready. */
export interface Readiness {
  status: "ready" | "not_ready";
  shards: BridgeState[];
  nats_credentials?: { problem?: string };
  vault_kek?: { status: "current" | "rewrapping" | "rewrapped" };
}

/** What an operator should know although messages flow. */
export function warningsOf(
  { nats_credentials, vault_kek }: Partial<Readiness>,
  log: AuditLogState | undefined,
): string[] {
  return [
    ...(log?.status === "halted"
      ? ["The audit log takes no more entries; the Audit page says why, and what to do."]
      : []),
    ...(nats_credentials?.problem === undefined
      ? []
      : [`Revoked NATS credentials may still work: ${sentence(nats_credentials.problem)}`]),
    ...(vault_kek?.status === "rewrapping"
      ? ["VAULT_KEK is being replaced: leave VAULT_KEK_PREVIOUS in place until this says that it is done."]
      : []),
    ...(vault_kek?.status === "rewrapped"
      ? ["VAULT_KEK is replaced everywhere: VAULT_KEK_PREVIOUS may be taken out of the settings."]
      : []),
  ];
}

const HALTS: Record<HaltReason, string> = {
  behind:
    "The bucket shows more than the log's own storage, as after storage was put back to an earlier state.",
  forked: "The bucket shows another history than this log's.",
  checkpoint_missing: "The published checkpoint is gone.",
  checkpoint_went_back: "The published checkpoint is an older one.",
  checkpoint_unreadable: "The published checkpoint cannot be read.",
  origin_changed: "The settings name another log.",
  storage_damaged: "The log's own storage does not agree with itself.",
};

export const LogCard = ({ log, resume }: { log: AuditLogState; resume?: Child }) => (
  <section class="card" aria-labelledby="public-log">
    <div class="part-head">
      <h2 id="public-log">The public log</h2>
      <Badge status={log.status} />
    </div>
    {log.status === "halted" && (
      <p class="alert">
        <strong>It takes no more entries.</strong> {log.reason !== undefined && HALTS[log.reason]}
        {log.detail !== undefined && ` ${sentence(log.detail)}`} Entries are still made and signed; they enter
        the log once it runs again.
      </p>
    )}
    <Facts
      items={[
        ["Leaves", `${log.size.toLocaleString("en")}, ${log.published_size.toLocaleString("en")} published`],
        ["Waiting", log.waiting === 0 ? "none" : log.waiting.toLocaleString("en")],
        [
          "Witnesses",
          log.witnesses.length === 0
            ? "none is configured: see docs/AUDIT.md"
            : log.witnesses
                .map(({ name, size }) => `${name} (${countWords(size, "leaf", "leaves")})`)
                .join(", "),
        ],
      ]}
    />
    {resume}
  </section>
);
