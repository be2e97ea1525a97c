// What a user is shown of their own chain: pages of entries, with the proof that the log holds them (PROTOCOL §6,
// `audit.request`).

import { withOpening } from "../../src/audit/proof.ts";
import type { AuditEntry } from "../../src/protocol/audit.ts";
import type { EnvelopeHeader } from "../../src/protocol/envelope.ts";
import { parseRoutedId } from "../../src/protocol/ids.ts";
import { type AuditRequest, type AuditResponse, MAX_AUDIT_ENTRIES } from "../../src/protocol/messages.ts";
import type { AuditLogForRoutes } from "../../src/rpc.ts";
import { AUDIT_LOG_NAME } from "../audit-log/audit-log.ts";
import type { LoggedHead } from "../heads.ts";
import { type Outcome, refuseMessage } from "./asking.ts";
import type { Change } from "./change.ts";
import { type ContractRow, openFrom } from "./store.ts";
import type { Vault } from "./vault.ts";

/** JSON of one page's entries, characters: sealed and padded it stays below what an envelope holds. */
const MAX_PAGE_CHARACTERS = 300_000;
/** Pages that wait for a receipt; a vault asks for the next when it has one. */
const MAX_OPEN_PAGES = 4;
const RESPONSE_LIFETIME_MS = 7 * 24 * 3_600_000;
/** The log is asked while this user's other steps wait: when it is slow, the page goes without a proof. */
const PROOF_TIMEOUT_MS = 2_000;
const RESPONSE = "audit.response";

/** The proof of a head; undefined when the log cannot be reached in time. */
async function proofOf(vault: Vault, head: LoggedHead): Promise<string | undefined> {
  const log = vault.env.AUDIT_LOG.getByName(AUDIT_LOG_NAME) as unknown as AuditLogForRoutes;
  let stopWaiting: () => void = () => {};
  const late = new Promise<undefined>((resolve) => {
    const timer = setTimeout(resolve, PROOF_TIMEOUT_MS);
    stopWaiting = () => clearTimeout(timer);
  });
  try {
    const answer = await Promise.race([log.proof({ index: head.index }), late]);
    return answer?.ok === true ? withOpening(answer.value.proof, vault.heads.openingOf(head)) : undefined;
  } catch {
    return undefined;
  } finally {
    stopWaiting();
  }
}

/** Answers with the entries behind `after`, and the proof of the last logged head among them. */
export async function takeAuditRequest(
  change: Change,
  row: ContractRow,
  header: EnvelopeHeader,
  { after }: AuditRequest,
): Promise<Outcome> {
  const { vault } = change;
  const { store, heads } = vault;
  const place = after === undefined ? { userId: vault.userId, row: 0 } : parseRoutedId(after);
  if (place === undefined || place.userId !== vault.userId)
    return refuseMessage(change, header, row, "malformed");
  const open = store
    .openRows(openFrom(store.contracts()))
    .filter(({ event_type, sealed }) => event_type === RESPONSE && sealed !== null);
  if (open.length >= MAX_OPEN_PAGES) return refuseMessage(change, header, row, "rate_limited");

  const rows = store.auditAfter(place.row, MAX_AUDIT_ENTRIES + 1, undefined);
  const page: typeof rows = [];
  let characters = 0;
  for (const found of rows.slice(0, MAX_AUDIT_ENTRIES)) {
    characters += found.entry.length;
    if (characters > MAX_PAGE_CHARACTERS && page.length > 0) break;
    page.push(found);
  }
  const entries = page.map(({ entry }) => JSON.parse(entry) as AuditEntry);
  const last = page.at(-1);
  // The newest entries are usually in the log, and nobody has asked since.
  if (page.length === rows.length) await heads.confirm();
  const head = last === undefined ? undefined : heads.between(page[0]!.n, last.n).at(-1);
  const proof = head === undefined ? undefined : await proofOf(vault, head);
  const prunedTo = after === undefined ? heads.prunedTo() : undefined;
  const payload: AuditResponse = {
    entries,
    ...(proof === undefined ? {} : { proof }),
    ...(page.length < rows.length ? { next_after: entries.at(-1)!.event_id } : {}),
    ...(prunedTo === undefined ? {} : { pruned_to: prunedTo }),
  };
  change.audit({
    contractId: row.contract_id,
    operation: "audit.read",
    status: "success",
    request: { event_id: header.event_id, by: "user" },
    response: { entries: entries.length },
  });
  await change.say(row, {
    eventType: RESPONSE,
    ref: header.event_id,
    payload,
    expiresAt: change.now + RESPONSE_LIFETIME_MS,
  });
  return { outcome: "stored" };
}
