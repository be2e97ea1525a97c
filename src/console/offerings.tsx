// Offerings: what is published, and the editor with exactly what the person will see beside it.

import type { Hono } from "hono";
import { capabilityWords, KNOWN_CAPABILITIES } from "../http/pages/capability-words.ts";
import { invitesWords, OfferingCard, ServiceFacts } from "../http/pages/connect.tsx";
import { priceWords } from "../http/pages/format.ts";
import type { HandlerManifest, Offer, Offering } from "../protocol/offer.ts";
import { offeringId } from "../protocol/offer.ts";
import { must, type Refusal } from "./api.ts";
import {
  changed,
  contentOf,
  type Draft,
  draftFrom,
  draftOf,
  EMPTY_DRAFT,
  type GrantDraft,
  type NeedDraft,
  previewOf,
} from "./draft.ts";
import type { ConsoleContext, ConsoleEnv } from "./env.ts";
import { CONSOLE, fragment, page } from "./frame.tsx";
import { Icon } from "./icons.tsx";
import { Badge, Confirm, Empty, Facts, Field, Form, Head, Id, Problems, Table, Tick } from "./ui.tsx";
import { countWords } from "./words.ts";

const HERE = "/offerings";
const BASE = `${CONSOLE}${HERE}`;
const BACK = { href: BASE, label: "Offerings" };

/** The rule of `offeringId`, for people. */
const ID_WORDS =
  "must begin with a small letter or a digit, and hold small letters, digits, - and _ only, 64 at most";

const hrefOf = (id: string, part = ""): string => `${BASE}/${encodeURIComponent(id)}${part}`;

// ---- the editor -----------------------------------------------------------------------------------------

const Grant = ({
  grant,
  at,
  manifest,
  refusal,
  action,
}: {
  grant: GrantDraft;
  at: number;
  manifest: HandlerManifest;
  refusal: Refusal | undefined;
  action: string;
}) => {
  const name = (field: string) => `capabilities[${at}].${field}`;
  const known = [...KNOWN_CAPABILITIES, ...manifest.capabilities.map((own) => `custom.${own.name}`)];
  const limits = name("constraints");
  const hasLimits =
    grant.scope !== "" ||
    grant.max_per_hour !== "" ||
    grant.max_per_day !== "" ||
    grant.max_amount !== "" ||
    grant.valid_from !== "" ||
    grant.valid_until !== "" ||
    refusal?.details.some(({ path }) => path.startsWith(limits) || path.startsWith(name("scope"))) === true;
  return (
    <fieldset class="group" id={`capabilities-${at}`}>
      <legend class="skip">Capability {at + 1}</legend>
      <div class="group-head">
        <h3>Capability {at + 1}</h3>
        <button
          class="btn plain small-btn"
          type="submit"
          name="do"
          value={`remove:capabilities:${at}`}
          formaction={`${action}#capabilities`}
          formnovalidate
        >
          Remove<span class="skip"> capability {at + 1}</span>
        </button>
      </div>
      <Field
        label="What you may do"
        name={name("capability")}
        value={grant.capability}
        options={(known.includes(grant.capability) ? known : [...known, grant.capability]).map((value) => ({
          value,
          label: `${value}: “${capabilityWords(value, manifest)}”`,
        }))}
        refusal={refusal}
      />
      <Field
        label="What you use it for"
        name={name("description")}
        value={grant.description}
        lines={2}
        hint="In your words; the person reads it below ours."
        refusal={refusal}
      />
      <Tick
        label="The person approves each time"
        name={name("requires_approval_each_use")}
        checked={grant.approval}
      />
      <details class="more" {...(hasLimits ? { open: true } : {})}>
        <summary>Limits</summary>
        <div class="form">
          <Field
            label="Only for"
            name={name("scope")}
            value={grant.scope}
            lines={2}
            mono
            hint="Data paths, actions or categories, one a line; a * at the end stands for any ending. Empty: all."
            refusal={refusal}
          />
          <div class="form-row">
            <Field
              label="Times an hour"
              name={`${limits}.max_per_hour`}
              value={grant.max_per_hour}
              refusal={refusal}
              attributes={{ inputmode: "numeric" }}
            />
            <Field
              label="Times a day"
              name={`${limits}.max_per_day`}
              value={grant.max_per_day}
              refusal={refusal}
              attributes={{ inputmode: "numeric" }}
            />
          </div>
          <div class="form-row">
            <Field
              label="Largest payment"
              name={`${limits}.max_amount.amount`}
              value={grant.max_amount}
              refusal={refusal}
              attributes={{ inputmode: "decimal" }}
            />
            <Field
              label="Its currency"
              name={`${limits}.max_amount.currency`}
              value={grant.max_amount_currency}
              refusal={refusal}
              attributes={{ maxlength: 3 }}
            />
          </div>
          <div class="form-row">
            <Field
              label="From (UTC)"
              name={`${limits}.valid_from`}
              type="datetime-local"
              value={grant.valid_from}
              refusal={refusal}
              attributes={{ step: "any" }}
            />
            <Field
              label="Until (UTC)"
              name={`${limits}.valid_until`}
              type="datetime-local"
              value={grant.valid_until}
              refusal={refusal}
              attributes={{ step: "any" }}
            />
          </div>
        </div>
      </details>
    </fieldset>
  );
};

const Need = ({
  need,
  at,
  refusal,
  action,
}: {
  need: NeedDraft;
  at: number;
  refusal: Refusal | undefined;
  action: string;
}) => {
  const name = (field: string) => `required_data[${at}].${field}`;
  return (
    <fieldset class="group" id={`required_data-${at}`}>
      <legend class="skip">Data {at + 1}</legend>
      <div class="group-head">
        <h3>Data {at + 1}</h3>
        <button
          class="btn plain small-btn"
          type="submit"
          name="do"
          value={`remove:required_data:${at}`}
          formaction={`${action}#required_data`}
          formnovalidate
        >
          Remove<span class="skip"> data {at + 1}</span>
        </button>
      </div>
      <div class="form-row">
        <Field
          label="Kind of data"
          name={name("data_type")}
          value={need.data_type}
          mono
          refusal={refusal}
          attributes={{ placeholder: "email", autocapitalize: "none" }}
        />
        <Field
          label="Kept"
          name={name("retention")}
          value={need.retention}
          refusal={refusal}
          attributes={{ placeholder: "while connected" }}
        />
      </div>
      <Field label="What it is for" name={name("purpose")} value={need.purpose} lines={2} refusal={refusal} />
      <Tick
        label="Needed to connect"
        hint="Otherwise the person may leave it out."
        name={name("required")}
        checked={need.required}
      />
    </fieldset>
  );
};

const Preview = ({ offer, draft, version }: { offer: Offer; draft: Draft; version: number }) => (
  <div class="preview" id="preview">
    <p class="preview-bar">
      <Icon name="phone" size={16} /> What the person sees
    </p>
    <div class="masthead">
      <p class="eyebrow">Invite to connect</p>
      <h2>{invitesWords(offer)}</h2>
      <ServiceFacts offer={offer} />
    </div>
    <OfferingCard offering={previewOf(draft, version)} manifest={offer.handler_manifest} />
  </div>
);

interface Editing {
  draft: Draft;
  /** The one published now; absent: a new one. */
  published?: Offering | undefined;
  /** The earlier version that the draft was taken from. */
  earlier?: number;
  refusal?: Refusal | undefined;
}

async function editorPage(c: ConsoleContext, { draft, published, earlier, refusal }: Editing) {
  const offer = must(await c.var.api.get<Offer>("/.well-known/vettid-service"));
  const { handler_manifest: manifest } = offer;
  const mayWrite = c.var.api.may("admin");
  const isNew = published === undefined;
  const action = isNew ? `${BASE}/new` : hrefOf(published.offering_id);
  const listError = refusal?.details.find(({ path }) => path === "capabilities")?.message;
  const preview = <Preview offer={offer} draft={draft} version={published?.version ?? 1} />;
  return page(c, {
    title: isNew ? "New offering" : published.name,
    here: HERE,
    status: refusal?.status ?? 200,
    content: (
      <>
        <Head
          title={isNew ? "New offering" : published.name}
          back={BACK}
          badge={!isNew && <span class="badge good">version {published.version}</span>}
          actions={
            !isNew && (
              <>
                {c.var.api.may("contracts:write") && (
                  <a
                    class="btn plain"
                    href={`${CONSOLE}/invites/new?offering_id=${encodeURIComponent(published.offering_id)}`}
                  >
                    Invite to it
                  </a>
                )}
                {mayWrite && (
                  <a class="btn danger-plain" href={hrefOf(published.offering_id, "/withdraw")}>
                    Withdraw
                  </a>
                )}
              </>
            )
          }
        >
          <p>
            {isNew
              ? "What you may ask people for, and why. They agree to this, and to nothing else."
              : "Publishing makes a new version. Existing connections keep the version they were made on."}
          </p>
        </Head>
        {earlier !== undefined && (
          <p class="notice">This is version {earlier} as it was. Publishing makes it the newest again.</p>
        )}
        {!isNew && published.version > 1 && (
          <nav class="chips" aria-label="Versions">
            {Array.from(
              { length: Math.min(published.version, 8) },
              (_, back) => published.version - back,
            ).map((version) => (
              <a
                class="chip"
                href={hrefOf(
                  published.offering_id,
                  version === published.version ? "" : `?version=${version}`,
                )}
                {...((earlier ?? published.version) === version ? { "aria-current": "true" } : {})}
              >
                version {version}
              </a>
            ))}
          </nav>
        )}
        {!mayWrite ? (
          <div class="form narrow part">
            <p class="notice">
              Your key may look at offerings and not change them: that needs the scope admin.
            </p>
            {preview}
          </div>
        ) : (
          <div class="editor part">
            <Form c={c} action={action} class="form" novalidate data-preview={`${BASE}/preview`}>
              {/* What Enter in a field does: nothing that cannot be undone. */}
              <button class="default-action" type="submit" name="do" value="preview" tabindex={-1}>
                Preview
              </button>
              <Problems refusal={refusal} />
              <section class="card form" aria-labelledby="basics">
                <h2 id="basics">The offering</h2>
                {isNew ? (
                  <Field
                    label="Id"
                    name="offering_id"
                    value={draft.offering_id}
                    hint="For your backend; small letters, digits, - and _. It cannot be changed later."
                    mono
                    required
                    refusal={refusal}
                    attributes={{ placeholder: "membership", autocapitalize: "none", spellcheck: "false" }}
                  />
                ) : (
                  <input type="hidden" name="offering_id" value={published.offering_id} />
                )}
                <Field label="Name" name="name" value={draft.name} required refusal={refusal} />
                <Field
                  label="Description"
                  name="description"
                  value={draft.description}
                  lines={3}
                  required
                  refusal={refusal}
                />
                <Field
                  label="New connections"
                  name="acceptance"
                  value={draft.acceptance}
                  options={[
                    { value: "automatic", label: "Begin at once" },
                    { value: "manual", label: "Begin when you accept each one" },
                  ]}
                  refusal={refusal}
                />
                <Tick
                  label="Ask for a match code"
                  hint="The person types six digits that you tell them on another way than the invite."
                  name="match_code"
                  checked={draft.match_code}
                />
              </section>
              <section class="card form" aria-labelledby="capabilities">
                <h2 id="capabilities">What you may do</h2>
                {listError !== undefined && <span class="error alert">Add at least one capability.</span>}
                <div class="groups">
                  {draft.capabilities.map((grant, at) => (
                    <Grant grant={grant} at={at} manifest={manifest} refusal={refusal} action={action} />
                  ))}
                </div>
                <div class="actions">
                  <button
                    class="btn plain"
                    type="submit"
                    name="do"
                    value="add:capabilities"
                    formaction={`${action}#capabilities-${draft.capabilities.length}`}
                    formnovalidate
                  >
                    Add a capability
                  </button>
                </div>
              </section>
              <section class="card form" aria-labelledby="required_data">
                <h2 id="required_data">What the person shares</h2>
                {draft.required_data.length === 0 && (
                  <p class="small">
                    Nothing when they connect. Ask for what you need later, with request_data.
                  </p>
                )}
                <div class="groups">
                  {draft.required_data.map((need, at) => (
                    <Need need={need} at={at} refusal={refusal} action={action} />
                  ))}
                </div>
                <div class="actions">
                  <button
                    class="btn plain"
                    type="submit"
                    name="do"
                    value="add:required_data"
                    formaction={`${action}#required_data-${draft.required_data.length}`}
                    formnovalidate
                  >
                    Add data
                  </button>
                </div>
              </section>
              <section class="card form" aria-labelledby="price">
                <h2 id="price">Price and terms</h2>
                <Field
                  label="Price"
                  name="pricing.type"
                  value={draft.price_type}
                  options={[
                    { value: "free", label: "Free" },
                    { value: "one_time", label: "Once" },
                    { value: "subscription", label: "Subscription" },
                  ]}
                  refusal={refusal}
                />
                <div class="form-row">
                  <Field
                    label="Amount"
                    name="pricing.amount"
                    value={draft.amount}
                    hint="Unless free."
                    refusal={refusal}
                    attributes={{ inputmode: "decimal", placeholder: "4.99" }}
                  />
                  <Field
                    label="Currency"
                    name="pricing.currency"
                    value={draft.currency}
                    hint="As EUR."
                    refusal={refusal}
                    attributes={{ maxlength: 3 }}
                  />
                </div>
                <div class="form-row">
                  <Field
                    label="Billed each"
                    name="pricing.billing_cycle"
                    value={draft.billing_cycle}
                    hint="For a subscription."
                    options={["day", "week", "month", "year"].map((value) => ({ value, label: value }))}
                    refusal={refusal}
                  />
                  <Field
                    label="Days free at first"
                    name="pricing.trial_days"
                    value={draft.trial_days}
                    hint="For a subscription."
                    refusal={refusal}
                    attributes={{ inputmode: "numeric" }}
                  />
                </div>
                <Field
                  label="Address of your terms"
                  name="terms_url"
                  type="url"
                  value={draft.terms_url}
                  mono
                  refusal={refusal}
                  attributes={{ placeholder: "https://shop.example/terms" }}
                />
                <Field
                  label="Their SHA-256"
                  name="terms_hash"
                  value={draft.terms_hash}
                  hint="base64. Binds the contract to this very text; may be left empty."
                  mono
                  refusal={refusal}
                />
                <Field
                  label="Days without use until it ends by itself"
                  name="inactivity_expiry_days"
                  value={draft.inactivity_expiry_days}
                  hint="Empty: never."
                  refusal={refusal}
                  attributes={{ inputmode: "numeric" }}
                />
              </section>
              <div class="actions">
                <button class="btn" type="submit" name="do" value="publish">
                  {isNew ? "Publish" : "Publish a new version"}
                </button>
                <button
                  class="btn plain"
                  type="submit"
                  name="do"
                  value="preview"
                  formaction={`${action}#preview`}
                >
                  Show the preview
                </button>
              </div>
            </Form>
            <aside aria-label="Preview">{preview}</aside>
          </div>
        )}
      </>
    ),
  });
}

// ---- the pages ------------------------------------------------------------------------------------------

const refusalOf = (details: Refusal["details"]): Refusal => ({
  status: 400,
  code: "invalid_request",
  detail: details[0]?.message ?? "",
  details,
});

export function offeringPages(pages: Hono<ConsoleEnv>): void {
  const find = async (c: ConsoleContext, id: string, version?: string) =>
    must(await c.var.api.get<Offering>(`offerings/${encodeURIComponent(id)}`, { version }));

  pages.get(HERE, async (c) => {
    const { offerings } = must(await c.var.api.get<{ offerings: Offering[] }>("offerings"));
    const write = c.var.api.may("admin") && (
      <a class="btn" href={`${BASE}/new`}>
        New offering
      </a>
    );
    return page(c, {
      title: "Offerings",
      here: HERE,
      content: (
        <>
          <Head title="Offerings" actions={write}>
            <p>What people may agree to. Each connection is a contract on one of these.</p>
          </Head>
          {offerings.length === 0 ? (
            <Empty title="Nothing is offered yet" action={write}>
              An offering says what you may ask people for, and why. Publish one before you invite anybody.
            </Empty>
          ) : (
            <Table
              caption="Published offerings"
              head={["Name", "Id", "Version", "Capabilities", "Price", "Acceptance"]}
              rows={offerings.map((offering) => [
                <a href={hrefOf(offering.offering_id)}>{offering.name}</a>,
                <code>{offering.offering_id}</code>,
                String(offering.version),
                countWords(offering.capabilities.length, "capability", "capabilities"),
                priceWords(offering.pricing),
                offering.acceptance === "manual" ? "you accept each" : "at once",
              ])}
            />
          )}
        </>
      ),
    });
  });

  pages.get(`${HERE}/new`, (c) => editorPage(c, { draft: EMPTY_DRAFT }));

  pages.post(`${HERE}/preview`, async (c) => {
    const offer = must(await c.var.api.get<Offer>("/.well-known/vettid-service"));
    return fragment(c, <Preview offer={offer} draft={draftOf(c.var.form)} version={1} />);
  });

  /** Everything the editor's buttons do; the draft is kept, whatever comes of it. */
  const edit = async (c: ConsoleContext, published: Offering | undefined) => {
    const command = c.var.form.get("do") ?? "";
    const draft = changed(draftOf(c.var.form), command);
    if (command !== "publish") return editorPage(c, { draft, published });
    const read = contentOf(draft);
    const id = offeringId.safeParse(draft.offering_id);
    const details = [
      ...(id.success ? [] : [{ path: "offering_id", message: ID_WORDS }]),
      ...(read.ok ? [] : read.details),
    ];
    if (!read.ok || details.length > 0)
      return editorPage(c, { draft, published, refusal: refusalOf(details) });
    if (published === undefined) {
      const there = await c.var.api.get<Offering>(`offerings/${draft.offering_id}`);
      if (there.ok) {
        const message = "is taken by another offering; choose another id, or change that one";
        return editorPage(c, { draft, refusal: refusalOf([{ path: "offering_id", message }]) });
      }
    }
    const outcome = await c.var.api.send<Offering>("PUT", `offerings/${draft.offering_id}`, read.content);
    if (!outcome.ok) return editorPage(c, { draft, published, refusal: outcome.refusal });
    const isSame = outcome.value.version === published?.version;
    return c.redirect(hrefOf(draft.offering_id, `?done=${isSame ? "unchanged" : "published"}`), 303);
  };
  pages.post(`${HERE}/new`, (c) => edit(c, undefined));

  pages.get(`${HERE}/:id`, async (c) => {
    const id = c.req.param("id");
    const published = await find(c, id);
    const version = c.req.query("version");
    if (version === undefined) return editorPage(c, { draft: draftFrom(published), published });
    const earlier = await find(c, id, version);
    return editorPage(c, { draft: draftFrom(earlier), published, earlier: earlier.version });
  });
  pages.post(`${HERE}/:id`, async (c) => edit(c, await find(c, c.req.param("id"))));

  const withdrawPage = async (c: ConsoleContext, id: string, refusal?: Refusal) => {
    const published = await find(c, id);
    return page(c, {
      title: "Withdraw this offering?",
      here: HERE,
      status: refusal?.status ?? 200,
      content: (
        <Confirm
          c={c}
          title={`Withdraw ${published.name}?`}
          action={hrefOf(id, "/withdraw")}
          back={{ href: hrefOf(id), label: published.name }}
          verb="Withdraw the offering"
          refusal={refusal}
        >
          <Facts
            items={[
              ["Offering", <Id value={id} long />],
              ["Version", <Badge status={`version ${published.version}`} />],
            ]}
          />
          <p>
            Nobody can agree to it any more, and open invites for it stop working. Connections made on it
            stay.
          </p>
        </Confirm>
      ),
    });
  };
  pages.get(`${HERE}/:id/withdraw`, (c) => withdrawPage(c, c.req.param("id")));
  pages.post(`${HERE}/:id/withdraw`, async (c) => {
    const id = c.req.param("id");
    const outcome = await c.var.api.send("DELETE", `offerings/${encodeURIComponent(id)}`);
    return outcome.ok
      ? c.redirect(`${BASE}?done=offering_withdrawn`, 303)
      : withdrawPage(c, id, outcome.refusal);
  });
}
