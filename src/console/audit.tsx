// Audit chains: their entries, the proof that one is in the public log, and the check of a chain as a whole. The
// verdict is the vault's on itself; the pages say how to come to the same without it.

import type { Hono } from "hono";
import type { AuditEntry, AuditSummary } from "../protocol/audit.ts";
import { timestamp } from "../protocol/primitives.ts";
import type { AuditLogState } from "../rpc.ts";
import { type Api, must, type Refusal } from "./api.ts";
import type { ConsoleContext, ConsoleEnv } from "./env.ts";
import { CONSOLE, page } from "./frame.tsx";
import { LogCard } from "./standing.tsx";
import {
  Badge,
  Confirm,
  CopyButton,
  Empty,
  Facts,
  Field,
  Head,
  Id,
  Pager,
  Press,
  Table,
  Time,
} from "./ui.tsx";
import { countWords, dateWords } from "./words.ts";

const HERE = "/audit";
const BASE = `${CONSOLE}${HERE}`;
const PAGE_SIZE = 25;
/** What a body to verify holds comfortably. */
const CHUNK = 1_000;
const READ_LIMIT = 100;
/** Entries a check walks at most: some seconds. Longer chains are checked with `npm run audit:verify`. */
const MAX_CHECKED = 10_000;

interface Proof {
  event_id: string;
  owner_id: string;
  entries: AuditEntry[];
  head: string;
  leaf_index: number;
  log_vkey: string;
  proof: string;
}
interface Verdict {
  valid: boolean;
  entries: number;
  covered: number;
  heads: {
    entry: number;
    leaf_index: number;
    size: number;
    cosigners: { name: string; time_seconds: number }[];
  }[];
  findings: { kind: string; event_id?: string; detail: string }[];
}
type Listed = { entries: AuditEntry[]; next_cursor?: string; pruned_to?: string };

// ---- entries --------------------------------------------------------------------------------------------

/** Longer than a status word or a count: an id. */
const WORD_CHARACTERS = 20;

const Fact = ({ value }: { value: AuditSummary[string] }) => {
  if (typeof value !== "string") return <>{String(value)}</>;
  if (timestamp.safeParse(value).success) return <Time at={value} />;
  return value.length > WORD_CHARACTERS && /^[\w+/=-]+$/.test(value) ? (
    <Id value={value} />
  ) : (
    <code>{value}</code>
  );
};

const Summary = ({ of }: { of: AuditSummary }) => (
  <>
    {Object.entries(of).map(([name, value]) => (
      <span class="chip">
        {name.replaceAll("_", " ")}: <Fact value={value} />
      </span>
    ))}
  </>
);

/** What was asked for, and what came of it. */
const Summaries = ({ entry: { request_summary, response_summary } }: { entry: AuditEntry }) => (
  <div>
    <div class="chips">
      <Summary of={request_summary} />
    </div>
    {Object.keys(response_summary).length > 0 && (
      <div class="chips outcome">
        <span class="quiet-text">
          <span aria-hidden="true">→</span>
          <span class="skip">Outcome: </span>
        </span>
        <Summary of={response_summary} />
      </div>
    )}
  </div>
);

export const OperationFilter = ({
  action,
  operation,
  example,
}: {
  action: string;
  operation: string;
  example: string;
}) => (
  <form class="filters" method="get" action={action}>
    <Field
      label="Operation"
      name="operation"
      value={operation}
      mono
      attributes={{ placeholder: example, spellcheck: "false", autocapitalize: "none" }}
    />
    <div class="actions">
      <button class="btn plain" type="submit">
        Filter
      </button>
      <a class="btn" href={`${action}/check`}>
        Check the chain
      </a>
    </div>
  </form>
);

export const Entries = ({
  entries,
  base,
  pruned,
}: {
  entries: readonly AuditEntry[];
  base: string;
  pruned: boolean;
}) =>
  entries.length === 0 ? (
    <Empty title="No entry matches">
      Operations are named like contract.paused or auth.request. Leave the field empty to see all of them.
    </Empty>
  ) : (
    <>
      {pruned && (
        <p class="notice">
          Earlier entries are past their time and were pruned; the chain goes on from them.
        </p>
      )}
      <Table
        caption="Entries of the audit chain, in order"
        head={["Operation", "Outcome", "Facts", "When", ""]}
        rows={entries.map((entry) => [
          <>
            <code>{entry.operation}</code>
            <span class="sub">
              <Id value={entry.event_id} />
            </span>
          </>,
          <Badge status={entry.status} />,
          <Summaries entry={entry} />,
          <Time at={entry.timestamp} />,
          <a class="btn plain small-btn" href={`${base}/${encodeURIComponent(entry.event_id)}`}>
            Proof
          </a>,
        ])}
      />
    </>
  );

// ---- proofs ---------------------------------------------------------------------------------------------

export interface CheckedProof {
  proof: Proof | undefined;
  verdict: Verdict | undefined;
  /** Why there is none yet. */
  detail: string | undefined;
}

/** The proof of an entry, and what verifying it says. A proof that is not there yet is no error. */
export async function proofOf(api: Api, eventId: string, userId?: string): Promise<CheckedProof> {
  const outcome = await api.get<Proof>(`audit/${encodeURIComponent(eventId)}/proof`, { user_id: userId });
  if (!outcome.ok) {
    if (outcome.refusal.code !== "unavailable") must(outcome);
    return { proof: undefined, verdict: undefined, detail: outcome.refusal.detail };
  }
  const proof = outcome.value;
  const after = proof.entries[0]?.previous_hash;
  const verdict = must(
    await api.send<Verdict>("POST", "audit/verify", {
      ...(userId === undefined ? {} : { user_id: userId }),
      entries: proof.entries,
      ...(after === undefined ? {} : { after }),
      proof: proof.proof,
    }),
  );
  return { proof, verdict, detail: undefined };
}

const Findings = ({ verdict }: { verdict: Verdict }) => (
  <ul class="checks part">
    {verdict.findings.map(({ kind, event_id, detail }) => (
      <li class="failed">
        <span class="mark" aria-hidden="true">
          ✕
        </span>
        <strong>{kind.replaceAll("_", " ")}</strong>
        <p>
          {detail} {event_id !== undefined && <Id value={event_id} />}
        </p>
      </li>
    ))}
  </ul>
);

const Cosigners = ({ heads }: { heads: Verdict["heads"] }) => {
  const names = heads.at(-1)?.cosigners ?? [];
  return names.length === 0 ? (
    <>no witness (none is configured, or none has answered yet)</>
  ) : (
    <ul>
      {names.map(({ name, time_seconds }) => (
        <li>
          {name}, {dateWords(time_seconds * 1_000)}
        </li>
      ))}
    </ul>
  );
};

export const ProofOf = ({
  proof: { proof, verdict, detail },
  back,
}: {
  proof: CheckedProof;
  back: string;
}) => {
  if (proof === undefined || verdict === undefined)
    return (
      <Empty
        title="Not in the log yet"
        action={
          <>
            <a class="btn" href="?">
              Look again
            </a>
            <a class="btn plain" href={back}>
              Back to the entries
            </a>
          </>
        }
      >
        {detail}. An entry is in the public log within a few seconds.
      </Empty>
    );
  const entry = proof.entries[0]!;
  const holds = verdict.valid && verdict.covered > 0;
  return (
    <div class="grid main-and-aside">
      <div class="grid">
        <section class={`verdict ${holds ? "good" : "bad"}`} role="status">
          <strong>{holds ? "The proof holds" : "The proof does not hold"}</strong>
          {holds ? (
            <p>
              The entry is signed by the service, and its chain is in the public log at leaf{" "}
              {proof.leaf_index} of {verdict.heads.at(-1)?.size ?? "?"}.
            </p>
          ) : (
            <Findings verdict={verdict} />
          )}
        </section>
        <section class="card" aria-labelledby="entry">
          <h2 id="entry">
            <code>{entry.operation}</code>
          </h2>
          <Facts
            items={[
              ["Outcome", <Badge status={entry.status} />],
              ["When", <Time at={entry.timestamp} />],
              ["Entry", <Id value={entry.event_id} long />],
              ["Hash", <Id value={entry.event_hash} long />],
              ["Hash before", <Id value={entry.previous_hash} long />],
              ["Facts", <Summaries entry={entry} />],
              ["Entries to the head", String(proof.entries.length)],
              ["Cosigned by", <Cosigners heads={verdict.heads} />],
            ]}
          />
          <p class="part">
            <a class="btn plain small-btn" href={back}>
              Back to the entries
            </a>
          </p>
        </section>
      </div>
      <section class="card" aria-labelledby="file">
        <div class="part-head">
          <h2 id="file">The proof itself</h2>
          <CopyButton value={proof.proof} what="the proof" />
        </div>
        <p class="small">
          Anyone can check it without this vault, with the log's key: <Id value={proof.log_vkey} long />
        </p>
        <pre class="part">{proof.proof}</pre>
      </section>
    </div>
  );
};

// ---- the whole chain ------------------------------------------------------------------------------------

export interface CheckedChain {
  entries: number;
  /** The chain goes on behind what was looked at. */
  more: boolean;
  /** The first part that does not hold; absent: all of it does. */
  broken: Verdict | undefined;
  /** Of the last part, with the head's proof. */
  last: Verdict | undefined;
  pruned: boolean;
  /** Why the head could not be shown in the log. */
  unproven: string | undefined;
}

/** Walks a chain from its beginning, verifies it part by part, and shows its head in the log. */
export async function checkChain(api: Api, userId?: string): Promise<CheckedChain> {
  const owner = userId === undefined ? {} : { user_id: userId };
  const result: CheckedChain = {
    entries: 0,
    more: false,
    broken: undefined,
    last: undefined,
    pruned: false,
    unproven: undefined,
  };
  let cursor: string | undefined;
  let after: string | undefined;
  for (;;) {
    const part: AuditEntry[] = [];
    do {
      const read = must(await api.get<Listed>("audit", { ...owner, after: cursor, limit: READ_LIMIT }));
      if (read.pruned_to !== undefined && result.entries === 0 && part.length === 0) {
        result.pruned = true;
        after = read.pruned_to;
      }
      part.push(...read.entries);
      cursor = read.next_cursor;
    } while (cursor !== undefined && part.length < CHUNK);
    result.entries += part.length;
    const isLast = cursor === undefined || result.entries >= MAX_CHECKED;
    const head = part.at(-1);
    const proof = isLast && head !== undefined ? await headProof(api, head, userId) : undefined;
    if (isLast && proof === undefined) result.unproven = "the log does not have the newest entry yet";
    const verdict = must(
      await api.send<Verdict>("POST", "audit/verify", {
        ...owner,
        // Made while this ran: the proof is of a later head, and the chain up to it belongs to it.
        entries: [...part, ...(proof?.beyond ?? [])],
        ...(after === undefined ? {} : { after }),
        ...(proof === undefined ? {} : { proof: proof.text }),
      }),
    );
    if (!verdict.valid) return { ...result, broken: verdict };
    if (isLast) return { ...result, more: cursor !== undefined, last: verdict };
    after = head?.event_hash;
  }
}

async function headProof(api: Api, head: AuditEntry, userId: string | undefined) {
  const outcome = await api.get<Proof>(`audit/${encodeURIComponent(head.event_id)}/proof`, {
    user_id: userId,
  });
  if (outcome.ok) return { text: outcome.value.proof, beyond: outcome.value.entries.slice(1) };
  if (outcome.refusal.code !== "unavailable") must(outcome);
  return undefined;
}

export const ChainCheck = ({ check, back }: { check: CheckedChain; back: string }) => {
  const { broken, last, entries, more, pruned, unproven } = check;
  const head = last?.heads.at(-1);
  return (
    <>
      <section class={`verdict ${broken === undefined ? "good" : "bad"}`} role="status">
        <strong>{broken === undefined ? "The chain holds" : "The chain does not hold"}</strong>
        <p>
          {countWords(entries, "entry", "entries")} {broken === undefined ? "verified" : "read"}: each names
          the hash of the one before and is signed by the service.
        </p>
        {broken !== undefined && <Findings verdict={broken} />}
      </section>
      <section class="card part" aria-labelledby="log">
        <h2 id="log">In the public log</h2>
        <Facts
          items={[
            [
              "Newest entry",
              head === undefined
                ? `not shown: ${unproven ?? "the chain does not hold"}`
                : `leaf ${head.leaf_index} of ${head.size}`,
            ],
            ["Cosigned by", <Cosigners heads={last?.heads ?? []} />],
            pruned ? ["Beginning", "pruned: earlier entries are past their time"] : undefined,
            more
              ? [
                  "Not looked at",
                  `what comes after the first ${MAX_CHECKED} entries: use npm run audit:verify`,
                ]
              : undefined,
          ]}
        />
        <p class="small part">
          This is the vault's word on itself. <code>npm run audit:verify</code> and the SDK come to the same
          without it, and notice a log that was taken back or forked.
        </p>
        <p class="part">
          <a class="btn plain" href={back}>
            Back to the entries
          </a>
        </p>
      </section>
    </>
  );
};

// ---- the public log -------------------------------------------------------------------------------------

const Resume = ({ c }: { c: ConsoleContext }) => (
  <div class="actions part">
    <Press c={c} action={`${BASE}/log/resume`} kind="">
      Let it look again
    </Press>
    <a class="btn danger-plain" href={`${BASE}/log/republish`}>
      The bucket was lost
    </a>
  </div>
);

// ---- the service's own chain ----------------------------------------------------------------------------

export function auditPages(pages: Hono<ConsoleEnv>): void {
  const intro = (
    <p>
      The service's own chain: keys, offerings, invites, webhooks. Each connection has a chain of its own on
      its page.
    </p>
  );
  pages.get(HERE, async (c) => {
    const operation = (c.req.query("operation") ?? "").trim();
    const [found, log] = await Promise.all([
      c.var.api.get<Listed>("audit", { after: c.req.query("after"), operation, limit: PAGE_SIZE }).then(must),
      c.var.api.get<AuditLogState>("audit/log").then(must),
    ]);
    const mayResume = log.status === "halted" && c.var.api.may("admin");
    return page(c, {
      title: "Audit",
      here: HERE,
      content: (
        <>
          <Head title="Audit">{intro}</Head>
          <OperationFilter action={BASE} operation={operation} example="offering.published" />
          <Entries entries={found.entries} base={BASE} pruned={found.pruned_to !== undefined} />
          <Pager c={c} shown={found.entries.length} next={found.next_cursor} parameter="after" />
          <div class="part">
            <LogCard log={log} {...(mayResume ? { resume: <Resume c={c} /> } : {})} />
          </div>
        </>
      ),
    });
  });

  const resume = (c: ConsoleContext, republish: boolean) =>
    c.var.api.send<AuditLogState>("POST", "audit/log/resume", { republish });
  pages.post(`${HERE}/log/resume`, async (c) => {
    const { status } = must(await resume(c, false));
    return c.redirect(`${BASE}?done=${status === "open" ? "log_resumed" : "log_halted"}`, 303);
  });
  const republishPage = (c: ConsoleContext, refusal?: Refusal) =>
    page(c, {
      title: "Publish the log anew?",
      here: HERE,
      status: refusal?.status ?? 200,
      content: (
        <Confirm
          c={c}
          title="Publish the whole log anew?"
          action={`${BASE}/log/republish`}
          back={{ href: BASE, label: "Audit" }}
          verb="Publish it anew"
          refusal={refusal}
        >
          <p>
            Only if the bucket was lost and the log's own storage is known to be the newest: what the bucket
            shows is then replaced from it. If storage is older than what was published, auditors will see a
            log that went back.
          </p>
        </Confirm>
      ),
    });
  pages.get(`${HERE}/log/republish`, (c) => republishPage(c));
  pages.post(`${HERE}/log/republish`, async (c) => {
    const outcome = await resume(c, true);
    if (!outcome.ok) return republishPage(c, outcome.refusal);
    return c.redirect(`${BASE}?done=${outcome.value.status === "open" ? "log_resumed" : "log_halted"}`, 303);
  });

  pages.get(`${HERE}/check`, async (c) =>
    page(c, {
      title: "Check of the chain",
      here: HERE,
      content: (
        <>
          <Head title="Check of the chain" back={{ href: BASE, label: "Audit" }} />
          <ChainCheck check={await checkChain(c.var.api)} back={BASE} />
        </>
      ),
    }),
  );
  pages.get(`${HERE}/:event_id`, async (c) =>
    page(c, {
      title: "Proof of an entry",
      here: HERE,
      content: (
        <>
          <Head title="Proof of an entry" back={{ href: BASE, label: "Audit" }} />
          <ProofOf proof={await proofOf(c.var.api, c.req.param("event_id"))} back={BASE} />
        </>
      ),
    }),
  );
}
