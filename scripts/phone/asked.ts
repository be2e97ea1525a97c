// What an ask asks, for the person who is to decide: a sentence where the kind is known, and every field of it in any
// case. Kinds this file has never heard of are shown by the shape of their fields.

import { html } from "hono/html";
import type { Ask } from "../../sdk/user-vault/index.ts";
import { formatMoney } from "../../src/http/pages/format.ts";
import { requestPayloadBase } from "../../src/protocol/asking.ts";
import { fromBase64 } from "../../src/protocol/encoding.ts";
import { type Money, money } from "../../src/protocol/primitives.ts";
import type { KindOperation } from "../../src/requests/kind.ts";
import { kindNamed, operationOf } from "../../src/requests/registry.ts";
import type { Html } from "./frame.ts";
import { label, plain } from "./words.ts";

/** Longer texts are folded. */
const LONG_CHARACTERS = 240;

interface Wording {
  /** `Kastanie Books asks you to …` */
  title: string;
  approve?: string;
  decline?: string;
}

const WORDINGS: ReadonlyMap<string, Wording> = new Map(
  Object.entries({
    auth: { title: "Confirm that it is you" },
    "auth.session": { title: "Stay logged in, and be checked on" },
    authz: { title: "Permit an action" },
    "data.browse": { title: "Show which kinds of data you keep" },
    "data.request": { title: "Share personal data", approve: "Share" },
    "data.write": { title: "Store something in your vault", approve: "Store" },
    "data.read": { title: "Read back what it stored in your vault" },
    "sign.document": { title: "Sign a document", approve: "Sign" },
    "sign.transaction": { title: "Sign a transaction", approve: "Sign" },
    payment: { title: "Pay", approve: "Pay" },
    "payment.subscription": { title: "Subscribe", approve: "Subscribe" },
    "secret.store": { title: "Keep a secret for it" },
    "secret.retrieve": { title: "Hand out a secret it keeps with you", approve: "Hand out" },
    "secret.update": { title: "Change a secret it keeps with you" },
    "secret.delete": { title: "Delete a secret it keeps with you" },
    "secret.list": { title: "List the secrets it keeps with you" },
    "secret.use": { title: "Use a secret of yours for it" },
    presence: { title: "Say whether you are there", approve: "Answer" },
    "collaboration.connections": { title: "List the services you are connected to", approve: "Share" },
    "collaboration.request": { title: "Combine data between services" },
    "collaboration.read": { title: "Read data combined between services" },
    "collaboration.write": { title: "Change data combined between services" },
    "collaboration.audit": { title: "See who used data combined between services" },
    call: { title: "Take a call", approve: "Answer" },
    notification: { title: "A notification" },
  }),
);

/** The kind in plain words. */
export function wordingOf({ kind, operation }: Ask): Required<Wording> {
  const known = WORDINGS.get(operation === undefined ? kind : `${kind}.${operation}`) ?? WORDINGS.get(kind);
  const title = `${label(kind)}${operation === undefined ? "" : `: ${label(operation)}`}`;
  return { title, approve: "Approve", decline: "Decline", ...known };
}

export function operationOfAsk(ask: Ask): KindOperation | undefined {
  const kind = kindNamed(ask.kind);
  return kind && operationOf(kind, ask.operation);
}

/** What the parts of an amount are counted in. */
function currencyOf(ask: Ask | undefined): string | undefined {
  const whole = (ask?.payload as { amount?: unknown } | undefined)?.amount;
  return isMoney(whole) ? whole.currency : undefined;
}

const isMoney = (value: unknown): value is Money => money.safeParse(value).success;

/** The fields of an ask that are the kind's own. */
export function ownFields(ask: Ask): [string, unknown][] {
  return Object.entries((ask.payload ?? {}) as Record<string, unknown>).filter(
    ([name]) => name !== "operation" && !Object.hasOwn(requestPayloadBase.shape, name),
  );
}

/** What is asked for, the kind's own fields readably, then whatever else there is. */
export function askedFields(ask: Ask): Html | undefined {
  const fields = ownFields(ask);
  if (fields.length === 0) return undefined;
  const [total, rest] = [fields.find(([name, value]) => name === "amount" && isMoney(value)), fields];
  return html`${total && html`<p class="amount">${formatMoney(total[1] as Money)}</p>`}${fieldList(
    rest.filter((field) => field !== total),
    ask,
  )}`;
}

/** A table of names and values. */
export function fieldList(fields: readonly [string, unknown][], ask?: Ask): Html | undefined {
  if (fields.length === 0) return undefined;
  return html`<dl class="fields">${fields.map(
    ([name, value]) => html`<div><dt>${label(name)}</dt><dd>${shown(name, value, ask)}</dd></div>`,
  )}</dl>`;
}

function shown(name: string, value: unknown, ask: Ask | undefined): Html | string {
  if (isMoney(value)) return formatMoney(value);
  const currency = currencyOf(ask);
  if (currency !== undefined && name.endsWith("_amount") && Number.isInteger(value))
    return formatMoney({ amount: value as number, currency });
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (value === null) return "nothing";
  if (Array.isArray(value))
    return value.length === 0
      ? "none"
      : html`<ul>${value.map((item) => html`<li>${shown(name, item, ask)}</li>`)}</ul>`;
  if (typeof value === "object")
    return fieldList(Object.entries(value as Record<string, unknown>), ask) ?? "nothing";
  if (typeof value !== "string") return String(value);
  if (BYTES.has(name)) return bytes(name, value, ask);
  if (name === "sha256") return html`<code>${value}</code>`;
  const text = plain(value);
  return text.length <= LONG_CHARACTERS
    ? html`<bdi>${text}</bdi>`
    : html`<details><summary>${text.length} characters</summary><pre>${text}</pre></details>`;
}

/** Fields that carry bytes in base64. */
const BYTES = new Set(["bytes", "payload", "input"]);

function bytes(name: string, text: string, ask: Ask | undefined): Html | string {
  const decoded = fromBase64(text);
  if (decoded === undefined) return plain(text);
  const size = `${decoded.length.toLocaleString("en")} bytes`;
  if (name === "bytes" && ask?.kind === "sign")
    return html`<a href="/asks/${ask.request_id}/document">Look at the document</a> (${size}, matches the hash)`;
  const readable = readableText(decoded);
  return readable === undefined
    ? html`${size}<details><summary>Show as base64</summary><pre>${text}</pre></details>`
    : html`${size}<pre>${readable}</pre>`;
}

/** Bytes that are nothing but visible text. */
function readableText(value: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(value);
    return text === "" || text !== plain(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

/** The document that an ask to sign carries along. */
export function documentOf(ask: Ask): Uint8Array | undefined {
  const document = ownFields(ask).find(([name]) => name === "document")?.[1] as
    | { bytes?: string }
    | undefined;
  return typeof document?.bytes === "string" ? fromBase64(document.bytes) : undefined;
}
