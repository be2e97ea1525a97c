// An offering while it is written: text fields by the names that the API's refusals use, so that each refusal leads to
// its field. Pure.

import type { ProblemDetail } from "../http/errors.ts";
import { validationError } from "../http/middleware/errors.ts";
import type { CapabilityGrant, Offering, OfferingContent } from "../protocol/offer.ts";
import { offeringContent } from "../protocol/offer.ts";
import { httpsUrl, timestamp } from "../protocol/primitives.ts";
import { instantOfField } from "./words.ts";

/** As many as an offering may hold. */
const MAX_ITEMS = 64;

export interface GrantDraft {
  capability: string;
  description: string;
  /** A line each. */
  scope: string;
  max_per_hour: string;
  max_per_day: string;
  max_amount: string;
  max_amount_currency: string;
  valid_from: string;
  valid_until: string;
  approval: boolean;
}
export interface NeedDraft {
  data_type: string;
  purpose: string;
  retention: string;
  required: boolean;
}
export interface Draft {
  offering_id: string;
  name: string;
  description: string;
  acceptance: string;
  match_code: boolean;
  inactivity_expiry_days: string;
  price_type: string;
  amount: string;
  currency: string;
  billing_cycle: string;
  trial_days: string;
  terms_url: string;
  terms_hash: string;
  capabilities: GrantDraft[];
  required_data: NeedDraft[];
}

export const EMPTY_GRANT: GrantDraft = {
  capability: "authenticate",
  description: "",
  scope: "",
  max_per_hour: "",
  max_per_day: "",
  max_amount: "",
  max_amount_currency: "EUR",
  valid_from: "",
  valid_until: "",
  approval: true,
};
export const EMPTY_NEED: NeedDraft = { data_type: "", purpose: "", retention: "", required: true };
export const EMPTY_DRAFT: Draft = {
  offering_id: "",
  name: "",
  description: "",
  acceptance: "automatic",
  match_code: false,
  inactivity_expiry_days: "",
  price_type: "free",
  amount: "",
  currency: "EUR",
  billing_cycle: "month",
  trial_days: "",
  terms_url: "",
  terms_hash: "",
  capabilities: [EMPTY_GRANT],
  required_data: [],
};

// ---- money and times ------------------------------------------------------------------------------------

const CURRENCY = /^[A-Z]{3}$/;
const digitsOf = (currency: string): number =>
  CURRENCY.test(currency)
    ? (new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits ??
      2)
    : 2;

/** `49.90` with EUR is 4990; undefined for what is no amount, or finer than the currency is. */
export function minorUnits(text: string, currency: string): number | undefined {
  const [, whole, fraction = ""] = /^(\d{1,12})(?:[.,](\d{1,4}))?$/.exec(text.trim()) ?? [];
  const digits = digitsOf(currency);
  if (whole === undefined || fraction.length > digits) return undefined;
  return Number(whole + fraction.padEnd(digits, "0"));
}

export function majorUnits(amount: number, currency: string): string {
  const digits = digitsOf(currency);
  return digits === 0 ? String(amount) : (amount / 10 ** digits).toFixed(digits);
}

/** A field's local time is UTC here. */
const toField = (at: string | undefined): string => at?.replace(/(?::00)?(?:\.000)?Z$/, "") ?? "";
// ---- from and to the form -------------------------------------------------------------------------------

const count = (form: URLSearchParams, list: string): number => {
  let most = 0;
  for (const name of form.keys()) {
    const [, at] = new RegExp(`^${list}\\[(\\d{1,3})\\]\\.`).exec(name) ?? [];
    if (at !== undefined) most = Math.max(most, Number(at) + 1);
  }
  return Math.min(most, MAX_ITEMS);
};

/** A browser sends line breaks as CR LF; an offering has line feeds. */
const textOf = (form: URLSearchParams, name: string): string =>
  (form.get(name) ?? "").replaceAll("\r\n", "\n").trim();

export function draftOf(form: URLSearchParams): Draft {
  const text = (name: string) => textOf(form, name);
  const list = <T>(name: string, item: (path: string) => T): T[] =>
    Array.from({ length: count(form, name) }, (_, at) => item(`${name}[${at}].`));
  return {
    offering_id: text("offering_id"),
    name: text("name"),
    description: text("description"),
    acceptance: text("acceptance"),
    match_code: form.has("match_code"),
    inactivity_expiry_days: text("inactivity_expiry_days"),
    price_type: text("pricing.type"),
    amount: text("pricing.amount"),
    currency: text("pricing.currency").toUpperCase(),
    billing_cycle: text("pricing.billing_cycle"),
    trial_days: text("pricing.trial_days"),
    terms_url: text("terms_url"),
    terms_hash: text("terms_hash"),
    capabilities: list("capabilities", (at) => ({
      capability: text(`${at}capability`),
      description: text(`${at}description`),
      scope: text(`${at}scope`),
      max_per_hour: text(`${at}constraints.max_per_hour`),
      max_per_day: text(`${at}constraints.max_per_day`),
      max_amount: text(`${at}constraints.max_amount.amount`),
      max_amount_currency: text(`${at}constraints.max_amount.currency`).toUpperCase(),
      valid_from: text(`${at}constraints.valid_from`),
      valid_until: text(`${at}constraints.valid_until`),
      approval: form.has(`${at}requires_approval_each_use`),
    })),
    required_data: list("required_data", (at) => ({
      data_type: text(`${at}data_type`),
      purpose: text(`${at}purpose`),
      retention: text(`${at}retention`),
      required: form.has(`${at}required`),
    })),
  };
}

const numberText = (value: number | undefined): string => (value === undefined ? "" : String(value));

/** A published offering as the editor begins with it. */
export function draftFrom(offering: Offering): Draft {
  const { pricing } = offering;
  return {
    offering_id: offering.offering_id,
    name: offering.name,
    description: offering.description,
    acceptance: offering.acceptance,
    match_code: offering.match_code === true,
    inactivity_expiry_days: numberText(offering.inactivity_expiry_days),
    price_type: pricing?.type ?? "free",
    amount: pricing?.amount === undefined ? "" : majorUnits(pricing.amount, pricing.currency ?? ""),
    currency: pricing?.currency ?? EMPTY_DRAFT.currency,
    billing_cycle: pricing?.billing_cycle ?? EMPTY_DRAFT.billing_cycle,
    trial_days: numberText(pricing?.trial_days),
    terms_url: offering.terms_url ?? "",
    terms_hash: offering.terms_hash ?? "",
    capabilities: offering.capabilities.map((grant) => ({
      capability: grant.capability,
      description: grant.description,
      scope: grant.scope?.join("\n") ?? "",
      max_per_hour: numberText(grant.constraints?.max_per_hour),
      max_per_day: numberText(grant.constraints?.max_per_day),
      max_amount:
        grant.constraints?.max_amount === undefined
          ? ""
          : majorUnits(grant.constraints.max_amount.amount, grant.constraints.max_amount.currency),
      max_amount_currency: grant.constraints?.max_amount?.currency ?? EMPTY_GRANT.max_amount_currency,
      valid_from: toField(grant.constraints?.valid_from),
      valid_until: toField(grant.constraints?.valid_until),
      approval: grant.requires_approval_each_use,
    })),
    required_data: offering.required_data.map(({ data_type, purpose, retention, required }) => ({
      data_type,
      purpose,
      retention: retention ?? "",
      required,
    })),
  };
}

type Note = (path: string, message: string) => void;

const whole = (text: string, path: string, note: Note): number => {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  note(path, "must be a whole number");
  return 0;
};
const moneyOf = (text: string, currency: string, path: string, note: Note): number => {
  const amount = minorUnits(text, currency);
  if (amount === undefined)
    note(path, `must be an amount, as ${majorUnits(4_990, CURRENCY.test(currency) ? currency : "EUR")}`);
  return amount ?? 0;
};

function grantOf(grant: GrantDraft, at: string, note: Note): CapabilityGrant {
  const path = (name: string) => `${at}constraints.${name}`;
  const constraints = {
    ...(grant.max_per_hour === ""
      ? {}
      : { max_per_hour: whole(grant.max_per_hour, path("max_per_hour"), note) }),
    ...(grant.max_per_day === "" ? {} : { max_per_day: whole(grant.max_per_day, path("max_per_day"), note) }),
    ...(grant.max_amount === ""
      ? {}
      : {
          max_amount: {
            amount: moneyOf(grant.max_amount, grant.max_amount_currency, path("max_amount.amount"), note),
            currency: grant.max_amount_currency,
          },
        }),
    ...(grant.valid_from === "" ? {} : { valid_from: instantOfField(grant.valid_from) }),
    ...(grant.valid_until === "" ? {} : { valid_until: instantOfField(grant.valid_until) }),
  };
  const scope = grant.scope
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  return {
    capability: grant.capability,
    description: grant.description,
    ...(scope.length === 0 ? {} : { scope }),
    ...(Object.keys(constraints).length === 0 ? {} : { constraints }),
    requires_approval_each_use: grant.approval,
  };
}

function pricingOf(draft: Draft, note: Note): OfferingContent["pricing"] {
  const type = draft.price_type as "free" | "one_time" | "subscription";
  if (type === "free") return { type };
  return {
    type,
    amount: moneyOf(draft.amount, draft.currency, "pricing.amount", note),
    currency: draft.currency,
    ...(type === "subscription" ? { billing_cycle: draft.billing_cycle as "month" } : {}),
    ...(type === "subscription" && draft.trial_days !== ""
      ? { trial_days: whole(draft.trial_days, "pricing.trial_days", note) }
      : {}),
  };
}

const unchecked = (draft: Draft, note: Note): OfferingContent => ({
  name: draft.name,
  description: draft.description,
  capabilities: draft.capabilities.map((grant, at) => grantOf(grant, `capabilities[${at}].`, note)),
  required_data: draft.required_data.map(({ data_type, purpose, retention, required }) => ({
    data_type,
    required,
    purpose,
    ...(retention === "" ? {} : { retention }),
  })),
  pricing: pricingOf(draft, note),
  ...(draft.terms_url === "" ? {} : { terms_url: draft.terms_url }),
  ...(draft.terms_hash === "" ? {} : { terms_hash: draft.terms_hash }),
  acceptance: draft.acceptance as "automatic",
  ...(draft.inactivity_expiry_days === ""
    ? {}
    : { inactivity_expiry_days: whole(draft.inactivity_expiry_days, "inactivity_expiry_days", note) }),
  ...(draft.match_code ? { match_code: true } : {}),
});

export type Read = { ok: true; content: OfferingContent } | { ok: false; details: ProblemDetail[] };

/** What the API is sent; or every field that it, or the reading of the form, would not take. */
export function contentOf(draft: Draft): Read {
  const details: ProblemDetail[] = [];
  const content = unchecked(draft, (path, message) => details.push({ path, message }));
  const parsed = offeringContent.safeParse(content);
  if (!parsed.success)
    for (const detail of validationError(parsed.error.issues).details ?? [])
      if (!details.some(({ path }) => path === detail.path)) details.push(detail);
  return details.length === 0 && parsed.success ? { ok: true, content: parsed.data } : { ok: false, details };
}

/**
 * What the person would see of a draft that is not finished: what is missing is said to be, and what cannot be shown
 * is left out.
 */
export function previewOf(draft: Draft, version: number): Offering {
  const content = unchecked(draft, () => {});
  const shown = (text: string, what: string) => (text === "" ? `(${what})` : text);
  const instants = ({ constraints = {} }: CapabilityGrant) => {
    const { valid_from, valid_until, max_amount, ...rest } = constraints;
    const isTime = (text: string | undefined) => timestamp.safeParse(text).success;
    return {
      ...rest,
      ...(max_amount !== undefined && CURRENCY.test(max_amount.currency) ? { max_amount } : {}),
      ...(valid_from !== undefined && isTime(valid_from) ? { valid_from } : {}),
      ...(valid_until !== undefined && isTime(valid_until) ? { valid_until } : {}),
    };
  };
  const { pricing, terms_url, ...rest } = content;
  return {
    ...rest,
    offering_id: shown(draft.offering_id, "new").replaceAll(/[^a-z0-9_-]/g, "-"),
    version,
    name: shown(content.name, "name"),
    description: shown(content.description, "description"),
    capabilities: content.capabilities.map((grant) => ({
      ...grant,
      description: shown(grant.description, "what you would use it for"),
      constraints: instants(grant),
    })),
    required_data: content.required_data.map((need) => ({
      ...need,
      data_type: shown(need.data_type, "kind of data"),
      purpose: shown(need.purpose, "what it is for"),
    })),
    ...(pricing !== undefined && (pricing.type === "free" || CURRENCY.test(pricing.currency ?? ""))
      ? { pricing }
      : {}),
    ...(terms_url !== undefined && httpsUrl.safeParse(terms_url).success ? { terms_url } : {}),
  };
}

// ---- lists ----------------------------------------------------------------------------------------------

export type ListName = "capabilities" | "required_data";

/** `add:capabilities`, `remove:required_data:2`: what a button of the editor asks for; anything else changes nothing. */
export function changed(draft: Draft, command: string): Draft {
  const [verb, list, place] = command.split(":");
  if (list !== "capabilities" && list !== "required_data") return draft;
  if (verb === "add" && draft[list].length < MAX_ITEMS)
    return list === "capabilities"
      ? { ...draft, capabilities: [...draft.capabilities, EMPTY_GRANT] }
      : { ...draft, required_data: [...draft.required_data, EMPTY_NEED] };
  if (verb === "remove")
    return { ...draft, [list]: draft[list].filter((_: unknown, at: number) => at !== Number(place)) };
  return draft;
}
