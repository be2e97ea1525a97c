// The two clusters as a deployment will find them: reachable, the credentials good, the permissions enough and not
// much more, streams in an account of their own. Every look leaves the clusters as they were.

import { Empty, ErrorCode, Events, headers, type NatsConnection, NatsError } from "nats.ws";
import type { Config } from "../../src/config.ts";
import { updateAccount } from "../../src/nats/account-update.ts";
import { claimsOf, parseCreds } from "../../src/nats/creds.ts";
import { describeError } from "../../src/nats/session.ts";
import { inspectFromUser } from "../../src/nats/stream.ts";
import { daysLeft } from "../../src/nats/user-jwt.ts";
import {
  fromUserSubject,
  messageSpaceSubject,
  serviceInboxPrefix,
  toUserSubject,
  userInboxPrefix,
  userPermissions,
} from "../../src/protocol/subjects.ts";
import { connectWithCreds } from "../stack/nats-client.ts";
import {
  bridgePermissions,
  makeUserCreds,
  messageSpacePermissions,
  systemPermissions,
} from "../stack/operator.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";

const FEW_DAYS = 14;
const REQUEST_TIMEOUT_MS = 3_000;
const CONNECT_ATTEMPTS = 4;
const CONNECT_PAUSE_MS = 250;
/** Of the credentials made for the look into the users' account. */
const PROBE_LIFETIME_SECONDS = 60;
/** Stands for a user, a message space and an event in subjects; nobody has it. */
const NOBODY = "deploycheck";
/** A stream of no one: JetStream refuses to store a message that expects it, which shows that the way to it is open. */
const NO_STREAM = "DEPLOY_CHECK";
const WRONG_STREAM_CODE = 10_060;

/** Whether every subject that `needed` stands for is one that `allowed` stands for. */
export function covers(allowed: string, needed: string): boolean {
  const have = allowed.split(".");
  const want = needed.split(".");
  for (let at = 0; at < have.length; at++) {
    if (have[at] === ">") return want.length > at;
    if (want[at] === undefined || want[at] === ">") return false;
    if (have[at] !== "*" && have[at] !== want[at]) return false;
  }
  return have.length === want.length;
}

type Needs = { publish: string[]; subscribe: string[] };

/** What the JWT grants against what is needed. */
function permissionFindings(name: string, creds: string, needs: Needs, mend: string): Finding[] {
  const claims = claimsOf(parseCreds(creds).jwt) as {
    nats?: { pub?: { allow?: string[] }; sub?: { allow?: string[] } };
  };
  const findings: Finding[] = [];
  for (const [verb, granted, needed] of [
    ["publish to", claims.nats?.pub?.allow, needs.publish],
    ["subscribe to", claims.nats?.sub?.allow, needs.subscribe],
  ] as const) {
    if (granted === undefined || granted.length === 0) {
      findings.push(warning(name, `the credentials themselves do not limit what they may ${verb}`, mend));
      continue;
    }
    const lacking = needed.filter((subject) => !granted.some((pattern) => covers(pattern, subject)));
    if (lacking.length > 0) findings.push(problem(name, `may not ${verb} ${lacking.join(", ")}`, mend));
    const beyond = granted.filter((pattern) => !needed.some((subject) => covers(subject, pattern)));
    if (beyond.length > 0)
      findings.push(warning(name, `may ${verb} more than it needs: ${beyond.join(", ")}`, mend));
  }
  return findings.some(({ level }) => level === "problem")
    ? findings
    : [...findings, ok(name, "permissions cover what is needed")];
}

function lifetimeFinding(name: string, creds: string, mend: string): Finding {
  const days = daysLeft(creds, Date.now());
  if (days === undefined) return ok(name, "the credentials do not expire");
  if (days === 0) return problem(name, "the credentials have expired, or will today", mend);
  return days <= FEW_DAYS
    ? warning(name, `the credentials expire in ${days} days`, mend)
    : ok(name, `the credentials are good for ${days} days`);
}

function whyNot(url: string, error: unknown): string {
  const code = (error as { code?: string }).code;
  const text = describeError(error);
  // What the server says last may be lost with the connection.
  if (code === undefined) return `${url} refuses the credentials, or breaks the connection off (${text})`;
  return code === "AUTHORIZATION_VIOLATION" || /authoriz|authentic/i.test(text)
    ? `${url} refuses the credentials (${text})`
    : `${url} cannot be reached (${text})`;
}

/** A session for the time of `look`. What the server refuses within it is told as a problem. */
async function withSession(
  name: string,
  options: { url: string; creds: string; inboxPrefix: string; mend: string },
  look: (nc: NatsConnection) => Promise<Finding[]>,
): Promise<Finding[]> {
  const { url, creds, inboxPrefix, mend } = options;
  let nc: NatsConnection | undefined;
  for (let attempt = 1; nc === undefined; attempt++) {
    try {
      nc = await connectWithCreds(url, creds, inboxPrefix);
    } catch (error) {
      // A server gives a client two seconds to answer; a busy machine may take longer.
      const passing = (error as { code?: string }).code === undefined;
      if (!passing || attempt >= CONNECT_ATTEMPTS) return [problem(name, whyNot(url, error), mend)];
      await new Promise((resolve) => setTimeout(resolve, CONNECT_PAUSE_MS));
    }
  }
  const refused: string[] = [];
  void (async () => {
    for await (const { type, permissionContext } of nc.status())
      if (type === Events.Error && permissionContext !== undefined)
        refused.push(`${permissionContext.operation} ${permissionContext.subject}`);
  })();
  try {
    const findings = [ok(name, `${url} takes the credentials`), ...(await look(nc))];
    // Refusals come back on their own; the answer to a ping comes after them.
    await nc.flush();
    if (refused.length > 0)
      findings.push(problem(name, `the server refuses: ${[...new Set(refused)].join(", ")}`, mend));
    return findings;
  } catch (error) {
    return [problem(name, `${describeError(error)}${refused.map((what) => `; refused: ${what}`)}`, mend)];
  } finally {
    await nc.close().catch(() => {});
  }
}

/** Publishes what JetStream will refuse: the refusal comes from beyond the account's import, and back to the inbox. */
async function reachesStream(nc: NatsConnection, subject: string): Promise<string | undefined> {
  const expecting = headers();
  expecting.set("Nats-Expected-Stream", NO_STREAM);
  try {
    const answer = await nc.request(subject, Empty, { timeout: REQUEST_TIMEOUT_MS, headers: expecting });
    const { error } = answer.json<{ error?: { err_code?: number; description?: string } }>();
    if (error?.err_code === WRONG_STREAM_CODE) return undefined;
    return error === undefined ? "it was answered by something that is no stream" : `${error.description}`;
  } catch (error) {
    return describeError(error);
  }
}

/** Whether JetStream serves the session's account. Without it the server says so, or nobody answers. */
async function hasJetStream(nc: NatsConnection): Promise<boolean> {
  try {
    const answer = await nc.request("$JS.API.INFO", Empty, { timeout: REQUEST_TIMEOUT_MS });
    return answer.json<{ error?: unknown }>().error === undefined;
  } catch (error) {
    if (error instanceof NatsError && error.code === ErrorCode.NoResponders) return false;
    throw error;
  }
}

const BRIDGE_MEND =
  "make credentials for the bridge with the permissions of docs/DEPLOYMENT.md (NATS) and set SERVICESPACE_CREDS";
const USERS_MEND =
  "SERVICESPACE_USERS_ACCOUNT must be the account that imports the subjects, SERVICESPACE_USERS_SIGNING_SEED one of its signing keys: docs/DEPLOYMENT.md (NATS)";
const PLATFORM_MEND = "ask the platform for credentials of this service and set MESSAGESPACE_CREDS";

/** The service's own cluster, as the bridge sees it. */
async function checkBridge(config: Config): Promise<Finding[]> {
  const name = "ServiceSpace, bridge";
  const { serviceId, SERVICESPACE_CREDS: creds, SERVICESPACE_URL: url } = config;
  return [
    lifetimeFinding(name, creds, BRIDGE_MEND),
    ...permissionFindings(name, creds, bridgePermissions(serviceId), BRIDGE_MEND),
    ...(await withSession(
      name,
      { url, creds, inboxPrefix: serviceInboxPrefix(serviceId), mend: BRIDGE_MEND },
      async (nc) => {
        nc.publish(toUserSubject(serviceId, NOBODY, NOBODY, NOBODY));
        const { missing, differing } = await inspectFromUser(nc, serviceId);
        if (differing.length > 0)
          return [
            problem(
              name,
              `not as it must be: ${differing.join(", ")}`,
              "the bridge changes what the server lets it change; what remains: drain it, delete it with an administrator's credentials, and it is made anew",
            ),
          ];
        return [
          ok(
            name,
            missing.length === 0
              ? "stream and consumer are as they must be"
              : `the Worker will make the ${missing.join(" and the ")}`,
          ),
        ];
      },
    )),
  ];
}

/** The users' account: credentials as the Worker would make them for a user, and what they lead to. */
async function checkUsers(config: Config, seed: string): Promise<Finding[]> {
  const name = "ServiceSpace, users";
  const { serviceId, SERVICESPACE_USERS_ACCOUNT: account, SERVICESPACE_PUBLIC_ENDPOINT: endpoint } = config;
  // Users may come over TCP; we only over WebSocket.
  const url = /^wss?:/.test(endpoint) ? endpoint : config.SERVICESPACE_URL;
  const inboxPrefix = userInboxPrefix(serviceId, NOBODY);
  const credsFor = (publish: string[]) =>
    makeUserCreds({
      name: NOBODY,
      accountPublicKey: account,
      issuerSeed: seed,
      publish,
      subscribe: userPermissions(serviceId, NOBODY, "lasting").subscribe,
      expiresInSeconds: PROBE_LIFETIME_SECONDS,
    });
  const fromUser = fromUserSubject(serviceId, NOBODY, NOBODY);
  const streamsCreds = await credsFor(["$JS.API.INFO", fromUser]);
  return withSession(name, { url, creds: streamsCreds, inboxPrefix, mend: USERS_MEND }, async (nc) => {
    const findings: Finding[] = [];
    findings.push(
      (await hasJetStream(nc))
        ? problem(
            name,
            "JetStream answers in the users' account: a user could purge or forge through reply subjects",
            "switch JetStream off for the users' account, and keep the streams in an account of their own (PROTOCOL §3)",
          )
        : ok(name, "no JetStream in the users' account"),
    );
    const why = await reachesStream(nc, fromUser);
    // Before the Worker's first start there is no stream yet that could answer.
    if (why === undefined) findings.push(ok(name, "what a user publishes reaches the stream"));
    else if (/no responders|503/i.test(why))
      findings.push(
        warning(
          name,
          `nothing takes what a user publishes: the stream is not made yet, or ${account} does not import fromUser.>`,
          "deploy, then check again; if it stays so, see docs/DEPLOYMENT.md (NATS)",
        ),
      );
    else findings.push(problem(name, `what a user publishes does not reach the stream: ${why}`, USERS_MEND));
    return findings;
  });
}

/** The platform's cluster, as this service sees it. */
async function checkMessageSpace(config: Config): Promise<Finding[]> {
  const name = "MessageSpace";
  const { serviceId, MESSAGESPACE_CREDS: creds, MESSAGESPACE_URL: url } = config;
  return [
    lifetimeFinding(name, creds, PLATFORM_MEND),
    ...permissionFindings(name, creds, messageSpacePermissions(serviceId), PLATFORM_MEND),
    ...(await withSession(
      name,
      { url, creds, inboxPrefix: serviceInboxPrefix(serviceId), mend: PLATFORM_MEND },
      async (nc) => {
        const why = await reachesStream(nc, messageSpaceSubject(NOBODY, serviceId, NOBODY));
        return why === undefined
          ? [ok(name, "what the service publishes reaches the platform's stream")]
          : [
              problem(
                name,
                `what the service publishes does not reach the platform's stream: ${why}`,
                PLATFORM_MEND,
              ),
            ];
      },
    )),
  ];
}

const REVOCATION_MEND = "docs/DEPLOYMENT.md (Revocation on the cluster); or leave both secrets out";

/** Whether the list of revoked users could be changed on the cluster, where it is to be. Changes nothing. */
async function checkRevocation(config: Config): Promise<Finding[]> {
  const name = "ServiceSpace, revocation";
  const { serviceId, revoking, SERVICESPACE_USERS_ACCOUNT: account, SERVICESPACE_URL: url } = config;
  if (revoking === undefined)
    return [ok(name, "not set up: credentials of people last 24 hours and run out by themselves")];
  const { systemCreds: creds, operatorKey: signer } = revoking;
  return [
    lifetimeFinding(name, creds, REVOCATION_MEND),
    ...permissionFindings(name, creds, systemPermissions(serviceId), REVOCATION_MEND),
    ...(await withSession(
      name,
      { url, creds, inboxPrefix: serviceInboxPrefix(serviceId), mend: REVOCATION_MEND },
      async (nc) => {
        const looked = await updateAccount(nc, { account, signer, change: { revoke: {}, forget: {} } });
        return looked.outcome === "current"
          ? [ok(name, "the users' account is signed by the key that will change it")]
          : [problem(name, looked.reason, REVOCATION_MEND)];
      },
    )),
  ];
}

/** Both clusters. Credentials that are no .creds files at all are the settings' problem, found before. */
export async function checkClusters(config: Config, usersSigningSeed: string): Promise<Finding[]> {
  const all = await Promise.all([
    checkBridge(config),
    checkUsers(config, usersSigningSeed),
    checkRevocation(config),
    checkMessageSpace(config),
  ]);
  return all.flat();
}
