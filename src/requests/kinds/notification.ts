// Something the user is told. Nobody answers it: it is delivered once the user's vault has it, and may be read.

import { z } from "zod";
import { freeName, httpsUrl, line, prose, timestamp, toTimestamp } from "../../protocol/primitives.ts";
import { ok } from "../../protocol/result.ts";
import { defineOperation, type Kind } from "../kind.ts";
import { defineMachine } from "../machine.ts";
import { boundedJson } from "../values.ts";

const MAX_TITLE_CHARACTERS = 100;
const MAX_BODY_CHARACTERS = 4_000;
/** Canonical JSON of `data`. */
const MAX_DATA_BYTES = 16_384;
const DEFAULT_CATEGORY = "general";
const WEEK_SECONDS = 7 * 24 * 3_600;

const fields = {
  title: line(MAX_TITLE_CHARACTERS),
  body: prose(MAX_BODY_CHARACTERS),
  priority: z.enum(["low", "normal", "high", "urgent"]).optional().describe("`normal` when absent."),
  data: boundedJson(MAX_DATA_BYTES).optional().describe("For the user's vault, beside what is shown."),
  action_url: httpsUrl.optional().describe("Where to go on from here; https only."),
  image_url: httpsUrl.optional().describe("https only."),
};

const input = z.object({
  ...fields,
  category: freeName
    .optional()
    .describe(`\`${DEFAULT_CATEGORY}\` when absent; a grant's scope may name categories.`),
});
type Input = z.infer<typeof input>;

const categoryOf = ({ category }: Pick<Input, "category">): string => category ?? DEFAULT_CATEGORY;

export interface NotificationState {
  delivered_at?: string;
  read_at?: string;
}

export const notificationRead = z.strictObject({ read_at: timestamp });

const machine = defineMachine<NotificationState>({
  initial: () => ({ state: {} }),
  delivered: (state, { now, requestId }) => ({
    state: { ...state, delivered_at: toTimestamp(now) },
    tell: [{ type: "notification.delivered", data: { notification_id: requestId } }],
  }),
  ended: (state) => ({ state }),
  hears: {
    "notify.read": {
      payload: notificationRead,
      run: (state, { read_at }: z.infer<typeof notificationRead>, { requestId }) =>
        // Read twice is read once.
        ok(
          state.read_at === undefined
            ? {
                state: { ...state, read_at },
                tell: [{ type: "notification.read", data: { notification_id: requestId, read_at } }],
              }
            : { state },
        ),
    },
  },
});

export const notification: Kind = {
  name: "notification",
  eventType: "notify",
  eventTypeTail: (asked) => categoryOf(asked as Input),
  title: "Notifications",
  getPath: "notifications",
  idName: "notification_id",
  operations: [
    defineOperation({
      name: "notify",
      summary: "Tell a user something",
      path: "notifications",
      successStatus: 201,
      capabilities: ["send_notifications"],
      purposeRequired: false,
      input,
      payload: z.strictObject({ ...fields, category: freeName }),
      toPayload: (asked) => ({ ...asked, category: categoryOf(asked) }),
      grant: (asked) => ({ capability: "send_notifications", resources: [categoryOf(asked)] }),
      sameness: () => ({}),
      result: undefined,
      unanswered: true,
      defaultExpirySeconds: WEEK_SECONDS,
      defaultGraceSeconds: 0,
      example: {
        title: "Your parcel is on its way",
        body: "It should arrive tomorrow between 9 and 12.",
        category: "orders",
        priority: "normal" as const,
        action_url: "https://shop.example.com/orders/1042",
      },
    }),
  ],
  machine,
  view: ({ state: stored }) => {
    const { delivered_at, read_at } = stored as NotificationState;
    return {
      delivered: delivered_at !== undefined,
      ...(delivered_at === undefined ? {} : { delivered_at }),
      ...(read_at === undefined ? {} : { read_at }),
    };
  },
  viewSchema: {
    delivered: z.boolean(),
    delivered_at: timestamp.optional(),
    read_at: timestamp.optional().describe("When the person read it, by their vault's clock."),
  },
};
