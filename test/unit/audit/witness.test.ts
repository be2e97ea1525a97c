// The witness over HTTP, asked as a log asks it: every refusal of c2sp.org/tlog-witness, and what it remembers.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { startWitness, type Witness } from "../../../scripts/witness.ts";
import { checkpointText, signCheckpoint } from "../../../src/audit/checkpoint.ts";
import { consistencyProof, leafHash, rootHash } from "../../../src/audit/merkle.ts";
import {
  formatNote,
  noteVerifierKey,
  parseSignatureLines,
  parseVerifierKey,
  signNote,
  verifyNote,
} from "../../../src/audit/note.ts";
import { appendLeaves, readerOver } from "../../../src/audit/tiles.ts";
import { formatAddCheckpoint } from "../../../src/audit/witness.ts";
import { importSigningKey, type SigningKey } from "../../../src/crypto/signing.ts";
import { randomBytes } from "../../../src/protocol/ids.ts";
import { entriesOf } from "./tree.ts";

const ORIGIN = "vault.example.com/log";
const NAME = "witness.example/w1";

/** A tree of `size` leaves, and one that differs from the given leaf on. */
function treeOf(size: number, changedFrom = size) {
  const leaves = entriesOf(size).map((entry, at) => leafHash(at < changedFrom ? entry : randomBytes(32)));
  const tiles = appendLeaves(0, leaves, () => undefined);
  return readerOver(({ level, n }) => tiles.find((tile) => tile.level === level && tile.n === n)?.hashes);
}
const tree = treeOf(400);

let dir: string;
let key: SigningKey;
let witness: Witness;

const start = () => startWitness({ dir, name: NAME, logs: [noteVerifierKey(ORIGIN, key.publicKey)] });
const signed = (size: number, read = tree) =>
  signCheckpoint(key, { origin: ORIGIN, size, root: rootHash(size, read) });

async function post(body: string): Promise<{ status: number; type: string | null; text: string }> {
  const response = await fetch(`${witness.url}/add-checkpoint`, { method: "POST", body });
  return { status: response.status, type: response.headers.get("Content-Type"), text: await response.text() };
}
const add = async (oldSize: number, size: number, read = tree, proofFrom = oldSize) =>
  post(
    formatAddCheckpoint({
      oldSize,
      proof: consistencyProof(proofFrom, size, read),
      checkpoint: await signed(size, read),
    }),
  );
const conflict = (size: number) => ({ status: 409, type: "text/x.tlog.size", text: `${size}\n` });

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "witness-test-"));
  key = await importSigningKey(randomBytes(32));
  witness = await start();
});

afterEach(async () => {
  await witness.stop();
  rmSync(dir, { recursive: true, force: true });
});

describe("a witness", () => {
  it("cosigns a first checkpoint, and each that contains the one before", async () => {
    const before = Math.floor(Date.now() / 1_000);
    for (const [oldSize, size] of [
      [0, 3],
      [3, 3],
      [3, 256],
      [256, 400],
    ] as const) {
      const { status, text } = await add(oldSize, size);
      expect(status).toBe(200);
      const note = {
        text: checkpointText({ origin: ORIGIN, size, root: rootHash(size, tree) }),
        signatures: parseSignatureLines(text)!,
      };
      const [cosignature] = (await verifyNote(note, [parseVerifierKey(witness.vkey)!]))!;
      expect(cosignature!.timeSeconds).toBeGreaterThanOrEqual(before);
    }
  });

  it("answers 409 with the size it knows, whatever else it is asked from", async () => {
    await add(0, 100);
    expect(await add(0, 200)).toEqual(conflict(100));
    expect(await add(50, 200)).toEqual(conflict(100));
    expect(await add(150, 200)).toEqual(conflict(100));
    // Back to a size it has left behind.
    expect(await add(50, 50)).toEqual(conflict(100));
    expect((await add(100, 200)).status).toBe(200);
  });

  it("answers 409 to another tree of the size it knows, and 422 to one that does not contain it", async () => {
    await add(0, 100);
    const other = treeOf(400, 40);
    expect(await add(100, 100, other)).toEqual(conflict(100));
    expect((await add(100, 200, other)).status).toBe(422);
    // A good proof of something else, none, and one where there must be none.
    expect((await add(100, 200, tree, 99)).status).toBe(422);
    expect((await add(100, 200, tree, 200)).status).toBe(422);
    expect((await add(100, 200)).status).toBe(200);
  });

  it("takes no proof with a first checkpoint", async () => {
    expect((await add(0, 100, tree, 50)).status).toBe(422);
  });

  it("answers 404 to a log it does not know and 403 to a signature that is not the log's", async () => {
    const foreign = await importSigningKey(randomBytes(32));
    const root = rootHash(3, tree);
    const ask = async (checkpoint: string) =>
      (await post(formatAddCheckpoint({ oldSize: 0, proof: [], checkpoint }))).status;
    expect(await ask(await signCheckpoint(key, { origin: "other.example", size: 3, root }))).toBe(404);
    expect(await ask(await signCheckpoint(foreign, { origin: ORIGIN, size: 3, root }))).toBe(403);
    expect(await ask((await signed(3)).replace("\n3\n", "\n4\n"))).toBe(403);
    // Further signatures by keys it does not know change nothing.
    const text = checkpointText({ origin: ORIGIN, size: 3, root });
    const signatures = [await signNote(foreign, ORIGIN, text), await signNote(key, ORIGIN, text)];
    expect(await ask(formatNote({ text, signatures }))).toBe(200);
  });

  it("answers 400 to an old size above the checkpoint's and to what is malformed", async () => {
    const checkpoint = await signed(3);
    expect((await post(formatAddCheckpoint({ oldSize: 4, proof: [], checkpoint }))).status).toBe(400);
    for (const body of [
      "",
      "old\n\n",
      `old 00\n\n${checkpoint}`,
      `old 0\n\nnonsense`,
      `old 0\n${checkpoint}`,
    ])
      expect((await post(body)).status).toBe(400);
    expect((await post("x".repeat(300_000))).status).toBe(400);
    expect((await fetch(`${witness.url}/add-checkpoint`)).status).toBe(405);
    expect((await fetch(`${witness.url}/`)).status).toBe(404);
  });

  it("lets one of two win that come at once from the same size", async () => {
    await add(0, 100);
    const answers = await Promise.all([add(100, 300), add(100, 200), add(100, 250), add(100, 400)]);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(3);
  });

  it("remembers key and sizes when it comes back", async () => {
    await add(0, 100);
    const { vkey } = witness;
    await witness.stop();
    witness = await start();
    expect(witness.vkey).toBe(vkey);
    expect(await add(0, 200)).toEqual(conflict(100));
    expect((await add(100, 200)).status).toBe(200);
  });

  it("has written down what it cosigned before it says so, and nothing half", async () => {
    await add(0, 100);
    const files = readdirSync(dir).filter((file) => file.endsWith(".json"));
    expect(files).toHaveLength(1);
    expect(JSON.parse(readFileSync(join(dir, files[0]!), "utf8"))).toMatchObject({
      origin: ORIGIN,
      size: 100,
    });
    expect(readdirSync(dir).filter((file) => file.endsWith(".tmp"))).toEqual([]);
  });

  it("cosigns nothing when its memory is damaged: that is not a log it never saw", async () => {
    await add(0, 100);
    const file = readdirSync(dir).find((name) => name.endsWith(".json"))!;
    writeFileSync(join(dir, file), "{}");
    const said = vi.spyOn(console, "error").mockImplementation(() => {});
    expect((await add(0, 200)).status).toBe(500);
    expect(String(said.mock.calls[0])).toContain("is damaged");
    said.mockRestore();
  });
});
