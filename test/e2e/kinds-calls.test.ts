// Calls, chats and what users say of their own accord, whole: HTTPS, WebSocket, both clusters and the user's vault.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Backend, LOGIN_OFFERING } from "../../scripts/stack/backend.ts";
import { type Stack, startStack, waitUntilReady } from "../../scripts/stack/stack.ts";
import type { VaultEvent } from "../../sdk/user-vault/index.ts";
import { verifyApproval } from "../../src/requests/lifecycle.ts";
import { Person, PROFILE } from "./support/person.ts";

const POLL = { timeout: 10_000, interval: 50 };

const offeringOf = (capabilities: string[]) => ({
  ...LOGIN_OFFERING,
  capabilities: capabilities.map((capability) => ({
    capability,
    description: `May use ${capability}`,
    requires_approval_each_use: true,
  })),
});

let dir: string;
let stack: Stack;
let backend: Backend;
const people: Person[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "calls-"));
  stack = await startStack({ dir });
  backend = new Backend(stack.baseUrl, stack.adminApiKey);
  await backend.expect(200, "PUT", "manifest", {
    capabilities: [],
    event_handlers: [{ event_type: "basket_left", description: "A basket was left behind" }],
    plans: [],
  });
});

afterAll(async () => {
  for (const person of people) await person.gone();
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
});

interface Connected {
  person: Person;
  userId: string;
  contractId: string;
  heard: Extract<VaultEvent, { type: "heard" }>[];
}

async function connected(capabilities = ["text_chat", "voice_call", "video_call"]): Promise<Connected> {
  const { invite_url } = await backend.invite("support", offeringOf(capabilities));
  const person = await Person.online(stack, () => "later");
  people.push(person);
  const heard: Connected["heard"] = [];
  person.vault.on((event) => {
    if (event.type === "heard") heard.push(event);
  });
  const contract = await person.vault.connect(invite_url, { profile: PROFILE });
  return { person, userId: contract.user_id, contractId: contract.contract_id, heard };
}

const initiate = (userId: string, more: Record<string, unknown> = {}) =>
  backend.expect(202, "POST", "call/initiate", { user_id: userId, type: "voice", ...more });

const callView = (id: string) => backend.expect(200, "GET", `call/${id}`);
const said = async (id: string, after = 0) =>
  (await backend.expect(200, "GET", `call/${id}/signals?after=${after}`)).signals;

/** Rings until the person's vault shows it. */
async function ringing({ person, userId }: Connected, more: Record<string, unknown> = {}): Promise<string> {
  const { call_id, request_id } = await initiate(userId, more);
  expect(call_id).toBe(request_id);
  await expect.poll(() => person.vault.asks({ state: "open" }).length, POLL).toBe(1);
  return call_id;
}

async function talking(to: Connected, more: Record<string, unknown> = {}): Promise<string> {
  const id = await ringing(to, more);
  await to.person.vault.answer(id, { decision: "approved" });
  await expect.poll(async () => (await callView(id)).status, POLL).toBe("connected");
  return id;
}

const typesOf = async (userId: string): Promise<string[]> =>
  (await backend.expect(200, "GET", `events?user_id=${userId}`)).events.map(
    ({ type }: { type: string }) => type,
  );

/** An agent's browser on a call's WebSocket. */
class Agent {
  readonly #socket: WebSocket;
  readonly received: Record<string, unknown>[] = [];
  closed: { code: number; reason: string } | undefined;

  constructor(url: string) {
    this.#socket = new WebSocket(url);
    this.#socket.onmessage = ({ data }) => this.received.push(JSON.parse(data as string));
    this.#socket.onclose = ({ code, reason }) => {
      this.closed = { code, reason };
    };
  }

  static async on(callId: string): Promise<Agent> {
    const { signaling_url } = await backend.expect(201, "POST", `call/${callId}/ticket`);
    const agent = new Agent(signaling_url.replace(/^wss?:\/\/[^/]+/, stack.baseUrl.replace(/^http/, "ws")));
    await expect.poll(() => agent.received.length, POLL).toBeGreaterThan(0);
    return agent;
  }

  send(message: unknown): void {
    this.#socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }
}

describe("a call", () => {
  it("rings, is answered with a description, carries signals both ways in order, and ends", async () => {
    const to = await connected();
    const id = await ringing(to, { offer: { type: "offer", sdp: "v=0" }, agent_info: { name: "Sam" } });
    expect(await callView(id)).toMatchObject({ status: "ringing", type: "voice", call_id: id });
    expect(to.person.vault.ask(id).payload).toMatchObject({
      offer: { sdp: "v=0" },
      agent_info: { name: "Sam" },
    });

    await to.person.vault.answer(id, {
      decision: "approved",
      choices: { answer: { type: "answer", sdp: "v=0 answered" } },
    });
    await expect.poll(async () => (await callView(id)).status, POLL).toBe("connected");
    const connectedCall = await callView(id);
    expect(connectedCall).toMatchObject({
      answer: { sdp: "v=0 answered" },
      connected_at: expect.any(String),
    });
    expect(
      await verifyApproval(
        connectedCall.approval,
        connectedCall.request_payload,
        connectedCall.user_signing_key,
      ),
    ).toBe(true);

    for (const candidate of [1, 2, 3]) {
      await backend.expect(200, "POST", `call/${id}/signal`, { signal: { candidate } });
      await to.person.vault.signal(id, { mine: candidate });
    }
    await expect.poll(() => to.heard.length, POLL).toBe(3);
    expect(to.heard.map(({ payload }) => payload)).toEqual(
      [1, 2, 3].map((n) => ({ signal: { candidate: n } })),
    );
    const mine = async () =>
      (await said(id))
        .filter(({ from }: { from: string }) => from === "user")
        .map(({ signal }: never) => signal);
    await expect.poll(mine, POLL).toEqual([{ mine: 1 }, { mine: 2 }, { mine: 3 }]);
    const [first] = await said(id);
    expect((await said(id, first.position)).length).toBe(5);

    await backend.expect(200, "POST", `call/${id}/end`, { reason: "All said" });
    const over = await callView(id);
    expect(over).toMatchObject({
      status: "ended",
      ended_by: "service",
      end_reason: "All said",
      duration_seconds: expect.any(Number),
    });
    expect(over).not.toHaveProperty("answer");
    expect(await said(id)).toEqual([]);
    await expect.poll(() => to.heard.at(-1)?.event_type, POLL).toBe("call.end");
    await expect
      .poll(() => typesOf(to.userId), POLL)
      .toEqual(expect.arrayContaining(["call.accepted", "call.signal", "call.ended"]));
  });

  it("is declined, ended by the person, taken back while it rings, and fails for want of media", async () => {
    const to = await connected();
    const declined = await ringing(to, { type: "video" });
    await to.person.vault.answer(declined, { decision: "denied", reason: "busy" });
    await expect.poll(async () => (await callView(declined)).status, POLL).toBe("rejected");

    const hungUp = await talking(to);
    await to.person.vault.hangUp(hungUp, "Goodbye");
    await expect
      .poll(async () => callView(hungUp), POLL)
      .toMatchObject({ status: "ended", ended_by: "user" });

    const takenBack = await ringing(to);
    await backend.expect(200, "POST", `call/${takenBack}/end`);
    expect(await callView(takenBack)).toMatchObject({ status: "ended" });
    await expect.poll(() => to.person.vault.ask(takenBack).state, POLL).toBe("withdrawn");

    const failed = await talking(to);
    await backend.expect(200, "POST", `call/${failed}/end`, { reason: "failed" });
    expect(await callView(failed)).toMatchObject({ status: "failed" });
    const again = await backend.expect(200, "POST", `call/${failed}/end`);
    expect(again.status).toBe("failed");
    expect(await backend.call("POST", `call/${failed}/signal`, { signal: 1 })).toMatchObject({
      status: 409,
      body: { code: "conflict" },
    });
  });

  it("ends with the contract", async () => {
    const to = await connected();
    const id = await talking(to);
    const agent = await Agent.on(id);
    await to.person.vault.revoke(to.contractId);
    await expect.poll(async () => (await callView(id)).status, POLL).toBe("ended");
    await expect.poll(() => agent.received.at(-1), POLL).toEqual({ type: "call.status", status: "ended" });
    // The local runtime finishes a close begun outside a socket event only when the object goes to sleep.
    await expect.poll(() => agent.closed, { timeout: 30_000 }).toMatchObject({ code: 1_000 });
  });

  it.each([
    ["no type", {}],
    ["two types", { type: "voice", call_type: "video" }],
    ["a type there is not", { type: "hologram" }],
    ["an offer beyond its bound", { type: "voice", offer: "x".repeat(65_537) }],
    ["too many servers", { type: "voice", ice_servers: Array(9).fill({ urls: ["stun:a"] }) }],
    ["a field nobody knows", { type: "voice", volume: 11 }],
  ])("with %s is refused", async (_, body) => {
    const { userId } = await cached();
    const answer = await backend.call("POST", "call/initiate", { user_id: userId, ...body });
    expect(answer).toMatchObject({ status: 400, body: { code: "invalid_request" } });
  });

  it("of a sort the contract does not grant is refused", async () => {
    const { userId } = await connected(["text_chat"]);
    expect(await backend.call("POST", "call/initiate", { user_id: userId, type: "video" })).toMatchObject({
      status: 403,
      body: { code: "capability_denied" },
    });
  });
});

describe("a text chat", () => {
  it("carries lines both ways, which stay readable when it is over", async () => {
    const to = await connected();
    const id = await ringing(to, { type: "text" });
    expect(await backend.call("POST", `call/${id}/message`, { text: "Too early" })).toMatchObject({
      status: 409,
    });
    await to.person.vault.answer(id, { decision: "approved" });
    await expect.poll(async () => (await callView(id)).status, POLL).toBe("connected");
    await backend.expect(200, "POST", `call/${id}/message`, { text: "How can I help?" });
    await expect.poll(() => to.heard.at(-1)?.payload, POLL).toMatchObject({ text: "How can I help?" });
    await to.person.vault.chat(id, "My parcel is late.");
    await expect.poll(async () => (await said(id)).length, POLL).toBe(2);
    await to.person.vault.hangUp(id);
    await expect.poll(async () => (await callView(id)).status, POLL).toBe("ended");
    expect(await said(id)).toMatchObject([
      { from: "service", type: "chat.message", text: "How can I help?" },
      { from: "user", type: "chat.message", text: "My parcel is late.", sent_at: expect.any(String) },
    ]);
  });

  it("is not a voice call, and a voice call is no chat", async () => {
    const to = await connected();
    const id = await talking(to);
    expect(await backend.call("POST", `call/${id}/message`, { text: "Hello" })).toMatchObject({
      status: 409,
    });
    const { event_id } = await to.person.vault.chat(id, "Hello");
    expect(await to.person.vault.delivered(event_id)).toMatchObject({
      outcome: "refused",
      reason: "not_a_chat",
    });
  });
});

describe("a call's WebSocket", () => {
  it("passes signals and lines both ways, also after the Worker was started anew, and closes with the call", async () => {
    const to = await connected();
    const id = await talking(to, { type: "text" });
    const agent = await Agent.on(id);
    expect(agent.received).toEqual([{ type: "call.status", status: "connected" }]);
    await to.person.vault.signal(id, { typing: true });
    await expect
      .poll(() => agent.received.at(-1), POLL)
      .toMatchObject({ type: "call.signal", from: "user", signal: { typing: true } });
    agent.send({ type: "chat.message", text: "Hello from the browser" });
    await expect.poll(() => to.heard.at(-1)?.payload, POLL).toMatchObject({ text: "Hello from the browser" });
    await expect
      .poll(() => agent.received.at(-1), POLL)
      .toMatchObject({ type: "chat.message", from: "service" });

    await stack.worker.kill();
    await stack.worker.restart();
    await waitUntilReady(stack.worker);
    const second = await Agent.on(id);
    await expect.poll(() => second.received.length, POLL).toBe(3);
    second.send({ type: "call.end", reason: "Done" });
    await expect.poll(() => second.closed, POLL).toEqual({ code: 1_000, reason: "ended" });
    expect(second.received.at(-1)).toEqual({ type: "call.status", status: "ended" });
    expect(await callView(id)).toMatchObject({ status: "ended", end_reason: "Done" });
  });

  it("opens once for each ticket, for that call alone, and only while there is a call", async () => {
    const to = await connected();
    const id = await talking(to);
    const { ticket } = await backend.expect(201, "POST", `call/${id}/ticket`);
    expect(await backend.call("GET", `call/${id}/signaling?ticket=${ticket}`)).toMatchObject({ status: 400 });
    const url = `${stack.baseUrl.replace(/^http/, "ws")}/api/v1/call/${id}/signaling?ticket=${ticket}`;
    const agent = new Agent(url);
    await expect.poll(() => agent.received.length, POLL).toBe(1);
    const second = new Agent(url);
    await expect.poll(() => second.closed, POLL).toBeDefined();
    expect(second.received).toEqual([]);
    const other = await talking(await connected());
    const foreign = await backend.expect(201, "POST", `call/${other}/ticket`);
    const wrong = new Agent(url.replace(ticket, foreign.ticket));
    await expect.poll(() => wrong.closed, POLL).toBeDefined();
    expect(wrong.received).toEqual([]);
    await backend.expect(200, "POST", `call/${id}/end`);
    expect(await backend.call("POST", `call/${id}/ticket`)).toMatchObject({ status: 409 });
  });

  it("answers what it cannot take with an error, and closes on what is too long or too much", async () => {
    const to = await connected();
    const id = await talking(to);
    const agent = await Agent.on(id);
    for (const wrong of ["not json", "{}", '{"type":"call.dance"}', '{"type":"chat.message"}']) {
      const before = agent.received.length;
      agent.send(wrong);
      await expect.poll(() => agent.received.length, POLL).toBe(before + 1);
      expect(agent.received.at(-1)).toMatchObject({ type: "error", code: "invalid_request" });
    }
    agent.send({ type: "chat.message", text: "In a voice call" });
    await expect.poll(() => agent.received.at(-1), POLL).toMatchObject({ type: "error", code: "conflict" });
    agent.send("x".repeat(70_000));
    await expect.poll(() => agent.closed, POLL).toMatchObject({ code: 1_009 });
    const flood = await Agent.on(id);
    for (let n = 0; n < 200; n++) flood.send("{}");
    await expect.poll(() => flood.closed, POLL).toMatchObject({ code: 1_008 });
    expect((await callView(id)).status).toBe("connected");
  });
});

describe("what users say of their own accord", () => {
  it("an event that was declared is told by id, and its content read", async () => {
    const { person, userId, contractId } = await connected();
    const { event_id } = await person.vault.sendEvent(contractId, "basket_left", { items: 3 });
    expect(await person.vault.delivered(event_id)).toMatchObject({ outcome: "stored" });
    await expect.poll(() => typesOf(userId), POLL).toContain("user.event");
    const { events } = await backend.expect(200, "GET", `events?user_id=${userId}&type=user.event`);
    expect(events[0].data).toEqual({ user_event_id: event_id, event_type: "basket_left" });
    const waiting = await backend.expect(200, "GET", `users/${userId}/events`);
    expect(waiting.events).toMatchObject([{ event_id, type: "events.basket_left" }]);
    const read = await backend.expect(200, "GET", `users/${userId}/events/${event_id}`);
    expect(read).toMatchObject({ content: { items: 3 } });
    expect(Date.parse(read.readable_until) - Date.now()).toBeLessThanOrEqual(300_000);
    const { entries } = await backend.expect(200, "GET", `audit?user_id=${userId}&operation=user_event.read`);
    expect(entries).toHaveLength(1);
  });

  it("an event nobody declared, and a call of a sort that is not granted, are refused", async () => {
    const { person, userId, contractId } = await connected(["text_chat"]);
    for (const [sent, reason] of [
      [await person.vault.sendEvent(contractId, "made_up", {}), "event_undeclared"],
      [await person.vault.requestCall(contractId, { type: "video", purpose: "See me" }), "not_granted"],
    ] as const)
      expect(await person.vault.delivered(sent.event_id)).toMatchObject({ outcome: "refused", reason });
    expect((await backend.expect(200, "GET", `users/${userId}/events`)).events).toEqual([]);
  });

  it("a support call: the user asks to be called, an agent is assigned, both signal", async () => {
    const to = await connected();
    const { event_id } = await to.person.vault.requestCall(to.contractId, {
      type: "voice",
      purpose: "My card was declined",
    });
    await expect.poll(() => typesOf(to.userId), POLL).toContain("call.requested");
    const wish = await backend.expect(200, "GET", `users/${to.userId}/events/${event_id}`);
    expect(wish.content).toEqual({ type: "voice", purpose: "My card was declined" });
    const id = await talking(to, {
      call_request_id: event_id,
      agent_info: { name: "Sam", agent_id: "agent-7", title: "Support" },
    });
    expect(to.person.vault.ask(id).payload).toMatchObject({
      call_request_id: event_id,
      agent_info: { agent_id: "agent-7" },
    });
    const agent = await Agent.on(id);
    agent.send({ type: "call.signal", signal: { sdp: "from the agent" } });
    await expect.poll(() => to.heard.at(-1)?.payload, POLL).toEqual({ signal: { sdp: "from the agent" } });
    await to.person.vault.signal(id, { sdp: "from the user" });
    await expect
      .poll(() => agent.received.at(-1), POLL)
      .toMatchObject({ from: "user", signal: { sdp: "from the user" } });
  });
});

let shared: Promise<Connected> | undefined;
/** One person for tests that never get as far as calling them. */
const cached = () => {
  shared ??= connected();
  return shared;
};
