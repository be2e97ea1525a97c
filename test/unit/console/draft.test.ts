// An offering while it is written: what the form says, what the API is sent, what the person would see.

import { describe, expect, it } from "vitest";
import {
  changed,
  contentOf,
  type Draft,
  draftFrom,
  draftOf,
  EMPTY_DRAFT,
  EMPTY_GRANT,
  EMPTY_NEED,
  majorUnits,
  minorUnits,
  previewOf,
} from "../../../src/console/draft.ts";
import { type Offering, offering } from "../../../src/protocol/offer.ts";

const full: Offering = {
  offering_id: "membership",
  version: 3,
  name: "Membership",
  description: "Two lines\nof text.",
  capabilities: [
    {
      capability: "payment.one_time",
      description: "To pay.",
      scope: ["books", "music.*"],
      constraints: {
        max_per_hour: 2,
        max_per_day: 5,
        max_amount: { amount: 25_050, currency: "EUR" },
        valid_from: "2026-01-31T08:15:00.000Z",
        valid_until: "2027-01-31T08:15:30.250Z",
      },
      requires_approval_each_use: true,
    },
    { capability: "send_notifications", description: "News.", requires_approval_each_use: false },
  ],
  required_data: [
    { data_type: "email", required: true, purpose: "Receipts.", retention: "while connected" },
    { data_type: "birth_year", required: false, purpose: "A present." },
  ],
  pricing: { type: "subscription", amount: 500, currency: "JPY", billing_cycle: "year", trial_days: 7 },
  terms_url: "https://shop.example/terms",
  terms_hash: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
  acceptance: "manual",
  inactivity_expiry_days: 365,
  match_code: true,
};

/** As a browser sends the editor's form: the names that the fields have, line breaks as CR LF. */
function formOf(draft: Draft): URLSearchParams {
  const form = new URLSearchParams();
  const put = (name: string, value: string) => form.append(name, value.replaceAll("\n", "\r\n"));
  const tick = (name: string, on: boolean) => on && form.append(name, "on");
  put("offering_id", draft.offering_id);
  put("name", draft.name);
  put("description", draft.description);
  put("acceptance", draft.acceptance);
  tick("match_code", draft.match_code);
  put("inactivity_expiry_days", draft.inactivity_expiry_days);
  put("pricing.type", draft.price_type);
  put("pricing.amount", draft.amount);
  put("pricing.currency", draft.currency);
  put("pricing.billing_cycle", draft.billing_cycle);
  put("pricing.trial_days", draft.trial_days);
  put("terms_url", draft.terms_url);
  put("terms_hash", draft.terms_hash);
  for (const [at, grant] of draft.capabilities.entries()) {
    const name = (field: string) => `capabilities[${at}].${field}`;
    put(name("capability"), grant.capability);
    put(name("description"), grant.description);
    put(name("scope"), grant.scope);
    put(name("constraints.max_per_hour"), grant.max_per_hour);
    put(name("constraints.max_per_day"), grant.max_per_day);
    put(name("constraints.max_amount.amount"), grant.max_amount);
    put(name("constraints.max_amount.currency"), grant.max_amount_currency);
    put(name("constraints.valid_from"), grant.valid_from);
    put(name("constraints.valid_until"), grant.valid_until);
    tick(name("requires_approval_each_use"), grant.approval);
  }
  for (const [at, need] of draft.required_data.entries()) {
    const name = (field: string) => `required_data[${at}].${field}`;
    put(name("data_type"), need.data_type);
    put(name("purpose"), need.purpose);
    put(name("retention"), need.retention);
    tick(name("required"), need.required);
  }
  return form;
}

const draft = (change: Partial<Draft> = {}): Draft => ({ ...draftFrom(full), ...change });
const refusedFields = (value: Draft): string[] => {
  const read = contentOf(value);
  return read.ok ? [] : read.details.map(({ path }) => path);
};

describe("the editor", () => {
  it("sends back exactly what was published, when nothing was changed", () => {
    const { offering_id: _id, version: _version, ...content } = full;
    const read = contentOf(draftOf(formOf(draftFrom(full))));
    expect(read).toEqual({ ok: true, content });
  });

  it("keeps every field through a form that is refused", () => {
    expect(draftOf(formOf(draft({ name: "" })))).toEqual(draft({ name: "" }));
  });

  it("leaves out what was left empty", () => {
    const read = contentOf({
      ...EMPTY_DRAFT,
      name: "Login",
      description: "Log in.",
      capabilities: [{ ...EMPTY_GRANT, description: "To log you in." }],
    });
    expect(read).toEqual({
      ok: true,
      content: {
        name: "Login",
        description: "Log in.",
        capabilities: [
          { capability: "authenticate", description: "To log you in.", requires_approval_each_use: true },
        ],
        required_data: [],
        pricing: { type: "free" },
        acceptance: "automatic",
      },
    });
  });

  it.each<[string, Draft, string[]]>([
    ["no name and no description", draft({ name: "", description: "" }), ["name", "description"]],
    ["no capability", draft({ capabilities: [] }), ["capabilities"]],
    ["days that are no number", draft({ inactivity_expiry_days: "a year" }), ["inactivity_expiry_days"]],
    ["a price that is no amount", draft({ amount: "five" }), ["pricing.amount"]],
    ["more decimals than the currency has", draft({ amount: "5.5" }), ["pricing.amount"]],
    ["a currency that is none", draft({ currency: "EURO" }), ["pricing.currency"]],
    ["terms without https", draft({ terms_url: "http://shop.example" }), ["terms_url"]],
    [
      "a capability's limits",
      draft({
        capabilities: [{ ...EMPTY_GRANT, description: "x", max_per_day: "many", valid_from: "soon" }],
      }),
      ["capabilities[0].constraints.max_per_day", "capabilities[0].constraints.valid_from"],
    ],
    [
      "data without a purpose",
      draft({ required_data: [EMPTY_NEED] }),
      ["required_data[0].data_type", "required_data[0].purpose"],
    ],
  ])("names the fields of %s", (_name, value, fields) => {
    expect(refusedFields(value).sort()).toEqual([...fields].sort());
  });

  it("adds and takes out what its buttons say, and nothing else", () => {
    expect(changed(draft(), "add:capabilities").capabilities).toHaveLength(3);
    expect(changed(draft(), "remove:capabilities:0").capabilities).toEqual([draft().capabilities[1]]);
    expect(changed(draft(), "remove:required_data:1").required_data).toEqual([draft().required_data[0]]);
    for (const command of ["publish", "", "add:name", "remove:capabilities:9", "drop:capabilities:0"])
      expect(changed(draft(), command)).toEqual(draft());
  });

  it("takes no more rows than an offering may hold, whatever a form's names say", () => {
    const form = new URLSearchParams({ "capabilities[999].capability": "authenticate" });
    expect(draftOf(form).capabilities).toHaveLength(64);
  });
});

describe("the preview", () => {
  it("is the published offering, when nothing was changed", () => {
    expect(previewOf(draftFrom(full), full.version)).toEqual({
      ...full,
      capabilities: full.capabilities.map((grant) => ({ constraints: {}, ...grant })),
    });
  });

  it("can be drawn of anything that may be typed so far", () => {
    const odd = draft({
      name: "",
      offering_id: "Not an id",
      currency: "E",
      terms_url: "htt",
      capabilities: [
        { ...EMPTY_GRANT, capability: "", max_amount: "1", max_amount_currency: "??", valid_until: "2026-" },
      ],
    });
    const shown = previewOf(odd, 1);
    expect(shown).toMatchObject({ name: "(name)", offering_id: "-ot-an-id" });
    expect(shown.pricing).toBeUndefined();
    expect(shown.terms_url).toBeUndefined();
    expect(shown.capabilities[0]!.constraints).toEqual({});
    expect(offering.safeParse(shown).success).toBe(false);
  });
});

describe("an amount in a field", () => {
  it.each([
    ["49.90", "EUR", 4_990],
    ["49,9", "EUR", 4_990],
    ["49", "EUR", 4_900],
    ["500", "JPY", 500],
    ["1.234", "BHD", 1_234],
  ])("%s %s is %d in minor units, and comes back", (text, currency, amount) => {
    expect(minorUnits(text, currency)).toBe(amount);
    expect(minorUnits(majorUnits(amount, currency), currency)).toBe(amount);
  });
  it.each(["", "-1", "1.234", "1e3", "4 990", "€5", "1.2.3"])("%j is none of euros", (text) => {
    expect(minorUnits(text, "EUR")).toBeUndefined();
  });
});
