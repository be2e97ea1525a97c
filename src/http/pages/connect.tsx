// What a person sees who opens an invite in a browser: who invites, what would be agreed, and the way into their
// VettID app. The page proves nothing: the app verifies the signed offer and shows the terms again.

import type { CapabilityGrant, HandlerManifest, Offer, Offering } from "../../protocol/offer.ts";
import type { InviteRefusal, InviteTerms } from "../../rpc.ts";
import { type InviteLinks, qrSvg } from "../links.ts";
import { capabilityWords, constraintWords } from "./capability-words.ts";
import { formatInstant, priceWords } from "./format.ts";
import { page } from "./page.tsx";

const Grant = ({ grant, manifest }: { grant: CapabilityGrant; manifest: HandlerManifest }) => {
  const limits = [
    ...(grant.scope === undefined ? [] : [`only: ${grant.scope.join(", ")}`]),
    ...constraintWords(grant.constraints ?? {}),
  ];
  return (
    <li>
      <div class="row-head">
        <strong>{capabilityWords(grant.capability, manifest)}</strong>
        {grant.requires_approval_each_use ? (
          <span class="tag">you approve each time</span>
        ) : (
          <span class="tag open">without asking each time</span>
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
};

const Need = ({ item }: { item: Offering["required_data"][number] }) => (
  <li>
    <div class="row-head">
      <strong>{item.data_type.replaceAll("_", " ")}</strong>
      <span class="tag">{item.required ? "needed" : "if you like"}</span>
    </div>
    <p class="said">{item.purpose}</p>
    {item.retention !== undefined && (
      <ul class="limits" aria-label="Retention">
        <li>kept: {item.retention}</li>
      </ul>
    )}
  </li>
);

const Conditions = ({ offering }: { offering: Offering }) => (
  <div class="conditions small">
    {offering.acceptance === "manual" && <p>The service confirms each connection itself before it begins.</p>}
    {offering.inactivity_expiry_days !== undefined && (
      <p>Ends by itself after {offering.inactivity_expiry_days} days without use.</p>
    )}
    <p>
      You can end the connection in your app at any time. The vault then destroys what you shared; what the
      service copied elsewhere follows its terms.
    </p>
    {offering.terms_url !== undefined && (
      <p>
        <a href={offering.terms_url} rel="noopener noreferrer">
          Terms of {offering.name}
        </a>{" "}
        (on {new URL(offering.terms_url).host})
      </p>
    )}
  </div>
);

/** An offering as its terms are shown to the person. */
export const OfferingCard = ({ offering, manifest }: { offering: Offering; manifest: HandlerManifest }) => (
  <article class="card" aria-labelledby={`offering-${offering.offering_id}`}>
    <div class="offering-head">
      <h2 id={`offering-${offering.offering_id}`}>{offering.name}</h2>
      <p class="price">{priceWords(offering.pricing)}</p>
    </div>
    <p class="lead">{offering.description}</p>
    <h3>What the service may do</h3>
    <ul class="rows">
      {offering.capabilities.map((grant) => (
        <Grant grant={grant} manifest={manifest} />
      ))}
    </ul>
    <h3>What you would share</h3>
    {offering.required_data.length === 0 ? (
      <p class="small">Nothing when you connect.</p>
    ) : (
      <ul class="rows">
        {offering.required_data.map((item) => (
          <Need item={item} />
        ))}
      </ul>
    )}
    <Conditions offering={offering} />
  </article>
);

const ActionCard = ({ offer, terms, links }: { offer: Offer; terms: InviteTerms; links: InviteLinks }) => (
  <section class="card act stack" aria-labelledby="act">
    <h2 id="act">Connect with VettID</h2>
    <p class="small">
      Your VettID app checks the service's signature and shows you these terms again. Nothing is shared or
      agreed until you say yes there.
    </p>
    <a class="button" href={links.deepLink}>
      Open in the VettID app
    </a>
    {terms.matchCodeRequired && (
      <p class="notice">
        <strong>Have your code ready</strong>
        The app will ask for a code that {offer.service_name} gives you separately. There is one try: a wrong
        code closes the invite for you.
      </p>
    )}
    <div class="stack">
      <p class="small center">Phone elsewhere? Scan with its camera.</p>
      <div
        class="qr"
        role="img"
        aria-label="QR code with the link of this invite"
        dangerouslySetInnerHTML={{ __html: qrSvg(links.inviteUrl) }}
      />
    </div>
    <p class="small expiry">
      This invite is valid until{" "}
      <time datetime={new Date(terms.expiresAt).toISOString()}>{formatInstant(terms.expiresAt)}</time>
      {terms.maxUses === 1 ? " and works for one person." : "."} Treat its link like a key.
    </p>
  </section>
);

export const invitesWords = (offer: Offer): string => `${offer.service_name} invites you to connect`;

export const ServiceFacts = ({ offer }: { offer: Offer }) => (
  <ul class="facts" aria-label="About the service">
    <li>
      calls itself <strong>{offer.service_type}</strong>
    </li>
    {offer.domain !== undefined && (
      <li>
        <strong>{offer.domain}</strong>: claimed, not verified by this page
      </li>
    )}
  </ul>
);

/** The page of an invite that can be used. */
export function connectPage(offer: Offer, terms: InviteTerms, links: InviteLinks): string {
  const several = offer.offerings.length > 1;
  return page(
    invitesWords(offer),
    <div class="page">
      <header class="masthead">
        <p class="eyebrow">Invite to connect</p>
        <h1>{invitesWords(offer)}</h1>
        <ServiceFacts offer={offer} />
      </header>
      <main class="columns">
        <ActionCard offer={offer} terms={terms} links={links} />
        <div class="offers stack">
          {offer.offerings.length === 0 && (
            <section class="card">
              <h2>Nothing is offered right now</h2>
              <p class="lead">
                The service has not published what a connection would allow. Try again later.
              </p>
            </section>
          )}
          {several && <p class="small">You choose one of these {offer.offerings.length} in the app.</p>}
          {offer.offerings.map((offering) => (
            <OfferingCard offering={offering} manifest={offer.handler_manifest} />
          ))}
        </div>
      </main>
      <footer class="small">
        <p>
          Service id <code>{offer.service_id}</code>
        </p>
        <p>
          The id is in the link you were given, and your app refuses an offer by anyone else. It verifies the
          domain, this page does not.
        </p>
      </footer>
    </div>,
  );
}

const REFUSAL_WORDS: Record<InviteRefusal, { title: string; text: string }> = {
  invite_invalid: {
    title: "This invite does not exist",
    text: "The link may be incomplete, or the invite was withdrawn. Check that you opened the whole link, or ask whoever sent it for a new one.",
  },
  invite_expired: {
    title: "This invite has expired",
    text: "Invites are open for a limited time. Ask whoever sent it for a new one. If you connected with it earlier, your connection is not affected.",
  },
  invite_used_up: {
    title: "This invite can no longer be used",
    text: "It was used as often as it may be, or closed after a wrong code. If it was you who connected, everything is in your VettID app. Otherwise ask for a new invite.",
  },
  match_code_wrong: {
    title: "This invite can no longer be used",
    text: "The code that belongs to it was wrong. Ask whoever sent it for a new invite.",
  },
};

/** The page of an invite that cannot. */
export function refusedPage(serviceName: string, reason: InviteRefusal): string {
  const { title, text } = REFUSAL_WORDS[reason];
  return page(
    `${title} – ${serviceName}`,
    <main class="page">
      <section class="card message stack">
        <p class="eyebrow">{serviceName}</p>
        <h1>{title}</h1>
        <p>{text}</p>
      </section>
    </main>,
  );
}
