// Asking one witness for its cosignature: the log's side of https://c2sp.org/tlog-witness. What a witness answers, or
// that it does not, changes nothing but whether a checkpoint carries its signature.

import { parseDecimal } from "../../src/audit/checkpoint.ts";
import {
  cosignatureTime,
  isSignedBy,
  type NoteSignature,
  parseSignatureLines,
  verifyNote,
} from "../../src/audit/note.ts";
import {
  ADD_CHECKPOINT_PATH,
  formatAddCheckpoint,
  SIZE_TYPE,
  type WitnessAddress,
} from "../../src/audit/witness.ts";

/** From the request until the answer is read. */
export const WITNESS_TIMEOUT_MS = 5_000;
const MAX_ANSWER_BYTES = 65_536;
/** A witness's clock may be ahead of ours by this much. */
const MAX_CLOCK_AHEAD_SECONDS = 300;

export type WitnessAnswer =
  | { outcome: "cosigned"; signature: NoteSignature }
  /** It has seen a larger tree under our name than we have. Either it errs, or this log was put back. */
  | { outcome: "ahead"; size: number }
  | { outcome: "failed"; reason: string };

export interface Question {
  /** The checkpoint's text: what is cosigned. */
  text: string;
  /** The signed note. */
  checkpoint: string;
  size: number;
  /** Size the witness is believed to have cosigned last. */
  oldSize: number;
  /** Consistency proof from a size, RFC 6962 §2.1.2. */
  proofFrom(size: number): Uint8Array[];
}

/** Reads an answer's text; throws when it is longer than any answer can be. */
async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) throw new Error("the answer is too long");
    chunks.push(chunk);
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(await new Blob(chunks as BlobPart[]).arrayBuffer());
}

/** Asks; where the witness names another size than it was asked from (409), asks once more from that one. */
export async function askWitness(
  witness: WitnessAddress,
  question: Question,
  send: typeof fetch,
  nowMs: number,
): Promise<WitnessAnswer> {
  let { oldSize } = question;
  for (let attempt = 0; attempt < 2; attempt++) {
    let response: Response;
    let answer: string;
    try {
      response = await send(witness.url + ADD_CHECKPOINT_PATH, {
        method: "POST",
        headers: { "Content-Type": "text/plain; charset=utf-8" },
        body: formatAddCheckpoint({
          oldSize,
          proof: question.proofFrom(oldSize),
          checkpoint: question.checkpoint,
        }),
        redirect: "manual",
        signal: AbortSignal.timeout(WITNESS_TIMEOUT_MS),
      });
      answer = await readText(response);
    } catch (error) {
      return { outcome: "failed", reason: error instanceof Error ? error.message : "no answer" };
    }
    if (response.status === 200) return cosignatureIn(answer, witness, question, nowMs);
    const isSize = response.headers.get("Content-Type")?.split(";")[0]?.trim() === SIZE_TYPE;
    const known = response.status === 409 && isSize ? parseDecimal(answer.trimEnd()) : undefined;
    if (known === undefined) return { outcome: "failed", reason: `status ${response.status}` };
    if (known > question.size) return { outcome: "ahead", size: known };
    // Its own size again: it holds another root for it, or does not do what it says.
    if (known === oldSize) return { outcome: "failed", reason: `conflict at size ${known}` };
    oldSize = known;
  }
  return { outcome: "failed", reason: "its size changed while it was asked" };
}

async function cosignatureIn(
  answer: string,
  { key }: WitnessAddress,
  { text }: Question,
  nowMs: number,
): Promise<WitnessAnswer> {
  const signature = parseSignatureLines(answer)?.find((line) => isSignedBy(line, key));
  if (signature === undefined) return { outcome: "failed", reason: "no cosignature by its key" };
  if ((await verifyNote({ text, signatures: [signature] }, [key])) === undefined)
    return { outcome: "failed", reason: "its cosignature does not hold" };
  if (cosignatureTime(signature)! > nowMs / 1_000 + MAX_CLOCK_AHEAD_SECONDS)
    return { outcome: "failed", reason: "its cosignature is from the future" };
  return { outcome: "cosigned", signature };
}
