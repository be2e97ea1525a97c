// What each screen shows. Pure: from the vault's views to markup.

import { html } from "hono/html";
import type { Ask, ContractInfo, Preview, Receipt, UserVault } from "../../sdk/user-vault/index.ts";
import { capabilityWords } from "../../src/http/pages/capability-words.ts";
import { priceWords } from "../../src/http/pages/format.ts";
import type { ContractRecord } from "../../src/protocol/contract.ts";
import type { HandlerManifest, Offering } from "../../src/protocol/offer.ts";
import { askedFields, fieldList, operationOfAsk, wordingOf } from "./asked.ts";
import type { Html } from "./frame.ts";
import { changeList, grantList, NO_MANIFEST } from "./terms.ts";
import { label, plain, timeLeft, when } from "./words.ts";

/** What the vault found out about a service's domain when the person connected. */
export type DomainProof = NonNullable<Preview["domain"]>;

/** Closed asks on the home screen. */
const RECENT_ASKS = 12;
/** Notifications there. */
const RECENT_NOTIFICATIONS = 6;
/** Receipts on a connection's screen. */
const SHOWN_RECEIPTS = 50;

function domainChip(domain: DomainProof | undefined): Html {
  if (domain === undefined)
    return html`<li class="chip bad">names no domain: nobody vouches for its name</li>`;
  const name = plain(domain.name);
  switch (domain.proof) {
    case "verified":
      return html`<li class="chip good">✓ ${name}, verified</li>`;
    case "unproven":
      return html`<li class="chip bad">${name}: claimed, not verified</li>`;
    case "not_checked":
      return html`<li class="chip bad">${name}: claimed, not checked</li>`;
  }
}

/** Only what a registry itself was found to say is repeated. */
function attestationChip({ registry, statement, proof }: Preview["attestations"][number]): Html {
  return proof === "verified"
    ? html`<li class="chip good">✓ ${plain(registry)}: ${plain(statement)}</li>`
    : html`<li class="chip bad">claims a word of ${plain(registry)}: ${proof === "unproven" ? "not true" : "not checked"}</li>`;
}

const alert = (message: string | undefined): Html | undefined =>
  message === undefined ? undefined : html`<p class="alert" role="alert">${message}</p>`;

const title = (eyebrow: string, heading: string, more?: Html): Html => html`<div class="title">
<p class="eyebrow">${plain(eyebrow)}</p><h1>${plain(heading)}</h1>${more}</div>`;

// ---- home -----------------------------------------------------------------------------------------------------

export type Notification = ReturnType<UserVault["notifications"]>[number];

const notificationList = (notifications: readonly Notification[], names: ReadonlyMap<string, string>): Html =>
  html`<ul class="list">${notifications.map(
    (told) => html`<li class="${told.read_at === undefined ? "entry open" : "entry"}">
<strong>${plain(told.title)}</strong><span class="small">${plain(names.get(told.contract_id) ?? "")} · ${label(told.category)} · ${when(told.received_at)}</span>
<p class="said">${plain(told.body)}</p>
${
  told.action_url !== undefined &&
  html`<p class="said"><a href="${told.action_url}" rel="noopener noreferrer">Go on at ${new URL(told.action_url).host}</a></p>`
}
${
  told.read_at === undefined &&
  html`<form class="part" method="post" action="/notifications/${told.notification_id}/read"><button class="plain slim" aria-label="Mark as read: ${plain(told.title)}">Mark as read</button></form>`
}</li>`,
  )}</ul>`;

export function homeScreen(
  asks: readonly Ask[],
  contracts: readonly ContractInfo[],
  notifications: readonly Notification[],
  now: number,
): Html {
  const names = new Map(contracts.map(({ contract_id, service_name }) => [contract_id, service_name]));
  const open = asks.filter(({ state }) => state === "open");
  const closed = asks.filter(({ state }) => state !== "open").slice(0, RECENT_ASKS);
  return html`${title("Your phone", open.length === 0 ? "Nothing waits for you" : waiting(open.length))}
${
  open.length > 0 &&
  html`<section class="part" aria-label="Waiting for you"><ul class="list">${open.map(
    (ask) => html`<li><a class="entry open" href="/asks/${ask.request_id}">
<strong>${wordingOf(ask).title}</strong><span class="small">${plain(ask.service_name)}</span>
${ask.purpose !== undefined && html`<span class="small">${plain(ask.purpose)}</span>`}
<span class="small"><span data-until="${ask.expires_at}">${timeLeft(ask.expires_at, now)}</span></span></a></li>`,
  )}</ul></section>`
}
${
  notifications.length > 0 &&
  html`<section class="part" aria-labelledby="told"><h2 id="told">What services tell you</h2>${notificationList(notifications.slice(0, RECENT_NOTIFICATIONS), names)}</section>`
}
<section class="part" aria-labelledby="connections"><h2 id="connections">Connections</h2>
${
  contracts.length === 0
    ? html`<p class="empty">None yet. A service that wants to connect gives you an invite.</p>`
    : html`<ul class="list">${contracts.map(
        (
          contract,
        ) => html`<li><a class="${contract.proposal === undefined ? "entry" : "entry open"}" href="/connections/${contract.contract_id}">
<strong>${plain(contract.service_name)}</strong><span class="small">${plain(contract.offering_name)} · ${statusWords(contract)}</span>
${contract.proposal !== undefined && html`<span class="small">A change is proposed.</span>`}</a></li>`,
      )}</ul>`
}</section>
<section class="part" aria-labelledby="invited"><h2 id="invited">Connect to a service</h2>
<form class="card stack" method="post" action="/invite">${linkField("")}<button>Look at the invite</button></form></section>
<section class="part" aria-labelledby="recent"><h2 id="recent">Recent activity</h2>
${
  closed.length === 0
    ? html`<p class="empty">What services ask you, and how you decided, is listed here.</p>`
    : askList(closed)
}</section>`;
}

const waiting = (count: number): string =>
  count === 1 ? "One thing waits for you" : `${count} things wait for you`;

/** `within` one connection everything is by the same service. */
const askList = (asks: readonly Ask[], within = false): Html =>
  html`<ul class="list">${asks.map(
    (ask) => html`<li><a class="entry" href="/asks/${ask.request_id}"><strong>${wordingOf(ask).title}</strong>
${ask.purpose !== undefined && html`<span class="small">${plain(ask.purpose)}</span>`}
<span class="small">${within ? "" : `${plain(ask.service_name)} · `}${outcomeOf(ask).short}</span><span class="small">${when(ask.received_at)}</span></a></li>`,
  )}</ul>`;

const linkField = (link: string): Html => html`<label>Invite link
<span class="small">The whole link, with what follows the #.</span>
<input type="text" name="link" value="${link}" required maxlength="2048" autocomplete="off" autocapitalize="none" spellcheck="false" inputmode="url"></label>`;

export const inviteScreen = (link: string, message: string): Html =>
  html`${title("Connect to a service", "This invite does not work")}
<form class="card stack" method="post" action="/invite">${alert(message)}${linkField(link)}<button>Try again</button></form>`;

const STATUS_WORDS: Record<ContractInfo["status"], string> = {
  pending: "waits for the service to accept",
  active: "connected",
  paused: "paused by the service",
  rejected: "turned down",
  cancelled: "ended",
  expired: "expired",
  superseded: "replaced by a newer contract",
};

const statusWords = ({ status, ended_by, activated_at }: ContractInfo): string => {
  if (status === "active" && activated_at !== undefined) return `connected since ${when(activated_at)}`;
  if (status === "cancelled" && ended_by !== undefined)
    return ended_by === "user" ? "ended by you" : "ended by the service";
  return STATUS_WORDS[status];
};

// ---- an invite --------------------------------------------------------------------------------------------------

export function previewScreen(
  link: string,
  preview: Preview,
  own: ReadonlyMap<string, string>,
  failed:
    | { message: string; offeringId: string | undefined; values: ReadonlyMap<string, string> }
    | undefined,
): Html {
  const { offer, domain, attestations } = preview;
  return html`${title(
    "Invite to connect",
    offer.service_name,
    html`<ul class="chips" aria-label="About the service">${domainChip(domain)}<li class="chip">calls itself ${plain(offer.service_type)}</li><li class="chip good">✓ offer signed by the service in the link</li>${attestations.map(attestationChip)}</ul>`,
  )}
${offer.offerings.length === 0 && html`<p class="empty">The service offers nothing at present.</p>`}
<div class="stack">${offer.offerings.map((offering) =>
    offeringCard(
      link,
      offering,
      offer.handler_manifest,
      own,
      failed?.offeringId === offering.offering_id ? failed : undefined,
    ),
  )}</div>
${failed !== undefined && failed.offeringId === undefined && alert(failed.message)}
<p class="part small">Service id <code>${offer.service_id}</code></p>`;
}

function offeringCard(
  link: string,
  offering: Offering,
  manifest: HandlerManifest,
  own: ReadonlyMap<string, string>,
  failed: { message: string; values: ReadonlyMap<string, string> } | undefined,
): Html {
  const id = `offering-${offering.offering_id}`;
  return html`<section class="card" aria-labelledby="${id}">
<div class="offering-head"><h2 id="${id}">${plain(offering.name)}</h2><p class="price">${priceWords(offering.pricing)}</p></div>
<p class="lead">${plain(offering.description)}</p>
<h3>What the service may do</h3>${grantList(offering.capabilities, manifest)}
<form class="stack" method="post" action="/connect">
<input type="hidden" name="link" value="${link}"><input type="hidden" name="offering" value="${offering.offering_id}">
<h3>What you share</h3>
${offering.required_data.length === 0 && html`<p class="small">Nothing when you connect.</p>`}
${offering.required_data.map(({ data_type, purpose, required, retention }) => {
  const name = `profile.${data_type}`;
  return html`<label>${label(data_type)}${required ? "" : " (if you like)"}
<span class="small">${plain(purpose)}${retention === undefined ? "" : ` Kept: ${plain(retention)}.`}</span>
<input type="text" name="${name}" value="${failed?.values.get(name) ?? own.get(data_type) ?? ""}" maxlength="4096" autocomplete="off" ${required ? "required" : ""}></label>`;
})}
${
  offering.match_code === true &&
  html`<label>Code<span class="small">The number the service told you beside the link. There is one try.</span>
<input class="code" type="text" name="match_code" required pattern="[0-9]{2,6}" maxlength="6" inputmode="numeric" autocomplete="off"></label>`
}
<div class="conditions small">
${offering.acceptance === "manual" && html`<p>Someone at the service confirms each connection before it begins.</p>`}
${offering.inactivity_expiry_days !== undefined && html`<p>Ends by itself after ${offering.inactivity_expiry_days} days without use.</p>`}
<p>You can end the connection here at any time.</p>
${
  offering.terms_url !== undefined &&
  html`<p><a href="${offering.terms_url}" rel="noopener noreferrer">Terms of ${plain(offering.name)}</a> (on ${new URL(offering.terms_url).host})</p>`
}</div>
${alert(failed?.message)}
<div class="decide"><button>Connect</button><a class="press plain" href="/">Do not connect</a></div>
</form></section>`;
}

// ---- an ask -----------------------------------------------------------------------------------------------------

export interface AskFacts {
  ask: Ask;
  contract: ContractInfo;
  domain: DomainProof | undefined;
  /** The service's receipt for the answer. */
  receipt: Receipt | undefined;
  /** Paths of the person's own data that hold something. */
  ownPaths: ReadonlySet<string>;
  /** The services the person is connected to beside the one that asks. */
  others: readonly ContractInfo[];
  /** A call that was answered and goes on. */
  callRuns: boolean;
  /** The person has to write the result themselves, as JSON. */
  needsResult: boolean;
  now: number;
  message?: string | undefined;
}

export function askScreen(facts: AskFacts): Html {
  const { ask, contract, domain } = facts;
  const wording = wordingOf(ask);
  const open = ask.state === "open" && operationOfAsk(ask)?.unanswered !== true;
  const context = fieldList(Object.entries(ask.context ?? {}));
  return html`${title(`${ask.service_name} ${open ? "asks" : "asked"}`, wording.title)}
<div class="stack">
${!open && verdict(facts)}
${
  facts.callRuns &&
  html`<form class="card stack" method="post" action="/asks/${ask.request_id}/hang-up"><p>The call goes on.</p><button class="no">End the call</button></form>`
}
<section class="card stack" aria-label="What is asked">
<div><div class="row"><strong><bdi>${plain(ask.service_name)}</bdi></strong><a href="/connections/${contract.contract_id}">connection</a></div>
<ul class="chips" aria-label="About the service">${domainChip(domain)}<li class="chip">${statusWords(contract)}</li></ul></div>
${ask.purpose !== undefined && html`<p class="saying"><bdi>${plain(ask.purpose)}</bdi></p>`}
${askedFields(ask)}
${context !== undefined && html`<section aria-label="Where this comes from"><h2 class="sub">Where this comes from, as the service says</h2>${context}</section>`}
${
  ask.payload !== undefined &&
  html`<details><summary>Everything, as it was sent</summary><pre>${JSON.stringify(ask.payload, null, 2)}</pre></details>`
}
</section>
${open && decisionForm(facts)}
</div>`;
}

function decisionForm({ ask, ownPaths, others, needsResult, now, message }: AskFacts): Html {
  const wording = wordingOf(ask);
  return html`<form class="card stack" method="post" action="/asks/${ask.request_id}/answer" aria-label="Your decision">
${alert(message)}
<p class="left"><strong data-until="${ask.expires_at}">${timeLeft(ask.expires_at, now)}</strong><span class="small">until ${when(ask.expires_at)}</span></p>
${choices(ask, ownPaths, others)}
${
  needsResult &&
  html`<label>What you answer with<span class="small">JSON, of the form this service wants.</span>
<textarea name="result" spellcheck="false" required></textarea></label>`
}
${
  ask.match_code_required &&
  html`<label>Number shown where you are logging in<span class="small">Nothing shows you one? Then this was not you.</span>
<input class="code" type="text" name="match_code" required pattern="[0-9]{2,6}" maxlength="6" inputmode="numeric" autocomplete="off"></label>`
}
<div class="decide"><button name="decision" value="approve">${wording.approve}</button>
<button class="no" name="decision" value="decline" formnovalidate>${wording.decline}</button></div>
<button class="alarm" name="decision" value="not_me" formnovalidate>This was not me</button>
</form>`;
}

/** What the person may choose beside yes and no. */
function choices(ask: Ask, ownPaths: ReadonlySet<string>, others: readonly ContractInfo[]): Html | undefined {
  if (ask.kind === "collaboration" && ask.operation === "connections")
    return html`<fieldset><legend>What you let it know</legend>${
      others.length === 0
        ? html`<p class="small">You are connected to no other service.</p>`
        : others.map(
            (other) =>
              html`<label class="tick"><input type="checkbox" name="service" value="${other.service_id}">${plain(other.service_name)}</label>`,
          )
    }</fieldset>`;
  if (ask.kind === "data" && ask.operation === "request") {
    const paths = ((ask.payload as { data_paths?: string[] } | undefined)?.data_paths ?? []).map(plain);
    return html`<fieldset><legend>What you share</legend>${paths.map((path) =>
      ownPaths.has(path)
        ? html`<label class="tick"><input type="checkbox" name="path" value="${path}" checked>${path}</label>`
        : html`<p class="small">${path}: you keep nothing there. <a href="/data">Add it</a></p>`,
    )}</fieldset>
<label>For how long<select name="share"><option value="once">This once</option><option value="contract">As long as you are connected</option></select></label>`;
  }
  if (ask.kind === "presence")
    return html`<fieldset><legend>Are you there?</legend>
<label class="tick"><input type="radio" name="available" value="yes" checked>Yes, I am available</label>
<label class="tick"><input type="radio" name="available" value="no">No, not now</label></fieldset>`;
  if (ask.kind === "authz")
    return html`<label>The permission holds<select name="hold">
<option value="900">for 15 minutes</option><option value="3600">for an hour</option><option value="86400">for a day</option><option value="">without an end</option></select></label>`;
  return undefined;
}

interface Outcome {
  tone: "" | "good" | "bad";
  short: string;
  long: string;
}

const COUNTED: Record<NonNullable<Ask["outcome"]>, string> = {
  pending: "still open",
  approved: "approved",
  offline_approved: "approved, although late",
  denied: "declined",
  expired: "expired",
  cancelled: "withdrawn",
  delivered: "delivered",
};

function outcomeOf(ask: Ask): Outcome {
  if (ask.state === "withdrawn")
    return { tone: "", short: "withdrawn", long: "It was withdrawn before you decided." };
  if (ask.state === "expired")
    return { tone: "", short: "expired", long: "The time was over before you decided. Nothing was sent." };
  if (ask.state === "open")
    return { tone: "", short: "for you to read", long: "There is nothing to decide." };
  const said =
    ask.decision === "approved" ? "You approved" : ask.reported ? "You said it was not you" : "You declined";
  const automatic =
    ask.decision === "denied" && (ask.reason === "unsupported" || ask.reason === "not_granted");
  const who = automatic
    ? `Your vault declined: ${ask.reason === "unsupported" ? "it holds something that cannot be shown" : "the contract does not grant it"}`
    : said;
  if (ask.undelivered)
    return { tone: "bad", short: `${who}, not delivered`, long: "The service never confirmed your answer." };
  if (ask.outcome === undefined)
    return { tone: "", short: who, long: "On its way; the service has not confirmed it yet." };
  const agrees =
    ask.decision === "denied"
      ? ask.outcome === "denied"
      : ask.outcome === "approved" || ask.outcome === "offline_approved";
  return {
    tone: !agrees ? "bad" : ask.decision === "approved" ? "good" : "",
    short: agrees ? who : `${who}, counted as ${COUNTED[ask.outcome]}`,
    long: `The service counts it as ${COUNTED[ask.outcome]}.`,
  };
}

function verdict({ ask, receipt }: AskFacts): Html {
  const outcome = outcomeOf(ask);
  const refused = receipt?.outcome === "refused";
  return html`<section class="verdict ${refused ? "bad" : outcome.tone}" role="status" aria-label="Outcome"><strong>${ask.state === "answered" ? outcome.short : label(outcome.short)}</strong>
<p>${refused ? `The service refused the answer: ${label(receipt.reason ?? "no reason given")}.` : outcome.long}</p>
${ask.answered_at !== undefined && html`<p class="small">You answered ${when(ask.answered_at)}</p>`}
${receipt?.event_hash !== undefined && html`<p class="small">Entry in the service's audit log <code>${receipt.event_hash}</code></p>`}
</section>`;
}

// ---- a connection -----------------------------------------------------------------------------------------------

export interface ConnectionFacts {
  contract: ContractInfo;
  domain: DomainProof | undefined;
  /** Absent until the service has accepted. */
  record: ContractRecord | undefined;
  verification: { valid: boolean; checks: { check: string; ok: boolean; detail: string }[] } | undefined;
  asks: readonly Ask[];
  /** Oldest first. */
  receipts: readonly Receipt[];
  /** Whether it can be ended. */
  live: boolean;
  /** The person has agreed to the proposed change; the service has not confirmed it. */
  agreed: boolean;
  now: number;
  message?: string | undefined;
}

export function connectionScreen(facts: ConnectionFacts): Html {
  const { contract, domain, record, verification, asks, receipts, live } = facts;
  const offering = record?.contract.offering_snapshot;
  const grants = offering?.capabilities.filter(({ capability }) =>
    contract.capabilities.includes(capability),
  );
  const takenBack = offering?.capabilities.filter((grant) => grants?.includes(grant) === false) ?? [];
  return html`${title(
    "Connection",
    contract.service_name,
    html`<ul class="chips" aria-label="About the service">${domainChip(domain)}<li class="chip">${statusWords(contract)}</li></ul>`,
  )}
<div class="stack">
${
  contract.reason !== undefined &&
  html`<p class="notice"><strong>Reason given</strong>${plain(contract.reason)}</p>`
}
${
  contract.superseded_by !== undefined &&
  html`<p class="notice"><a href="/connections/${contract.superseded_by}">What you agreed to since</a></p>`
}
${offering !== undefined && proposalCard(facts, offering)}
<section class="card" aria-labelledby="agreed"><h2 id="agreed">${plain(contract.offering_name)}</h2>
<h3>${live ? "What the service may do" : "What the service could do"}</h3>${
    grants === undefined
      ? html`<ul class="rows">${contract.capabilities.map((name) => html`<li>${plain(capabilityWords(name, NO_MANIFEST))}</li>`)}</ul>`
      : grants.length === 0
        ? html`<p class="small">Nothing: you took everything back.</p>`
        : grantList(
            grants,
            NO_MANIFEST,
            live
              ? ({ capability }) =>
                  html`<p class="small"><a href="/connections/${contract.contract_id}/take-back/${capability}" aria-label="Take back: ${plain(capabilityWords(capability, NO_MANIFEST))}">Take back…</a></p>`
              : undefined,
          )
  }
${
  takenBack.length > 0 &&
  html`<h3>What you took back</h3><ul class="limits">${takenBack.map(({ capability }) => html`<li>${plain(capabilityWords(capability, NO_MANIFEST))}</li>`)}</ul>`
}
<h3>What you share</h3>
${
  contract.shared_data.length === 0
    ? html`<p class="small">${live ? "Nothing." : "Nothing any more."}</p>`
    : html`<ul class="limits">${contract.shared_data.map((name) => html`<li>${label(name)}</li>`)}</ul>`
}</section>
<section class="card" aria-labelledby="record"><h2 id="record">Contract record</h2>
${
  verification === undefined || record === undefined
    ? html`<p class="lead">There is none until the service has accepted.</p>`
    : html`<p class="lead">${verification.valid ? "Both signatures verify, from the record alone." : "It does not verify. Do not rely on it."}</p>
<ul class="checks">${verification.checks.map(
        ({ check, ok, detail }) =>
          html`<li class="${ok ? "" : "failed"}"><span class="mark" aria-hidden="true">${ok ? "✓" : "✗"}</span><span><strong>${label(check)}</strong>${ok ? "" : " failed"} <span class="small">${detail}</span></span></li>`,
      )}</ul><details><summary>The record itself</summary><pre>${JSON.stringify(record, null, 2)}</pre></details>`
}
${fieldList([
  ["Contract", contract.contract_id],
  ["Service id", contract.service_id],
  ["You are known there as", contract.user_id],
  ["Agreed", when(contract.created_at)],
  ...(contract.expires_at === undefined
    ? []
    : [["Ends by itself", when(contract.expires_at)] as [string, string]]),
  ...(contract.ended_at === undefined ? [] : [["Ended", when(contract.ended_at)] as [string, string]]),
])}</section>
<section class="part" aria-labelledby="asked"><h2 id="asked">What it asked</h2>
${asks.length === 0 ? html`<p class="empty">Nothing yet.</p>` : askList(asks, true)}</section>
<section class="part" aria-labelledby="receipts"><h2 id="receipts">What the service confirmed to have</h2>
${receipts.length === 0 ? html`<p class="empty">Nothing yet.</p>` : receiptList(receipts)}</section>
${
  live &&
  html`<section class="part" aria-labelledby="end"><h2 id="end">End this connection</h2>
<p class="small">At once, whether or not the service agrees.</p>
<p class="part"><a class="press plain" href="/connections/${contract.contract_id}/revoke">End the connection…</a></p></section>`
}
</div>`;
}

function proposalCard(
  { contract, agreed, now, message }: ConnectionFacts,
  offering: Offering,
): Html | undefined {
  const { proposal } = contract;
  if (proposal === undefined) return undefined;
  const heading = html`<h2 id="proposal">A change is proposed</h2>`;
  if (agreed)
    return html`<section class="card stack" aria-labelledby="proposal">${heading}<p>You agreed. It holds as soon as the service has confirmed it.</p></section>`;
  return html`<section class="card stack" aria-labelledby="proposal">${heading}
<p class="saying"><bdi>${plain(proposal.summary)}</bdi></p>
${changeList(contract, proposal, offering)}
<form class="stack" method="post" action="/connections/${contract.contract_id}/update" aria-label="Your decision">
${alert(message)}
<p class="left"><strong data-until="${proposal.expires_at}">${timeLeft(proposal.expires_at, now)}</strong><span class="small">until ${when(proposal.expires_at)}</span></p>
<p class="small">Nothing changes until you agree. What you share stays as it is.</p>
<input type="hidden" name="proposal" value="${proposal.event_id}">
<div class="decide"><button name="decision" value="agree">Agree</button><button class="no" name="decision" value="decline">Decline</button></div></form></section>`;
}

const receiptList = (receipts: readonly Receipt[]): Html =>
  html`<ol class="list">${receipts
    .toReversed()
    .slice(0, SHOWN_RECEIPTS)
    .map(
      (receipt) => html`<li class="entry"><div class="row-head"><strong>${label(receipt.event_type)}</strong>
<span class="tag">${receipt.outcome === "refused" ? `refused: ${label(receipt.reason ?? "no reason")}` : (receipt.request_status ?? "stored")}</span></div>
<span class="small">${when(receipt.received_at)}</span>
${receipt.event_hash !== undefined && html`<span class="small">audit entry <code>${receipt.event_hash}</code></span>`}</li>`,
    )}</ol>`;

export const revokeScreen = (
  contract: ContractInfo,
): Html => html`${title(contract.service_name, "End this connection?")}
<form class="card stack" method="post" action="/connections/${contract.contract_id}/revoke">
<p>${plain(contract.service_name)} can ask you nothing any more, and its vault destroys what you shared. What it copied elsewhere follows its terms. This cannot be undone: connecting again takes a new invite.</p>
<label>Reason (if you like)<span class="small">The service is told.</span><input type="text" name="reason" maxlength="128" autocomplete="off"></label>
<div class="decide"><button class="no">End it</button><a class="press plain" href="/connections/${contract.contract_id}">Keep it</a></div></form>`;

export const takeBackScreen = (
  contract: ContractInfo,
  capability: string,
): Html => html`${title(contract.service_name, "Take this back?")}
<form class="card stack" method="post" action="/connections/${contract.contract_id}/take-back/${capability}">
<p><strong>${plain(capabilityWords(capability, NO_MANIFEST))}</strong></p>
<p>${plain(contract.service_name)} can do this no more, at once; what it has asked under it is withdrawn. ${
  contract.capabilities.length > 1
    ? "The rest of what you agreed to stays."
    : "It is the last thing the service may do; you stay connected until one of you ends it."
} To give it again, the service has to propose a change and you to agree.</p>
<div class="decide"><button class="no">Take it back</button><a class="press plain" href="/connections/${contract.contract_id}">Keep it</a></div></form>`;

// ---- the person's data --------------------------------------------------------------------------------------------

export const dataScreen = (
  data: readonly { path: string; value: unknown }[],
  message: string | undefined,
): Html => html`${title("My data", "What this phone keeps for you")}
<div class="stack"><p class="small">A service sees none of it until it asks and you agree.</p>
${
  data.length === 0
    ? html`<p class="empty">Nothing yet.</p>`
    : html`<ul class="list">${data.map(
        ({ path, value }) => html`<li class="entry row"><div><strong>${plain(path)}</strong>
<span class="small">${plain(typeof value === "string" ? value : JSON.stringify(value))}</span></div>
<form method="post" action="/data/remove"><input type="hidden" name="path" value="${path}"><button class="plain slim" aria-label="Remove ${plain(path)}">Remove</button></form></li>`,
      )}</ul>`
}
<form class="card stack" method="post" action="/data">${alert(message)}
<label>Name<span class="small">As services ask for it: email, address/home.</span><input type="text" name="path" required maxlength="256" autocomplete="off" autocapitalize="none"></label>
<label>Value<input type="text" name="value" required maxlength="4096" autocomplete="off"></label><button>Keep it</button></form></div>`;

export const messageScreen = (heading: string, text: string): Html =>
  html`${title("Your phone", heading)}<p class="card">${text}</p>`;
