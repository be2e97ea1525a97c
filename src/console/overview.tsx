// The overview: is the vault connected, does anything pile up, what is asked of it; and, for a new deployment, what
// to do next.

import type { Hono } from "hono";
import type { Child } from "hono/jsx";
import type { AuditLogState, BridgeState, SessionState } from "../rpc.ts";
import { CallsChart, DurationChart, RateChart } from "./charts.tsx";
import type { ConsoleContext, ConsoleEnv } from "./env.ts";
import { CONSOLE, page } from "./frame.tsx";
import {
  callsByScope,
  callsSoFar,
  durations,
  formatSeen,
  greatest,
  lookAgain,
  type Metrics,
  parseSeen,
  quantile,
  rates,
  total,
} from "./measures.ts";
import { type Readiness, warningsOf } from "./standing.tsx";
import { Badge, Head, Table, Time } from "./ui.tsx";
import { countWords, durationWords } from "./words.ts";

/** How often an open overview looks again. */
const LOOK_MS = 5_000;
/** Credentials that run out this soon are named. */
const CREDENTIALS_WARNING_DAYS = 14;

const Session = ({ state }: { state: SessionState }) => (
  <>
    <Badge status={state.status} />
    <span class="sub">
      since <Time at={state.since} />
      {state.status !== "ready" && state.last_error !== undefined && `: ${state.last_error}`}
    </span>
  </>
);

const CredentialsWords = ({ shard }: { shard: BridgeState }) => {
  const days = [shard.servicespace, shard.messagespace].flatMap(
    ({ credentials_days_left }) => credentials_days_left ?? [],
  );
  if (days.length === 0) return <>do not expire</>;
  const left = Math.min(...days);
  return left <= CREDENTIALS_WARNING_DAYS ? (
    <span class="badge wait">{countWords(left, "day")} left</span>
  ) : (
    <>{countWords(left, "day")} left</>
  );
};

const Tile = ({ what, value, also, href }: { what: string; value: Child; also?: Child; href?: string }) => {
  const content = (
    <>
      <span class="what">{what}</span>
      <span class="value">{value}</span>
      {also !== undefined && <span class="also">{also}</span>}
    </>
  );
  return href === undefined ? (
    <div class="tile">{content}</div>
  ) : (
    <a class="tile" href={href}>
      {content}
    </a>
  );
};

async function count(c: ConsoleContext, status: string): Promise<number | undefined> {
  if (!c.var.api.may("contracts:read")) return undefined;
  const outcome = await c.var.api.get<{ total_count: number }>("contracts", { status, limit: 1 });
  return outcome.ok ? outcome.value.total_count : undefined;
}

/** What a new deployment lacks, in order; undefined for a key that may not see it. */
async function beginnings(c: ConsoleContext, connected: boolean) {
  const { api } = c.var;
  if (!api.may("admin")) return undefined;
  const [offerings, webhooks] = await Promise.all([
    api.get<{ offerings: unknown[] }>("offerings"),
    api.get<{ webhooks: unknown[] }>("webhooks"),
  ]);
  const has = {
    offering: offerings.ok && offerings.value.offerings.length > 0,
    webhook: webhooks.ok && webhooks.value.webhooks.length > 0,
    connected,
  };
  return has.offering && has.webhook && has.connected ? undefined : has;
}

const Step = ({
  done,
  title,
  href,
  action,
  children,
}: {
  done: boolean;
  title: string;
  href: string;
  action: string;
  children: Child;
}) => (
  <li class={done ? "is-done" : ""}>
    <div>
      <strong>{title}</strong>
      {!done && <p class="small">{children}</p>}
    </div>
    {done ? (
      <span class="badge good">done</span>
    ) : (
      <a class="btn plain small-btn" href={`${CONSOLE}${href}`}>
        {action}
      </a>
    )}
  </li>
);

const Beginnings = ({ has }: { has: { offering: boolean; webhook: boolean; connected: boolean } }) => (
  <section class="card part" aria-labelledby="begin">
    <h2 id="begin">To begin with</h2>
    <ol class="steps">
      <Step done={has.offering} title="Publish an offering" href="/offerings/new" action="Write an offering">
        It says what you may ask people for, and why. They agree to it, and to nothing else.
      </Step>
      <Step done={has.connected} title="Connect a first person" href="/invites/new" action="Make an invite">
        An invite is a link with a QR code; whoever opens it sees your offering and decides in their app.
      </Step>
      <Step done={has.webhook} title="Be told what happens" href="/webhooks/new" action="Add a webhook">
        A webhook tells your backend of answers and ends. Or let it page through GET /api/v1/events.
      </Step>
    </ol>
  </section>
);

function Charts({ metrics, seen }: { metrics: Metrics; seen: ReturnType<typeof parseSeen> }) {
  const calls = callsByScope(metrics);
  const buckets = durations(metrics);
  const points = rates(seen);
  const [p50, p95] = [quantile(buckets, 0.5), quantile(buckets, 0.95)];
  const startedAt = greatest(metrics, "vettid_bridge_start_time_seconds");
  const since =
    startedAt === undefined ? (
      "since the last start"
    ) : (
      <>
        since the last start, <Time at={new Date(startedAt * 1_000).toISOString()} />
      </>
    );
  return (
    <div class="grid two part">
      {calls.length > 0 && <CallsChart calls={calls} since={since} />}
      <div class="grid">
        {p50 !== undefined && p95 !== undefined && <DurationChart buckets={buckets} p50={p50} p95={p95} />}
        {points.length > 1 && <RateChart points={points} />}
      </div>
    </div>
  );
}

export function overviewPage(pages: Hono<ConsoleEnv>): void {
  pages.get("/", async (c) => {
    const { api } = c.var;
    const [ready, metricsAnswer, log, active, pending, paused] = await Promise.all([
      api.get<Readiness>("/ready"),
      api.may("requests:read") ? api.get<Metrics>("metrics") : undefined,
      api.may("audit:read") ? api.get<AuditLogState>("audit/log") : undefined,
      count(c, "active"),
      count(c, "pending"),
      count(c, "paused"),
    ]);
    const metrics = metricsAnswer?.ok ? metricsAnswer.value : undefined;
    const has = await beginnings(c, (active ?? 0) > 0);
    const shards = ready.ok ? ready.value.shards : [];
    const isReady = ready.ok && ready.value.status === "ready";
    const known = shards.find((shard) => shard.pending !== undefined);
    const seen =
      metrics === undefined
        ? []
        : lookAgain(parseSeen(c.req.query("seen")), {
            at: Date.parse(metrics.at),
            calls: callsSoFar(metrics),
          });
    const unsent = metrics && total(metrics, "vettid_outbox_unsent_messages");
    const oldest = metrics && greatest(metrics, "vettid_outbox_oldest_unsent_seconds");
    const retrying = metrics && total(metrics, "vettid_journal_retrying_deliveries");
    const connections = `${CONSOLE}/connections`;
    const warnings = warningsOf(ready.ok ? ready.value : {}, log?.ok ? log.value : undefined);
    return page(c, {
      title: "Overview",
      here: "",
      content: (
        <>
          <Head title="Overview" badge={<Badge status={isReady ? "ready" : "closed"} />}>
            <p>
              {isReady
                ? "Both brokers are connected; messages flow."
                : "A broker session is down: what is asked now waits, and leaves when it is back."}
            </p>
          </Head>
          {warnings.map((warning) => (
            <p class="notice">{warning}</p>
          ))}
          {has !== undefined && <Beginnings has={has} />}
          <div data-live={LOOK_MS} data-seen={formatSeen(seen)}>
            <div class={has === undefined ? "tiles" : "tiles part"}>
              {active !== undefined && (
                <Tile
                  what="Active connections"
                  value={active.toLocaleString("en")}
                  also={paused ? `${paused} paused` : undefined}
                  href={`${connections}?status=active`}
                />
              )}
              {pending !== undefined && (
                <Tile
                  what="Waiting for you"
                  value={pending.toLocaleString("en")}
                  also={pending === 0 ? "nobody waits" : "to be accepted"}
                  href={`${connections}?status=pending`}
                />
              )}
              <Tile
                what="Messages waiting in"
                value={known?.pending?.toLocaleString("en") ?? "–"}
                also={
                  known === undefined ? "not known while down" : `${known.unacknowledged ?? 0} being taken in`
                }
              />
              {unsent !== undefined && (
                <Tile
                  what="Messages waiting out"
                  value={unsent.toLocaleString("en")}
                  also={unsent === 0 ? "all sent" : `oldest ${durationWords(oldest ?? 0)}`}
                />
              )}
              {retrying !== undefined && (
                <Tile
                  what="Deliveries retried"
                  value={retrying.toLocaleString("en")}
                  also="webhooks that failed"
                  {...(api.may("requests:read") ? { href: `${CONSOLE}/deliveries?status=pending` } : {})}
                />
              )}
            </div>
            {metrics !== undefined && <Charts metrics={metrics} seen={seen} />}
            <section class="part" aria-labelledby="sessions">
              <h2 id="sessions">Sessions with the brokers</h2>
              <Table
                caption="Sessions with the brokers by shard"
                head={["Shard", "ServiceSpace", "MessageSpace", "Credentials", "Refused"]}
                rows={shards.map((shard) => [
                  `Shard ${shard.shard}`,
                  <div>
                    <Session state={shard.servicespace} />
                  </div>,
                  <div>
                    <Session state={shard.messagespace} />
                  </div>,
                  <CredentialsWords shard={shard} />,
                  countWords(shard.rejected, "message"),
                ])}
              />
            </section>
          </div>
        </>
      ),
    });
  });
}
