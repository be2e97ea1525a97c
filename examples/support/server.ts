// A support centre that knows whom it talks to, and whose customers know who calls. The agent's call rings in the
// customer's vault with the agent's name and the reason; who answers it has signed, and that is checked before the
// agent may speak of anything private. Then they write to each other, sealed end to end.

import { VerificationError, verifyApproval, verifyWebhook } from "@vettid/service-vault";
import { Hono } from "hono";
import { html } from "hono/html";
import { page } from "../page.ts";
import { type Setting, start, webhookKey } from "../start.ts";

const OFFERING_ID = "support";
const OFFERING = {
  name: "Support",
  description: "Let our support centre reach you, and prove to each other who is calling.",
  capabilities: [
    {
      capability: "text_chat",
      description: "Call you for a written conversation",
      requires_approval_each_use: true,
    },
  ],
  required_data: [{ data_type: "email", required: true, purpose: "To find your case" }],
  pricing: { type: "free" as const },
  acceptance: "automatic" as const,
};

interface Case {
  callId: string;
  userId: string;
  status: string;
  /** The customer's signature over this very call was checked. */
  verified: boolean;
  lines: { from: string; text: string }[];
}

export async function support({ vault, origin }: Setting): Promise<Hono> {
  // In earnest: tables, and agents who are signed in.
  const cases = new Map<string, Case>();
  const handled = new Set<string>();

  await vault.offerings.put(OFFERING_ID, OFFERING);
  const publicKey = await webhookKey(vault, `${origin}/webhooks`, ["call.*", "chat.message"]);

  /** What the vault says of the call now: an event only says that something happened. */
  const refresh = async (one: Case): Promise<void> => {
    const call = await vault.call.get(one.callId);
    one.status = call.status;
    // Once is enough: the evidence does not change.
    if (call.approval !== undefined && !one.verified && call.status !== "rejected") {
      await verifyApproval(call, { userId: one.userId, requestId: one.callId });
      one.verified = true;
    }
    if (!one.verified) return;
    const said = await vault.call.signals.list(one.callId).toArray();
    one.lines = said.flatMap(({ type, from, text }) =>
      type === "chat.message" && text !== undefined ? [{ from, text }] : [],
    );
  };

  const app = new Hono();

  app.get("/", async (c) => {
    const customers = [];
    for await (const { user_id } of vault.contracts.list({ status: "active", offering_id: OFFERING_ID })) {
      const { profile } = await vault.users.profile(user_id);
      customers.push({ userId: user_id, email: String((profile as { email?: unknown }).email) });
    }
    return c.html(
      page(
        "Support centre",
        html`<ul>
            ${customers.map(
              ({ userId, email }) =>
                html`<li>
                  ${email}
                  <form method="post" action="/calls">
                    <input type="hidden" name="user_id" value="${userId}" />
                    <input name="purpose" value="Your question about order 1042" required />
                    <button>Call</button>
                  </form>
                </li>`,
            )}
          </ul>
          <p><a href="/join">Invite a customer</a></p>`,
      ),
    );
  });

  app.get("/join", async (c) => {
    const invite = await vault.contracts.invite({ offering_id: OFFERING_ID });
    return c.html(
      page(
        "Invite a customer",
        html`<p><a href="${invite.invite_url}">${invite.invite_url}</a></p>
          <img src="${invite.qr_code}" alt="QR code of the invite" />`,
      ),
    );
  });

  app.post("/calls", async (c) => {
    const form = await c.req.parseBody();
    const userId = String(form.user_id);
    const call = await vault.call.initiate({
      user_id: userId,
      type: "text",
      purpose: String(form.purpose),
      agent_info: { name: "Grace Hopper", title: "Support" },
    });
    cases.set(call.id, { callId: call.id, userId, status: "ringing", verified: false, lines: [] });
    return c.redirect(`/calls/${call.id}`, 303);
  });

  app.get("/calls/:id", async (c) => {
    const one = cases.get(c.req.param("id"));
    if (one === undefined) return c.notFound();
    await refresh(one);
    const connected = one.status === "connected" && one.verified;
    return c.html(
      page(
        "Call",
        html`<p>${one.status}, ${one.verified ? "the customer is verified" : "nobody is verified yet"}</p>
          ${one.lines.map(({ from, text }) => html`<p><b>${from}:</b> ${text}</p>`)}
          ${
            connected
              ? html`<form method="post" action="/calls/${one.callId}/say">
                    <input name="text" required /> <button>Say</button>
                  </form>
                  <form method="post" action="/calls/${one.callId}/end"><button>End</button></form>`
              : ""
          }`,
        one.status === "ringing" ? 2 : undefined,
      ),
    );
  });

  app.post("/calls/:id/say", async (c) => {
    const one = cases.get(c.req.param("id"));
    // To whoever has not proven who they are, nothing is said.
    if (one?.verified !== true) return c.text("nobody is verified yet", 409);
    await vault.call.message(one.callId, { text: String((await c.req.parseBody()).text) });
    return c.redirect(`/calls/${one.callId}`, 303);
  });

  app.post("/calls/:id/end", async (c) => {
    const one = cases.get(c.req.param("id"));
    if (one === undefined) return c.notFound();
    await vault.call.end(one.callId, { reason: "done" });
    return c.redirect(`/calls/${one.callId}`, 303);
  });

  app.post("/webhooks", async (c) => {
    try {
      const event = await verifyWebhook(c.req.raw, { publicKeys: [publicKey] });
      const one = cases.get(String(event.data.call_id ?? event.data.request_id));
      if (one !== undefined && !handled.has(event.event_id)) await refresh(one);
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
if (process.argv[1] === import.meta.filename) await start(support, 3_002);
