// What a user's object knows by heart of the asks before: the same as its rows say, after whatever happened to it.

import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import fc from "fast-check";
import { expect, it } from "vitest";
import { Store } from "../../durable-objects/user-connection/store.ts";

type Step =
  | { do: "ask"; later: number }
  | { do: "tell"; later: number }
  | { do: "fail"; later: number }
  | { do: "wake" }
  | { do: "look"; back: number };

const later = fc.nat(50);
const steps = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant("ask" as const), later }) },
    fc.record({ do: fc.constant("tell" as const), later }),
    fc.record({ do: fc.constant("fail" as const), later }),
    fc.record({ do: fc.constant("wake" as const) }),
    { weight: 4, arbitrary: fc.record({ do: fc.constant("look" as const), back: fc.nat(400) }) },
  ) as fc.Arbitrary<Step>,
  { maxLength: 60 },
);

/** How a store does with one course of things; each in a user's object of its own. */
const course = (name: string, taken: readonly Step[]) =>
  runInDurableObject(env.USER_CONNECTION.getByName(name), (_, { storage }) => {
    let store = new Store(storage);
    store.transaction(() => store.create("somebody"));
    store.created();
    let now = 1_000;
    let n = 0;
    const asked: { n: number; at: number }[] = [];
    const insert = (kind: string | null) =>
      store.insertOutgoing(
        { n: n + 1, contract_id: "a contract", seq: n + 1 },
        { event_id: `id ${n + 1}`, event_type: "some.thing", created_at: now, sealed_until: now, kind },
      );
    for (const step of taken) {
      if (step.do === "wake") {
        store = new Store(storage);
        continue;
      }
      if (step.do === "look") {
        const since = now - step.back;
        const wanted = asked.filter(({ at }) => at >= since).map((ask) => ask.n);
        expect(store.asksSince(since).map((ask) => ask.n)).toEqual(wanted.reverse());
        continue;
      }
      now += step.later;
      if (step.do === "fail") {
        const failing = () =>
          store.transaction(() => {
            insert("auth");
            throw new Error("the disk is full");
          });
        expect(failing).toThrow("the disk is full");
        continue;
      }
      store.transaction(() => insert(step.do === "ask" ? "auth" : null));
      n += 1;
      if (step.do === "ask") asked.push({ n, at: now });
    }
  });

it("the asks known by heart are those of the rows, through rollbacks and evictions", async () => {
  let courses = 0;
  await fc.assert(
    fc.asyncProperty(steps, (taken) => {
      courses += 1;
      return course(`known-asks-${courses}`, taken);
    }),
    { numRuns: 60 },
  );
});

it("of very many asks the newest are known, and those before are read", () =>
  course("known-asks-many", [
    ...Array.from({ length: 700 }, (): Step => ({ do: "ask", later: 1 })),
    { do: "look", back: 650 },
    ...Array.from({ length: 700 }, (): Step => ({ do: "ask", later: 1 })),
    { do: "look", back: 100 },
    { do: "look", back: 999 },
    { do: "look", back: 1_000 },
    { do: "look", back: 1_399 },
    { do: "ask", later: 1 },
    { do: "look", back: 1_399 },
    { do: "look", back: 10 },
  ]));
