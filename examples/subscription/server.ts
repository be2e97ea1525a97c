// A subscription that renews by itself for as long as the member lets it. The member agrees once, by signature; the
// vault keeps the calendar and says when a period is due; this server charges and says how that went. Whatever the
// member ends in their vault ends here.

import { VerificationError, verifyApproval, verifyWebhook } from "@vettid/service-vault";
import { Hono } from "hono";
import { html } from "hono/html";
import { page } from "../page.ts";
import { type Setting, start, webhookKey } from "../start.ts";

const OFFERING_ID = "tea-club";
const PLAN = {
  plan_id: "tea-club",
  amount: { amount: 990, currency: "EUR" },
  billing_cycle: "month" as const,
  auto_renew: true,
};
const OFFERING = {
  name: "Tea club",
  description: "A parcel of tea each month, until you say stop.",
  capabilities: [
    {
      capability: "payment.subscription",
      description: "Propose a subscription to you",
      requires_approval_each_use: true,
    },
    {
      capability: "payment.auto_renew",
      description: "Renew it each month without asking again",
      requires_approval_each_use: false,
    },
  ],
  required_data: [{ data_type: "email", required: true, purpose: "Where to write about your parcels" }],
  pricing: { type: "subscription" as const, ...PLAN.amount, billing_cycle: "month" as const },
  acceptance: "automatic" as const,
};
const DECISION_TIMEOUT_MS = 900_000;

interface Membership {
  userId: string;
  status: string;
  charges: { period: string; transactionId: string }[];
}

/** Your payment provider. `key` makes a repeated call the same charge. */
export type Charge = (charge: {
  userId: string;
  amount: number;
  currency: string;
  key: string;
}) => Promise<string>;

const pretend: Charge = async ({ key }) => `pretended-${key}`;

export async function subscription({
  vault,
  origin,
  charge = pretend,
}: Setting & { charge?: Charge }): Promise<Hono> {
  // In earnest: tables.
  const memberships = new Map<string, Membership>();
  const handled = new Set<string>();

  await vault.offerings.put(OFFERING_ID, OFFERING);
  const publicKey = await webhookKey(vault, `${origin}/webhooks`, ["subscription.*", "contract.cancelled"]);

  const turns = new Map<string, Promise<void>>();

  /** One at a time for each membership: what was read must still hold when it is charged. In earnest: a locked row. */
  const settle = (id: string): Promise<void> => {
    const turn = (turns.get(id) ?? Promise.resolve()).catch(() => {}).then(() => chargeWhatIsDue(id));
    turns.set(id, turn);
    return turn;
  };

  /** Charges what is due and not charged, and reports it. */
  const chargeWhatIsDue = async (id: string): Promise<void> => {
    const now = await vault.subscriptions.get(id);
    const member = memberships.get(id) ?? { userId: now.user_id, status: now.status, charges: [] };
    memberships.set(id, member);
    member.status = now.status;
    const period = now.current_period_start;
    // Past due, the vault tries again by itself and says so: then it is active, and due.
    if (now.status !== "active" || period === undefined) return;
    if (member.charges.some((made) => made.period === period)) return;
    const made = { period, transactionId: "" };
    member.charges.push(made);
    try {
      // The agreement, not the vault's word for it: this member signed this plan at this price.
      await verifyApproval(now, { userId: member.userId, requestId: id });
      const key = `${id}-${period}`;
      made.transactionId = await charge({ userId: member.userId, ...now.amount, key });
      await vault.subscriptions.complete(id, { transaction_id: made.transactionId }, { idempotencyKey: key });
    } catch (error) {
      member.charges = member.charges.filter((other) => other !== made);
      await vault.subscriptions.fail(id, { reason: error instanceof Error ? error.message : "declined" });
    }
    member.status = (await vault.subscriptions.get(id)).status;
  };

  const app = new Hono();

  app.get("/", async (c) => {
    const people = await vault.contracts.list({ status: "active", offering_id: OFFERING_ID }).toArray(100);
    return c.html(
      page(
        "Tea club",
        html`<ul>
            ${people.map(
              ({ user_id }) =>
                html`<li>
                  <form method="post" action="/subscribe">
                    <input type="hidden" name="user_id" value="${user_id}" />
                    ${user_id.slice(0, 8)}… <button>Propose the tea club</button>
                  </form>
                </li>`,
            )}
          </ul>
          <ul>
            ${[...memberships].map(
              ([id, member]) => html`<li><a href="/memberships/${id}">${member.status}</a></li>`,
            )}
          </ul>
          <p><a href="/join">Connect a vault</a></p>`,
      ),
    );
  });

  app.get("/join", async (c) => {
    const invite = await vault.contracts.invite({ offering_id: OFFERING_ID });
    return c.html(
      page(
        "Connect your vault",
        html`<p><a href="${invite.invite_url}">${invite.invite_url}</a></p>
          <img src="${invite.qr_code}" alt="QR code of the invite" />`,
      ),
    );
  });

  app.post("/subscribe", async (c) => {
    const userId = String((await c.req.parseBody()).user_id);
    const proposal = await vault.subscriptions.create({ user_id: userId, ...PLAN });
    memberships.set(proposal.id, { userId, status: "proposed", charges: [] });
    proposal
      .wait({ timeoutMs: DECISION_TIMEOUT_MS })
      .then(() => settle(proposal.id))
      // Nothing is lost: the next webhook, or the next look at the page, settles it.
      .catch((error: unknown) => console.error("subscription:", error));
    return c.redirect(`/memberships/${proposal.id}`, 303);
  });

  app.get("/memberships/:id", async (c) => {
    const id = c.req.param("id");
    if (!memberships.has(id)) return c.notFound();
    await settle(id);
    const member = memberships.get(id)!;
    return c.html(
      page(
        "Membership",
        html`<p>${member.status}</p>
          <ul>
            ${member.charges.map(({ period, transactionId }) => html`<li>${period}: ${transactionId}</li>`)}
          </ul>
          <form method="post" action="/memberships/${id}/cancel"><button>Cancel</button></form>`,
        member.status === "pending_approval" ? 2 : undefined,
      ),
    );
  });

  app.post("/memberships/:id/cancel", async (c) => {
    const id = c.req.param("id");
    if (!memberships.has(id)) return c.notFound();
    await vault.subscriptions.delete(id);
    return c.redirect(`/memberships/${id}`, 303);
  });

  app.post("/webhooks", async (c) => {
    try {
      const event = await verifyWebhook(c.req.raw, { publicKeys: [publicKey] });
      if (!handled.has(event.event_id)) {
        const { subscription_id: id } = event.data;
        if (typeof id === "string") await settle(id);
        else for (const [of, { userId }] of memberships) if (userId === event.user_id) await settle(of);
      }
      handled.add(event.event_id);
      return c.body(null, 204);
    } catch (error) {
      if (error instanceof VerificationError) return c.text(error.code, 400);
      throw error;
    }
  });

  return app;
}

// `node server.ts`, in a project of your own; `npm run example` calls `start` itself.
if (process.argv[1] === import.meta.filename) await start(subscription, 3_003);
