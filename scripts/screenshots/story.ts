// A bookshop that has used its vault for a while: offerings, people who connected, what was asked of them, webhooks
// and keys. What the screenshots show.

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { openSqliteStore, type Policy, UserVault } from "../../sdk/user-vault/index.ts";
import { Backend } from "../stack/backend.ts";
import { makePrivateDir } from "../stack/files.ts";
import { LOOPBACK } from "../stack/ports.ts";
import type { Stack } from "../stack/stack.ts";

/** Settings of the stack the story is told on. */
export const STORY_VARS = {
  SERVICE_NAME: "Kastanie Books",
  SERVICE_TYPE: "bookshop",
  SERVICE_DOMAIN: "kastanie.example",
};

const ask = (capability: string, description: string, more: object = {}) => ({
  capability,
  description,
  requires_approval_each_use: true,
  ...more,
});

export const OFFERINGS = {
  membership: {
    name: "Membership",
    description:
      "Log in without a password, confirm orders over 100 euros, and get receipts where you want them.",
    capabilities: [
      ask("authenticate", "To log you in to the shop."),
      ask("request_data", "To fill in your delivery address.", {
        scope: ["address.home", "address.work.*"],
        constraints: { max_per_day: 3 },
      }),
      ask("payment.one_time", "To pay at the checkout.", {
        constraints: { max_amount: { amount: 25_000, currency: "EUR" } },
      }),
      ask("authorization_request", "To confirm large orders."),
      ask("send_notifications", "To tell you where your parcel is.", {
        scope: ["delivery"],
        requires_approval_each_use: false,
      }),
    ],
    required_data: [
      {
        data_type: "email",
        required: true,
        purpose: "Receipts and order updates.",
        retention: "while connected",
      },
      { data_type: "birth_year", required: false, purpose: "A discount on your birthday." },
    ],
    pricing: { type: "subscription", amount: 499, currency: "EUR", billing_cycle: "month", trial_days: 30 },
    terms_url: "https://kastanie.example/terms",
    acceptance: "automatic",
    inactivity_expiry_days: 365,
  },
  "reading-circle": {
    name: "Reading circle",
    description: "Meet once a month; we check that you are over sixteen.",
    capabilities: [ask("authenticate", "To let you in."), ask("request_data", "To ask for your birth year.")],
    required_data: [{ data_type: "nickname", required: true, purpose: "What the circle calls you." }],
    acceptance: "manual",
    match_code: true,
  },
  gift: {
    name: "Gift cards",
    description: "Buy a gift card without an account.",
    capabilities: [ask("payment.one_time", "To pay for the card.")],
    required_data: [],
    pricing: { type: "free" },
    acceptance: "automatic",
  },
} as const;

/** Answers by what is asked for: a story needs a no and a not yet, too. */
const policy: Policy = ({ purpose = "" }) =>
  purpose.startsWith("Later")
    ? "later"
    : purpose.startsWith("No")
      ? { decision: "denied", reason: "Not me" }
      : { decision: "approved" };

export interface Story {
  /** Of the connection that has most to show. */
  contractId: string;
  /** The offering with most to show. */
  offeringId: string;
  stop(): Promise<void>;
}

function receiver(status: number): Promise<Server> {
  const server = createServer((request, response) => {
    request.resume();
    request.once("end", () => response.writeHead(status).end());
  });
  return new Promise((resolve) => server.listen(0, LOOPBACK, () => resolve(server)));
}
const urlOf = (server: Server): string =>
  `http://${LOOPBACK}:${(server.address() as AddressInfo).port}/events`;

/** Tells it on a running stack. */
export async function tellStory(stack: Stack, creds: string): Promise<Story> {
  const backend = new Backend(stack.baseUrl, stack.adminApiKey);
  const vaults: UserVault[] = [];
  const servers = await Promise.all([receiver(204), receiver(500)]);
  const [taking, failing] = servers as [Server, Server];
  const stop = async () => {
    for (const vault of vaults) await vault.close();
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  };
  try {
    for (const [id, offering] of Object.entries(OFFERINGS))
      await backend.expect(200, "PUT", `offerings/${id}`, offering);
    for (const key of [
      {
        name: "Shop backend",
        scopes: ["requests:read", "requests:write", "contracts:read", "contracts:write"],
      },
      { name: "Auditor", scopes: ["audit:read", "contracts:read"], expires_in_seconds: 90 * 86_400 },
    ])
      await backend.expect(201, "POST", "api-keys", key);
    await backend.expect(201, "POST", "webhooks", {
      url: urlOf(taking),
      description: "Shop: orders and logins",
    });
    await backend.expect(201, "POST", "webhooks", {
      url: urlOf(failing),
      types: ["payment.*", "subscription.*", "contract.*"],
      description: "Book-keeping",
    });

    const connect = async (
      name: string,
      offeringId: keyof typeof OFFERINGS,
      profile: Record<string, string>,
    ) => {
      const invite = await backend.expect(201, "POST", "contracts/invite", { offering_id: offeringId });
      const dir = makePrivateDir(join(stack.dir, "people", name));
      const vault = await UserVault.open({
        store: openSqliteStore(join(dir, "vault.sqlite")),
        messageSpace: { endpoint: stack.messageSpace.server.wsUrl, creds },
        policy,
      });
      vaults.push(vault);
      vault.start();
      const waits = OFFERINGS[offeringId].acceptance === "manual";
      const connecting = vault.connect(invite.invite_url, {
        profile,
        ...(invite.match_code === undefined ? {} : { matchCode: invite.match_code }),
      });
      if (!waits) return connecting;
      connecting.catch(() => {});
      for (;;) {
        const { contracts } = await backend.expect(
          200,
          "GET",
          `contracts?offering_id=${offeringId}&status=pending`,
        );
        if (contracts.length > 0) return contracts[0];
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    };
    const ada = await connect("ada", "membership", { email: "ada@example.com" });
    const ben = await connect("ben", "gift", {});
    await connect("cleo", "reading-circle", { nickname: "Cleo" });
    const dora = await connect("dora", "membership", { email: "dora@example.com" });

    const settled = async (request: { request_id: string }) =>
      backend.expect(200, "GET", `requests/${request.request_id}?wait=20`);
    const { user_id } = await backend.expect(200, "GET", `contracts/${ada.contract_id}`);
    await settled(await backend.ask(user_id, "Log in to the shop"));
    await settled(await backend.ask(user_id, "No: log in from an unknown computer"));
    await settled(
      await backend.expect(201, "POST", "authz/request", {
        user_id,
        action: "order.place",
        resource: "order 10417",
        purpose: "Confirm your order of €132.00",
      }),
    );
    await settled(
      await backend.expect(202, "POST", "payment/request", {
        user_id,
        purpose: "Order 10417",
        description: "Three books",
        amount: { amount: 13_200, currency: "EUR" },
      }),
    );
    await backend.ask(user_id, "Later: log in on the reader");
    for (let n = 0; n < 12; n++) await backend.call("GET", `contracts/${ada.contract_id}`);
    await backend.call("GET", "requests/unknown");
    await backend.expect(200, "POST", `contracts/${ben.contract_id}/pause`, { reason: "We are on holiday" });
    await backend.expect(200, "DELETE", `contracts/${dora.contract_id}`, { reason: "Account closed" });
    await backend.expect(201, "POST", "contracts/invite", { max_uses: 200, expires_in_seconds: 30 * 86_400 });
    // A second version, so that there is something to compare with.
    await backend.expect(200, "PUT", "offerings/gift", {
      ...OFFERINGS.gift,
      description: "Buy and send a gift card without an account.",
    });
    return { contractId: ada.contract_id, offeringId: "membership", stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
