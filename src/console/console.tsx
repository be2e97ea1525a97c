// The operator's console: who is let in, what every form must carry, and the pages.

import { Hono } from "hono";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import { csrf } from "hono/csrf";
import { createMiddleware } from "hono/factory";
import type { App } from "../http/app-env.ts";
import { ApiError, PROBLEMS, type Problem } from "../http/errors.ts";
import { isGood, keyOf, refusedKey, secretHashOf } from "../http/middleware/authenticate.ts";
import { readBounded } from "../http/middleware/body.ts";
import { onError } from "../http/middleware/errors.ts";
import { countCall } from "../http/middleware/rate-limit.ts";
import { directoryOf } from "../http/objects.ts";
import { Api, Refused } from "./api.ts";
import { auditPages } from "./audit.tsx";
import { connectionPages } from "./connections.tsx";
import { domainPages } from "./domain.tsx";
import type { ConsoleContext, ConsoleEnv } from "./env.ts";
import { ASSETS, barePage, CONSOLE } from "./frame.tsx";
import { invitePages } from "./invites.tsx";
import { keyPages } from "./keys.tsx";
import { offeringPages } from "./offerings.tsx";
import { overviewPage } from "./overview.tsx";
import {
  isOwnForm,
  LIFETIME_MS,
  newSession,
  openSession,
  renewed,
  SESSION_OWNER,
  type Session,
  sealSession,
} from "./session.ts";
import { refusedPage, signInPage } from "./sign-in.tsx";
import { webhookPages } from "./webhooks.tsx";

const COOKIE = "vettid-console";
/** An offering with everything it may hold, written out as a form, is below it. */
const MAX_FORM_BYTES = 500_000;
const ONE_YEAR_SECONDS = 365 * 24 * 3_600;

/** Over http there is only development: a browser would not keep a cookie that may travel by https alone. */
const cookieOptions = (c: ConsoleContext) => {
  const isSecure = new URL(c.var.config.PUBLIC_URL).protocol === "https:";
  return {
    path: "/",
    httpOnly: true,
    sameSite: "Strict" as const,
    maxAge: LIFETIME_MS / 1_000,
    ...(isSecure ? { secure: true, prefix: "host" as const } : {}),
  };
};
const keep = (c: ConsoleContext, session: Session): void =>
  setCookie(c, COOKIE, sealSession(c.var.config.wrapperFor(SESSION_OWNER), session), cookieOptions(c));
const forget = (c: ConsoleContext): void => {
  deleteCookie(c, COOKIE, cookieOptions(c));
};

/** A form that another site made the browser send. The origin says so first; the token is the second lock. */
const foreign = (c: ConsoleContext): Response =>
  barePage(
    c,
    "This form is out of date",
    <>
      <h1>This form is out of date</h1>
      <p class="quiet-text">
        It was made before you signed in, or by another page. Nothing was changed. Open the page again and
        repeat it there.
      </p>
      <p class="part">
        <a class="btn" href={CONSOLE}>
          To the console
        </a>
      </p>
    </>,
    403,
  );

/** Where to go after signing in: a page of the console, whatever the address says. */
export function nextPage(text: string | undefined): string {
  if (text === undefined || !/^\/console(?:[/?][\w\-./?=&%:]*)?$/.test(text)) return CONSOLE;
  return text.includes("//") || text.includes("..") || text.startsWith(`${CONSOLE}/sign-`) ? CONSOLE : text;
}

/** What broke inside: logged as everywhere, and shown as a page. */
async function failed(error: Error, c: ConsoleContext): Promise<Response> {
  const problem = (await (await onError(error, c as never)).json()) as Problem;
  const { status, code, detail, details = [] } = problem;
  return refusedPage(c, { status, code, detail, details });
}

const formOf = async (c: ConsoleContext): Promise<URLSearchParams> =>
  new URLSearchParams(new TextDecoder().decode(await readBounded(c.req.raw, MAX_FORM_BYTES)));

const signedIn = createMiddleware<ConsoleEnv>(async (c, next) => {
  const { config } = c.var;
  const prefix = cookieOptions(c).prefix;
  const sealed = prefix === undefined ? getCookie(c, COOKIE) : getCookie(c, COOKIE, prefix);
  const now = Date.now();
  const session =
    sealed === undefined ? undefined : openSession(config.wrapperFor(SESSION_OWNER), sealed, now);
  // Not cached, unlike a call's key: the page after the key's deletion is the way in again.
  const facts =
    session === undefined ? undefined : await directoryOf(c.env).apiKey(session.keyId, session.secretHash);
  if (session === undefined || !isGood(facts)) {
    if (sealed !== undefined) forget(c);
    const { pathname, search } = new URL(c.req.url);
    const query = new URLSearchParams({
      ...(c.req.method === "GET" && pathname !== CONSOLE ? { next: `${pathname}${search}` } : {}),
      ...(sealed === undefined ? {} : { ended: "1" }),
    });
    return c.redirect(`${CONSOLE}/sign-in${query.size === 0 ? "" : `?${query}`}`, 303);
  }
  c.set("session", session);
  c.set("api", new Api(c, facts, c.get("dispatch")));
  if (c.req.method === "POST") {
    const form = await formOf(c);
    if (!isOwnForm(session, form.get("token") ?? undefined)) return foreign(c);
    c.set("form", form);
  }
  await next();
  const fresh = renewed(session, now);
  if (fresh !== undefined && !c.res.headers.has("Set-Cookie")) keep(c, fresh);
});

export function consoleRoutes(app: App): void {
  const pages = new Hono<ConsoleEnv>();

  for (const { path, type, text } of Object.values(ASSETS))
    pages.get(path, (c) =>
      c.body(text, 200, {
        "Content-Type": type,
        // The address names the version.
        "Cache-Control": `public, max-age=${ONE_YEAR_SECONDS}, immutable`,
      }),
    );

  const sameOrigin = csrf();
  pages.use(async (c, next) => {
    c.set("dispatch", (request) => app.fetch(request, c.env, c.executionCtx));
    let isForeign = true;
    try {
      await sameOrigin(c, async () => {
        isForeign = false;
        await next();
      });
    } catch (error) {
      if (!isForeign) throw error;
      return foreign(c);
    }
  });

  pages.onError((error, c) => {
    if (error instanceof Refused) return refusedPage(c, error.refusal);
    if (error instanceof ApiError) {
      const { code, message: detail, details = [] } = error;
      return refusedPage(c, { status: PROBLEMS[code].status, code, detail, details });
    }
    return failed(error, c);
  });

  pages.get("/sign-in", (c) =>
    signInPage(c, { next: nextPage(c.req.query("next")), ended: c.req.query("ended") !== undefined }),
  );
  pages.post("/sign-in", async (c) => {
    const form = await formOf(c);
    const next = nextPage(form.get("next") ?? undefined);
    try {
      await countCall(c as never, "key");
      const key = keyOf(c as never, (form.get("api_key") ?? "").trim());
      const secretHash = secretHashOf(key.secret);
      if (!isGood(await directoryOf(c.env).apiKey(key.id, secretHash))) throw refusedKey();
      keep(c, newSession({ id: key.id, secretHash }, Date.now()));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return signInPage(c, { next, problem: error });
    }
    return c.redirect(next, 303);
  });

  pages.use(signedIn);
  pages.post("/sign-out", (c) => {
    forget(c);
    return c.redirect(`${CONSOLE}/sign-in`, 303);
  });
  overviewPage(pages);
  connectionPages(pages);
  invitePages(pages);
  offeringPages(pages);
  webhookPages(pages);
  keyPages(pages);
  domainPages(pages);
  auditPages(pages);
  pages.all("*", (c) =>
    refusedPage(c, { status: 404, code: "not_found", detail: "there is no such page", details: [] }),
  );

  app.route(CONSOLE, pages as never);
}
