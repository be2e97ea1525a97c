// A halted audit log as its operator meets it: why it stands, and going on once it may.

import { abortAllDurableObjects, reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterAll, expect, it } from "vitest";
import { CHECKPOINT_KEY } from "../../durable-objects/audit-log/store.ts";
import { call, offerAndInvite } from "../support/worker.ts";

const POLL = { timeout: 15_000, interval: 100 };

afterAll(() => reset());

const state = async () => (await call("GET", "/api/v1/audit/log")).body;
const resume = async (body: object) => (await call("POST", "/api/v1/audit/log/resume", { body })).body;

it("tells why it has halted, goes on only where that is put right, and both are on the service's chain", async () => {
  await offerAndInvite();
  await expect.poll(async () => (await state()).published_size, POLL).toBeGreaterThan(0);
  // Left alone while it runs.
  expect(await resume({ republish: true })).toMatchObject({ status: "open" });

  // The bucket is lost, and noticed at the object's next start.
  await env.AUDIT_R2.delete(CHECKPOINT_KEY);
  await abortAllDurableObjects();
  await offerAndInvite();
  await expect.poll(state, POLL).toMatchObject({ status: "halted", reason: "checkpoint_missing" });
  expect(await resume({})).toMatchObject({ status: "halted" });
  expect(await resume({ republish: true })).toMatchObject({ status: "open" });
  expect((await call("GET", "/log/checkpoint")).status).toBe(200);

  const { entries } = (await call("GET", "/api/v1/audit?operation=audit_log.resumed")).body;
  expect(entries.map((entry: { status: string }) => entry.status)).toEqual(["error", "success"]);
  expect(entries[1].request_summary).toMatchObject({ republish: true, halted: "checkpoint_missing" });
});
