// Replacing connection keys, either side's (PROTOCOL §7). A new key of ours is stored before the user hears of it;
// the old one goes once they have confirmed it and everything sealed to the old one has arrived or expired. A crash
// in between leaves both keys, and the rotation where it was.

import { newAgreementKey } from "../../src/crypto/agreement.ts";
import { keyIdOf } from "../../src/crypto/hash.ts";
import { isSoundAgreementKey } from "../../src/crypto/keys.ts";
import { isEnded } from "../../src/protocol/contract.ts";
import { fromBase64 } from "../../src/protocol/encoding.ts";
import type { EnvelopeHeader } from "../../src/protocol/envelope.ts";
import { MAX_ENVELOPE_LIFETIME_MS } from "../../src/protocol/limits.ts";
import type { KeyRotate, KeyRotated } from "../../src/protocol/messages.ts";
import { type Outcome, refuseMessage } from "./asking.ts";
import type { AuditDraft, Change } from "./change.ts";
import type { Received } from "./sequence.ts";
import type { ConnectionKeyRow, ContractRow } from "./store.ts";
import type { Vault } from "./vault.ts";

/** Numbered messages of the user's that one key of ours is used for. */
export const ROTATE_AFTER_MESSAGES = 1_000;
/** How long one key of ours is used. */
export const ROTATE_AFTER_MS = 30 * 24 * 3_600_000;
/** A rotation that was not confirmed by then is told again, with the same key. */
export const ROTATION_LIFETIME_MS = 30 * 24 * 3_600_000;

const isRotatable = (row: ContractRow): boolean => !isEnded(row.status) && row.status !== "pending";

/** The key of ours that the user was last known to use. */
const currentKey = (vault: Vault, row: ContractRow): ConnectionKeyRow =>
  vault.store
    .connectionKeys(row.contract_id)
    .find(({ key_id, retired_seq }) => retired_seq === null && key_id !== row.rotating_key_id)!;

/**
 * Begins a rotation of our key, or tells the user of the one under way again once its word has expired: one at a
 * time. Returns both key ids.
 */
export async function rotate(
  change: Change,
  row: ContractRow,
  actor: AuditDraft["request"],
): Promise<{ keyId: string; previousKeyId: string }> {
  const { vault, now } = change;
  const previous = currentKey(vault, row);
  const pending =
    row.rotating_key_id === null
      ? undefined
      : await vault.connectionKey(row.rotating_key_id, row.contract_id);
  if (pending !== undefined && (vault.store.outgoing(row.rotation_row!)?.sealed_until ?? 0) > now)
    return { keyId: pending.keyId, previousKeyId: previous.key_id };
  const fresh = pending === undefined ? await newAgreementKey() : undefined;
  const key = pending ?? fresh!.key;
  const expiresAt = now + ROTATION_LIFETIME_MS;
  const { n } = await change.say(row, {
    eventType: "key.rotate",
    payload: { connection_key: key.publicKeyText, previous_key_id: previous.key_id } satisfies KeyRotate,
    expiresAt,
  });
  change
    .audit({
      contractId: row.contract_id,
      operation: "key.rotate",
      status: "success",
      request: actor,
      response: { key_id: key.keyId, previous_key_id: previous.key_id },
    })
    .write(() => {
      if (fresh !== undefined)
        vault.store.insertConnectionKey({
          key_id: key.keyId,
          contract_id: row.contract_id,
          secret: vault.wrapper.wrapBytes(fresh.secret, `connection_keys/secret/${key.keyId}`),
          created_at: now,
        });
      vault.store.updateContract(row.contract_id, { rotating_key_id: key.keyId, rotation_row: n });
    })
    .due(expiresAt);
  return { keyId: key.keyId, previousKeyId: previous.key_id };
}

/** Rotates when the key has served for as many messages as it may; called with each message that is taken in. */
export async function rotateAfterMessages(change: Change, row: ContractRow, highest: number): Promise<void> {
  if (!isRotatable(row) || change.ending.has(row.contract_id) || row.rotating_key_id !== null) return;
  if (highest - row.rotated_seq >= ROTATE_AFTER_MESSAGES)
    await rotate(change, row, { by: "service", reason: "messages" });
}

/** What time asks of a contract's keys: rotate, tell of a rotation again, give up an old key. */
export async function rotateInTime(change: Change, row: ContractRow): Promise<void> {
  if (!isRotatable(row)) return;
  const { vault, now } = change;
  const { store } = vault;
  const retired = store.connectionKeys(row.contract_id).filter(({ retired_at }) => retired_at !== null);
  for (const { retired_at } of retired) {
    const goneAt = retired_at! + MAX_ENVELOPE_LIFETIME_MS;
    if (goneAt > now) change.due(goneAt);
  }
  if (retired.length > 0)
    change.write(() => destroyRetired(vault, row.contract_id, store.received(row), now));
  const dueAt =
    row.rotating_key_id === null
      ? (row.rotated_at ?? row.activated_at ?? row.created_at) + ROTATE_AFTER_MS
      : (store.outgoing(row.rotation_row!)?.sealed_until ?? 0);
  if (dueAt > now) change.due(dueAt);
  else await rotate(change, row, { by: "service", reason: row.rotating_key_id === null ? "age" : "repeat" });
}

/** Old keys of ours that nothing can be sealed to any more. Called in a transaction. */
export function destroyRetired(vault: Vault, contractId: string, received: Received, now: number): void {
  for (const { key_id, retired_seq, retired_at } of vault.store.connectionKeys(contractId)) {
    if (retired_seq === null || retired_at === null) continue;
    const isComplete =
      received.highest >= retired_seq && !received.missing.some(([from]) => from < retired_seq);
    if (isComplete || retired_at + MAX_ENVELOPE_LIFETIME_MS <= now) vault.destroyKey(key_id);
  }
}

/** `key.rotated`: the user seals to our new key from this message on. */
export function takeKeyRotated(
  change: Change,
  row: ContractRow,
  header: EnvelopeHeader,
  { key_id: keyId }: KeyRotated,
): Outcome {
  const { vault, now } = change;
  if (row.rotating_key_id !== keyId) {
    // The word came twice, under two numbers: a rotation that was told again is confirmed again.
    return currentKey(vault, row).key_id === keyId
      ? { outcome: "stored" }
      : refuseMessage(change, header, row, "key_unknown");
  }
  const old = vault.store
    .connectionKeys(row.contract_id)
    .filter(({ key_id, retired_seq }) => key_id !== keyId && retired_seq === null);
  change
    .audit({
      contractId: row.contract_id,
      operation: "key.rotated",
      status: "success",
      request: { event_id: header.event_id },
      response: { key_id: keyId },
    })
    .write(() => {
      for (const { key_id } of old)
        vault.store.updateConnectionKey(key_id, { retired_seq: header.seq, retired_at: now });
      // Said and done, receipt or not.
      vault.store.updateOutgoing(row.rotation_row!, { sealed: null, next_send_at: null });
      vault.store.updateContract(row.contract_id, {
        rotating_key_id: null,
        rotation_row: null,
        rotated_at: now,
        rotated_seq: header.seq,
      });
    })
    .due(now + MAX_ENVELOPE_LIFETIME_MS);
  return { outcome: "stored" };
}

/** `key.rotate`: from here on we seal to the user's new key; the confirmation is the first thing under it. */
export async function takeKeyRotate(
  change: Change,
  row: ContractRow,
  header: EnvelopeHeader,
  { connection_key: next, previous_key_id: previousId }: KeyRotate,
): Promise<Outcome> {
  const { vault, now } = change;
  const nextBytes = fromBase64(next)!;
  const nextId = keyIdOf(nextBytes);
  const currentId = keyIdOf(fromBase64(row.user_connection_key)!);
  if (header.seq <= row.user_rotate_seq) return refuseMessage(change, header, row, "superseded");
  // Told again because our confirmation expired, it names the key that we have taken up already.
  if (nextId !== currentId && previousId !== currentId)
    return refuseMessage(change, header, row, "key_unknown");
  if (!isSoundAgreementKey(nextBytes)) return refuseMessage(change, header, row, "key_refused");
  change.audit({
    contractId: row.contract_id,
    operation: "key.rotate",
    status: "success",
    request: { by: "user", event_id: header.event_id },
    response: { key_id: nextId, previous_key_id: previousId },
  });
  await change.say(
    { contract_id: row.contract_id, user_connection_key: next },
    {
      eventType: "key.rotated",
      ref: header.event_id,
      payload: { key_id: nextId } satisfies KeyRotated,
      expiresAt: now + ROTATION_LIFETIME_MS,
    },
  );
  change.write(() =>
    vault.store.updateContract(row.contract_id, {
      user_connection_key: next,
      user_rotate_seq: header.seq,
    }),
  );
  return { outcome: "stored" };
}
