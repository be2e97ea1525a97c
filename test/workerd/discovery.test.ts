// The domain and the registries, as the Directory deals with them: what resolvers and registries say, what is told
// and carried in the offer because of it, and what happens when they are away or lie.

import { reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { DIRECTORY_NAME, type Directory } from "../../durable-objects/directory/directory.ts";
import { RETRY_MS as REGISTRY_RETRY_MS } from "../../durable-objects/directory/registries.ts";
import { configOf } from "../../src/config.ts";
import { signAttestation, verifyRegistration } from "../../src/contracts/attestation.ts";
import { domainRecordName, domainRecordText } from "../../src/contracts/domain.ts";
import { importSigningKey, type SigningKey } from "../../src/crypto/signing.ts";
import { RECHECK_MS, RETRY_MS, UNCONFIRMED_MS } from "../../src/discovery/domain-state.ts";
import { directoryOf } from "../../src/http/objects.ts";
import { toBase58 } from "../../src/protocol/encoding.ts";
import { randomBytes } from "../../src/protocol/ids.ts";
import type { Attestation } from "../../src/protocol/offer.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { REGISTRY_DOCUMENT_PATH } from "../../src/protocol/registry.ts";
import type { RegistryControl, ResolverControl } from "../discovery-setup.ts";
import { type Body, call } from "../support/worker.ts";

const DOMAIN = "shop.example";
const NAME = domainRecordName(DOMAIN);
const DAY_MS = 24 * 3_600_000;

const stub = () => env.DIRECTORY.getByName(DIRECTORY_NAME);
const later = (ms: number) => vi.setSystemTime(Date.now() + ms);

async function resolversSay(...controls: ResolverControl[]): Promise<void> {
  await fetch(inject("resolverControl"), { method: "PUT", body: JSON.stringify(controls) });
}

async function record(): Promise<string> {
  const { signingKey, serviceId } = await configOf(env);
  return domainRecordText({ serviceId, publicKey: signingKey.publicKeyText });
}

/** Both resolvers see these TXT records. */
const dnsSays = (...texts: string[]) => {
  const zone = texts.length === 0 ? {} : { [NAME]: texts };
  return resolversSay({ zone }, { zone });
};

async function post(path: string, body?: unknown, headers?: Record<string, string>): Promise<Body> {
  const answer = await call("POST", `/api/v1/${path}`, {
    ...(body === undefined ? {} : { body }),
    ...(headers === undefined ? {} : { headers }),
  });
  return { status: answer.status, ...answer.body };
}
const get = async (path: string): Promise<Body> => (await call("GET", `/api/v1/${path}`)).body;

const domainEvents = async (): Promise<Body[]> =>
  (await get("events")).events.filter(({ type }: Body) => type.startsWith("domain."));

/** The alarm, and whatever it has begun. */
async function wake(): Promise<void> {
  const before = await chainLength();
  await runDurableObjectAlarm(stub());
  await expect.poll(chainLength).toBeGreaterThan(before);
}
const chainLength = () =>
  runInDurableObject(
    stub(),
    (_: Directory, state) => state.storage.sql.exec("SELECT count(*) AS n FROM audit").one().n as number,
  );

const leftovers = () =>
  runInDurableObject(
    stub(),
    (_: Directory, state) =>
      state.storage.sql.exec("SELECT 1 FROM domain UNION ALL SELECT 1 FROM registries").toArray().length,
  );

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  await dnsSays();
  // The journal, told of an event, asks the Directory for the endpoints by itself: if that call comes in the middle of
  // the reset, what is deleted is opened again.
  await expect
    .poll(async () => {
      const left = await leftovers();
      if (left > 0) await reset();
      return left;
    })
    .toBe(0);
});
afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

describe("a domain", () => {
  it("is a claim until it is looked at, then verified, and told once", async () => {
    const { record: wanted, ...unchecked } = await get("domain");
    expect(unchecked).toEqual({ domain: DOMAIN, status: "unchecked", verified: false });
    expect(wanted).toEqual({ type: "TXT", name: NAME, value: await record() });
    expect((await directoryOf(env).offer()).domain).toBe(DOMAIN);

    await dnsSays("v=spf1 -all", "service_id=someone-else;key=00", await record());
    expect(await post("domain/verify")).toMatchObject({
      status: "verified",
      verified: true,
      last_check: { outcome: "verified", lookups: [{ outcome: "verified" }, { outcome: "verified" }] },
    });
    await post("domain/verify");
    expect(await get("info")).toMatchObject({ domain: DOMAIN, domain_verified: true });
    await expect.poll(domainEvents).toMatchObject([{ type: "domain.verified", data: { domain: DOMAIN } }]);
    expect((await domainEvents())[0]).not.toHaveProperty("user_id");
  });

  it.each([
    ["does not exist", "no_record", () => dnsSays()],
    ["says something else", "no_record", () => dnsSays("v=spf1 -all")],
    [
      "names another service",
      "wrong_record",
      () => dnsSays(`service_id=${toBase58(randomBytes(32))};key=ab`),
    ],
    [
      "names the service with another key",
      "wrong_record",
      async () => dnsSays((await record()).replace(/key=.*/, `key=${"0".repeat(64)}`)),
    ],
  ])("whose record %s is unproven, and leaves the offer", async (_what, outcome, prepare) => {
    await prepare();
    expect(await post("domain/verify")).toMatchObject({ status: "unproven", last_check: { outcome } });
    expect(await directoryOf(env).offer()).not.toHaveProperty("domain");
    expect(await domainEvents()).toEqual([]);
    await dnsSays(await record());
    expect(await post("domain/verify")).toMatchObject({ status: "verified" });
    expect((await directoryOf(env).offer()).domain).toBe(DOMAIN);
  });

  it("is looked at each day, and a lapse is told and leaves the offer", async () => {
    await dnsSays(await record());
    await post("domain/verify");
    later(RECHECK_MS);
    await wake();
    expect(await get("domain")).toMatchObject({ status: "verified", confirmed_at: toTimestamp(Date.now()) });
    await dnsSays();
    later(RECHECK_MS);
    await wake();
    expect(await get("domain")).toMatchObject({ status: "lapsed", lapsed_at: toTimestamp(Date.now()) });
    expect(await get("info")).toMatchObject({ domain_verified: false });
    expect(await directoryOf(env).offer()).not.toHaveProperty("domain");
    await expect
      .poll(async () => (await domainEvents()).map(({ type }) => type))
      .toEqual(["domain.verified", "domain.lapsed"]);
    const audit = await get("audit?operation=domain.checked");
    expect(audit.entries.map((entry: Body) => entry.response_summary.status)).toEqual([
      "verified",
      "verified",
      "lapsed",
    ]);
  });

  it("stays verified while resolvers are away, for three days", async () => {
    await dnsSays(await record());
    await post("domain/verify");
    await resolversSay({ fault: { status: 500 } }, { fault: { code: 2 } });
    later(RECHECK_MS);
    await wake();
    const view = await get("domain");
    expect(view).toMatchObject({
      status: "verified",
      last_check: {
        outcome: "unresolved",
        lookups: [{ outcome: "failed", detail: "answered 500" }, { outcome: "failed" }],
      },
      next_check_at: toTimestamp(Date.now() + RETRY_MS),
    });
    later(UNCONFIRMED_MS);
    await wake();
    expect(await get("domain")).toMatchObject({ status: "lapsed" });
  });

  it("is not decided by one resolver of two", async () => {
    await resolversSay({ zone: { [NAME]: [await record()] } }, { zone: {} });
    expect(await post("domain/verify")).toMatchObject({
      status: "unchecked",
      last_check: { outcome: "unresolved" },
    });
    await resolversSay({ zone: { [NAME]: [await record()] } }, { fault: { text: "<html>" } });
    expect(await post("domain/verify")).toMatchObject({
      status: "unchecked",
      last_check: { lookups: [{ outcome: "verified" }, { detail: "did not answer with JSON" }] },
    });
  });

  it("tells its event after a crash that came before the journal had it", async () => {
    await dnsSays(await record());
    await post("domain/verify");
    await expect.poll(domainEvents).toHaveLength(1);
    // As it is after a crash between the journal's commit and ours: the event is still there to be sent.
    const [event] = await domainEvents();
    await runInDurableObject(stub(), (_: Directory, state) =>
      state.storage.sql.exec(
        "INSERT INTO announcements (event_id, at, body) VALUES (?, 0, ?)",
        event.event_id,
        JSON.stringify(event),
      ),
    );
    await runDurableObjectAlarm(stub());
    const left = () =>
      runInDurableObject(
        stub(),
        (_: Directory, state) => state.storage.sql.exec("SELECT 1 FROM announcements").toArray().length,
      );
    await expect.poll(left).toBe(0);
    expect(await domainEvents()).toHaveLength(1);
  });
});

describe("a registry", () => {
  let key: SigningKey;
  const host = () => new URL(inject("registry")).host;
  const url = () => inject("registry");

  async function attestation(change: Partial<Attestation> = {}): Promise<Attestation> {
    const now = Date.now();
    return signAttestation(key, {
      registry: host(),
      service_id: inject("serviceId"),
      statement: "Company checked",
      issued_at: toTimestamp(now),
      expires_at: toTimestamp(now + 10 * DAY_MS),
      ...change,
    });
  }
  const document = () => ({ body: { v: 1, registry: host(), registry_key: key.publicKeyText } });
  const registrySays = (control: RegistryControl) =>
    fetch(`${url()}/control/registry`, { method: "PUT", body: JSON.stringify(control) });
  const attests = async (change: Partial<Attestation> = {}) =>
    registrySays({
      document: document(),
      registration: { body: { status: "attested", attestation: await attestation(change) } },
    });
  const carried = async () => (await directoryOf(env).offer()).attestations;

  beforeEach(async () => {
    key = await importSigningKey(randomBytes(32));
  });

  it("gets a signed registration, and its word is carried until it expires", async () => {
    await attests();
    const added = await post("registries", { url: url() });
    expect(added).toMatchObject({
      status: "attested",
      registry: host(),
      registry_key: key.publicKeyText,
      attestation: { statement: "Company checked" },
    });
    const [sent] = (await (await fetch(`${url()}/control/registry`)).json()) as unknown[];
    expect(await verifyRegistration(sent, { registry: host(), now: Date.now() })).toMatchObject({
      ok: true,
      value: { service_id: inject("serviceId"), vault_url: "https://vault.example.com" },
    });
    expect(await verifyRegistration(sent, { registry: "other.example", now: Date.now() })).toMatchObject({
      error: "other_registry",
    });
    expect(await carried()).toMatchObject([{ registry: host(), statement: "Company checked" }]);

    await registrySays({});
    later(8 * DAY_MS);
    await wake();
    expect((await get("registries")).registries).toMatchObject([
      { status: "failing", detail: "the registry cannot be reached", attestation: { registry: host() } },
    ]);
    expect(await carried()).toHaveLength(1);
    later(2 * DAY_MS);
    expect((await get("registries")).registries[0]).toMatchObject({ status: "expired" });
    expect((await get("registries")).registries[0]).not.toHaveProperty("attestation");
    expect(await carried()).toEqual([]);
  });

  it("is asked again in time, and its new word takes the place of the old", async () => {
    await attests();
    await post("registries", { url: url() });
    later(7 * DAY_MS);
    await attests({ statement: "Company checked again" });
    await wake();
    expect(await carried()).toMatchObject([{ statement: "Company checked again" }]);
  });

  it("that has yet to look is asked each hour; the same call asks at once", async () => {
    await registrySays({
      document: document(),
      registration: { status: 202, body: { status: "pending" } },
    });
    const added = await post("registries", { url: url() });
    expect(added).toMatchObject({ status: "pending" });
    expect(await carried()).toEqual([]);
    await attests();
    later(REGISTRY_RETRY_MS);
    await wake();
    expect(await carried()).toHaveLength(1);
    await attests({ statement: "Now" });
    expect(await post("registries", { url: url() })).toMatchObject({
      registry_id: added.registry_id,
      attestation: { statement: "Now" },
    });
    expect((await get("registries")).registries).toHaveLength(1);
  });

  it("that refuses takes its word back at once", async () => {
    await attests();
    await post("registries", { url: url() });
    expect(await carried()).toHaveLength(1);
    await registrySays({ document: document(), registration: { status: 403, body: {} } });
    expect(await post("registries", { url: url() })).toMatchObject({
      status: "refused",
      detail: "the registry refused with 403",
    });
    expect(await carried()).toEqual([]);
  });

  it.each([
    ["is away", async () => registrySays({}), "the registry cannot be reached"],
    [
      "has no document",
      async () => registrySays({ document: { status: 404, body: {} } }),
      `there is no registry's document at ${REGISTRY_DOCUMENT_PATH}`,
    ],
    [
      "names another registry",
      async () =>
        registrySays({
          document: { body: { v: 1, registry: "other.example", registry_key: key.publicKeyText } },
        }),
      "the registry's document names another registry",
    ],
    [
      "attests to another service",
      async () => attests({ service_id: toBase58(randomBytes(32)) }),
      "its attestation does not verify (other_service)",
    ],
    [
      "attests in another's name",
      async () => attests({ registry: "other.example" }),
      "its attestation does not verify (other_registry)",
    ],
    [
      "attests what has expired",
      async () => attests({ expires_at: toTimestamp(Date.now() - 1) }),
      "its attestation does not verify (expired)",
    ],
    [
      "attests for longer than a year",
      async () => attests({ expires_at: toTimestamp(Date.now() + 400 * DAY_MS) }),
      "its attestation does not verify (too_long)",
    ],
    [
      "attests with a key that is not its own",
      async () => {
        const body = { status: "attested", attestation: await attestation() };
        key = await importSigningKey(randomBytes(32));
        return registrySays({ document: document(), registration: { body } });
      },
      "its attestation does not verify (other_key)",
    ],
    [
      "attests what was changed after it was signed",
      async () =>
        registrySays({
          document: document(),
          registration: {
            body: { status: "attested", attestation: { ...(await attestation()), statement: "Anything" } },
          },
        }),
      "its attestation does not verify (signature_invalid)",
    ],
    [
      "answers in another form",
      async () => registrySays({ document: document(), registration: { body: { status: "fine" } } }),
      "the registry did not answer in the agreed form",
    ],
  ])("that %s is failing, and says nothing in the offer", async (_what, prepare, detail) => {
    await prepare();
    expect(await post("registries", { url: url() })).toMatchObject({ status: "failing", detail });
    expect(await carried()).toEqual([]);
  });

  it("whose key changes is not believed, and what it said before holds", async () => {
    await attests();
    await post("registries", { url: url() });
    key = await importSigningKey(randomBytes(32));
    await attests({ statement: "Forged" });
    expect(await post("registries", { url: url() })).toMatchObject({
      status: "failing",
      attestation: { statement: "Company checked" },
    });
    expect(
      (await call("POST", "/api/v1/registries", { body: { url: url(), registry_key: key.publicKeyText } }))
        .status,
    ).toBe(409);
  });

  it("with a key known from elsewhere must have that key", async () => {
    await attests();
    const other = await importSigningKey(randomBytes(32));
    const refused = await post("registries", { url: url(), registry_key: other.publicKeyText });
    expect(refused).toMatchObject({ status: "failing" });
    expect(refused.detail).toContain("another key");
  });

  it("leaves the offer when it is deleted", async () => {
    await attests();
    const { registry_id } = await post("registries", { url: url() });
    expect((await call("DELETE", `/api/v1/registries/${registry_id}`)).body).toEqual({
      registry_id,
      status: "deleted",
    });
    expect(await carried()).toEqual([]);
    expect((await call("DELETE", `/api/v1/registries/${registry_id}`)).status).toBe(404);
  });

  it.each([
    ["ftp://registry.example", "must be an https URL"],
    ["http://registry.example", "must be an https URL"],
    ["https://10.0.0.1", "must not name an address that is private, local or reserved"],
    ["https://registry.example/path", "must be an origin without a path, as https://registry.example"],
    ["https://vault.example.com", "must not be this vault itself"],
  ])("at %s is refused: it %s", async (address, message) => {
    const refused = await call("POST", "/api/v1/registries", { body: { url: address } });
    expect(refused.status).toBe(400);
    expect(refused.body.details).toEqual([{ path: "url", message }]);
    expect((await get("registries")).registries).toEqual([]);
  });

  it("is added once, however often the call is repeated", async () => {
    await attests();
    const first = await post("registries", { url: url() }, { "idempotency-key": "add-1" });
    const again = await post("registries", { url: url() }, { "idempotency-key": "add-1" });
    expect(again.registry_id).toBe(first.registry_id);
    expect((await get("registries")).registries).toHaveLength(1);
  });
});
