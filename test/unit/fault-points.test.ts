// The table of places where something can break is whole: each row has its place in the code, each place its row, and
// no file writes, publishes or calls without one.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FAULTS_DOC, refreshed } from "../../scripts/faults-docs.ts";
import { PROJECT_ROOT } from "../../scripts/stack/files.ts";
import { FAULT_POINTS, TESTED_ELSEWHERE } from "../../src/fault-points.ts";

const sources = new Map(
  ["src", "durable-objects"].flatMap((folder) =>
    readdirSync(join(PROJECT_ROOT, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
      .map((entry) => {
        const path = join(entry.parentPath, entry.name);
        return [path.slice(PROJECT_ROOT.length + 1), readFileSync(path, "utf8")] as const;
      }),
  ),
);

/** What leaves memory: into storage, to another object, to a broker, over HTTP. */
const EFFECT =
  /\b(transactionSync|getByName|setAlarm|deleteAlarm|deleteAll|storage\.put|fetch|respond|jetstream\(\w*\)\.publish|connection\.publish|stream\.publish)\(|bucket\.(put|delete)\(/;

/** Files with such a call and no row, and why that is right. */
const NO_ROW: Readonly<Record<string, string>> = {
  "durable-objects/journal/event-index.ts":
    "an index over rows that are there: a run not written is found missing and written after the next events",
  "durable-objects/user-connection/store.ts": "the transaction of those who call it, at their own places",
  "durable-objects/user-connection/vault.ts": "sets the alarm in the turn of a commit: `user.commit`",
  "durable-objects/user-connection/auditing.ts":
    "reads: a page goes without a proof the log does not give in time",
  "durable-objects/user-connection/hearing.ts": "reads: the message comes again",
  "src/console/console.tsx": "calls the API's own routes in the same isolate: their objects write",
  "src/console/frame.tsx": "a function of its own name",
  "src/console/script.ts": "runs in the operator's browser",
  "src/http/objects.ts":
    "hands out stubs: what a route calls is written by the object, and its caller repeats",
  "src/http/routes/calls.ts": "opens a socket: the object's commit comes before the answer",
  "src/http/routes/transfer.ts": "hands pages on: `durable-objects/transfer.ts` takes each once",
  "src/nats/acknowledgements.ts": "publishes for `bridge.publish`, which waits for the word it gives back",
  "src/nats/shards.ts": "hands out stubs; waking a bridge writes nothing",
  "src/webhooks/shards.ts": "hands out stubs",
};

describe("the table of places", () => {
  it("is in docs/FAULTS.md as it is in the code", () => {
    const document = readFileSync(FAULTS_DOC, "utf8");
    expect(document, "run: node scripts/faults-docs.ts").toBe(refreshed(document));
  });

  it("has a place in the code for each row, in the file it names, and no other places", () => {
    const found = [...sources].flatMap(([file, text]) =>
      [...text.matchAll(/\batPoint\("([^"]+)"/g)].map(([, name]) => `${name} in ${file}`),
    );
    const rows = Object.entries(FAULT_POINTS).map(([name, { file }]) => `${name} in ${file}`);
    expect(found.sort()).toEqual(rows.sort());
  });

  it("has a row for every file that writes, publishes or calls", () => {
    const named = new Set([...Object.values(FAULT_POINTS), ...TESTED_ELSEWHERE].map(({ file }) => file));
    const missing = [...sources]
      .filter(([file, text]) => EFFECT.test(text) && !named.has(file) && NO_ROW[file] === undefined)
      .map(([file]) => file);
    expect(missing, "add a row to src/fault-points.ts, or say in this test why none is needed").toEqual([]);
    for (const file of Object.keys(NO_ROW)) expect(sources.get(file), file).toMatch(EFFECT);
  });

  it("names tests that are there for what no point arms", () => {
    for (const { test } of TESTED_ELSEWHERE)
      expect(readFileSync(join(PROJECT_ROOT, test.file), "utf8"), test.file).toContain(test.title);
  });

  it("cannot be armed by anything the Worker is made of", () => {
    const arming = [...sources].filter(([, text]) => text.includes("armFaults")).map(([file]) => file);
    expect(arming).toEqual(["src/at-point.ts"]);
  });
});
