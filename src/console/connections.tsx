// Connections: the list, and what there is to know and to do about one.

import type { Hono } from "hono";
import type { Child } from "hono/jsx";
import type { AmendmentInput } from "../contracts/amendment.ts";
import { capabilityWords, constraintWords } from "../http/pages/capability-words.ts";
import { contractStatus } from "../protocol/contract.ts";
import type { HandlerManifest, Offering } from "../protocol/offer.ts";
import type { AmendmentView, AuditPage, ContractDetail, ContractView, RequestView } from "../rpc.ts";
import { must, type Outcome, type Refusal } from "./api.ts";
import { ChainCheck, checkChain, Entries, OperationFilter, ProofOf, proofOf } from "./audit.tsx";
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
  Table,
  Tick,
  Time,
} from "./ui.tsx";
import { countWords } from "./words.ts";

const HERE = "/connections";
const LIST = `${CONSOLE}${HERE}`;
const LIST_BACK = { href: LIST, label: "Connections" };
const PAGE_SIZE = 25;

type ListedContracts = { contracts: ContractView[]; next_cursor?: string; total_count: number };

const hrefOf = (id: string, part = ""): string => `${LIST}/${encodeURIComponent(id)}${part}`;
const contractOf = async (c: ConsoleContext, id: string): Promise<ContractDetail> =>
  must(await c.var.api.get<ContractDetail>(`contracts/${encodeURIComponent(id)}`));

// ---- what can be done -----------------------------------------------------------------------------------

interface Action {
  name: string;
  /** On the button that leads to the question, and on the one that answers it. */
  verb: string;
  title: string;
  text: string;
  from: readonly ContractView["status"][];
  danger: boolean;
  reason: boolean;
  done: string;
}
const ACTIONS: readonly Action[] = [
  {
    name: "accept",
    verb: "Accept",
    title: "Accept this connection?",
    text: "The contract is signed by the service and is in force at once. What the person shared becomes readable through the API.",
    from: ["pending"],
    danger: false,
    reason: false,
    done: "accepted",
  },
  {
    name: "reject",
    verb: "Turn down",
    title: "Turn this connection down?",
    text: "For good: the person would need a new invite. What they shared is destroyed.",
    from: ["pending"],
    danger: true,
    reason: true,
    done: "rejected",
  },
  {
    name: "pause",
    verb: "Pause",
    title: "Pause this connection?",
    text: "Asks are refused until you resume it. Answers to what is open still count.",
    from: ["active"],
    danger: false,
    reason: true,
    done: "paused",
  },
  {
    name: "resume",
    verb: "Resume",
    title: "Resume this connection?",
    text: "The service may ask again, as the contract says.",
    from: ["paused"],
    danger: false,
    reason: true,
    done: "resumed",
  },
  {
    name: "end",
    verb: "End",
    title: "End this connection?",
    text: "At once and for good: open requests are cancelled, the connection's keys and what the person shared are destroyed. The audit trail stays.",
    from: ["active", "paused"],
    danger: true,
    reason: true,
    done: "cancelled",
  },
];

const actionsFor = (contract: ContractView): Action[] =>
  ACTIONS.filter(({ from }) => from.includes(contract.status));

/** A pending contract is rejected, anything in force is ended; the same refusals as by API. */
function perform(c: ConsoleContext, action: Action, id: string, reason: string): Promise<Outcome<unknown>> {
  const path = `contracts/${encodeURIComponent(id)}`;
  const body = action.reason && reason !== "" ? { reason } : undefined;
  return action.name === "end"
    ? c.var.api.send("DELETE", path, body)
    : c.var.api.send("POST", `${path}/${action.name}`, body);
}

// ---- the frame of one connection ------------------------------------------------------------------------

const TABS = [
  { part: "", label: "Contract", scope: "contracts:read" },
  { part: "/requests", label: "Requests", scope: "requests:read" },
  { part: "/changes", label: "Changes", scope: "contracts:read" },
  { part: "/audit", label: "Audit trail", scope: "audit:read" },
] as const;

function connectionPage(
  c: ConsoleContext,
  contract: ContractView,
  tab: (typeof TABS)[number]["part"],
  content: Child,
): Response {
  const id = contract.contract_id;
  const actions = c.var.api.may("contracts:write") ? actionsFor(contract) : [];
  return page(c, {
    title: contract.offering_name,
    here: HERE,
    content: (
      <>
        <Head
          title={contract.offering_name}
          badge={<Badge status={contract.status} />}
          back={LIST_BACK}
          actions={actions.map(({ name, verb, danger }) => (
            <a class={`btn ${danger ? "danger-plain" : "plain"}`} href={hrefOf(id, `/${name}`)}>
              {verb}
            </a>
          ))}
        >
          <p>
            with user <Id value={contract.user_id} />
          </p>
        </Head>
        <nav class="tabs" aria-label="This connection">
          {TABS.filter(({ scope }) => c.var.api.may(scope)).map(({ part, label }) => (
            <a href={hrefOf(id, part)} {...(part === tab ? { "aria-current": "page" } : {})}>
              {label}
            </a>
          ))}
        </nav>
        {content}
      </>
    ),
  });
}

// ---- its parts ------------------------------------------------------------------------------------------

const CHECKS: Record<string, string> = {
  accepted: "Accepted by the service",
  schema: "Has the form of a contract",
  user_id: "The user's id is their key's",
  service_id: "The service's id is its key's",
  keys: "The keys are sound",
  offering: "The terms are those that were offered",
  user_signature: "Signed by the user",
  service_signature: "Signed by the service",
};

const Verification = ({ verification }: { verification: ContractDetail["verification"] }) => (
  <section class="card" aria-labelledby="verification">
    <h2 id="verification">Verification</h2>
    <ul class="checks">
      {verification.checks.map(({ check, ok, detail }) => (
        <li class={ok ? "" : "failed"}>
          <span class="mark" aria-hidden="true">
            {ok ? "✓" : "✕"}
          </span>
          <strong>
            {Object.hasOwn(CHECKS, check) ? CHECKS[check] : check}
            <span class="skip">{ok ? ": holds" : ": does not hold"}</span>
          </strong>
          <p>{detail}</p>
        </li>
      ))}
    </ul>
  </section>
);

const Terms = ({ contract, manifest }: { contract: ContractDetail; manifest: HandlerManifest }) => {
  const { offering } = contract;
  return (
    <section class="card" aria-labelledby="terms">
      <h2 id="terms">What was agreed, as the person read it</h2>
      <ul class="rows">
        {offering.capabilities.map((grant) => {
          const isTaken = !contract.capabilities.includes(grant.capability);
          const limits = [
            ...(grant.scope === undefined ? [] : [`only: ${grant.scope.join(", ")}`]),
            ...constraintWords(grant.constraints ?? {}),
          ];
          return (
            <li>
              <div class="row-head">
                <strong>{capabilityWords(grant.capability, manifest)}</strong>
                {isTaken ? (
                  <span class="badge bad">taken back</span>
                ) : (
                  <code class="tag">{grant.capability}</code>
                )}
              </div>
              <p class="said">{grant.description}</p>
              {limits.length > 0 && (
                <ul class="limits" aria-label="Limits">
                  {limits.map((limit) => (
                    <li>{limit}</li>
                  ))}
                </ul>
              )}
            </li>
          );
        })}
      </ul>
      {offering.required_data.length > 0 && (
        <>
          <h3>What the person shared</h3>
          <div class="chips">
            {offering.required_data.map(({ data_type, required }) => (
              <span class="chip">
                {data_type.replaceAll("_", " ")}
                {required ? "" : " (if they liked)"}
              </span>
            ))}
          </div>
          <p class="small part">
            The values are not shown here. Your backend reads them with{" "}
            <code>GET /api/v1/users/…/profile</code>; each read is on the audit trail.
          </p>
        </>
      )}
    </section>
  );
};

const KeyList = ({ ids, current }: { ids: readonly string[]; current: string }) =>
  ids.length === 0 ? (
    <span class="quiet-text">destroyed</span>
  ) : (
    <ul>
      {ids.map((id, at) => (
        <li>
          <Id value={id} />{" "}
          <span class="small">{at === 0 ? current : "until its successor is confirmed"}</span>
        </li>
      ))}
    </ul>
  );

const Connection = ({ c, contract }: { c: ConsoleContext; contract: ContractDetail }) => {
  const { connection } = contract;
  const missing = connection.missing_seq;
  const isLive = contract.status === "active" || contract.status === "paused";
  return (
    <section class="card" aria-labelledby="state">
      <h2 id="state">Keys and messages</h2>
      <Facts
        items={[
          [
            "Last activity",
            connection.last_activity_at === undefined ? (
              "none yet"
            ) : (
              <Time at={connection.last_activity_at} />
            ),
          ],
          ["Service's keys", <KeyList ids={connection.service_key_ids} current="in use" />],
          ["User's keys", <KeyList ids={connection.user_key_ids} current="in use" />],
          ["Messages", `${connection.sent_seq} sent, ${connection.received_seq} received`],
          [
            "Gaps",
            missing.length === 0 ? (
              "none: every message has arrived"
            ) : (
              <>
                <span class="badge wait">{countWords(missing.length, "message")} missing</span>{" "}
                <span class="small num">number {missing.join(", ")}; the user's vault sends them again</span>
              </>
            ),
          ],
        ]}
      />
      {isLive && c.var.api.may("contracts:write") && (
        <div class="actions part">
          <Press c={c} action={hrefOf(contract.contract_id, "/rotate-key")}>
            Replace the service's key
          </Press>
        </div>
      )}
    </section>
  );
};

const About = ({ contract }: { contract: ContractDetail }) => {
  const other = (id: string) => <a href={hrefOf(id)}>the other contract</a>;
  return (
    <section class="card" aria-labelledby="about">
      <h2 id="about">About</h2>
      <Facts
        items={[
          ["Contract", <Id value={contract.contract_id} />],
          ["User", <Id value={contract.user_id} />],
          [
            "Offering",
            <>
              <a href={`${CONSOLE}/offerings/${contract.offering_id}`}>{contract.offering_id}</a>, version{" "}
              {contract.offering.version}
            </>,
          ],
          ["Asked for", <Day at={contract.created_at} />],
          contract.activated_at === undefined
            ? undefined
            : ["In force since", <Day at={contract.activated_at} />],
          contract.expires_at === undefined
            ? undefined
            : ["Ends by itself", <Day at={contract.expires_at} />],
          contract.cancelled_at === undefined
            ? undefined
            : [
                "Ended",
                <>
                  <Day at={contract.cancelled_at} />
                  {contract.cancelled_by !== undefined && ` by the ${contract.cancelled_by}`}
                  {contract.cancelled_reason !== undefined && `: “${contract.cancelled_reason}”`}
                </>,
              ],
          contract.supersedes === undefined ? undefined : ["Took the place of", other(contract.supersedes)],
          contract.superseded_by === undefined ? undefined : ["Replaced by", other(contract.superseded_by)],
        ]}
      />
    </section>
  );
};

// ---- changes --------------------------------------------------------------------------------------------

const DAY_SECONDS = 24 * 3_600;
const TYPES = [
  { value: "upgrade", label: "Move to another offering (upgrade)" },
  { value: "downgrade", label: "Move to another offering (downgrade)" },
  { value: "remove_capabilities", label: "Take capabilities out" },
  { value: "extend", label: "Another end" },
] as const;

/** A proposal as the API takes it, from the form. A date is the end of that day, UTC. */
export function proposalOf(form: URLSearchParams): Partial<AmendmentInput> & { type: string } {
  const type = form.get("type") ?? "";
  const date = form.get("expires_at") ?? "";
  return {
    type: type as never,
    reason: form.get("reason") ?? "",
    expires_in_seconds: Number(form.get("days") ?? 7) * DAY_SECONDS,
    ...(type === "upgrade" || type === "downgrade" ? { offering_id: form.get("offering_id") ?? "" } : {}),
    ...(type === "remove_capabilities" ? { capabilities: form.getAll("capabilities") } : {}),
    ...(type === "extend" ? { expires_at: date === "" ? "" : `${date}T23:59:59.000Z` } : {}),
  } as never;
}

const Propose = ({
  c,
  contract,
  offerings,
  form,
  refusal,
}: {
  c: ConsoleContext;
  contract: ContractView;
  offerings: readonly Offering[];
  form?: URLSearchParams;
  refusal?: Refusal;
}) => {
  const value = (name: string, otherwise = "") => form?.get(name) ?? otherwise;
  // A contract without an end has none to move.
  const types = TYPES.filter(({ value: type }) => type !== "extend" || contract.expires_at !== undefined);
  return (
    <section class="card" aria-labelledby="propose">
      <h2 id="propose">Propose a change</h2>
      <Problems refusal={refusal} />
      <Form c={c} action={hrefOf(contract.contract_id, "/changes")} class="form narrow" once={newOnce()}>
        <Field label="What" name="type" value={value("type")} options={types} refusal={refusal} />
        <Field
          label="Other offering"
          name="offering_id"
          hint="For a move."
          value={value("offering_id")}
          options={offerings.map(({ offering_id, name }) => ({ value: offering_id, label: name }))}
          refusal={refusal}
        />
        <fieldset class="field">
          <legend>Capabilities to take out</legend>
          {contract.capabilities.map((name) => (
            <Tick
              label={<code>{name}</code>}
              name="capabilities"
              value={name}
              checked={form?.getAll("capabilities").includes(name) ?? false}
            />
          ))}
        </fieldset>
        {contract.expires_at !== undefined && (
          <Field
            label="Last day of the contract"
            name="expires_at"
            type="date"
            hint="For another end: through the end of that day, UTC."
            value={value("expires_at")}
            refusal={refusal}
          />
        )}
        <Field
          label="Why"
          name="reason"
          lines={2}
          hint="The person reads this above the change."
          value={value("reason")}
          required
          refusal={refusal}
        />
        <Field
          label="Time to decide"
          name="days"
          value={value("days", "7")}
          options={[1, 3, 7, 14, 30].map((days) => ({ value: String(days), label: countWords(days, "day") }))}
        />
        <div class="actions">
          <button class="btn" type="submit">
            Send the proposal
          </button>
        </div>
      </Form>
    </section>
  );
};

const TYPE_WORDS: Record<AmendmentView["type"], string> = {
  add_capabilities: "More capabilities",
  remove_capabilities: "Fewer capabilities",
  upgrade: "Upgrade",
  downgrade: "Downgrade",
  extend: "Another end",
};

async function changesPage(c: ConsoleContext, id: string, form?: URLSearchParams, refusal?: Refusal) {
  const { api } = c.var;
  const contract = await contractOf(c, id);
  const [list, offerings] = await Promise.all([
    api.get<{ amendments: AmendmentView[]; next_cursor?: string }>(
      `contracts/${encodeURIComponent(id)}/amendments`,
      { cursor: c.req.query("cursor"), limit: PAGE_SIZE },
    ),
    api.get<{ offerings: Offering[] }>("offerings"),
  ]);
  const { amendments, next_cursor } = must(list);
  const mayPropose = api.may("contracts:write") && contract.status === "active";
  return connectionPage(
    c,
    contract,
    "/changes",
    <>
      {amendments.length === 0 ? (
        <Empty title="No change was proposed">
          {mayPropose
            ? "A proposal below goes to the person; nothing changes until they agree by a new contract."
            : "Changes can be proposed while the connection is active, with a key that may write contracts."}
        </Empty>
      ) : (
        <>
          <Table
            caption="Proposed changes"
            head={["Change", "Status", "Why", "Proposed", "Decide until"]}
            rows={amendments.map((amendment) => [
              TYPE_WORDS[amendment.type],
              <Badge status={amendment.status} />,
              <>
                {amendment.reason}
                {amendment.user_reason !== undefined && <span class="sub">“{amendment.user_reason}”</span>}
              </>,
              <Time at={amendment.created_at} />,
              <Time at={amendment.expires_at} />,
            ])}
          />
          <Pager c={c} shown={amendments.length} next={next_cursor} />
        </>
      )}
      {mayPropose && (
        <div class="part">
          <Propose
            c={c}
            contract={contract}
            offerings={must(offerings).offerings}
            {...(form === undefined ? {} : { form })}
            {...(refusal === undefined ? {} : { refusal })}
          />
        </div>
      )}
    </>,
  );
}

// ---- the pages ------------------------------------------------------------------------------------------

const STATUSES = contractStatus.options;
const REQUEST_STATUSES = ["pending", "approved", "offline_approved", "denied", "expired", "cancelled"];
const anyOf = (values: readonly string[]) => [
  { value: "", label: "Any" },
  ...values.map((value) => ({ value, label: value.replaceAll("_", " ") })),
];

const purposeOf = ({ request_payload }: RequestView): string => {
  const { purpose } = (request_payload ?? {}) as { purpose?: unknown };
  return typeof purpose === "string" ? purpose : "";
};

export function connectionPages(pages: Hono<ConsoleEnv>): void {
  pages.get(HERE, async (c) => {
    const query = (name: string) => (c.req.query(name) ?? "").trim();
    const filter = {
      status: query("status"),
      user_id: query("user_id"),
      offering_id: query("offering_id"),
    };
    const [answer, offerings] = await Promise.all([
      c.var.api.get<ListedContracts>("contracts", { ...filter, cursor: query("cursor"), limit: PAGE_SIZE }),
      c.var.api.get<{ offerings: Offering[] }>("offerings"),
    ]);
    // What was searched for may be no id at all: said at the field, with the rest of the page as it was.
    const refusal = answer.ok ? undefined : answer.refusal;
    if (refusal !== undefined && refusal.code !== "invalid_request") must(answer);
    const isFiltered = Object.values(filter).some((value) => value !== "");
    const listed = answer.ok ? answer.value : undefined;
    const published = offerings.ok ? offerings.value.offerings.map(({ offering_id }) => offering_id) : [];
    return page(c, {
      title: "Connections",
      here: HERE,
      status: refusal?.status ?? 200,
      content: (
        <>
          <Head
            title="Connections"
            actions={
              c.var.api.may("contracts:write") && (
                <a class="btn" href={`${CONSOLE}/invites/new`}>
                  Invite someone
                </a>
              )
            }
          >
            <p>People who agreed to an offering, each by a contract of their own.</p>
          </Head>
          <search>
            <form class="filters" method="get" action={LIST}>
              <div class="wide">
                <Field
                  label="User id"
                  name="user_id"
                  value={filter.user_id}
                  mono
                  refusal={refusal}
                  attributes={{ spellcheck: "false", autocomplete: "off" }}
                />
              </div>
              <Field label="Status" name="status" value={filter.status} options={anyOf(STATUSES)} />
              <Field
                label="Offering"
                name="offering_id"
                value={filter.offering_id}
                options={anyOf(
                  filter.offering_id === "" || published.includes(filter.offering_id)
                    ? published
                    : [...published, filter.offering_id],
                )}
              />
              <div class="actions">
                <button class="btn plain" type="submit">
                  Filter
                </button>
                {isFiltered && <a href={LIST}>Show all</a>}
              </div>
            </form>
          </search>
          {listed !== undefined && listed.contracts.length === 0 && (
            <Empty
              title={isFiltered ? "No connection matches" : "Nobody is connected yet"}
              action={
                isFiltered ? (
                  <a class="btn plain" href={LIST}>
                    Show all
                  </a>
                ) : (
                  c.var.api.may("contracts:write") && (
                    <a class="btn" href={`${CONSOLE}/invites/new`}>
                      Make an invite
                    </a>
                  )
                )
              }
            >
              {isFiltered
                ? "Look for another id or status."
                : "Publish an offering, then make an invite: its link or QR code is how a person connects."}
            </Empty>
          )}
          {listed !== undefined && listed.contracts.length > 0 && (
            <>
              <Table
                caption="Connections, newest first"
                head={["Offering", "Status", "User", "Contract", "Asked for"]}
                rows={listed.contracts.map((contract) => [
                  <a href={hrefOf(contract.contract_id)}>{contract.offering_name}</a>,
                  <Badge status={contract.status} />,
                  <Id value={contract.user_id} />,
                  <Id value={contract.contract_id} />,
                  <Time at={contract.created_at} />,
                ])}
              />
              <Pager
                c={c}
                shown={listed.contracts.length}
                total={listed.total_count}
                next={listed.next_cursor}
              />
            </>
          )}
        </>
      ),
    });
  });

  pages.get(`${HERE}/:id`, async (c) => {
    const contract = await contractOf(c, c.req.param("id"));
    const manifest = must(await c.var.api.get<HandlerManifest>("manifest"));
    return connectionPage(
      c,
      contract,
      "",
      <div class="grid main-and-aside">
        <div class="grid">
          <About contract={contract} />
          <Terms contract={contract} manifest={manifest} />
        </div>
        <div class="grid">
          <Connection c={c} contract={contract} />
          <Verification verification={contract.verification} />
        </div>
      </div>,
    );
  });

  pages.post(`${HERE}/:id/rotate-key`, async (c) => {
    const id = c.req.param("id");
    must(await c.var.api.send("POST", `contracts/${encodeURIComponent(id)}/rotate-key`));
    return c.redirect(hrefOf(id, "?done=rotating"), 303);
  });

  pages.get(`${HERE}/:id/requests`, async (c) => {
    const contract = await contractOf(c, c.req.param("id"));
    const status = c.req.query("status") ?? "";
    const { requests, next_cursor } = must(
      await c.var.api.get<{ requests: RequestView[]; next_cursor?: string }>("requests", {
        user_id: contract.user_id,
        status,
        cursor: c.req.query("cursor"),
        limit: PAGE_SIZE,
      }),
    );
    const mayCancel = c.var.api.may("requests:write");
    return connectionPage(
      c,
      contract,
      "/requests",
      <>
        <form class="filters" method="get" action={hrefOf(contract.contract_id, "/requests")}>
          <Field label="Status" name="status" value={status} options={anyOf(REQUEST_STATUSES)} />
          <div class="actions">
            <button class="btn plain" type="submit">
              Filter
            </button>
          </div>
        </form>
        {requests.length === 0 ? (
          <Empty title={status === "" ? "This user was never asked" : "No request matches"}>
            {status === ""
              ? "Your backend asks through the API, for example with POST /api/v1/auth/request."
              : "Choose another status."}
          </Empty>
        ) : (
          <>
            <Table
              caption="Requests to this user, newest first"
              head={["What", "Status", "Request", "Asked", "Answered", ""]}
              rows={requests.map((request) => [
                <>
                  {request.kind.replaceAll("_", " ")}
                  {request.operation !== "request" && ` · ${request.operation}`}
                  <span class="sub">{purposeOf(request)}</span>
                </>,
                <Badge status={request.status} />,
                <Id value={request.request_id} />,
                <Time at={request.created_at} />,
                request.responded_at === undefined ? (
                  <span class="quiet-text">
                    {request.delivered_at === undefined ? "not yet there" : "not yet"}
                  </span>
                ) : (
                  <Time at={request.responded_at} />
                ),
                mayCancel && request.status === "pending" ? (
                  <Press
                    c={c}
                    action={hrefOf(contract.contract_id, "/requests/cancel")}
                    values={{ request_id: request.request_id }}
                  >
                    Take back
                  </Press>
                ) : (
                  ""
                ),
              ])}
            />
            <Pager c={c} shown={requests.length} next={next_cursor} />
          </>
        )}
        <p class="small part">
          Answers are not shown here: your backend reads them, and each read of a shared value is on the audit
          trail.
        </p>
      </>,
    );
  });

  pages.post(`${HERE}/:id/requests/cancel`, async (c) => {
    const requestId = c.var.form.get("request_id") ?? "";
    must(await c.var.api.send("POST", `requests/${encodeURIComponent(requestId)}/cancel`));
    return c.redirect(hrefOf(c.req.param("id"), "/requests?done=request_cancelled"), 303);
  });

  pages.get(`${HERE}/:id/changes`, (c) => changesPage(c, c.req.param("id")));
  pages.post(`${HERE}/:id/changes`, async (c) => {
    const id = c.req.param("id");
    const path = `contracts/${encodeURIComponent(id)}/amendments`;
    const outcome = await c.var.api.send("POST", path, proposalOf(c.var.form), onceOf(c));
    if (!outcome.ok) return changesPage(c, id, c.var.form, outcome.refusal);
    return c.redirect(hrefOf(id, "/changes?done=proposed"), 303);
  });

  pages.get(`${HERE}/:id/audit`, async (c) => {
    const contract = await contractOf(c, c.req.param("id"));
    const operation = c.req.query("operation") ?? "";
    const found = must(
      await c.var.api.get<{ entries: AuditPage["items"]; next_cursor?: string; pruned_to?: string }>(
        "audit",
        {
          user_id: contract.user_id,
          after: c.req.query("after"),
          operation,
          limit: PAGE_SIZE,
        },
      ),
    );
    const base = hrefOf(contract.contract_id, "/audit");
    return connectionPage(
      c,
      contract,
      "/audit",
      <>
        <OperationFilter action={base} operation={operation} example="contract.paused" />
        <Entries entries={found.entries} base={base} pruned={found.pruned_to !== undefined} />
        <Pager c={c} shown={found.entries.length} next={found.next_cursor} parameter="after" />
      </>,
    );
  });
  pages.get(`${HERE}/:id/audit/check`, async (c) => {
    const contract = await contractOf(c, c.req.param("id"));
    const check = await checkChain(c.var.api, contract.user_id);
    return connectionPage(
      c,
      contract,
      "/audit",
      <ChainCheck check={check} back={hrefOf(contract.contract_id, "/audit")} />,
    );
  });
  pages.get(`${HERE}/:id/audit/:event_id`, async (c) => {
    const contract = await contractOf(c, c.req.param("id"));
    const proof = await proofOf(c.var.api, c.req.param("event_id"), contract.user_id);
    return connectionPage(
      c,
      contract,
      "/audit",
      <ProofOf proof={proof} back={hrefOf(contract.contract_id, "/audit")} />,
    );
  });

  const confirmPage = async (c: ConsoleContext, id: string, action: Action, refusal?: Refusal) => {
    const contract = await contractOf(c, id);
    return page(c, {
      title: action.title,
      here: HERE,
      status: refusal?.status ?? 200,
      content: (
        <Confirm
          c={c}
          title={action.title}
          action={hrefOf(id, `/${action.name}`)}
          back={{ href: hrefOf(id), label: contract.offering_name }}
          verb={`${action.verb} the connection`}
          danger={action.danger}
          refusal={refusal}
        >
          <Facts
            items={[
              ["User", <Id value={contract.user_id} long />],
              ["Status", <Badge status={contract.status} />],
            ]}
          />
          <p>{action.text}</p>
          {action.reason && (
            <Field
              label="Reason"
              name="reason"
              hint="May be left empty. The person reads it."
              value={c.req.method === "POST" ? (c.var.form.get("reason") ?? "") : ""}
              refusal={refusal}
            />
          )}
        </Confirm>
      ),
    });
  };
  for (const action of ACTIONS) {
    pages.get(`${HERE}/:id/${action.name}`, (c) => confirmPage(c, c.req.param("id"), action));
    pages.post(`${HERE}/:id/${action.name}`, async (c) => {
      const id = c.req.param("id");
      const outcome = await perform(c, action, id, (c.var.form.get("reason") ?? "").trim());
      if (!outcome.ok) return confirmPage(c, id, action, outcome.refusal);
      return c.redirect(hrefOf(id, `?done=${action.done}`), 303);
    });
  }
}
