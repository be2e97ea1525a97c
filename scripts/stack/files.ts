// Where things are on disk, and the two ways the stack writes them.

import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The project's root folder. */
export const PROJECT_ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** Seeds and credentials are for their owner's eyes only. */
const PRIVATE_FILE_MODE = 0o600;
const PRIVATE_DIR_MODE = 0o700;

/** Makes a folder (and those above it) that only its owner may read. */
export function makePrivateDir(path: string): string {
  mkdirSync(path, { recursive: true, mode: PRIVATE_DIR_MODE });
  return path;
}

/**
 * Writes a file only its owner may read. It appears whole or not at all: a run killed half way must
 * not leave half a key behind for the next one to load.
 */
export function writePrivateFile(path: string, text: string): void {
  makePrivateDir(dirname(path));
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, text, { mode: PRIVATE_FILE_MODE });
  chmodSync(temporary, PRIVATE_FILE_MODE);
  renameSync(temporary, path);
}

/** Reads a JSON file this stack wrote, or gives undefined when there is none. */
export function readJsonFile<T>(path: string): T | undefined {
  if (!existsSync(path)) return undefined;
  try {
    return JSON.parse(readFileSync(path, "utf8")) as T;
  } catch (error) {
    throw new Error(`${path} is not readable JSON (${String(error)}); delete it to have it made anew`);
  }
}
