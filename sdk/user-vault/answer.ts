// From an ask to its signed answer. Pure but for randomness: what is asked is checked strictly before a person may
// see it, and the answer says exactly what they decided.

import { decideGrant } from "../../src/contracts/grant.ts";
import { requestDigestOf, resultDigestOf } from "../../src/crypto/hash.ts";
import type { SigningKey } from "../../src/crypto/signing.ts";
import {
  type ApprovalStatement,
  RESULT_SALT_BYTES,
  type RequestPayload,
  type ResponsePayload,
  requestPayloadBase,
  responsePayload,
} from "../../src/protocol/asking.ts";
import { toBase64 } from "../../src/protocol/encoding.ts";
import { randomBytes } from "../../src/protocol/ids.ts";
import { canonicalJson, type Json } from "../../src/protocol/json.ts";
import type { CapabilityGrant, HandlerManifest } from "../../src/protocol/offer.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import type { Kind, KindOperation } from "../../src/requests/kind.ts";
import { CUSTOM_PREFIX, customInput } from "../../src/requests/kinds/custom.ts";
import { isFitting, signApproval } from "../../src/requests/lifecycle.ts";
import { kindNamed, operationOf } from "../../src/requests/registry.ts";
import { VaultError } from "./errors.ts";

/** What a person, or a policy in their name, decides. */
export type Answer =
  | {
      decision: "approved";
      /**
       * What the kind of request asks for. Absent: the kind's handler computes it from what the vault holds, or the
       * approval alone is the answer. When given, it is sent as it is and the handler is not asked.
       */
      result?: Json;
      /** What the person chose, for the handler: a payment method, which of the asked paths. Not sent as such. */
      choices?: { [name: string]: Json };
      /** The number shown where the person acts; needed when the ask says so. */
      match_code?: string;
      /** RFC 3339, UTC with milliseconds: how long the service may rely on this approval. */
      valid_until?: string;
      /** Limits the person sets, signed with the approval. */
      constraints?: { [name: string]: Json };
    }
  | {
      decision: "denied";
      /** Told to the service, at most 128 characters. */
      reason?: string;
      /** "This was not me." */
      report?: boolean;
    };

/** The answer to an ask that holds anything this vault cannot show: nobody signs what they did not see. */
export const UNSUPPORTED: Answer = { decision: "denied", reason: "unsupported" };

/** Reasons have to fit the answer's schema, whoever wrote them. */
export const MAX_REASON_CHARACTERS = 128;

/** The answer to an ask for something the contract does not grant. */
export const NOT_GRANTED: Answer = { decision: "denied", reason: "not_granted" };

export type CheckedAsk =
  | {
      verdict: "shown";
      kind: Kind;
      operation: KindOperation;
      payload: RequestPayload;
      /** Of a custom kind: its fields and schemas, as the contract's offer has them. */
      input?: unknown;
    }
  /** A field, kind or operation this vault does not know. */
  | { verdict: "unsupported" };

/**
 * Whether a payload holds nothing but what this vault can show, at every depth. The registry's own schemas decide;
 * what they return must equal what came in, so that a schema that merely drops a name lets nothing slip through.
 */
export function checkAsk(
  kindName: string,
  payload: { [name: string]: Json },
  manifest: HandlerManifest,
): CheckedAsk {
  const kind = kindNamed(kindName);
  if (kind === undefined) return { verdict: "unsupported" };
  const named = payload.operation;
  if (named !== undefined && (typeof named !== "string" || kind.operations.length === 1))
    return { verdict: "unsupported" };
  const operation = operationOf(kind, named);
  // One spelling for one ask: what goes without a name is not named.
  if (operation === undefined || (named !== undefined && operation.unnamed === true))
    return { verdict: "unsupported" };

  const { base, own } = fieldsOf(payload);
  const parsedBase = requestPayloadBase.safeParse(base);
  const parsedOwn = operation.payload.safeParse(own);
  if (
    !parsedBase.success ||
    !parsedOwn.success ||
    parsedBase.data.kind !== kindName ||
    canonicalJson(parsedBase.data) !== canonicalJson(base) ||
    canonicalJson(parsedOwn.data) !== canonicalJson(own)
  )
    return { verdict: "unsupported" };
  const shown = { verdict: "shown", kind, operation, payload: payload as RequestPayload } as const;
  if (!kindName.startsWith(CUSTOM_PREFIX)) return shown;
  const input = customInput(kindName.slice(CUSTOM_PREFIX.length), own, manifest);
  return input.ok ? { ...shown, input: input.value } : { verdict: "unsupported" };
}

/** The fields of every ask, and the operation's own. */
function fieldsOf(payload: { [name: string]: Json }) {
  const base: { [name: string]: Json } = {};
  const own: { [name: string]: Json } = {};
  for (const [name, value] of Object.entries(payload)) {
    if (Object.hasOwn(requestPayloadBase.shape, name)) base[name] = value;
    else if (name !== "operation") own[name] = value;
  }
  return { base, own };
}

/**
 * Whether what the person agreed to covers an ask, by the same decision that the service makes: capability, scope,
 * amount and time, as they were when it asked. Rates are the service's to count. An ask that builds on an earlier one,
 * or whose input is not what travels, is held to its capabilities alone.
 */
export function isGranted(
  { operation, payload, input }: Extract<CheckedAsk, { verdict: "shown" }>,
  capabilities: readonly CapabilityGrant[],
  askedAt: number,
): boolean {
  if (!operation.capabilities.some((needed) => capabilities.some(({ capability }) => capability === needed)))
    return false;
  if (operation.about !== undefined) return true;
  const asked = operation.input.safeParse(input ?? fieldsOf(payload as { [name: string]: Json }).own);
  if (!asked.success) return true;
  const contract = { status: "active" as const, capabilities, revokedCapabilities: [] };
  return [operation.grant(asked.data, undefined), ...(operation.grantAlso?.(asked.data) ?? [])].every(
    (wanted) => decideGrant(wanted, { now: askedAt, contract, usesSince: () => 0 }).allowed,
  );
}

export interface AnsweredAsk {
  requestId: string;
  kind: string;
  /** As received. */
  payload: Json;
  userId: string;
  serviceId: string;
  contractId: string;
  /** As `checkAsk` gave it. */
  input?: unknown;
}

/**
 * Builds and signs the payload of a `<kind>.response`. `operation` is undefined for an ask that could not be shown,
 * which can only be denied. Throws VaultError `answer_invalid` or `match_code_missing`, before anything is signed
 * that the service would have to refuse.
 */
export async function buildAnswer(
  key: SigningKey,
  ask: AnsweredAsk,
  operation: KindOperation | undefined,
  answer: Answer,
  now: number,
): Promise<ResponsePayload> {
  const approved = answer.decision === "approved" ? answer : undefined;
  const denied = answer.decision === "denied" ? answer : undefined;
  if (approved !== undefined) await checkApproval(key, ask, operation, approved);

  const result = approved?.result;
  const salt = result === undefined ? undefined : toBase64(randomBytes(RESULT_SALT_BYTES));
  const statement: ApprovalStatement = {
    v: 1,
    request_id: ask.requestId,
    request_digest: requestDigestOf(ask.payload),
    kind: ask.kind,
    decision: answer.decision,
    user_id: ask.userId,
    service_id: ask.serviceId,
    contract_id: ask.contractId,
    responded_at: toTimestamp(now),
    ...(approved?.valid_until === undefined ? {} : { valid_until: approved.valid_until }),
    ...(approved?.constraints === undefined ? {} : { constraints: approved.constraints }),
    ...(result === undefined || salt === undefined ? {} : { result_digest: resultDigestOf(result, salt) }),
  };
  const unsigned = {
    request_id: ask.requestId,
    decision: answer.decision,
    ...(denied?.reason === undefined ? {} : { reason: denied.reason }),
    ...(denied?.report === true ? { report: true } : {}),
    ...(approved?.match_code === undefined ? {} : { match_code: approved.match_code }),
    ...(result === undefined || salt === undefined ? {} : { result, salt }),
  };
  // Checked with a signature of the right length in place of the real one: what is signed has passed already.
  const shape = responsePayload.safeParse({
    ...unsigned,
    approval: { statement, signature: toBase64(new Uint8Array(64)) },
  });
  if (!shape.success) {
    const [issue] = shape.error.issues;
    const where = issue?.path.length ? ` (${issue.path.join(".")})` : "";
    throw new VaultError(
      "answer_invalid",
      `The answer cannot be sent: ${issue?.message ?? "malformed"}${where}.`,
    );
  }
  return { ...unsigned, approval: await signApproval(key, statement) };
}

async function checkApproval(
  key: SigningKey,
  ask: AnsweredAsk,
  operation: KindOperation | undefined,
  { result, match_code }: Extract<Answer, { decision: "approved" }>,
): Promise<void> {
  if (operation === undefined)
    throw new VaultError("answer_invalid", "This ask cannot be shown in full, so it can only be denied.");
  if ((ask.payload as RequestPayload).match_code_required === true && match_code === undefined)
    throw new VaultError("match_code_missing", "This ask needs the number shown where you are logging in.");
  if (operation.result === undefined) {
    if (result !== undefined)
      throw new VaultError("answer_invalid", `An approval of ${ask.kind} carries no result.`);
    return;
  }
  if (result === undefined)
    throw new VaultError("answer_invalid", `An approval of ${ask.kind} needs a result.`);
  const facts = {
    payload: ask.payload as RequestPayload,
    userSigningKey: key.publicKeyText,
    input: ask.input,
  };
  if (!operation.result.safeParse(result).success || !(await isFitting(operation, result, facts)))
    throw new VaultError("answer_invalid", `The result is not of the form an approval of ${ask.kind} needs.`);
}
