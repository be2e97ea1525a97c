// What a user's vault asks of a service over HTTPS: the offer, credentials for its cluster, and, when NATS cannot be
// reached, to take a revocation (PROTOCOL §5). Everything else travels sealed over NATS.

import { z } from "zod";
import {
  contractId,
  type LastingCredentialsRequest,
  type NatsCredentials,
  natsCredentials,
  type Revocation,
  type SetupCredentialsRequest,
} from "../../src/protocol/contract.ts";
import { type Json, parseJson } from "../../src/protocol/json.ts";
import {
  REGISTRY_DOCUMENT_PATH,
  type RegistryDocument,
  registryDocument,
} from "../../src/protocol/registry.ts";
import { checkTarget } from "../../src/webhooks/target.ts";
import { VaultError } from "./errors.ts";

/** Longest a call may take. */
const CALL_TIMEOUT_MS = 10_000;
/** Largest body taken from a service; an offer with every field at its limit is smaller. */
const MAX_BODY_BYTES = 2_000_000;
const JSON_TYPE = "application/json";

/** The part of `fetch` that is used; tests and platforms bring their own. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** Readers are lenient about fields they do not know: the service may be newer. */
const credentialsAnswer = z.object(natsCredentials.shape).extend({ inbox_prefix: z.string().optional() });
const connectedAnswer = z.object({ contract_id: contractId });
const problemAnswer = z.object({
  code: z.string().max(64).optional(),
  detail: z.string().max(1_000).optional(),
});

export type SetupAnswer =
  | { outcome: "credentials"; credentials: NatsCredentials; inboxPrefix?: string }
  /** There is an active contract for what the invite offers. */
  | { outcome: "connected"; contractId: string };

export class ServiceHttp {
  readonly #fetch: Fetch;

  constructor(fetcher: Fetch) {
    this.#fetch = fetcher;
  }

  /** The offer behind an invite, as the service sent it: to be verified. */
  offer(origin: string, code: string): Promise<Json> {
    return this.#call(origin, `/connect/${code}`, undefined);
  }

  async setupCredentials(origin: string, code: string, body: SetupCredentialsRequest): Promise<SetupAnswer> {
    const answer = await this.#call(origin, `/connect/${code}/credentials`, body);
    const connected = connectedAnswer.safeParse(answer);
    if (connected.success) return { outcome: "connected", contractId: connected.data.contract_id };
    const { inbox_prefix: inboxPrefix, ...credentials } = readAs(credentialsAnswer, answer, "credentials");
    return { outcome: "credentials", credentials, ...(inboxPrefix === undefined ? {} : { inboxPrefix }) };
  }

  async renewCredentials(origin: string, body: LastingCredentialsRequest): Promise<NatsCredentials> {
    const answer = readAs(
      credentialsAnswer,
      await this.#call(origin, "/connect/credentials", body),
      "credentials",
    );
    return { endpoint: answer.endpoint, user_jwt: answer.user_jwt, expires_at: answer.expires_at };
  }

  async revoke(origin: string, revocation: Revocation): Promise<void> {
    await this.#call(origin, "/connect/revoke", revocation);
  }

  /**
   * Who a registry says it is; undefined when it does not say. Its name comes from an offer, so it may be anything:
   * names and addresses of private networks are not called, but for this machine's own where the vault is there, too.
   */
  async registry(name: string, isLocal: boolean): Promise<RegistryDocument | undefined> {
    const scheme = isLocal && /^(?:127\.0\.0\.1|localhost)(?::|$)/.test(name) ? "http" : "https";
    const target = checkTarget(`${scheme}://${name}${REGISTRY_DOCUMENT_PATH}`, {
      allowLocal: isLocal,
      ownOrigin: "",
    });
    if (!target.ok || target.value.host !== name) return undefined;
    try {
      const answer = await this.#call(target.value.origin, REGISTRY_DOCUMENT_PATH, undefined);
      const parsed = registryDocument.safeParse(answer);
      return parsed.success ? parsed.data : undefined;
    } catch {
      return undefined;
    }
  }

  async #call(origin: string, path: string, body: object | undefined): Promise<Json> {
    const where = `${new URL(origin).host}${path.startsWith("/connect/") ? "" : path}`;
    let response: Response;
    let bytes: Uint8Array;
    try {
      response = await this.#fetch(`${origin}${path}`, {
        method: body === undefined ? "GET" : "POST",
        headers: { accept: JSON_TYPE, ...(body === undefined ? {} : { "content-type": JSON_TYPE }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        // The link names the vault; being sent elsewhere is not part of the agreement.
        redirect: "error",
        signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
      });
      bytes = await readBounded(response);
    } catch (error) {
      if (error instanceof VaultError) throw error;
      throw new VaultError("service_unreachable", `${where} cannot be reached: ${reasonOf(error)}`, {
        cause: error,
      });
    }
    const json = parseJson(bytes);
    if (!response.ok) {
      const told = problemAnswer.safeParse(json.ok ? json.value : {});
      const { code, detail } = told.success ? told.data : {};
      const problem = { status: response.status, ...(code === undefined ? {} : { code }) };
      throw new VaultError(
        response.status >= 500 || response.status === 429 ? "service_unreachable" : "service_refused",
        `${where} answered ${response.status}${detail === undefined ? "" : `: ${detail}`}`,
        { problem },
      );
    }
    if (!json.ok)
      throw new VaultError(
        "service_refused",
        `${where} did not answer with JSON of the protocol (${json.error}).`,
      );
    return json.value;
  }
}

function readAs<T>(schema: z.ZodType<T>, value: Json, what: string): T {
  const parsed = schema.safeParse(value);
  if (!parsed.success)
    throw new VaultError("service_refused", `The service's ${what} are not of the agreed form.`);
  return parsed.data;
}

async function readBounded(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES)
      throw new VaultError("service_refused", `The service's answer is larger than ${MAX_BODY_BYTES} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** undici hides the reason ("ECONNREFUSED") in the cause. */
function reasonOf(error: unknown): string {
  const cause = (error as { cause?: unknown }).cause;
  const told = cause instanceof Error ? cause : error;
  const { code, message } = told as { code?: unknown; message?: string };
  return typeof code === "string" ? code : (message ?? String(told));
}
