// A web shop without passwords. A customer connects their vault once; from then on they log in by naming their email
// address and confirming on their phone. What lets them in is their signature, checked here.
//
// The number on the page has to be typed on the phone: whoever starts a login with somebody else's address gets nothing.

import { randomBytes, randomInt } from "node:crypto";
import { isApproved, VerificationError, verifyApproval, verifyWebhook } from "@vettid/service-vault";
import { Hono } from "hono";
import { getCookie, setCookie } from "hono/cookie";
import { html } from "hono/html";
import { page } from "../page.ts";
import { type Setting, start, webhookKey } from "../start.ts";

const OFFERING_ID = "shop";
const OFFERING = {
  name: "Tea shop account",
  description: "Log in to the tea shop without a password.",
  capabilities: [
    {
      capability: "authenticate",
      description: "Ask you to confirm that it is you who logs in",
      requires_approval_each_use: true,
    },
  ],
  required_data: [
    { data_type: "email", required: true, purpose: "Your account's name, and order confirmations" },
  ],
  pricing: { type: "free" as const },
  acceptance: "automatic" as const,
};
const COOKIE = "tea_session";
const LOGIN_TIMEOUT_MS = 300_000;

interface Session {
  email: string;
  userId: string;
  /** Until the customer has confirmed. */
  waiting: boolean;
  /** What to type on the phone. */
  number?: string;
  failed?: string;
}

export async function shop({ vault, origin }: Setting): Promise<Hono> {
  // In earnest: tables. An account is a row with user_id; sessions and handled events are rows, too.
  const accounts = new Map<string, string>();
  const sessions = new Map<string, Session>();
  const handled = new Set<string>();

  await vault.offerings.put(OFFERING_ID, OFFERING);
  const publicKey = await webhookKey(vault, `${origin}/webhooks`, ["contract.*"]);

  const open = async (userId: string) => {
    const { profile } = await vault.users.profile(userId);
    const email = String((profile as { email?: unknown }).email).toLowerCase();
    // An address a person typed proves nothing, and must not take over the account of whoever had it first.
    if (!accounts.has(email)) accounts.set(email, userId);
  };
  const close = (userId: string) => {
    for (const [email, owner] of accounts) if (owner === userId) accounts.delete(email);
    for (const [id, session] of sessions) if (session.userId === userId) sessions.delete(id);
  };
  // Whoever connected while this server was down.
  for await (const contract of vault.contracts.list({ status: "active", offering_id: OFFERING_ID }))
    await open(contract.user_id);

  /** Asks the customer, and lets the session in on their signature alone. */
  const logIn = async (session: Session): Promise<void> => {
    const request = await vault.auth.request({
      user_id: session.userId,
      purpose: "Log in to the tea shop",
      context: { website: origin },
      match_code: true,
    });
    session.number = request.matchCode!;
    request
      .wait({ timeoutMs: LOGIN_TIMEOUT_MS })
      .then(async (answer) => {
        if (!isApproved(answer)) throw new Error(`not confirmed: ${answer.status}`);
        await verifyApproval(answer, { userId: session.userId, requestId: request.id });
        session.waiting = false;
      })
      .catch((error: Error) => {
        session.failed = error.message;
      });
  };

  const app = new Hono();

  app.get("/", async (c) => {
    const session = sessions.get(getCookie(c, COOKIE) ?? "");
    if (session === undefined || session.failed !== undefined) {
      return c.html(
        page(
          "Tea shop",
          html`${session?.failed === undefined ? "" : html`<p>Login ${session.failed}.</p>`}
            <form method="post" action="/login">
              <label>Email <input name="email" type="email" required /></label> <button>Log in</button>
            </form>
            <p>New here? <a href="/join">Connect your vault</a>, once.</p>`,
        ),
      );
    }
    if (session.waiting) {
      return c.html(
        page(
          "Confirm on your phone",
          html`<p>Your vault asks whether it is you. Type this number there:</p>
            <p class="number">${session.number}</p>`,
          2,
        ),
      );
    }
    return c.html(
      page(
        "Tea shop",
        html`<p>Welcome, ${session.email}.</p>
          <form method="post" action="/logout"><button>Log out</button></form>`,
      ),
    );
  });

  app.get("/join", async (c) => {
    const invite = await vault.contracts.invite({ offering_id: OFFERING_ID, expires_in_seconds: 900 });
    return c.html(
      page(
        "Connect your vault",
        html`<p>Scan this, or open <a href="${invite.invite_url}">the invite</a> on your phone.</p>
          <img src="${invite.qr_code}" alt="QR code of the invite" />
          <p>Then <a href="/">log in</a> with the address you shared.</p>`,
      ),
    );
  });

  app.post("/login", async (c) => {
    const email = String((await c.req.parseBody()).email).toLowerCase();
    const userId = accounts.get(email);
    // The same page for an address nobody has: it says nothing about who is a customer.
    const session: Session = {
      email,
      userId: userId ?? "",
      waiting: true,
      number: String(randomInt(10, 100)),
    };
    if (userId !== undefined) await logIn(session);
    else
      setTimeout(() => {
        session.failed = "not confirmed: expired";
      }, LOGIN_TIMEOUT_MS).unref();
    const id = randomBytes(32).toString("base64url");
    sessions.set(id, session);
    setCookie(c, COOKIE, id, {
      httpOnly: true,
      sameSite: "Lax",
      secure: origin.startsWith("https:"),
      path: "/",
    });
    return c.redirect("/", 303);
  });

  app.post("/logout", (c) => {
    sessions.delete(getCookie(c, COOKIE) ?? "");
    return c.redirect("/", 303);
  });

  app.post("/webhooks", async (c) => {
    try {
      const event = await verifyWebhook(c.req.raw, { publicKeys: [publicKey] });
      if (handled.has(event.event_id)) return c.body(null, 204);
      // An event may overtake another: what counts is what the vault says now.
      if (event.user_id !== undefined && event.contract_id !== undefined) {
        const { status } = await vault.contracts.get(event.contract_id);
        if (status === "active") await open(event.user_id);
        else if (status !== "pending") close(event.user_id);
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
if (process.argv[1] === import.meta.filename) await start(shop, 3_001);
