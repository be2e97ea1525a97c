// What a capability means, in words for the person who is to grant it. The service's own description stands beside
// these; it cannot replace them.

import type { CapabilityConstraints, HandlerManifest } from "../../protocol/offer.ts";
import { formatInstant, formatMoney } from "./format.ts";

const WORDS: Readonly<Record<string, string>> = Object.assign(Object.create(null) as Record<string, string>, {
  authenticate: "Ask you to confirm that it is you",
  "authenticate.continuous": "Keep checking that it is still you",
  authorization_request: "Ask you to approve an action",
  browse_metadata: "See which kinds of data you keep, but not what they say",
  request_data: "Ask you for personal data",
  write_data: "Store data of its own in your vault",
  read_data: "Read the data it stored in your vault",
  sign_document: "Ask you to sign documents",
  sign_transaction: "Ask you to sign transactions",
  "payment.one_time": "Ask you for a payment",
  "payment.subscription": "Ask you for regular payments",
  "payment.auto_renew": "Renew a subscription by itself",
  "secret.minor.read": "Read back small secrets it keeps in your vault",
  "secret.minor.write": "Keep small secrets in your vault",
  "secret.critical.read": "Read back important secrets it keeps in your vault",
  "secret.critical.write": "Keep important secrets in your vault",
  "secret.user_owned.issue": "Give you secrets that are then yours",
  "secret.user_owned.read": "Ask to see a secret of yours",
  "secret.user_owned.write": "Change a secret it gave you",
  "secret.user_owned.use": "Ask you to use a secret of yours for it, without seeing it",
  send_notifications: "Send you notifications",
  text_chat: "Chat with you",
  voice_call: "Call you",
  video_call: "Call you with video",
  verify_presence: "Ask whether you are there",
  list_connections: "See which services you are connected to",
  request_collaboration: "Ask you to share data between services",
});

/** Every capability that has words of its own here. */
export const KNOWN_CAPABILITIES: readonly string[] = Object.keys(WORDS);

/** A capability in plain words; one of the service's own by its manifest; else its name. */
export function capabilityWords(capability: string, manifest: HandlerManifest): string {
  const known = WORDS[capability];
  if (known !== undefined) return known;
  const own = manifest.capabilities.find(
    ({ name }) => capability === name || capability === `custom.${name}`,
  );
  return own?.description ?? `An action of its own: ${capability}`;
}

/** The bounds of a capability, each in a few words. */
export function constraintWords(constraints: CapabilityConstraints): string[] {
  const { max_per_hour, max_per_day, max_amount, valid_from, valid_until } = constraints;
  const times = (count: number) => (count === 1 ? "once" : `${count} times`);
  return [
    ...(max_per_hour === undefined ? [] : [`at most ${times(max_per_hour)} an hour`]),
    ...(max_per_day === undefined ? [] : [`at most ${times(max_per_day)} a day`]),
    ...(max_amount === undefined ? [] : [`at most ${formatMoney(max_amount)} each time`]),
    ...(valid_from === undefined ? [] : [`from ${formatInstant(Date.parse(valid_from))}`]),
    ...(valid_until === undefined ? [] : [`until ${formatInstant(Date.parse(valid_until))}`]),
  ];
}
