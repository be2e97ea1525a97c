// Calls and what users say, in the user's object: what time and other hands do to them.

import { abortAllDurableObjects, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, inject, it } from "vitest";
import type { UserConnection } from "../../durable-objects/user-connection/user-connection.ts";
import { directoryOf, userConnectionOf } from "../../src/http/objects.ts";
import type { RequestPayload } from "../../src/protocol/asking.ts";
import type { Json } from "../../src/protocol/json.ts";
import type { RequestView } from "../../src/rpc.ts";
import type { Peer } from "../support/peer.ts";
import { connectedPeer, deliver } from "../support/worker.ts";

const serviceId = inject("serviceId");
const KEY = "testkey00001";
const CALLS = ["text_chat", "voice_call", "video_call"].map((capability) => ({
  capability,
  description: `May use ${capability}`,
  requires_approval_each_use: true,
}));

afterEach(() => reset());

const object = (peer: Peer) => userConnectionOf(env, peer.id);
const stub = (peer: Peer) => env.USER_CONNECTION.getByName(peer.id);
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const caller = () => connectedPeer({ capabilities: CALLS });

/** Runs SQL in the object: how tests make time pass. */
const sql = (peer: Peer, query: string, ...bindings: (string | number)[]) =>
  runInDurableObject(stub(peer), (_: UserConnection, state) =>
    state.storage.sql.exec(query, ...bindings).toArray(),
  );

async function ring(peer: Peer, type = "text", seconds = 60): Promise<RequestView> {
  const asked = await object(peer).ask({
    userId: peer.id,
    kind: "call",
    operation: "initiate",
    input: { type },
    expiresInSeconds: seconds,
    offlineGraceSeconds: 0,
    keyId: KEY,
  });
  if (!asked.ok) throw new Error(asked.error.detail);
  return asked.value;
}

const say = async (peer: Peer, type: string, payload: Json, ref?: string) =>
  deliver(peer, await peer.message(serviceId, type, payload, ref === undefined ? {} : { ref }));

async function talk(peer: Peer, type = "text"): Promise<RequestView> {
  const call = await ring(peer, type);
  const answer = await peer.answer(call.request_payload as RequestPayload, serviceId, { result: {} });
  await say(peer, "call.response", answer as unknown as Json, call.request_id);
  return call;
}

const stateOf = async (peer: Peer, call: RequestView) => {
  const view = await object(peer).request(call.request_id, KEY);
  return view.ok ? (view.value.state as { status: string }) : undefined;
};
const act = (peer: Peer, call: RequestView, action: string, input: unknown) =>
  object(peer).act({ requestId: call.request_id, path: "call", action, input, keyId: KEY });
const said = async (peer: Peer, call: RequestView) => {
  const read = await object(peer).said({ requestId: call.request_id, after: 0, limit: 100, keyId: KEY });
  return read.ok ? read.value : [];
};
const operations = async (peer: Peer): Promise<string[]> => {
  const page = await object(peer).audit({ limit: 100 });
  return page.ok ? page.value.items.map(({ operation }) => operation) : [];
};

describe("a call", () => {
  it("travels with its own id as its ref", async () => {
    const peer = await caller();
    const call = await ring(peer);
    const [row] = await sql(peer, "SELECT event_type, ref FROM outgoing WHERE event_id = ?", call.request_id);
    expect(row).toEqual({ event_type: "call.initiate", ref: call.request_id });
  });

  it("nobody answers is missed when its time is over, once", async () => {
    const peer = await caller();
    const call = await ring(peer, "voice", 1);
    await sleep(1_100);
    await runDurableObjectAlarm(stub(peer));
    await runDurableObjectAlarm(stub(peer));
    expect(await stateOf(peer, call)).toMatchObject({ status: "missed" });
    expect((await operations(peer)).filter((name) => name === "request.expire")).toHaveLength(1);
  });

  it("keeps what was said wrapped, through a restart, and destroys it at its end", async () => {
    const peer = await caller();
    const call = await talk(peer);
    await say(peer, "call.signal", { signal: "a-signal-to-search-for" }, call.request_id);
    await say(peer, "chat.message", { text: "a-line", sent_at: new Date().toISOString() }, call.request_id);
    await abortAllDurableObjects();
    expect(await said(peer, call)).toMatchObject([{ signal: "a-signal-to-search-for" }, { text: "a-line" }]);
    const rows = await sql(peer, "SELECT content FROM kept");
    for (const { content } of rows)
      expect(new TextDecoder().decode(content as ArrayBuffer)).not.toContain("a-signal");
    expect(await act(peer, call, "end", {})).toMatchObject({ ok: true });
    expect((await said(peer, call)).map(({ type }) => type)).toEqual(["chat.message"]);

    await sql(peer, "UPDATE kept SET until = ?", Date.now() - 1);
    await sql(peer, "UPDATE outgoing SET next_send_at = NULL");
    await runDurableObjectAlarm(stub(peer));
    expect(await said(peer, call)).toEqual([]);
    expect(await operations(peer)).toEqual(
      expect.arrayContaining(["call.signal", "chat.message", "call.read", "call.end", "kept.destroy"]),
    );
  });

  it("ends with the contract, and what was said with it", async () => {
    const peer = await caller();
    const call = await talk(peer);
    await say(peer, "chat.message", { text: "a-line", sent_at: new Date().toISOString() }, call.request_id);
    expect(await object(peer).cancelContract(peer.contractId!, undefined, KEY)).toMatchObject({ ok: true });
    expect(await stateOf(peer, call)).toMatchObject({ status: "ended" });
    expect(await sql(peer, "SELECT n FROM kept")).toEqual([]);
    expect(await act(peer, call, "signal", { signal: 1 })).toMatchObject({
      ok: false,
      error: { code: "contract_required" },
    });
  });

  it("is not signalled under another user's id, nor ticketed when it is none or over", async () => {
    const peer = await caller();
    const call = await talk(peer);
    const other = await caller();
    expect(await act(other, call, "signal", { signal: 1 })).toMatchObject({ error: { code: "not_found" } });
    expect(await object(other).callTicket(call.request_id, KEY)).toMatchObject({
      error: { code: "not_found" },
    });
    await act(peer, call, "end", {});
    expect(await object(peer).callTicket(call.request_id, KEY)).toMatchObject({
      error: { code: "conflict" },
    });
  });

  it("has so many tickets at once, each stored as a hash and good for its time", async () => {
    const peer = await caller();
    const call = await talk(peer);
    const first = await object(peer).callTicket(call.request_id, KEY);
    if (!first.ok) throw new Error(first.error.detail);
    const [stored] = await sql(peer, "SELECT hash FROM tickets");
    expect(stored?.hash).not.toBe(first.value.ticket);
    for (let n = 1; n < 8; n++)
      expect(await object(peer).callTicket(call.request_id, KEY)).toMatchObject({ ok: true });
    expect(await object(peer).callTicket(call.request_id, KEY)).toMatchObject({
      error: { code: "rate_limited" },
    });
    await sql(peer, "UPDATE tickets SET until = ?", Date.now() - 1);
    const late = await stub(peer).fetch(
      `https://object/${call.request_id}?ticket=${first.value.ticket}&after=0`,
      {
        headers: { upgrade: "websocket" },
      },
    );
    expect(late).toMatchObject({ status: 400, webSocket: null });
    expect(await late.json()).toMatchObject({ code: "forbidden" });
    expect(await object(peer).callTicket(call.request_id, KEY)).toMatchObject({ ok: true });
  });
});

describe("what users say of their own accord", () => {
  it("is refused under a paused contract, and gone with an ended one", async () => {
    const peer = await caller();
    await directoryOf(env).putManifest(
      { capabilities: [], event_handlers: [{ event_type: "left", description: "Left" }], plans: [] },
      { keyId: KEY },
    );
    await say(peer, "call.request", { purpose: "Help", type: "voice" });
    const waiting = await object(peer).userEvents({ limit: 10 });
    if (!waiting.ok) throw new Error(waiting.error.detail);
    expect(waiting.value.items).toMatchObject([{ type: "call.request" }]);
    const id = waiting.value.items[0]!.event_id;
    const read = await object(peer).userEvent(id, KEY);
    expect(read).toMatchObject({ ok: true, value: { content: { purpose: "Help", type: "voice" } } });

    await object(peer).pauseContract(peer.contractId!, undefined, KEY);
    await say(peer, "events.left", { data: {} });
    await say(peer, "call.request", { purpose: "Help", type: "voice" });
    expect(await object(peer).userEvents({ limit: 10 })).toMatchObject({
      value: { items: [{ event_id: id }] },
    });

    await object(peer).cancelContract(peer.contractId!, undefined, KEY);
    expect(await object(peer).userEvent(id, KEY)).toMatchObject({ error: { code: "not_found" } });
  });

  it("is destroyed soon after it was read", async () => {
    const peer = await caller();
    await say(peer, "call.request", { purpose: "Help", type: "text" });
    const waiting = await object(peer).userEvents({ limit: 10 });
    const id = waiting.ok ? waiting.value.items[0]!.event_id : "";
    await object(peer).userEvent(id, KEY);
    await sql(peer, "UPDATE kept SET until = ?", Date.now() - 1);
    expect(await object(peer).userEvent(id, KEY)).toMatchObject({ error: { code: "not_found" } });
    await runDurableObjectAlarm(stub(peer));
    expect(await sql(peer, "SELECT n FROM kept")).toEqual([]);
  });
});
