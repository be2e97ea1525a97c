// The way in, and the page that says why something is not shown.

import { type ApiError, PROBLEMS } from "../http/errors.ts";
import type { Refusal } from "./api.ts";
import type { ConsoleContext } from "./env.ts";
import { barePage, CONSOLE, page } from "./frame.tsx";
import { Head, sentence } from "./ui.tsx";

interface SignIn {
  next: string;
  /** A session that was there before has ended. */
  ended?: boolean;
  problem?: ApiError;
}

export function signInPage(c: ConsoleContext, { next, ended = false, problem }: SignIn): Response {
  return barePage(
    c,
    "Sign in",
    <>
      <h1>Sign in to the console</h1>
      <p class="quiet-text">
        With an API key of this vault. What the key may do, you may do here; a key with the scope admin may do
        everything.
      </p>
      <form class="form part" method="post" action={`${CONSOLE}/sign-in`}>
        {ended && problem === undefined && (
          <p class="notice" role="status">
            Your session has ended: it ran out, or its key was deleted, rotated or has expired.
          </p>
        )}
        {problem !== undefined && (
          <p class="alert" role="alert" id="problem">
            {sentence(problem.message)}
          </p>
        )}
        <input type="hidden" name="next" value={next} />
        {/* What a password manager files the key under. */}
        <input type="text" name="username" value="API key" autocomplete="username" hidden />
        <div class="field">
          <label for="api_key">API key</label>
          <span class="hint" id="api_key-hint">
            It starts with svk_. The first one was printed when the vault was set up.
          </span>
          <input
            class="input mono"
            type="password"
            id="api_key"
            name="api_key"
            autocomplete="current-password"
            spellcheck={false}
            required
            aria-describedby={problem === undefined ? "api_key-hint" : "problem api_key-hint"}
            {...(problem === undefined ? {} : { "aria-invalid": "true" })}
          />
        </div>
        <button class="btn" type="submit">
          Sign in
        </button>
        <p class="small">
          The key is not kept in this browser: a sealed cookie stands for it, for an hour without use and
          twelve hours at most.
        </p>
      </form>
    </>,
    problem === undefined ? 200 : PROBLEMS[problem.code].status,
  );
}

const REFUSALS: Record<string, string> = {
  forbidden: "Your key does not allow this",
  not_found: "There is nothing here",
  rate_limited: "That was a lot at once",
  unavailable: "Not available right now",
};

/** Why a page cannot be shown. */
export function refusedPage(c: ConsoleContext, refusal: Refusal): Response {
  const title = Object.hasOwn(REFUSALS, refusal.code) ? REFUSALS[refusal.code]! : "That did not work";
  // What failed before anyone was let in has no frame to be shown in.
  if (c.get("api") === undefined)
    return barePage(
      c,
      title,
      <>
        <h1>{title}</h1>
        <p class="quiet-text">{sentence(refusal.detail)}</p>
      </>,
      refusal.status,
    );
  return page(c, {
    title,
    here: "none",
    status: refusal.status,
    content: (
      <>
        <Head title={title}>
          <p>{sentence(refusal.detail)}</p>
        </Head>
        <a class="btn" href={CONSOLE}>
          To the overview
        </a>
      </>
    ),
  });
}
