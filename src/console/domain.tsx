// How others recognise the service: the domain that names it, and the registries that attest to it.

import type { Hono } from "hono";
import type { DomainView, RegistryView } from "../rpc.ts";
import { must, noSuch, type Refusal } from "./api.ts";
import type { ConsoleContext, ConsoleEnv } from "./env.ts";
import { CONSOLE, page } from "./frame.tsx";
import { newOnce, onceOf } from "./once.ts";
import {
  Badge,
  Confirm,
  Day,
  Empty,
  Facts,
  Field,
  Form,
  Head,
  Id,
  Press,
  Problems,
  Secret,
  sentence,
  Table,
  Time,
} from "./ui.tsx";

const HERE = "/domain";
const BASE = `${CONSOLE}${HERE}`;
const BACK = { href: BASE, label: "Domain and registries" };

const STATUS_WORDS: Record<DomainView["status"], string> = {
  not_configured: "No domain is set for this deployment. SERVICE_DOMAIN names it.",
  unchecked: "Nobody could tell yet. Publish the record below, then look again.",
  verified: "The domain's DNS names this service. It is looked at again each day.",
  unproven: "The record is not there. Publish it, then look again; DNS may take some minutes.",
  lapsed: "The record was there and is not any more: offers no longer name the domain. Publish it again.",
};
const LOOKUP_WORDS = {
  verified: "names this service",
  no_record: "no record",
  wrong_record: "a record that names another service or key",
  unresolved: "resolvers did not answer, or do not agree",
  failed: "did not answer",
} as const;

const DomainCard = ({ c, domain }: { c: ConsoleContext; domain: DomainView }) => (
  <section class="card" aria-labelledby="domain">
    <div class="part-head">
      <h2 id="domain">{domain.domain ?? "Domain"}</h2>
      <Badge status={domain.status} />
    </div>
    <p>{STATUS_WORDS[domain.status]}</p>
    {domain.record !== undefined && (
      <div class="form part">
        <div>
          <span class="legend">Name of the {domain.record.type} record</span>
          <Secret value={domain.record.name} what="the record's name" />
        </div>
        <div>
          <span class="legend">Its value</span>
          <Secret value={domain.record.value} what="the record's value" />
        </div>
      </div>
    )}
    {domain.last_check !== undefined && (
      <div class="part">
        <Facts
          items={[
            [
              "Last look",
              <>
                <Time at={domain.last_check.at} />: {LOOKUP_WORDS[domain.last_check.outcome]}
              </>,
            ],
            [
              "Resolvers",
              <ul>
                {domain.last_check.lookups.map(({ resolver, outcome, detail }) => (
                  <li>
                    {resolver}: {LOOKUP_WORDS[outcome]}
                    {detail !== undefined && <span class="small"> ({detail})</span>}
                  </li>
                ))}
              </ul>,
            ],
            domain.verified_at === undefined ? undefined : ["Verified", <Day at={domain.verified_at} />],
            domain.lapsed_at === undefined ? undefined : ["Lapsed", <Day at={domain.lapsed_at} />],
            domain.next_check_at === undefined
              ? undefined
              : ["Next look", <Time at={domain.next_check_at} />],
          ]}
        />
      </div>
    )}
    {domain.status !== "not_configured" && c.var.api.may("admin") && (
      <div class="actions part">
        <Press c={c} action={`${BASE}/verify`} kind="">
          Look now
        </Press>
      </div>
    )}
  </section>
);

const Register = ({
  c,
  form,
  refusal,
}: {
  c: ConsoleContext;
  form: URLSearchParams | undefined;
  refusal: Refusal | undefined;
}) => (
  <section class="card" aria-labelledby="register">
    <h2 id="register">Register with a registry</h2>
    <Form c={c} action={BASE} once={newOnce()} class="form">
      <Problems refusal={refusal} />
      <Field
        label="Address of the registry"
        name="url"
        type="url"
        value={form?.get("url") ?? ""}
        required
        mono
        refusal={refusal}
        attributes={{ placeholder: "https://registry.example", spellcheck: "false" }}
      />
      <Field
        label="Its key"
        name="registry_key"
        value={form?.get("registry_key") ?? ""}
        hint="Ed25519, base64, if you know it from elsewhere. Empty: the key it shows first is kept to."
        mono
        refusal={refusal}
        attributes={{ spellcheck: "false", autocomplete: "off" }}
      />
      <div class="actions">
        <button class="btn" type="submit">
          Register
        </button>
      </div>
    </Form>
  </section>
);

async function domainPage(c: ConsoleContext, form?: URLSearchParams, refusal?: Refusal) {
  const [domain, { registries }] = await Promise.all([
    c.var.api.get<DomainView>("domain").then(must),
    c.var.api.get<{ registries: RegistryView[] }>("registries").then(must),
  ]);
  const mayWrite = c.var.api.may("admin");
  return page(c, {
    title: "Domain and registries",
    here: HERE,
    status: refusal?.status ?? 200,
    content: (
      <>
        <Head title="Domain and registries">
          <p>
            How a person's app can tell that this vault is yours: your domain's DNS says so, and registries
            they know attest to it.
          </p>
        </Head>
        <div class="grid two">
          <DomainCard c={c} domain={domain} />
          {mayWrite && <Register c={c} form={form} refusal={refusal} />}
        </div>
        <section class="part" aria-labelledby="registries">
          <h2 id="registries">Registries</h2>
          {registries.length === 0 ? (
            <Empty title="With no registry">
              {mayWrite
                ? "Register above with one that your customers' apps know. It is optional."
                : "Registering needs a key with the scope admin."}
            </Empty>
          ) : (
            <Table
              caption="Registries, oldest first"
              head={["Registry", "Status", "Attests", "Its key", "Asked again", ""]}
              rows={registries.map((registry) => [
                <>
                  {registry.registry}
                  {registry.detail !== undefined && <span class="sub">{sentence(registry.detail)}</span>}
                </>,
                <Badge status={registry.status} />,
                registry.attestation === undefined ? (
                  <span class="quiet-text">nothing yet</span>
                ) : (
                  <>
                    {registry.attestation.statement}
                    <span class="sub">
                      until <Time at={registry.attestation.expires_at} />
                    </span>
                  </>
                ),
                registry.registry_key === undefined ? (
                  <span class="quiet-text">not heard yet</span>
                ) : (
                  <Id value={registry.registry_key} />
                ),
                <Time at={registry.next_ask_at} />,
                mayWrite ? (
                  <a
                    class="btn plain small-btn"
                    href={`${BASE}/registries/${encodeURIComponent(registry.registry_id)}/leave`}
                  >
                    Leave
                  </a>
                ) : (
                  ""
                ),
              ])}
            />
          )}
        </section>
      </>
    ),
  });
}

export function domainPages(pages: Hono<ConsoleEnv>): void {
  pages.get(HERE, (c) => domainPage(c));
  pages.post(`${HERE}/verify`, async (c) => {
    must(await c.var.api.send("POST", "domain/verify"));
    return c.redirect(`${BASE}?done=domain_checked`, 303);
  });
  pages.post(HERE, async (c) => {
    const { form } = c.var;
    const key = (form.get("registry_key") ?? "").trim();
    const outcome = await c.var.api.send(
      "POST",
      "registries",
      { url: (form.get("url") ?? "").trim(), ...(key === "" ? {} : { registry_key: key }) },
      onceOf(c),
    );
    if (!outcome.ok) return domainPage(c, form, outcome.refusal);
    return c.redirect(`${BASE}?done=registry_added`, 303);
  });

  const leavePage = async (c: ConsoleContext, id: string, refusal?: Refusal) => {
    const { registries } = must(await c.var.api.get<{ registries: RegistryView[] }>("registries"));
    const registry = registries.find(({ registry_id }) => registry_id === id) ?? noSuch("registry");
    return page(c, {
      title: "Leave this registry?",
      here: HERE,
      status: refusal?.status ?? 200,
      content: (
        <Confirm
          c={c}
          title={`Leave ${registry.registry}?`}
          action={`${BASE}/registries/${encodeURIComponent(id)}/leave`}
          back={BACK}
          verb="Leave the registry"
          refusal={refusal}
        >
          <p>
            What it attested leaves new offers at once. The registry is not told: its own entry ends when it
            is not renewed.
          </p>
        </Confirm>
      ),
    });
  };
  pages.get(`${HERE}/registries/:id/leave`, (c) => leavePage(c, c.req.param("id")));
  pages.post(`${HERE}/registries/:id/leave`, async (c) => {
    const id = c.req.param("id");
    const outcome = await c.var.api.send("DELETE", `registries/${encodeURIComponent(id)}`);
    return outcome.ok ? c.redirect(`${BASE}?done=registry_removed`, 303) : leavePage(c, id, outcome.refusal);
  });
}
