// The phone of `npm run dev`: a person's vault and the screens to decide on, in a browser on this machine.
//
// It is for development: whoever can reach the loopback address of this machine can decide for this person, as
// whoever holds an unlocked phone can.

import { resolveTxt as dnsTxt } from "node:dns/promises";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Hono } from "hono";
import { CALLS } from "../../sdk/user-vault/handlers/call.ts";
import { Handlers } from "../../sdk/user-vault/handlers/index.ts";
import {
  type Answer,
  type Ask,
  openSqliteStore,
  type Preview,
  UserVault,
  VaultError,
} from "../../sdk/user-vault/index.ts";
import { verifyContractRecord } from "../../src/contracts/agreement.ts";
import { isEnded } from "../../src/protocol/contract.ts";
import type { Json } from "../../src/protocol/json.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { makePrivateDir } from "../stack/files.ts";
import { documentOf, operationOfAsk } from "./asked.ts";
import { Changes, EVERYTHING } from "./changes.ts";
import { type Html, screen } from "./frame.ts";
import {
  askScreen,
  connectionScreen,
  type DomainProof,
  dataScreen,
  homeScreen,
  inviteScreen,
  messageScreen,
  previewScreen,
  revokeScreen,
  takeBackScreen,
} from "./screens.ts";
import { serve } from "./serve.ts";

export interface PhoneOptions {
  /** Where the person's vault is kept, below it in `phone/`. */
  dir: string;
  messageSpace: { endpoint: string; creds: string };
  /** 0: any that is free. */
  port: number;
  /** Reads TXT records, to verify a service's domain; the machine's own resolver when absent. */
  resolveTxt?: (name: string) => Promise<string[][]>;
}

export interface Phone {
  url: string;
  vault: UserVault;
  stop(): Promise<void>;
}

/** A decision is told to a screen that waits no longer than this; after that the screen updates itself. */
const DELIVERY_WAIT_MS = 3_000;
/** The service may take longer to accept; the connection's screen then says that it waits. */
const CONNECT_WAIT_MS = 10_000;
/** In the person's own holdings, by service id: what was found out about its domain. */
const DOMAINS = "phone_domains";

/**
 * What nobody wants to be asked each time, where the contract says that it need not be: the service's own corner of
 * the vault. Anything that logs in, pays, signs or shows what is the person's own stays with the person.
 */
const AUTOMATED = new Set(["data.write", "data.read"]);

export async function startPhone({
  dir,
  messageSpace,
  port,
  resolveTxt = dnsTxt,
}: PhoneOptions): Promise<Phone> {
  const vault: UserVault = await UserVault.open({
    store: openSqliteStore(join(makePrivateDir(join(dir, "phone")), "vault.sqlite")),
    messageSpace,
    policy: (ask) => automatic(vault, ask),
    resolveTxt,
  });
  try {
    const changes = new Changes();
    vault.on((event) => changes.note(event));
    const app = routes(vault, changes);
    const served = await serve((request) => app.fetch(request), port);
    vault.start();
    return {
      url: served.url,
      vault,
      stop: async () => {
        await served.close();
        await vault.close();
      },
    };
  } catch (error) {
    await vault.close();
    throw error;
  }
}

/** The phone against a stack that runs. */
export const phoneOfStack = (
  stack: { dir: string; userVaultCredsFile: string; messageSpace: { server: { wsUrl: string } } },
  port: number,
): Promise<Phone> =>
  startPhone({
    dir: stack.dir,
    messageSpace: {
      endpoint: stack.messageSpace.server.wsUrl,
      creds: readFileSync(stack.userVaultCredsFile, "utf8"),
    },
    port,
  });

function automatic(vault: UserVault, ask: Ask): Answer | "later" {
  if (!AUTOMATED.has(`${ask.kind}.${ask.operation}`) || ask.match_code_required) return "later";
  const needed = operationOfAsk(ask)?.capabilities ?? [];
  const { capabilities } = vault.record(ask.contract_id).contract.offering_snapshot;
  const granted = capabilities.filter(({ capability }) => needed.includes(capability));
  const free = granted.length > 0 && granted.every((grant) => !grant.requires_approval_each_use);
  return free ? { decision: "approved" } : "later";
}

function routes(vault: UserVault, changes: Changes): Hono {
  const app = new Hono();
  const handlers = new Handlers();

  const show = (
    title: string,
    content: Html,
    here: string,
    { watch, status }: { watch?: string; status?: number } = {},
  ) =>
    screen({
      title,
      content,
      here,
      watch,
      online: vault.status().platform,
      version: changes.version,
      ...(status === undefined ? {} : { status }),
    });

  const domainOf = (serviceId: string): DomainProof | undefined =>
    vault.holdings.get(DOMAINS, serviceId) as DomainProof | undefined;

  // ---- home and the person's data

  app.get("/", () =>
    show("Home", homeScreen(vault.asks(), vault.contracts(), vault.notifications(), Date.now()), "/", {
      watch: EVERYTHING,
    }),
  );

  app.get("/changes", (c) => {
    const since = Number(c.req.query("since"));
    const stream = changes.stream(c.req.query("topic") ?? EVERYTHING, Number.isFinite(since) ? since : 0);
    return new Response(stream, {
      headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
    });
  });

  app.get("/data", () => show("My data", dataScreen(vault.data(), undefined), "/data"));

  app.post("/data", async (c) => {
    const form = await formOf(c.req.raw);
    try {
      vault.setData((form.get("path") ?? "").trim(), form.get("value") ?? "");
    } catch (error) {
      return show("My data", dataScreen(vault.data(), sentence(error)), "/data", { status: 422 });
    }
    return c.redirect("/data", 303);
  });

  app.post("/data/remove", async (c) => {
    vault.removeData((await formOf(c.req.raw)).get("path") ?? "");
    return c.redirect("/data", 303);
  });

  // ---- invites

  app.post("/invite", async (c) => {
    const link = (await formOf(c.req.raw)).get("link") ?? "";
    let preview: Preview;
    try {
      preview = await vault.preview(link);
    } catch (error) {
      return show("Invite", inviteScreen(link, sentence(error)), "/", { status: 422 });
    }
    return show(
      `Invite of ${preview.service_name}`,
      previewScreen(link, preview, ownWords(vault), undefined),
      "/",
    );
  });

  app.post("/connect", async (c) => {
    const form = await formOf(c.req.raw);
    const link = form.get("link") ?? "";
    const offeringId = form.get("offering") ?? undefined;
    const code = form.get("match_code")?.trim();
    const values = new Map([...form].filter(([name, value]) => name.startsWith("profile.") && value !== ""));
    let preview: Preview | undefined;
    try {
      preview = await vault.preview(link);
      const contract = await vault.connect(link, {
        profile: Object.fromEntries(
          [...values].map(([name, value]) => [name.slice("profile.".length), value]),
        ),
        timeoutMs: CONNECT_WAIT_MS,
        ...(offeringId === undefined ? {} : { offeringId }),
        ...(code ? { matchCode: code } : {}),
      });
      // What was found out is what the person decided on; later screens say the same.
      if (preview.domain === undefined) vault.holdings.delete(DOMAINS, contract.service_id);
      else vault.holdings.put(DOMAINS, contract.service_id, { ...preview.domain });
      return c.redirect(`/connections/${contract.contract_id}`, 303);
    } catch (error) {
      const message = sentence(error);
      if (preview === undefined) return show("Invite", inviteScreen(link, message), "/", { status: 422 });
      const again = previewScreen(link, preview, ownWords(vault), { message, offeringId, values });
      return show(`Invite of ${preview.service_name}`, again, "/", { status: 422 });
    }
  });

  // ---- asks

  /** Whether nothing but the person can say what an approval carries: no handler does, and empty will not do. */
  const needsResult = (ask: Ask): boolean => {
    const result = operationOfAsk(ask)?.result;
    return (
      result !== undefined && handlers.of(ask.kind)?.answer === undefined && !result.safeParse({}).success
    );
  };

  const callRuns = ({ kind, service_id, request_id }: Ask): boolean =>
    kind === "call" &&
    (vault.holdings.get(CALLS, request_id, service_id) as { status?: string } | undefined)?.status ===
      "connected";

  const showAsk = (id: string, message?: string): Promise<Response> => {
    const ask = vault.ask(id);
    const content = askScreen({
      ask,
      contract: vault.contract(ask.contract_id),
      domain: domainOf(ask.service_id),
      receipt: vault.history(ask.contract_id).find(({ event_id }) => event_id === ask.answer_event_id),
      ownPaths: new Set(vault.data().map(({ path }) => path)),
      others: vault
        .contracts()
        .filter(({ service_id, status }) => service_id !== ask.service_id && status === "active"),
      callRuns: callRuns(ask),
      needsResult: needsResult(ask),
      now: Date.now(),
      message,
    });
    return show(ask.service_name, content, `/asks/${id}`, {
      watch: id,
      ...(message === undefined ? {} : { status: 422 }),
    });
  };

  app.get("/asks/:id", (c) => showAsk(c.req.param("id")));

  app.get("/asks/:id/document", (c) => {
    const document = documentOf(vault.ask(c.req.param("id")));
    if (document === undefined) return c.notFound();
    // Someone else's bytes under this phone's address: to be saved, never to be run here.
    return new Response(new Uint8Array(document), {
      headers: {
        "content-type": "application/octet-stream",
        "content-disposition": 'attachment; filename="document"',
        "content-security-policy": "sandbox; default-src 'none'",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
      },
    });
  });

  app.post("/asks/:id/hang-up", async (c) => {
    const id = c.req.param("id");
    const { service_id } = vault.ask(id);
    const held = vault.holdings.get(CALLS, id, service_id) as { [name: string]: Json } | undefined;
    await vault.hangUp(id);
    if (held !== undefined) vault.holdings.put(CALLS, id, { ...held, status: "ended" }, service_id);
    return c.redirect(`/asks/${id}`, 303);
  });

  app.post("/notifications/:id/read", async (c) => {
    await vault.readNotification(c.req.param("id"));
    return c.redirect("/", 303);
  });

  app.post("/asks/:id/answer", async (c) => {
    const id = c.req.param("id");
    const ask = vault.ask(id);
    try {
      const { event_id } = await vault.answer(id, readAnswer(await formOf(c.req.raw), ask, needsResult(ask)));
      await vault.delivered(event_id, DELIVERY_WAIT_MS);
    } catch (error) {
      // Decided or withdrawn meanwhile, or not confirmed yet: the screen says so itself.
      const told = error instanceof VaultError && (error.code === "ask_closed" || error.code === "timeout");
      if (!told) return showAsk(id, sentence(error));
    }
    return c.redirect(`/asks/${id}`, 303);
  });

  // ---- connections

  const showConnection = async (contractId: string, message?: string): Promise<Response> => {
    const contract = vault.contract(contractId);
    const id = contract.contract_id;
    const record = contract.activated_at === undefined ? undefined : vault.record(id);
    const content = connectionScreen({
      contract,
      domain: domainOf(contract.service_id),
      record,
      verification: record && (await verifyContractRecord(record)),
      asks: vault.asks({ contractId: id }),
      receipts: vault.history(id),
      live: !isEnded(contract.status),
      agreed: isAgreed(id),
      now: Date.now(),
      message,
    });
    return show(contract.service_name, content, `/connections/${id}`, {
      watch: id,
      ...(message === undefined ? {} : { status: 422 }),
    });
  };

  /** Whether the change proposed to a contract waits for nothing but the service's word. */
  const isAgreed = (contractId: string): boolean =>
    vault.contracts().some(({ supersedes, status }) => supersedes === contractId && status === "pending");

  app.get("/connections/:id", (c) => showConnection(c.req.param("id")));

  app.get("/connections/:id/revoke", async (c) => {
    const contract = vault.contract(c.req.param("id"));
    if (isEnded(contract.status)) return c.redirect(`/connections/${contract.contract_id}`, 303);
    return show(
      `End the connection with ${contract.service_name}`,
      revokeScreen(contract),
      `/connections/${contract.contract_id}/revoke`,
    );
  });

  app.post("/connections/:id/revoke", async (c) => {
    const id = vault.contract(c.req.param("id")).contract_id;
    const reason = (await formOf(c.req.raw)).get("reason")?.trim();
    try {
      const { event_id } = await vault.revoke(id, reason || undefined);
      await vault.delivered(event_id, DELIVERY_WAIT_MS);
    } catch (error) {
      // It has ended here in any case; telling the service goes on by itself.
      if (!(error instanceof VaultError && (error.code === "timeout" || error.code === "contract_ended")))
        throw error;
    }
    return c.redirect(`/connections/${id}`, 303);
  });

  app.post("/connections/:id/update", async (c) => {
    const id = vault.contract(c.req.param("id")).contract_id;
    const form = await formOf(c.req.raw);
    const { proposal } = vault.contract(id);
    if (isAgreed(id)) return c.redirect(`/connections/${id}`, 303);
    // Another may have come since the screen was made: nobody agrees to what they were not shown.
    if (proposal === undefined || proposal.event_id !== form.get("proposal"))
      return showConnection(id, "The service has changed or withdrawn this meanwhile. Look at it again.");
    try {
      switch (form.get("decision")) {
        case "agree": {
          const next = await vault.acceptUpdate(id, { timeoutMs: CONNECT_WAIT_MS });
          return c.redirect(`/connections/${next.contract_id}`, 303);
        }
        case "decline": {
          const { event_id } = await vault.declineUpdate(id);
          await vault.delivered(event_id, DELIVERY_WAIT_MS);
          break;
        }
        default:
          return showConnection(id, "Nothing was decided: press one of the buttons.");
      }
    } catch (error) {
      // Declined here in any case; telling the service goes on by itself.
      if (!(error instanceof VaultError && error.code === "timeout"))
        return showConnection(id, sentence(error));
    }
    return c.redirect(`/connections/${id}`, 303);
  });

  app.get("/connections/:id/take-back/:capability", async (c) => {
    const contract = vault.contract(c.req.param("id"));
    const id = contract.contract_id;
    const capability = c.req.param("capability");
    if (isEnded(contract.status) || !contract.capabilities.includes(capability))
      return c.redirect(`/connections/${id}`, 303);
    return show(
      `Take back from ${contract.service_name}`,
      takeBackScreen(contract, capability),
      `/connections/${id}/take-back/${capability}`,
    );
  });

  app.post("/connections/:id/take-back/:capability", async (c) => {
    const { contract_id: id, capabilities } = vault.contract(c.req.param("id"));
    const capability = c.req.param("capability");
    // Pressed twice: it is gone already.
    if (!capabilities.includes(capability)) return c.redirect(`/connections/${id}`, 303);
    try {
      const { event_id } = await vault.revokeCapabilities(id, [capability]);
      await vault.delivered(event_id, DELIVERY_WAIT_MS);
    } catch (error) {
      // It is taken back here in any case; telling the service goes on by itself.
      if (!(error instanceof VaultError && error.code === "timeout")) throw error;
    }
    return c.redirect(`/connections/${id}`, 303);
  });

  app.notFound(() =>
    show(
      "Not here",
      messageScreen("There is nothing here", "What you looked for may have been removed."),
      "/",
      {
        status: 404,
      },
    ),
  );
  app.onError((error) => {
    if (!(error instanceof VaultError)) throw error;
    const status = error.code === "ask_unknown" || error.code === "contract_unknown" ? 404 : 409;
    return show("That did not work", messageScreen("That did not work", error.message), "/", { status });
  });
  return app;
}

function readAnswer(form: URLSearchParams, ask: Ask, needsResult: boolean): Answer {
  switch (form.get("decision")) {
    case "decline":
      return { decision: "denied" };
    case "not_me":
      return { decision: "denied", report: true };
    case "approve":
      break;
    default:
      throw new VaultError("answer_invalid", "Nothing was decided: press one of the buttons.");
  }
  const code = form.get("match_code")?.trim();
  const hold = Number(form.get("hold") ?? "");
  const chosen = readChoices(form, ask);
  return {
    decision: "approved",
    ...(code ? { match_code: code } : {}),
    ...(hold > 0 ? { valid_until: toTimestamp(Date.now() + hold * 1_000) } : {}),
    ...(chosen === undefined ? {} : { choices: chosen }),
    ...readResult(form, ask, needsResult),
  };
}

function readChoices(form: URLSearchParams, ask: Ask): { [name: string]: Json } | undefined {
  if (ask.kind === "data" && ask.operation === "request")
    return { paths: form.getAll("path"), share: form.get("share") ?? "once" };
  if (ask.kind === "collaboration" && ask.operation === "connections")
    return { services: form.getAll("service") };
  if (ask.kind === "presence") return { available: form.get("available") !== "no" };
  return undefined;
}

/** A result where no handler makes one: what the person wrote, or the empty one where that will do. */
function readResult(form: URLSearchParams, ask: Ask, needsResult: boolean): { result?: Json } {
  if (needsResult) {
    try {
      return { result: JSON.parse(form.get("result") ?? "") as Json };
    } catch {
      throw new VaultError("answer_invalid", "What you answer with is not JSON.");
    }
  }
  const wanted = operationOfAsk(ask)?.result;
  const handled = new Handlers().of(ask.kind)?.answer !== undefined;
  return wanted === undefined || handled ? {} : { result: {} };
}

const formOf = async (request: Request): Promise<URLSearchParams> =>
  new URLSearchParams(await request.text());

/** The person's own data that is text, to fill in forms with. */
const ownWords = (vault: UserVault): ReadonlyMap<string, string> =>
  new Map(
    vault.data().flatMap(({ path, value }) => (typeof value === "string" ? [[path, value] as const] : [])),
  );

/** Errors of the library are written for people; anything else is not theirs to see. */
function sentence(error: unknown): string {
  if (error instanceof VaultError) return error.message;
  throw error;
}
