import type { Offer } from "../../protocol/offer.ts";
import type { InviteRefusal, InviteTerms } from "../../rpc.ts";
import type { InviteLinks } from "../links.ts";

export const connectPage = (offer: Offer, _terms: InviteTerms, _links: InviteLinks) => (
  <p>{offer.service_name}</p>
);
export const refusedPage = (name: string, reason: InviteRefusal) => (
  <p>
    {name} {reason}
  </p>
);
