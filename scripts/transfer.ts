// Takes a whole deployment out into a file, and puts one into an empty deployment (docs/RUNBOOK.md, "Move a
// deployment"). The file holds what the databases hold: most of it wrapped under VAULT_KEK, which is not in it.
//
//   VAULT_API_KEY=svk_… npm run export -- --url https://vault.example.com --out deployment.jsonl
//   VAULT_API_KEY=svk_… npm run import -- --url https://vault.example.com deployment.jsonl
//
// The file is one JSON text a line: the manifest; a page `{object, page}` after the other, an object's in order; and
// at last `{end: {objects, pages, rows, sha256}}`, the digest being of every byte before that line. A file without
// its last line, or with another digest, is not imported.

import { createHash } from "node:crypto";
import { appendFileSync, createReadStream, existsSync, renameSync, rmSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { writePrivateFile } from "./stack/files.ts";

interface Manifest {
  format: string;
  service_id: string;
  key_check: string;
  journal_shards: number;
  objects: string[];
  next_cursor?: string;
}
interface Page {
  tables: { rows: unknown[] }[];
  after?: string;
  next?: string;
}
interface End {
  objects: number;
  pages: number;
  rows: number;
  sha256: string;
}

const FORMAT = "vettid-service-vault/1";
const CALL_TIMEOUT_MS = 60_000;
const ATTEMPTS = 5;
const PAUSE_MS = 500;
const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

class UsageError extends Error {}

const rowsOf = (page: Page): number => page.tables.reduce((sum, { rows }) => sum + rows.length, 0);

/** One call, repeated where it got no answer or was told to come back: pages are read and taken any number of times. */
async function call<T>(base: string, path: string, body?: string): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      const response = await fetch(`${base}/api/v1/${path}`, {
        method: body === undefined ? "GET" : "POST",
        headers: {
          authorization: `Bearer ${process.env.VAULT_API_KEY}`,
          connection: "close",
          ...(body !== undefined && { "content-type": "application/json" }),
        },
        ...(body !== undefined && { body }),
        signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
      });
      const text = await response.text();
      if (response.ok) return JSON.parse(text) as T;
      const { detail = text } = JSON.parse(text) as { detail?: string };
      if (response.status < 500) throw new UsageError(`${path}: ${detail}`);
      if (attempt >= ATTEMPTS) throw new Error(`${path}: ${response.status} ${detail}`);
    } catch (error) {
      if (error instanceof UsageError || attempt >= ATTEMPTS) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * 2 ** attempt));
  }
}

export async function exportTo(base: string, file: string): Promise<End> {
  if (existsSync(file)) throw new UsageError(`${file} exists: choose another name`);
  const partial = `${file}.partial`;
  rmSync(partial, { force: true });
  const digest = createHash("sha256");
  const end: End = { objects: 0, pages: 0, rows: 0, sha256: "" };
  const write = (value: unknown) => {
    const line = `${JSON.stringify(value)}\n`;
    digest.update(line);
    appendFileSync(partial, line);
  };
  writePrivateFile(partial, "");
  let cursor: string | undefined;
  do {
    const query = cursor === undefined ? "" : `?cursor=${encodeURIComponent(cursor)}`;
    const manifest = await call<Manifest>(base, `transfer${query}`);
    if (manifest.format !== FORMAT)
      throw new UsageError(`the vault exports ${manifest.format}, not ${FORMAT}`);
    if (cursor === undefined) {
      const { format, service_id, key_check, journal_shards } = manifest;
      write({ format, service_id, key_check, journal_shards, made_at: new Date().toISOString() });
    }
    for (const object of manifest.objects) {
      let after: string | undefined;
      do {
        const behind = after === undefined ? "" : `?after=${encodeURIComponent(after)}`;
        const page = await call<Page>(base, `transfer/${object}/read${behind}`);
        write({ object, page });
        end.pages += 1;
        end.rows += rowsOf(page);
        after = page.next;
      } while (after !== undefined);
      end.objects += 1;
    }
    cursor = manifest.next_cursor;
  } while (cursor !== undefined);
  end.sha256 = digest.digest("hex");
  appendFileSync(partial, `${JSON.stringify({ end })}\n`);
  renameSync(partial, file);
  return end;
}

async function* linesOf(file: string): AsyncGenerator<string> {
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity }))
    yield line;
}

/** Reads the whole file once before anything is sent: a damaged one changes nothing. */
async function checked(file: string): Promise<{ manifest: Manifest; end: End }> {
  if (!existsSync(file)) throw new UsageError(`there is no ${file}`);
  const digest = createHash("sha256");
  let manifest: Manifest | undefined;
  for await (const line of linesOf(file)) {
    const value = JSON.parse(line) as Partial<Manifest> & { end?: End };
    if (manifest === undefined) {
      if (value.format !== FORMAT) throw new UsageError(`${file} is not an export of format ${FORMAT}`);
      manifest = value as Manifest;
    }
    if (value.end === undefined) {
      digest.update(`${line}\n`);
      continue;
    }
    if (value.end.sha256 !== digest.digest("hex"))
      throw new UsageError(`${file} is damaged: it is not what was written`);
    return { manifest, end: value.end };
  }
  throw new UsageError(`${file} is not whole: its last line is missing`);
}

export async function importFrom(base: string, file: string): Promise<End> {
  const { manifest, end } = await checked(file);
  const target = await call<Manifest>(base, "transfer");
  if (target.service_id !== manifest.service_id)
    throw new UsageError(
      `the export is of service ${manifest.service_id}, the vault is ${target.service_id}`,
    );
  if (target.key_check !== manifest.key_check)
    throw new UsageError("the vault has another VAULT_KEK than the export: nothing in it could be read");
  if (target.journal_shards < manifest.journal_shards)
    throw new UsageError(`set JOURNAL_SHARDS to at least ${manifest.journal_shards}`);
  let rows = 0;
  for await (const line of linesOf(file)) {
    const value = JSON.parse(line) as { object?: string; page?: Page };
    if (value.object === undefined || value.page === undefined) continue;
    const taken = await call<{ rows: number }>(
      base,
      `transfer/${value.object}/write`,
      JSON.stringify(value.page),
    );
    rows += taken.rows;
  }
  if (rows !== end.rows) throw new Error(`${rows} rows were taken of ${end.rows}`);
  return end;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { url: { type: "string" }, out: { type: "string" } },
  });
  const [command, file = values.out, ...rest] = positionals;
  if ((command !== "export" && command !== "import") || file === undefined || rest.length > 0 || !values.url)
    throw new UsageError(
      "npm run export -- --url <vault> --out <file>, or npm run import -- --url <vault> <file>",
    );
  if (!process.env.VAULT_API_KEY) throw new UsageError("set VAULT_API_KEY to a key with the scope admin");
  const base = values.url.replace(/\/$/, "");
  const { objects, pages, rows } = await (command === "export" ? exportTo : importFrom)(base, file);
  console.log(`${command}ed ${objects} objects, ${rows} rows, in ${pages} pages: ${file}`);
  return 0;
}

if (import.meta.main) {
  process.exitCode = await main().catch((error: unknown) => {
    console.error(`transfer: ${error instanceof Error ? error.message : String(error)}`);
    return error instanceof UsageError ? EXIT_USAGE : EXIT_FAILED;
  });
}
