// The commands of README.md, docs/ and examples/, run as a reader would: in a copy of the project, a page's blocks one
// after the other in one shell, against one development stack.
//
// The word behind ```sh says how: nothing, it is run; `dev`, it is the stack that runs already; `no-run` or `no-run: <why>`, it is not.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PROJECT_ROOT } from "../../scripts/stack/files.ts";
import { freePorts } from "../../scripts/stack/ports.ts";

const run = promisify(execFile);
const SET_UP_TIMEOUT_MS = 120_000;
const PAGE_TIMEOUT_MS = 120_000;
const POLL_MS = 50;
/** Not of the sources: made, hidden, or another's. */
const LEFT_OUT = new Set(["node_modules", "dist", "test", "test-results", "coverage"]);

interface Block {
  /** Behind `sh`. */
  how: string;
  line: number;
  text: string;
}

function blocksOf(markdown: string): Block[] {
  const lines = markdown.split("\n");
  const blocks: Block[] = [];
  let open: (Block & { indent: number }) | undefined;
  for (const [at, line] of lines.entries()) {
    const fence = /^( *)```(.*)$/.exec(line);
    if (open !== undefined) {
      if (fence?.[2] === "") {
        blocks.push(open);
        open = undefined;
      } else open.text += `${line.slice(open.indent)}\n`;
    } else if (fence !== null) {
      const sh = /^sh\b ?(.*)$/.exec(fence[2]!);
      open = { how: sh?.[1] ?? "other", line: at + 1, text: "", indent: fence[1]!.length };
    }
  }
  return blocks.filter(({ how }) => how !== "other");
}

const pages = ["README.md", "docs", "examples"]
  .flatMap((top) =>
    top.endsWith(".md")
      ? [top]
      : readdirSync(join(PROJECT_ROOT, top), { recursive: true })
          .map((name) => join(top, String(name)))
          .filter((name) => name.endsWith(".md")),
  )
  .map((path) => ({ path, blocks: blocksOf(readFileSync(join(PROJECT_ROOT, path), "utf8")) }))
  .filter(({ blocks }) => blocks.length > 0);

let copy: string;
let stack: ChildProcess | undefined;

beforeAll(async () => {
  copy = mkdtempSync(join(tmpdir(), "docs-"));
  for (const name of readdirSync(PROJECT_ROOT))
    if (!name.startsWith(".") && !LEFT_OUT.has(name))
      cpSync(join(PROJECT_ROOT, name), join(copy, name), { recursive: true });
  symlinkSync(join(PROJECT_ROOT, "node_modules"), join(copy, "node_modules"));
  const names = [
    "port",
    "phone-port",
    "servicespace-ws",
    "servicespace-tcp",
    "messagespace-ws",
    "messagespace-tcp",
  ];
  const ports = await freePorts(names.length);
  const child = spawn(
    process.execPath,
    [
      join(copy, "scripts", "dev.ts"),
      "--headless",
      ...names.flatMap((name, at) => [`--${name}`, String(ports[at])]),
    ],
    { cwd: copy, stdio: ["ignore", "pipe", "pipe"] },
  );
  stack = child;
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk) => {
      said += chunk;
    });
  while (!existsSync(join(copy, ".dev", "stack.json"))) {
    if (child.exitCode !== null) throw new Error(`the stack did not come up:\n${said}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}, SET_UP_TIMEOUT_MS);

afterAll(async () => {
  if (stack !== undefined && stack.exitCode === null) {
    const ended = new Promise((resolve) => stack!.once("close", resolve));
    stack.kill("SIGTERM");
    await ended;
  }
  rmSync(copy, { recursive: true, force: true });
});

/** A page's blocks in one shell; the output of all of them. */
async function runPage(blocks: Block[]): Promise<string> {
  const script = blocks
    .filter(({ how }) => how === "")
    .map(({ line, text }) => `echo "--- line ${line}"\n${text}`)
    .join("\n");
  try {
    const { stdout } = await run("bash", ["-eo", "pipefail", "-c", script], {
      cwd: copy,
      timeout: PAGE_TIMEOUT_MS,
      env: { ...process.env, NO_COLOR: "1" },
    });
    return stdout;
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    throw new Error(`a command failed; what was said:\n${stdout}\n${stderr}`);
  }
}

describe("commands in the documents", () => {
  it("are run, or say why they are not", () => {
    for (const { path, blocks } of pages)
      for (const { how, line } of blocks)
        expect(how, `${path}:${line}`).toMatch(/^(?:|dev|no-run(?:: .+)?)$/);
    const dev = pages.flatMap(({ blocks }) => blocks.filter(({ how }) => how === "dev"));
    expect(dev.map(({ text }) => text)).toEqual(["npm run dev\n"]);
  });

  it.each(pages.filter(({ blocks }) => blocks.some(({ how }) => how === "")))(
    "of $path work",
    async ({ path, blocks }) => {
      const output = await runPage(blocks);
      if (path !== "README.md") return;
      // The login by hand: an approved request, and the chain that records it.
      const last = output.slice(output.lastIndexOf("--- line"));
      expect(last).toContain('"status":"approved"');
      expect(last).toContain('"operation":"auth.request"');
    },
    PAGE_TIMEOUT_MS,
  );
});

describe("npm run example", () => {
  it("serves an example against the stack that runs", async () => {
    const [port] = await freePorts(1);
    const child = spawn("npm", ["run", "--silent", "example", "--", "shop"], {
      cwd: copy,
      env: { ...process.env, PORT: String(port) },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    let said = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk) => {
        said += chunk;
      });
    try {
      await expect.poll(() => said, { timeout: 30_000 }).toContain(`open http://127.0.0.1:${port}`);
      expect(await (await fetch(`http://127.0.0.1:${port}/join`)).text()).toContain("Scan this");
    } finally {
      // npm, its shell and the server.
      process.kill(-child.pid!, "SIGTERM");
    }
  });
});
