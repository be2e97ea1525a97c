// API keys: made, rotated, deleted. A key's text is shown in the answer that made it and nowhere else.

import type { Hono } from "hono";
import type { ApiKeyView, CreatedApiKey } from "../../durable-objects/directory/keys.ts";
import { scope as scopes } from "../http/schemas.ts";
import type { Scope } from "../rpc.ts";
import { must, noSuch, type Refusal } from "./api.ts";
import type { ConsoleContext, ConsoleEnv } from "./env.ts";
import { CONSOLE, page } from "./frame.tsx";
import { newOnce, onceOf } from "./once.ts";
import {
  Confirm,
  Day,
  errorAt,
  Facts,
  Field,
  Form,
  Head,
  Id,
  Problems,
  Secret,
  Table,
  Tick,
  Time,
} from "./ui.tsx";

const HERE = "/keys";
const BASE = `${CONSOLE}${HERE}`;
const BACK = { href: BASE, label: "API keys" };
const DAY_SECONDS = 24 * 3_600;

const SCOPE_WORDS: Record<Scope, string> = {
  "requests:read": "Read requests, events, deliveries and measurements",
  "requests:write": "Ask people, and cancel what was asked",
  "contracts:read": "See connections, offerings and invites",
  "contracts:write": "Invite, accept, pause and end connections",
  "audit:read": "Read and verify the audit chains",
  admin: "Everything, and keys, offerings and webhooks besides",
};
const LIFETIMES = [
  { value: "", label: "Does not expire" },
  { value: String(DAY_SECONDS), label: "1 day" },
  { value: String(30 * DAY_SECONDS), label: "30 days" },
  { value: String(90 * DAY_SECONDS), label: "90 days" },
  { value: String(365 * DAY_SECONDS), label: "1 year" },
];
const GRACES = [
  { value: "0", label: "Stops at once" },
  { value: "3600", label: "Works for another hour" },
  { value: String(DAY_SECONDS), label: "Works for another day" },
  { value: String(7 * DAY_SECONDS), label: "Works for another 7 days" },
];

function newPage(c: ConsoleContext, form?: URLSearchParams, refusal?: Refusal) {
  const chosen = form?.getAll("scopes") ?? ["requests:read", "requests:write"];
  const scopeError = errorAt(refusal, "scopes");
  return page(c, {
    title: "New API key",
    here: HERE,
    status: refusal?.status ?? 200,
    content: (
      <>
        <Head title="New API key" back={BACK}>
          <p>One for each backend and each person, with no more than it needs.</p>
        </Head>
        <Form c={c} action={BASE} once={newOnce()} class="card form narrow">
          <Problems refusal={refusal} />
          <Field
            label="Name"
            name="name"
            hint="What or whom it is for, as “shop backend”."
            value={form?.get("name") ?? ""}
            required
            refusal={refusal}
            attributes={{ maxlength: 100, autocomplete: "off" }}
          />
          <fieldset class="field" id="f-scopes">
            <legend>Scopes</legend>
            {scopes.options.map((name) => (
              <Tick
                label={<code>{name}</code>}
                hint={SCOPE_WORDS[name]}
                name="scopes"
                value={name}
                checked={chosen.includes(name)}
              />
            ))}
            {scopeError !== undefined && <span class="error">Choose at least one.</span>}
          </fieldset>
          <Field
            label="Lifetime"
            name="expires_in_seconds"
            value={form?.get("expires_in_seconds") ?? ""}
            options={LIFETIMES}
            refusal={refusal}
          />
          <div class="actions">
            <button class="btn" type="submit">
              Make the key
            </button>
            <a class="btn plain" href={BASE}>
              Back
            </a>
          </div>
        </Form>
      </>
    ),
  });
}

const shownOnce = (c: ConsoleContext, key: CreatedApiKey, title: string) =>
  page(c, {
    title,
    here: HERE,
    content: (
      <>
        <Head title={title} back={BACK}>
          <p>Copy it now: only its hash is kept, so it is shown this once.</p>
        </Head>
        <section class="card form" aria-label="The key">
          <div>
            <span class="legend">API key</span>
            <Secret value={key.api_key} what="the API key" />
          </div>
          <Facts
            items={[
              ["Name", key.name],
              ["Scopes", key.scopes.join(", ")],
              ["Expires", key.expires_at === undefined ? "never" : <Day at={key.expires_at} />],
              key.previous_valid_until === undefined
                ? undefined
                : ["The secret before works until", <Day at={key.previous_valid_until} />],
            ]}
          />
          <div class="actions">
            <a class="btn" href={BASE}>
              I have copied it
            </a>
          </div>
        </section>
      </>
    ),
  });

export function keyPages(pages: Hono<ConsoleEnv>): void {
  const keys = async (c: ConsoleContext) =>
    must(await c.var.api.get<{ api_keys: ApiKeyView[] }>("api-keys")).api_keys;

  pages.get(HERE, async (c) => {
    const now = Date.now();
    return page(c, {
      title: "API keys",
      here: HERE,
      content: (
        <>
          <Head
            title="API keys"
            actions={
              <a class="btn" href={`${BASE}/new`}>
                New key
              </a>
            }
          >
            <p>
              Who may call this vault, and sign in here. Give each backend and each person one of their own.
            </p>
          </Head>
          <Table
            caption="API keys, oldest first"
            head={["Name", "Scopes", "Key id", "Last used", "Expires", ""]}
            rows={(await keys(c)).map((key) => [
              <>
                {key.name}
                {key.key_id === c.var.api.facts.keyId && <span class="sub">you are signed in with it</span>}
              </>,
              <div class="chips">
                {key.scopes.map((scope) => (
                  <span class="chip">{scope}</span>
                ))}
              </div>,
              <Id value={key.key_id} />,
              key.last_used_day === undefined ? (
                <span class="quiet-text">never</span>
              ) : (
                <time datetime={key.last_used_day} class="nowrap">
                  {key.last_used_day}
                </time>
              ),
              key.expires_at === undefined ? (
                <span class="quiet-text">never</span>
              ) : Date.parse(key.expires_at) <= now ? (
                <span class="badge bad">expired</span>
              ) : (
                <Time at={key.expires_at} />
              ),
              <div class="actions">
                <a class="btn plain small-btn" href={`${BASE}/${key.key_id}/rotate`}>
                  Rotate<span class="skip"> {key.name}</span>
                </a>
                <a class="btn plain small-btn" href={`${BASE}/${key.key_id}/delete`}>
                  Delete<span class="skip"> {key.name}</span>
                </a>
              </div>,
            ])}
          />
        </>
      ),
    });
  });

  pages.get(`${HERE}/new`, (c) => newPage(c));
  pages.post(HERE, async (c) => {
    const { form } = c.var;
    const lifetime = form.get("expires_in_seconds") ?? "";
    const outcome = await c.var.api.send<CreatedApiKey>(
      "POST",
      "api-keys",
      {
        name: (form.get("name") ?? "").trim(),
        scopes: form.getAll("scopes"),
        ...(lifetime === "" ? {} : { expires_in_seconds: Number(lifetime) }),
      },
      onceOf(c),
    );
    return outcome.ok ? shownOnce(c, outcome.value, "The key is ready") : newPage(c, form, outcome.refusal);
  });

  /** Who sees the question must be one who may answer it: the list is read with the same scope. */
  const keyOf = async (c: ConsoleContext, id: string) => {
    const key = (await keys(c)).find(({ key_id }) => key_id === id);
    return key ?? noSuch("API key");
  };
  const ownNotice = (c: ConsoleContext, id: string, text: string) =>
    id === c.var.api.facts.keyId && <p class="notice">You are signed in with this key. {text}</p>;

  const rotatePage = async (c: ConsoleContext, id: string, refusal?: Refusal) => {
    const key = await keyOf(c, id);
    return page(c, {
      title: "Rotate this key?",
      here: HERE,
      status: refusal?.status ?? 200,
      content: (
        <Confirm
          c={c}
          title={`Rotate ${key.name}?`}
          action={`${BASE}/${encodeURIComponent(id)}/rotate`}
          back={BACK}
          verb="Give it a new secret"
          danger={false}
          refusal={refusal}
        >
          {ownNotice(c, id, "Your session ends when the old secret does.")}
          <input type="hidden" name="once" value={newOnce()} />
          <p>The key keeps its id, name and scopes, and gets a new secret, shown once.</p>
          <Field
            label="The old secret"
            name="grace_seconds"
            value={String(DAY_SECONDS)}
            options={GRACES}
            refusal={refusal}
          />
        </Confirm>
      ),
    });
  };
  pages.get(`${HERE}/:id/rotate`, (c) => rotatePage(c, c.req.param("id")));
  pages.post(`${HERE}/:id/rotate`, async (c) => {
    const id = c.req.param("id");
    const outcome = await c.var.api.send<CreatedApiKey>(
      "POST",
      `api-keys/${encodeURIComponent(id)}/rotate`,
      { grace_seconds: Number(c.var.form.get("grace_seconds") ?? DAY_SECONDS) },
      onceOf(c),
    );
    return outcome.ok
      ? shownOnce(c, outcome.value, "The new secret is ready")
      : rotatePage(c, id, outcome.refusal);
  });

  const deletePage = async (c: ConsoleContext, id: string, refusal?: Refusal) => {
    const key = await keyOf(c, id);
    return page(c, {
      title: "Delete this key?",
      here: HERE,
      status: refusal?.status ?? 200,
      content: (
        <Confirm
          c={c}
          title={`Delete ${key.name}?`}
          action={`${BASE}/${encodeURIComponent(id)}/delete`}
          back={BACK}
          verb="Delete the key"
          refusal={refusal}
        >
          {ownNotice(c, id, "Deleting it signs you out.")}
          <Facts
            items={[
              ["Key id", <Id value={id} long />],
              ["Scopes", key.scopes.join(", ")],
              ["Last used", key.last_used_day ?? "never"],
            ]}
          />
          <p>
            Whatever calls with it is refused, within 30 seconds at the latest. It cannot be brought back.
          </p>
        </Confirm>
      ),
    });
  };
  pages.get(`${HERE}/:id/delete`, (c) => deletePage(c, c.req.param("id")));
  pages.post(`${HERE}/:id/delete`, async (c) => {
    const id = c.req.param("id");
    const outcome = await c.var.api.send("DELETE", `api-keys/${encodeURIComponent(id)}`);
    return outcome.ok ? c.redirect(`${BASE}?done=key_deleted`, 303) : deletePage(c, id, outcome.refusal);
  });
}
