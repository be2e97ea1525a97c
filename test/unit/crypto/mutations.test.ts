// Single mutations of everything that is signed: whatever is changed is refused, or provably means the same. Seeded,
// so that a failure comes back; MUTATIONS=n tries n of each, MUTATION_SEED another series. The long run, a million of
// them: MUTATIONS=90000 npx vitest run --silent=false test/unit/crypto/mutations.test.ts

import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { base64urlnopad } from "@scure/base";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { verifyChain } from "../../../src/audit/chain.ts";
import {
  credentialsForm,
  setupForm,
  verifyContractRecord,
  verifyRevocation,
} from "../../../src/contracts/agreement.ts";
import { verifyOffer } from "../../../src/contracts/offer.ts";
import { importAgreementKey } from "../../../src/crypto/agreement.ts";
import { contractIdOf } from "../../../src/crypto/hash.ts";
import { open, verifyEnvelope } from "../../../src/crypto/seal.ts";
import { importSigningKey, verifyJson } from "../../../src/crypto/signing.ts";
import { formatApiKey, makeApiKeyParts, parseApiKey } from "../../../src/http/api-key.ts";
import { decodeNkey, encodeNkey } from "../../../src/nats/nkey.ts";
import { mintUserJwt } from "../../../src/nats/user-jwt.ts";
import { responsePayload } from "../../../src/protocol/asking.ts";
import {
  contractRecord,
  lastingCredentialsRequest,
  revocation,
  setupCredentialsRequest,
} from "../../../src/protocol/contract.ts";
import { toBase64 } from "../../../src/protocol/encoding.ts";
import { parseEnvelope } from "../../../src/protocol/envelope.ts";
import { canonicalJson, type Json, parseJson, utf8 } from "../../../src/protocol/json.ts";
import { LABELS } from "../../../src/protocol/labels.ts";
import { auth } from "../../../src/requests/kinds/auth.ts";
import { verifyAnswer, verifyApproval } from "../../../src/requests/lifecycle.ts";
import { flipped } from "./people.ts";
import { unhex } from "./reference.ts";

/** Mutations tried of each signed thing. */
const MUTATIONS = Number(process.env.MUTATIONS ?? 2_000);
const SEED = Number(process.env.MUTATION_SEED ?? 20_260_303);
/** Time allowed for one of them, in milliseconds; they take about 2 on an idle machine. */
const MAX_MUTATION_MS = 60;

// biome-ignore lint/suspicious/noExplicitAny: the vectors' own test checks their shape
type Case = Record<string, any>;
const casesOf = (name: string): Case[] =>
  JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), "utf8")).cases;

/** mulberry32: a small generator whose series depends on the seed alone. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** JSON as a tree that can hold what a parser would lose: order, and a name twice. */
type Tree = { members: [string, Tree][] } | { elements: Tree[] } | { scalar: Json };
const isObject = (tree: Tree): tree is { members: [string, Tree][] } => "members" in tree;
const isArray = (tree: Tree): tree is { elements: Tree[] } => "elements" in tree;

function treeOf(value: Json): Tree {
  if (Array.isArray(value)) return { elements: value.map(treeOf) };
  if (value === null || typeof value !== "object") return { scalar: value };
  return { members: Object.entries(value).map(([name, member]) => [name, treeOf(member)]) };
}

function textOf(tree: Tree): string {
  if (isObject(tree))
    return `{${tree.members.map(([name, member]) => `${JSON.stringify(name)}:${textOf(member)}`).join(",")}}`;
  if (isArray(tree)) return `[${tree.elements.map(textOf).join(",")}]`;
  return JSON.stringify(tree.scalar);
}

const nodesOf = (tree: Tree): Tree[] => [
  tree,
  ...(isObject(tree) ? tree.members.flatMap(([, member]) => nodesOf(member)) : []),
  ...(isArray(tree) ? tree.elements.flatMap(nodesOf) : []),
];

const UNKNOWN_NAMES = ["extra", "v2", "", "__proto__", "constructor", "admin", "signature ", "V", "toJSON"];
const OTHER_VALUES: Json[] = [null, 0, 1, "", "x", true, false, [], {}, -1, "1970-01-01T00:00:00.000Z"];

const KINDS = ["bit", "drop", "add", "reorder", "duplicate", "replace", "whitespace", "splice"] as const;
type Kind = (typeof KINDS)[number];

/** One mutation of `value` as it travels. */
function mutate(value: Json, kind: Kind, below: (limit: number) => number): Uint8Array {
  const pick = <T>(from: readonly T[]): T => from[below(from.length)]!;
  const text = JSON.stringify(value);
  const bytes = utf8(text);
  const tree = treeOf(value);
  const objects = nodesOf(tree).filter(isObject);
  const full = objects.filter(({ members }) => members.length > 0);
  switch (kind) {
    case "bit":
      return flipped(bytes, below(bytes.length * 8));
    case "drop": {
      const { members } = pick(full);
      members.splice(below(members.length), 1);
      break;
    }
    case "add": {
      const { members } = pick(objects);
      const name = pick(UNKNOWN_NAMES);
      members.splice(below(members.length + 1), 0, [name, { scalar: pick(OTHER_VALUES) }]);
      break;
    }
    case "reorder": {
      const { members } = pick(full);
      const [moved] = members.splice(below(members.length), 1);
      members.splice(below(members.length + 1), 0, moved!);
      break;
    }
    case "duplicate": {
      const { members } = pick(full);
      const [name, member] = pick(members);
      const twin: Tree = below(2) === 0 ? member : { scalar: pick(OTHER_VALUES) };
      members.splice(below(members.length + 1), 0, [name, twin]);
      break;
    }
    case "replace": {
      const { members } = pick(full);
      members[below(members.length)]![1] = treeOf(pick(OTHER_VALUES));
      break;
    }
    case "whitespace": {
      const at = below(text.length + 1);
      return utf8(text.slice(0, at) + pick([" ", "\n", "\t", "\r", "\u00a0", "\ufeff"]) + text.slice(at));
    }
    case "splice": {
      const at = below(bytes.length);
      const length = 1 + below(4);
      const cut = below(2) === 0;
      const inserted = cut ? [] : Array.from({ length }, () => bytes[below(bytes.length)]!);
      return Uint8Array.from([...bytes.slice(0, at), ...inserted, ...bytes.slice(cut ? at + length : at)]);
    }
  }
  return utf8(textOf(tree));
}

/**
 * Tries MUTATIONS mutations of `value`. `accepts` is everything the receiving side checks. What it accepts must
 * have the canonical form of the original: the very bytes that were signed.
 */
async function attack(
  value: Json,
  accepts: (bytes: Uint8Array) => Promise<boolean>,
  /** The signature covers the bytes as they are, not what they mean. */
  { bytesSigned = false } = {},
) {
  expect(await accepts(utf8(JSON.stringify(value))), "the original is accepted").toBe(true);
  const canonical = canonicalJson(value);
  const below = generator(SEED);
  const counts = { refused: 0, sameMeaning: 0 };
  const refusedByKind = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as Record<Kind, number>;
  for (let round = 0; round < MUTATIONS; round++) {
    const kind = KINDS[round % KINDS.length]!;
    const bytes = mutate(value, kind, below);
    if (!(await accepts(bytes))) {
      counts.refused++;
      refusedByKind[kind]++;
      continue;
    }
    const read = parseJson(bytes);
    const same = read.ok && canonicalJson(read.value) === canonical;
    if (!same)
      expect.fail(`accepted after ${kind}, round ${round}, seed ${SEED}: ${new TextDecoder().decode(bytes)}`);
    counts.sameMeaning++;
  }
  expect(counts.refused + counts.sameMeaning).toBe(MUTATIONS);
  // The mutations do reach: each kind that changes the meaning was refused, and reordering alone never is.
  for (const kind of KINDS) {
    if (kind === "reorder" && !bytesSigned) expect(refusedByKind[kind], kind).toBe(0);
    else expect(refusedByKind[kind], kind).toBeGreaterThan(0);
  }
  total.refused += counts.refused;
  total.sameMeaning += counts.sameMeaning;
  return counts;
}

const total = { refused: 0, sameMeaning: 0 };
afterAll(() => {
  console.log(
    `mutations tried: ${total.refused + total.sameMeaning}, refused: ${total.refused}, of the same meaning: ${total.sameMeaning}, accepted otherwise: 0 (seed ${SEED})`,
  );
});

/** The value, when the bytes are JSON of the protocol. */
const json = (bytes: Uint8Array): Json | undefined => {
  const parsed = parseJson(bytes);
  return parsed.ok ? parsed.value : undefined;
};

describe(`of ${MUTATIONS} single mutations each, none but those that mean the same is accepted`, () => {
  const timeout = 10_000 + MUTATIONS * MAX_MUTATION_MS;
  const answer = casesOf("envelope")[2]!;
  const offer = casesOf("offer")[0]!.offer;
  const record = casesOf("contract")[0]!.record;
  const approved = casesOf("approval")[0]!;
  let recipient: Awaited<ReturnType<typeof importAgreementKey>>;
  beforeAll(async () => {
    recipient = await importAgreementKey(Uint8Array.from(unhex(answer.recipient_private_key_hex)));
  });

  test("an envelope", { timeout }, async () => {
    await attack(answer.envelope, async (bytes) => {
      const parsed = parseEnvelope(bytes);
      if (!parsed.ok) return false;
      if (!(await verifyEnvelope(parsed.value, unhex(answer.sender_public_key_hex)))) return false;
      return (await open(parsed.value, recipient)) !== undefined;
    });
  });

  test("an envelope whose signature nobody looks at: the seal alone covers header and ciphertext", {
    timeout,
  }, async () => {
    const { signature: _unsigned, ...sealed } = answer.envelope;
    await attack(sealed, async (bytes) => {
      const value = json(bytes);
      if (value === null || typeof value !== "object" || Array.isArray(value)) return false;
      const parsed = parseEnvelope(utf8(JSON.stringify({ ...value, signature: answer.envelope.signature })));
      return (
        parsed.ok &&
        Object.hasOwn(value, "signature") === false &&
        (await open(parsed.value, recipient)) !== undefined
      );
    });
  });

  test("an offer", { timeout }, async () => {
    await attack(offer, async (bytes) => {
      const value = json(bytes);
      const now = Date.parse(offer.issued_at);
      return (await verifyOffer(value, { pinnedServiceId: offer.service_id, now })).ok;
    });
  });

  test("a contract record: contract, the user's signature and the service's acceptance", {
    timeout,
  }, async () => {
    await attack(record, async (bytes) => (await verifyContractRecord(json(bytes))).valid);
  });

  test("a contract under its user's signature alone", { timeout }, async () => {
    const { contract, user_signature, signed_at } = record;
    const signed = contractRecord.pick({ contract: true, user_signature: true, signed_at: true });
    await attack({ contract, user_signature, signed_at }, async (bytes) => {
      const parsed = signed.safeParse(json(bytes));
      if (!parsed.success) return false;
      return verifyJson(
        contract.user_signing_key,
        LABELS.contract,
        { contract_id: contractIdOf(parsed.data.contract), signed_at: parsed.data.signed_at },
        parsed.data.user_signature,
      );
    });
  });

  test("an answer with its approval", { timeout }, async () => {
    const { response, request_payload: payload } = approved;
    const { statement } = response.approval;
    const asked = {
      payload,
      operation: auth.operations[0]!,
      userId: statement.user_id,
      serviceId: statement.service_id,
      contractId: statement.contract_id,
      userSigningKey: approved.approval_signature.public_key,
    };
    await attack(response.approval, async (bytes) => {
      const parsed = responsePayload.safeParse({ ...response, approval: json(bytes) ?? null });
      return parsed.success && (await verifyAnswer(parsed.data, asked)).ok;
    });
  });

  test("a request's payload under the approval that names its digest", { timeout }, async () => {
    const { response, request_payload: payload } = approved;
    await attack(payload, async (bytes) => {
      const value = json(bytes);
      return (
        value !== undefined &&
        verifyApproval(response.approval, value, approved.approval_signature.public_key)
      );
    });
  });
});

describe("credentials", () => {
  const timeout = 10_000 + MUTATIONS * MAX_MUTATION_MS;
  const [setup, renewal] = casesOf("setup") as [Case, Case];
  const signed = ({ form, signature, nats_signature }: Case) => ({
    ...form,
    signature: signature.signature,
    nats_signature: nats_signature.signature,
  });
  const natsKey = (key: string) => toBase64(decodeNkey("user", key) ?? new Uint8Array(32));

  test("a call for setup credentials, under both its signatures", { timeout }, async () => {
    const { service_id, code, ...request } = signed(setup);
    await attack(request, async (bytes) => {
      const { data } = setupCredentialsRequest.safeParse(json(bytes));
      if (data === undefined) return false;
      const form = setupForm(service_id, code, data);
      return (
        (await verifyJson(data.signing_key, LABELS.setup, form, data.signature)) &&
        verifyJson(natsKey(data.nats_public_key), LABELS.setup, form, data.nats_signature)
      );
    });
  });

  test("a call for new credentials, under both its signatures", { timeout }, async () => {
    await attack(signed(renewal), async (bytes) => {
      const { data } = lastingCredentialsRequest.safeParse(json(bytes));
      if (data === undefined) return false;
      const form = credentialsForm(data);
      return (
        (await verifyJson(renewal.signature.public_key, LABELS.credentials, form, data.signature)) &&
        verifyJson(natsKey(data.nats_public_key), LABELS.credentials, form, data.nats_signature)
      );
    });
  });

  test("the claims of a NATS user's JWT, as Node's own Ed25519 reads it", { timeout }, async () => {
    const signingKey = await importSigningKey(Uint8Array.from({ length: 32 }, (_, n) => n));
    const jwt = await mintUserJwt({
      signingKey,
      account: encodeNkey("account", signingKey.publicKey),
      userNatsKey: renewal.form.nats_public_key,
      name: "someone",
      permissions: { publish: ["a.>"], subscribe: ["b.>"] },
      maxSubscriptions: 20,
      nowSeconds: 1_700_000_000,
      expiresAtSeconds: 1_700_086_400,
    });
    const [header, claims, signature] = jwt.split(".") as [string, string, string];
    const publicKey = createPublicKey({
      format: "jwk",
      key: { kty: "OKP", crv: "Ed25519", x: base64urlnopad.encode(signingKey.publicKey) },
    });
    await attack(
      JSON.parse(new TextDecoder().decode(base64urlnopad.decode(claims))),
      async (bytes) =>
        verify(
          null,
          utf8(`${header}.${base64urlnopad.encode(bytes)}`),
          publicKey,
          base64urlnopad.decode(signature),
        ),
      { bytesSigned: true },
    );
  });

  test("an API key: no single character can be another one, nor two change places", () => {
    const text = formatApiKey(makeApiKeyParts("dev", new Uint8Array(16).fill(7), new Uint8Array(32).fill(9)));
    expect(parseApiKey(text).ok).toBe(true);
    for (let at = 0; at < text.length; at++) {
      for (const other of "0Aa_z") {
        if (other !== text[at])
          expect(parseApiKey(text.slice(0, at) + other + text.slice(at + 1)).ok, `${at}: ${other}`).toBe(
            false,
          );
      }
      const swapped = [...text];
      [swapped[at], swapped[at + 1]] = [swapped[at + 1] ?? "", swapped[at] ?? ""];
      if (swapped.join("") !== text) expect(parseApiKey(swapped.join("")).ok, `${at}`).toBe(false);
    }
  });
});

describe("the end and the record", () => {
  const timeout = 10_000 + MUTATIONS * MAX_MUTATION_MS;

  test("a revocation", { timeout }, async () => {
    const { revocation: value, revocation_signature } = casesOf("revocation")[0]!;
    await attack(value, async (bytes) => {
      const { data } = revocation.safeParse(json(bytes));
      return data !== undefined && verifyRevocation(revocation_signature.public_key, data);
    });
  });

  test("an entry of the audit chain", { timeout }, async () => {
    const { entry, entry_signature } = casesOf("audit")[0]!;
    const keys = { serviceId: entry.service_id, publicKey: entry_signature.public_key };
    await attack(entry, async (bytes) => (await verifyChain([json(bytes)], keys)).valid);
  });
});

test("the same seed gives the same mutations", () => {
  const series = () => {
    const below = generator(SEED);
    return KINDS.map((kind) => new TextDecoder().decode(mutate({ a: 1, b: { c: "x" } }, kind, below)));
  };
  expect(series()).toEqual(series());
  expect(new Set(series()).size).toBeGreaterThan(4);
});
