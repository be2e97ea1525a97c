// What a contract grants, and what a proposed change would make of it. Pure.

import { html } from "hono/html";
import type { ContractInfo } from "../../sdk/user-vault/index.ts";
import { capabilityWords, constraintWords } from "../../src/http/pages/capability-words.ts";
import { priceWords } from "../../src/http/pages/format.ts";
import type { CapabilityGrant, HandlerManifest, Offering } from "../../src/protocol/offer.ts";
import type { Html } from "./frame.ts";
import { label, plain, when } from "./words.ts";

export const NO_MANIFEST: HandlerManifest = { capabilities: [] } as unknown as HandlerManifest;

/** `more`: what stands below each. */
export const grantList = (
  grants: readonly CapabilityGrant[],
  manifest: HandlerManifest,
  more?: (grant: CapabilityGrant) => Html,
): Html =>
  html`<ul class="rows">${grants.map((grant) => {
    const limits = [
      ...(grant.scope === undefined ? [] : [`only: ${grant.scope.map(plain).join(", ")}`]),
      ...constraintWords(grant.constraints ?? {}),
    ];
    return html`<li><div class="row-head"><strong>${plain(capabilityWords(grant.capability, manifest))}</strong>
${
  grant.requires_approval_each_use
    ? html`<span class="tag">you approve each time</span>`
    : html`<span class="tag open">without asking each time</span>`
}</div><p class="said">${plain(grant.description)}</p>
${limits.length > 0 && html`<ul class="limits" aria-label="Limits">${limits.map((limit) => html`<li>${limit}</li>`)}</ul>`}${more?.(grant)}</li>`;
  })}</ul>`;

/**
 * What agreeing would change, each with all of its limits: names alone would not say what is agreed to. The service's
 * own summary is not asked.
 */
export function changeList(
  contract: ContractInfo,
  proposal: NonNullable<ContractInfo["proposal"]>,
  now: Offering,
): Html {
  const { changes, offering: then } = proposal;
  const conditions: [string, string, string][] = changes.other.map((name) => [
    label(name),
    fieldWords(now, name),
    fieldWords(then, name),
  ]);
  const end = proposal.contract_expires_at;
  if (end !== undefined && end !== contract.expires_at)
    conditions.push(["Ends by itself", contract.expires_at ? when(contract.expires_at) : "no", when(end)]);
  const parts = [
    part("The service could also", granted(then, changes.capabilities_added)),
    part("It could no longer", granted(now, changes.capabilities_removed)),
    changes.capabilities_changed.map((name) => [
      part("It may now", granted(now, [name])),
      part("Instead it could", granted(then, [name])),
    ]),
    part("It also wants to know", wanted(contract, then, changes.data_added)),
    part("It no longer wants to know", wanted(contract, now, changes.data_removed)),
    part("What it wants to know for another reason", wanted(contract, then, changes.data_changed)),
    part(
      "The conditions",
      conditions.length > 0 &&
        html`<dl class="fields">${conditions.map(
          ([name, before, after]) =>
            html`<div><dt>${name}</dt><dd><p>Now: <bdi>${before}</bdi></p><p>Then: <bdi>${after}</bdi></p></dd></div>`,
        )}</dl>`,
    ),
  ].flat(2);
  return parts.some((shown) => shown !== undefined)
    ? html`<div>${parts}</div>`
    : html`<p>What you agreed to stays as it is.</p>`;
}

const part = (heading: string, content: Html | false | undefined): Html | undefined =>
  content === false || content === undefined ? undefined : html`<h3>${heading}</h3>${content}`;

const granted = ({ capabilities }: Offering, names: readonly string[]): Html | undefined =>
  names.length === 0
    ? undefined
    : grantList(
        capabilities.filter(({ capability }) => names.includes(capability)),
        NO_MANIFEST,
      );

const wanted = (
  { shared_data }: ContractInfo,
  { required_data }: Offering,
  names: readonly string[],
): Html | undefined =>
  names.length === 0
    ? undefined
    : html`<ul class="rows">${required_data
        .filter(({ data_type }) => names.includes(data_type))
        .map(
          ({ data_type, required, purpose, retention }) =>
            html`<li><div class="row-head"><strong>${label(data_type)}${required ? "" : " (if you like)"}</strong><span class="tag">${shared_data.includes(data_type) ? "you share it" : "you do not share it"}</span></div>
<p class="said">${plain(purpose)}${retention === undefined ? "" : ` Kept: ${plain(retention)}.`}</p></li>`,
        )}</ul>`;

/** One of an offering's other fields; those to come are shown as they are. */
function fieldWords(offering: Offering, name: string): string {
  if (name === "pricing") return priceWords(offering.pricing);
  const value: unknown = (offering as { [name: string]: unknown })[name];
  if (value === undefined) return "none";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return plain(typeof value === "string" ? value : JSON.stringify(value));
}
