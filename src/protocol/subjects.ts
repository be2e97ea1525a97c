// NATS subjects (PROTOCOL §3). An event type's dots are subject dots; the header's `event_type` and `ref` make
// the end of the subject and are compared exactly.

const withRef = (subject: string, ref: string | undefined): string =>
  ref === undefined ? subject : `${subject}.${ref}`;

/** Everything a user sends, on the service's cluster. */
export const fromUserSubject = (serviceId: string, userId: string, eventType: string, ref?: string): string =>
  withRef(`ServiceSpace.${serviceId}.fromUser.${userId}.${eventType}`, ref);

/** The service's answers during setup, on its own cluster. */
export const toUserSubject = (serviceId: string, userId: string, eventType: string, ref: string): string =>
  withRef(`ServiceSpace.${serviceId}.toUser.${userId}.${eventType}`, ref);

/** Everything else a service sends, on the platform's cluster. */
export const messageSpaceSubject = (
  messageSpace: string,
  serviceId: string,
  eventType: string,
  ref?: string,
): string => withRef(`MessageSpace.${messageSpace}.fromService.${serviceId}.${eventType}`, ref);

/** For the provider's own consumers, best effort: `events.<type>`, `rejected`, `health`. */
export const internalSubject = (serviceId: string, name: string): string =>
  `ServiceSpace.${serviceId}.internal.${name}`;

/** Every subject the stream of inbound messages holds. */
export const fromUserWildcard = (serviceId: string): string => `ServiceSpace.${serviceId}.fromUser.>`;

/** What a user's NATS credentials allow (PROTOCOL §5): the setup's are confined to `contract.>`. */
export function userPermissions(
  serviceId: string,
  userId: string,
  extent: "setup" | "lasting",
): { publish: string[]; subscribe: string[] } {
  const from = `ServiceSpace.${serviceId}.fromUser.${userId}`;
  return {
    publish: [extent === "setup" ? `${from}.contract.>` : `${from}.>`],
    subscribe: [`${userInboxPrefix(serviceId, userId)}.>`],
  };
}

/** A user's session takes its replies below its own `toUser` subject, the only one it may subscribe to. */
export const userInboxPrefix = (serviceId: string, userId: string): string =>
  `ServiceSpace.${serviceId}.toUser.${userId}`;

/** The inbox prefix of the service's own sessions on either cluster. */
export const serviceInboxPrefix = (serviceId: string): string => `_INBOX_${serviceId}`;

/** The user a `fromUser` subject claims to come from; undefined when it is not one of this service's. */
export function userOfSubject(subject: string, serviceId: string): string | undefined {
  const tokens = subject.split(".");
  return tokens[0] === "ServiceSpace" &&
    tokens[1] === serviceId &&
    tokens[2] === "fromUser" &&
    tokens.length >= 5
    ? tokens[3]
    : undefined;
}

/** Whether a `fromUser` subject is a receipt's. */
export const isReceiptSubject = (subject: string): boolean => subject.split(".")[4] === "receipt";
