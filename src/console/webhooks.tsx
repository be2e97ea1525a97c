// Webhooks and what became of each delivery.

import type { Hono } from "hono";
import type { CreatedWebhook, RotatedSecret, WebhookView } from "../../durable-objects/directory/webhooks.ts";
import type { AttemptView, DeliveryView } from "../rpc.ts";
import { EVENT_TYPES } from "../webhooks/event.ts";
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
  Pager,
  Press,
  Problems,
  Secret,
  Table,
  Time,
} from "./ui.tsx";
import { countWords, durationWords, instantOfField } from "./words.ts";

const HERE = "/webhooks";
const BASE = `${CONSOLE}${HERE}`;
const BACK = { href: BASE, label: "Webhooks" };
const DELIVERIES = `${CONSOLE}/deliveries`;
const PAGE_SIZE = 25;

type Tested = AttemptView & { event_id: string; delivered: boolean };

const hrefOf = (id: string, part = ""): string => `${BASE}/${encodeURIComponent(id)}${part}`;
const pathOf = (id: string, part = ""): string => `webhooks/${encodeURIComponent(id)}${part}`;

// ---- forms ----------------------------------------------------------------------------------------------

/** A line each; none at all stands for every type. */
export const typesOf = (text: string): string[] =>
  text
    .split(/[\s,]+/)
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");

const WebhookFields = ({
  values,
  refusal,
}: {
  values: { url: string; types: string; description: string };
  refusal: Refusal | undefined;
}) => (
  <>
    <Field
      label="URL"
      name="url"
      type="url"
      value={values.url}
      hint="https; it must answer 2xx within 15 seconds."
      required
      mono
      refusal={refusal}
      attributes={{ placeholder: "https://shop.example/vettid-events", spellcheck: "false" }}
    />
    <Field
      label="Types of events"
      name="types"
      value={values.types}
      lines={3}
      mono
      hint="One a line, as contract.created; a group as contract.*. Empty: every type."
      refusal={refusal}
      attributes={{ spellcheck: "false" }}
    />
    <details class="more">
      <summary>Which types there are</summary>
      <div class="chips">
        {EVENT_TYPES.map((type) => (
          <code class="chip">{type}</code>
        ))}
        <code class="chip">auth.response</code>
        <span class="chip">and &lt;kind&gt;.response for each kind of request</span>
      </div>
    </details>
    <Field
      label="Description"
      name="description"
      value={values.description}
      hint="For you. May be left empty."
      refusal={refusal}
      attributes={{ maxlength: 200 }}
    />
  </>
);

const valuesOf = (form: URLSearchParams | undefined, webhook?: WebhookView) => ({
  url: form?.get("url") ?? webhook?.url ?? "",
  types: form?.get("types") ?? webhook?.types?.join("\n") ?? "",
  description: form?.get("description") ?? webhook?.description ?? "",
});

function newPage(c: ConsoleContext, form?: URLSearchParams, refusal?: Refusal) {
  return page(c, {
    title: "New webhook",
    here: HERE,
    status: refusal?.status ?? 200,
    content: (
      <>
        <Head title="New webhook" back={BACK}>
          <p>It is told of events from now on. What it is told is ids and status, never what people share.</p>
        </Head>
        <Form c={c} action={BASE} once={newOnce()} class="card form narrow">
          <Problems refusal={refusal} />
          <WebhookFields values={valuesOf(form)} refusal={refusal} />
          <div class="actions">
            <button class="btn" type="submit">
              Add the webhook
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

const secretPage = (c: ConsoleContext, title: string, id: string, secret: string, until?: string) =>
  page(c, {
    title,
    here: HERE,
    content: (
      <>
        <Head title={title} back={BACK}>
          <p>Copy it now: it is shown this once. Your receiver verifies each delivery with it.</p>
        </Head>
        <section class="card form" aria-label="The secret">
          <div>
            <span class="legend">Signing secret</span>
            <Secret value={secret} what="the signing secret" />
          </div>
          {until !== undefined && (
            <p class="small">
              Deliveries are signed with the secret before, too, until <Day at={until} />: your receiver may
              take either.
            </p>
          )}
          <div class="actions">
            <a class="btn" href={hrefOf(id)}>
              I have copied it
            </a>
          </div>
        </section>
      </>
    ),
  });

// ---- deliveries -----------------------------------------------------------------------------------------

const ERRORS: Record<NonNullable<AttemptView["error"]>, string> = {
  timeout: "no answer in time",
  connection_failed: "could not connect",
  target_refused: "the address is not allowed",
};
const attemptWords = ({ status_code, error }: AttemptView): string =>
  status_code !== undefined ? `answered ${status_code}` : error === undefined ? "no answer" : ERRORS[error];

const Attempts = ({ delivery }: { delivery: DeliveryView }) => {
  const last = delivery.attempts.at(-1);
  const summary = `${countWords(delivery.attempt_count, "attempt")}${last === undefined ? "" : `, ${attemptWords(last)}`}`;
  if (delivery.attempts.length === 0) return <>{summary}</>;
  return (
    <details>
      <summary>{summary}</summary>
      <ol class="small">
        {delivery.attempts.map((attempt) => (
          <li>
            <Time at={attempt.at} />: {attemptWords(attempt)}, {durationWords(attempt.duration_ms / 1_000)}
          </li>
        ))}
      </ol>
    </details>
  );
};

const Deliveries = ({
  c,
  deliveries,
  back,
}: {
  c: ConsoleContext;
  deliveries: readonly DeliveryView[];
  /** Where to go after one was sent again. */
  back: string;
}) => (
  <Table
    caption="Deliveries, newest first"
    head={["Event", "Status", "Attempts", "Event id", "When", ""]}
    rows={deliveries.map((delivery) => [
      <code>{delivery.event_type}</code>,
      <>
        <Badge status={delivery.status} />
        {delivery.next_attempt_at !== undefined && (
          <span class="sub nowrap">
            again <Time at={delivery.next_attempt_at} />
          </span>
        )}
      </>,
      <Attempts delivery={delivery} />,
      <Id value={delivery.event_id} />,
      <Time at={delivery.created_at} />,
      c.var.api.may("admin") ? (
        <Press c={c} action={`${DELIVERIES}/redeliver`} values={{ delivery_id: delivery.delivery_id, back }}>
          Deliver again
        </Press>
      ) : (
        ""
      ),
    ])}
  />
);

const STATUSES = [
  { value: "", label: "Any" },
  { value: "pending", label: "Pending" },
  { value: "delivered", label: "Delivered" },
  { value: "dead", label: "Given up" },
];

// ---- one webhook ----------------------------------------------------------------------------------------

const DISABLED: Record<NonNullable<WebhookView["disabled_reason"]>, string> = {
  requested: "It was disabled here or by API.",
  gone: "It answered 410, which says that it is no more.",
  failing: "It did nothing but fail for five days.",
};

interface Shown {
  form?: URLSearchParams;
  refusal?: Refusal;
  tested?: Tested;
  redelivering?: number;
}

async function webhookPage(
  c: ConsoleContext,
  id: string,
  { form, refusal, tested, redelivering }: Shown = {},
) {
  const { api } = c.var;
  const [{ webhooks, public_key }, { deliveries }] = await Promise.all([
    api.get<{ webhooks: WebhookView[]; public_key: string }>("webhooks").then(must),
    api.get<{ deliveries: DeliveryView[] }>("webhooks/deliveries", { endpoint: id, limit: 10 }).then(must),
  ]);
  const webhook = webhooks.find(({ webhook_id }) => webhook_id === id);
  if (webhook === undefined) return noSuch("webhook");
  const isEnabled = webhook.status === "enabled";
  const dayAgo = new Date(Date.now() - 24 * 3_600_000).toISOString().slice(0, 16);
  return page(c, {
    title: "Webhook",
    here: HERE,
    status: refusal?.status ?? 200,
    content: (
      <>
        <Head
          title={new URL(webhook.url).host}
          badge={<Badge status={webhook.status} />}
          back={BACK}
          actions={
            <>
              <Press c={c} action={hrefOf(id, "/test")} kind="plain">
                Send a test event
              </Press>
              <Press
                c={c}
                action={hrefOf(id, "/status")}
                kind="plain"
                values={{ status: isEnabled ? "disabled" : "enabled" }}
              >
                {isEnabled ? "Disable" : "Enable"}
              </Press>
              <a class="btn danger-plain" href={hrefOf(id, "/delete")}>
                Delete
              </a>
            </>
          }
        >
          <p>{webhook.description === undefined ? <code>{webhook.url}</code> : webhook.description}</p>
        </Head>
        {tested !== undefined && (
          <p class={tested.delivered ? "done" : "alert"} role="status">
            {tested.delivered ? "The test event was taken: " : "The test event was not taken: "}
            {attemptWords(tested)} after {durationWords(tested.duration_ms / 1_000)}.
          </p>
        )}
        {redelivering !== undefined && (
          <p class="done" role="status">
            {countWords(redelivering, "event is", "events are")} being delivered again.
          </p>
        )}
        {webhook.disabled_reason !== undefined && (
          <p class="notice">
            <strong>Nothing is delivered</strong>
            {DISABLED[webhook.disabled_reason]}{" "}
            {webhook.disabled_at !== undefined && <Time at={webhook.disabled_at} />}. Once enabled, it goes on
            where it stopped.
          </p>
        )}
        <div class="grid main-and-aside">
          <section class="card" aria-labelledby="settings">
            <h2 id="settings">Settings</h2>
            <Form c={c} action={hrefOf(id)} class="form">
              <Problems refusal={refusal} />
              <WebhookFields values={valuesOf(form, webhook)} refusal={refusal} />
              <div class="actions">
                <button class="btn" type="submit">
                  Save
                </button>
              </div>
            </Form>
          </section>
          <div class="grid">
            <section class="card" aria-labelledby="signing">
              <h2 id="signing">Signing</h2>
              <Facts
                items={[
                  ["Webhook", <Id value={webhook.webhook_id} />],
                  [
                    "Secret",
                    webhook.secret_rotated_at === undefined ? (
                      "never rotated"
                    ) : (
                      <>
                        rotated <Time at={webhook.secret_rotated_at} />
                      </>
                    ),
                  ],
                  webhook.previous_secret_valid_until === undefined
                    ? undefined
                    : [
                        "The one before",
                        <>
                          signs until <Day at={webhook.previous_secret_valid_until} />
                        </>,
                      ],
                  ["Public key (v1a)", <Id value={public_key} />],
                ]}
              />
              <p class="part">
                <a class="btn plain small-btn" href={hrefOf(id, "/rotate")}>
                  Rotate the secret
                </a>
              </p>
            </section>
            <section class="card" aria-labelledby="range">
              <h2 id="range">Deliver a time range again</h2>
              <Form c={c} action={hrefOf(id, "/redeliver")} class="form" once={newOnce()}>
                <div class="form-row">
                  <Field
                    label="From (UTC)"
                    name="from"
                    type="datetime-local"
                    value={form?.get("from") ?? dayAgo}
                    required
                    refusal={refusal}
                  />
                  <Field
                    label="To (UTC)"
                    name="to"
                    type="datetime-local"
                    value={form?.get("to") ?? new Date().toISOString().slice(0, 16)}
                    required
                    refusal={refusal}
                  />
                </div>
                <p class="small">
                  Every event of the range that this webhook asks for, with the same ids, whatever came of it
                  before.
                </p>
                <div class="actions">
                  <button class="btn plain" type="submit">
                    Deliver again
                  </button>
                </div>
              </Form>
            </section>
          </div>
        </div>
        <section class="part" aria-labelledby="deliveries">
          <div class="part-head">
            <h2 id="deliveries">Latest deliveries</h2>
            <a href={`${DELIVERIES}?endpoint=${encodeURIComponent(id)}`}>All of them</a>
          </div>
          {deliveries.length === 0 ? (
            <Empty title="Nothing was delivered yet">
              Send a test event to see whether it arrives. Events come by themselves once people connect.
            </Empty>
          ) : (
            <Deliveries c={c} deliveries={deliveries} back={hrefOf(id)} />
          )}
        </section>
      </>
    ),
  });
}

export function webhookPages(pages: Hono<ConsoleEnv>): void {
  pages.get(HERE, async (c) => {
    const { webhooks } = must(await c.var.api.get<{ webhooks: WebhookView[] }>("webhooks"));
    const add = (
      <a class="btn" href={`${BASE}/new`}>
        Add a webhook
      </a>
    );
    return page(c, {
      title: "Webhooks",
      here: HERE,
      content: (
        <>
          <Head title="Webhooks" actions={add}>
            <p>Addresses of your backend that are told what happens, signed and in order.</p>
          </Head>
          {webhooks.length === 0 ? (
            <Empty title="Nobody is told yet" action={add}>
              Add an address of your backend. Nothing is only in a webhook: GET /api/v1/events has the same.
            </Empty>
          ) : (
            <Table
              caption="Webhooks, oldest first"
              head={["URL", "Status", "Types", "Added"]}
              rows={webhooks.map((webhook) => [
                <>
                  <a href={hrefOf(webhook.webhook_id)}>{webhook.url}</a>
                  {webhook.description !== undefined && <span class="sub">{webhook.description}</span>}
                </>,
                <Badge status={webhook.status} />,
                webhook.types === undefined ? "every type" : countWords(webhook.types.length, "type"),
                <Time at={webhook.created_at} />,
              ])}
            />
          )}
        </>
      ),
    });
  });

  pages.get(`${HERE}/new`, (c) => newPage(c));
  pages.post(HERE, async (c) => {
    const { form } = c.var;
    const { url, types, description } = valuesOf(form);
    const wanted = typesOf(types);
    const outcome = await c.var.api.send<CreatedWebhook>(
      "POST",
      "webhooks",
      {
        url: url.trim(),
        ...(wanted.length === 0 ? {} : { types: wanted }),
        ...(description.trim() === "" ? {} : { description: description.trim() }),
      },
      onceOf(c),
    );
    if (!outcome.ok) return newPage(c, form, outcome.refusal);
    return secretPage(c, "The webhook is added", outcome.value.webhook_id, outcome.value.secret);
  });

  pages.get(`${HERE}/:id`, (c) => webhookPage(c, c.req.param("id")));
  pages.post(`${HERE}/:id`, async (c) => {
    const id = c.req.param("id");
    const { url, types, description } = valuesOf(c.var.form);
    const wanted = typesOf(types);
    const outcome = await c.var.api.send("PATCH", pathOf(id), {
      url: url.trim(),
      types: wanted.length === 0 ? null : wanted,
      description: description.trim() === "" ? null : description.trim(),
    });
    if (!outcome.ok) return webhookPage(c, id, { form: c.var.form, refusal: outcome.refusal });
    return c.redirect(hrefOf(id, "?done=webhook_saved"), 303);
  });
  pages.post(`${HERE}/:id/status`, async (c) => {
    const id = c.req.param("id");
    const status = c.var.form.get("status") === "enabled" ? "enabled" : "disabled";
    must(await c.var.api.send("PATCH", pathOf(id), { status }));
    return c.redirect(hrefOf(id, `?done=webhook_${status}`), 303);
  });
  pages.post(`${HERE}/:id/test`, async (c) => {
    const id = c.req.param("id");
    return webhookPage(c, id, { tested: must(await c.var.api.send<Tested>("POST", pathOf(id, "/test"))) });
  });
  pages.post(`${HERE}/:id/redeliver`, async (c) => {
    const id = c.req.param("id");
    const { form } = c.var;
    const outcome = await c.var.api.send<{ events: number }>(
      "POST",
      pathOf(id, "/redeliver"),
      { from: instantOfField(form.get("from") ?? ""), to: instantOfField(form.get("to") ?? "") },
      onceOf(c),
    );
    return outcome.ok
      ? webhookPage(c, id, { redelivering: outcome.value.events })
      : webhookPage(c, id, { form, refusal: outcome.refusal });
  });

  const rotatePage = (c: ConsoleContext, id: string, refusal?: Refusal) =>
    page(c, {
      title: "Rotate the secret?",
      here: HERE,
      status: refusal?.status ?? 200,
      content: (
        <Confirm
          c={c}
          title="Rotate the signing secret?"
          action={hrefOf(id, "/rotate")}
          back={{ href: hrefOf(id), label: "Webhook" }}
          verb="Make a new secret"
          danger={false}
          refusal={refusal}
        >
          <input type="hidden" name="once" value={newOnce()} />
          <p>
            The new secret is shown once. For 24 hours deliveries are signed with both, so that your receiver
            can change over without missing one; the older header X-VettID-Signature uses the new one at once.
          </p>
        </Confirm>
      ),
    });
  pages.get(`${HERE}/:id/rotate`, (c) => rotatePage(c, c.req.param("id")));
  pages.post(`${HERE}/:id/rotate`, async (c) => {
    const id = c.req.param("id");
    const outcome = await c.var.api.send<RotatedSecret>(
      "POST",
      pathOf(id, "/rotate-secret"),
      undefined,
      onceOf(c),
    );
    if (!outcome.ok) return rotatePage(c, id, outcome.refusal);
    const { secret, previous_secret_valid_until } = outcome.value;
    return secretPage(c, "The new secret is ready", id, secret, previous_secret_valid_until);
  });

  const deletePage = (c: ConsoleContext, id: string, refusal?: Refusal) =>
    page(c, {
      title: "Delete this webhook?",
      here: HERE,
      status: refusal?.status ?? 200,
      content: (
        <Confirm
          c={c}
          title="Delete this webhook?"
          action={hrefOf(id, "/delete")}
          back={{ href: hrefOf(id), label: "Webhook" }}
          verb="Delete the webhook"
          refusal={refusal}
        >
          <Facts items={[["Webhook", <Id value={id} long />]]} />
          <p>
            Nothing is delivered to it any more, and its secret is gone. To stop it for a while only, disable
            it.
          </p>
        </Confirm>
      ),
    });
  pages.get(`${HERE}/:id/delete`, (c) => deletePage(c, c.req.param("id")));
  pages.post(`${HERE}/:id/delete`, async (c) => {
    const id = c.req.param("id");
    const outcome = await c.var.api.send("DELETE", pathOf(id));
    return outcome.ok ? c.redirect(`${BASE}?done=webhook_deleted`, 303) : deletePage(c, id, outcome.refusal);
  });

  // ---- deliveries

  pages.get("/deliveries", async (c) => {
    const status = c.req.query("status") ?? "";
    const endpoint = (c.req.query("endpoint") ?? "").trim();
    const [listed, webhooks] = await Promise.all([
      c.var.api.get<{ deliveries: DeliveryView[]; next_cursor?: string }>("webhooks/deliveries", {
        status,
        endpoint,
        cursor: c.req.query("cursor"),
        limit: PAGE_SIZE,
      }),
      c.var.api.may("admin") ? c.var.api.get<{ webhooks: WebhookView[] }>("webhooks") : undefined,
    ]);
    const { deliveries, next_cursor } = must(listed);
    const endpoints = [
      { value: "", label: "Any" },
      ...(webhooks?.ok ? webhooks.value.webhooks : []).map(({ webhook_id, url }) => ({
        value: webhook_id,
        label: url,
      })),
      { value: "callback", label: "Callback URLs" },
    ];
    if (!endpoints.some(({ value }) => value === endpoint))
      endpoints.push({ value: endpoint, label: endpoint });
    const url = new URL(c.req.url);
    url.searchParams.delete("done");
    const isFiltered = status !== "" || endpoint !== "";
    return page(c, {
      title: "Deliveries",
      here: "/deliveries",
      content: (
        <>
          <Head title="Deliveries">
            <p>What was delivered to webhooks and callback URLs, and what will be tried again.</p>
          </Head>
          <form class="filters" method="get" action={DELIVERIES}>
            <Field label="Status" name="status" value={status} options={STATUSES} />
            <Field label="Webhook" name="endpoint" value={endpoint} options={endpoints} />
            <div class="actions">
              <button class="btn plain" type="submit">
                Filter
              </button>
              {isFiltered && <a href={DELIVERIES}>Show all</a>}
            </div>
          </form>
          {deliveries.length === 0 ? (
            <Empty title={isFiltered ? "No delivery matches" : "Nothing was delivered yet"}>
              {isFiltered
                ? "Choose another status or webhook."
                : "Deliveries appear here once there is a webhook and something happens."}
            </Empty>
          ) : (
            <Deliveries c={c} deliveries={deliveries} back={`${url.pathname}${url.search}`} />
          )}
          <Pager c={c} shown={deliveries.length} next={next_cursor} />
        </>
      ),
    });
  });

  pages.post("/deliveries/redeliver", async (c) => {
    const { form } = c.var;
    const id = form.get("delivery_id") ?? "";
    must(await c.var.api.send("POST", `webhooks/deliveries/${encodeURIComponent(id)}/redeliver`));
    const back = new URL(form.get("back") ?? DELIVERIES, c.req.url);
    // Only back to a page of ours, whatever the field says.
    const path = back.pathname.startsWith(`${CONSOLE}/`) ? back.pathname : DELIVERIES;
    back.searchParams.set("done", "redelivered");
    return c.redirect(`${path}${back.search}`, 303);
  });
}
