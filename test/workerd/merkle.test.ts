// The published test data of the transparency-dev Merkle library (RFC 6962 proofs, good and bad), against the shipped
// code where it runs. Every file is run or named as left out.

import { describe, expect, inject, test } from "vitest";
import { verifyConsistency, verifyInclusion } from "../../src/audit/merkle.ts";

interface InclusionCase {
  leafIdx: number;
  treeSize: number;
  root: string;
  leafHash: string;
  proof: string[] | null;
  wantErr: boolean;
}
interface ConsistencyCase {
  size1: number;
  size2: number;
  root1: string;
  root2: string;
  proof: string[] | null;
  wantErr: boolean;
}

// Some of the data is not canonical base64, or not a hash: that is for the code to refuse, not for the reader.
const bytes = (text: string | null): Uint8Array =>
  Uint8Array.from(atob(text ?? ""), (letter) => letter.charCodeAt(0));
const hashes = (proof: string[] | null): Uint8Array[] => (proof ?? []).map(bytes);

const files = inject("merkle");
if (files === undefined) throw new Error("test/merkle-setup.ts is missing from this project's globalSetup");
if (files === null)
  test.skip("Merkle test data: skipped, VECTORS_DIR does not say where its files are", () => {});

/** Runs the files of a folder. Gives counts, and the files that went another way than they must. */
function tally(folder: string, holds: (text: string) => { held: boolean; wantErr: boolean }) {
  const counts = { held: 0, refused: 0, wrong: [] as string[] };
  for (const { path, text } of files!) {
    if (!path.startsWith(`${folder}/`)) continue;
    const { held, wantErr } = holds(text);
    if (held === wantErr) counts.wrong.push(path);
    else counts[held ? "held" : "refused"]++;
  }
  return counts;
}

describe.runIf(files !== null)("the transparency-dev Merkle data in workerd", () => {
  test("inclusion: every good proof holds, every bad one is refused", () => {
    const counts = tally("inclusion", (text) => {
      const { leafHash, leafIdx, treeSize, root, proof, wantErr } = JSON.parse(text) as InclusionCase;
      const held = verifyInclusion(bytes(leafHash), leafIdx, treeSize, bytes(root), hashes(proof));
      return { held, wantErr };
    });
    expect(counts).toEqual({ held: 6, refused: 92, wrong: [] });
  });

  test("consistency: every good proof holds, every bad one is refused", () => {
    const counts = tally("consistency", (text) => {
      const { size1, size2, root1, root2, proof, wantErr } = JSON.parse(text) as ConsistencyCase;
      const held = verifyConsistency(
        { size: size1, root: bytes(root1) },
        { size: size2, root: bytes(root2) },
        hashes(proof),
      );
      return { held, wantErr };
    });
    expect(counts).toEqual({ held: 6, refused: 92, wrong: [] });
  });

  test("accounts for every file", () => {
    const byFolder: Record<string, number> = {};
    for (const { path } of files!) {
      const folder = path.slice(0, path.indexOf("/"));
      byFolder[folder] = (byFolder[folder] ?? 0) + 1;
    }
    expect(byFolder).toEqual({
      inclusion: 98,
      consistency: 98,
      // Proofs about parts of a tree, of a draft on certificates: this log neither makes nor reads any.
      subtreeinclusion: 204,
      subtreeconsistency: 118,
    });
  });
});
