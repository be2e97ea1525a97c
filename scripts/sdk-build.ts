// Builds the client's package: `node scripts/sdk-build.ts [folder]`, then `npm pack` there. What is packed is made in
// a folder of its own (default dist/sdk), so that a build changes nothing that is under version control.
//
// The pure parts of src/ and the few packages they use are bundled in: the package depends on nothing at run time.
// Each of its own modules stays a module, so that a bundler takes only what is imported.

import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { build, type Metafile } from "esbuild";
import { PROJECT_ROOT } from "./stack/files.ts";

const SDK = join(PROJECT_ROOT, "sdk", "typescript");
const SOURCES = join(SDK, "src");
/** Node 22, and what Workers, Deno and Bun have been able to do for longer. */
const TARGET = "es2023";

/** Modules of the package, from its sources' folder, without their ending. */
const modules = (): string[] =>
  readdirSync(SOURCES, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => name.slice(0, -".ts".length))
    .sort();

async function bundle(outdir: string): Promise<Metafile> {
  const { metafile } = await build({
    entryPoints: modules().map((name) => ({ in: join(SOURCES, `${name}.ts`), out: name })),
    bundle: true,
    splitting: true,
    format: "esm",
    // Nothing of a runtime's own: an import of node: or cloudflare: is an error.
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["import", "default"],
    target: TARGET,
    chunkNames: "chunks/[name]-[hash]",
    outdir,
    metafile: true,
    logLevel: "error",
    plugins: [
      {
        // The project's own modules do nothing but declare: what of them is not used is left out.
        name: "pure-sources",
        setup({ onResolve, resolve: follow }) {
          onResolve({ filter: /^\./ }, async ({ path, pluginData, ...from }) => {
            if (pluginData === "followed" || from.importer.includes("node_modules")) return undefined;
            const found = await follow(path, { ...from, pluginData: "followed" });
            return found.errors.length > 0 ? found : { ...found, sideEffects: false };
          });
        },
      },
    ],
  });
  return metafile;
}

const run = (command: string, args: string[], cwd: string): Promise<void> =>
  new Promise((settle, fail) => {
    const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => {
        output += chunk.toString();
      });
    child.on("error", fail);
    child.on("close", (code) =>
      code === 0 ? settle() : fail(new Error(`${command} ${args[0]}: ${output}`)),
    );
  });

/**
 * The declarations. They may speak of nothing outside the package: zod and the vault's own modules are not in it.
 */
async function declare(outdir: string): Promise<void> {
  const cache = join(PROJECT_ROOT, "node_modules", ".cache");
  mkdirSync(cache, { recursive: true });
  const dir = mkdtempSync(join(cache, "sdk-types-"));
  try {
    const config = {
      extends: join(PROJECT_ROOT, "tsconfig.json"),
      compilerOptions: {
        noEmit: false,
        declaration: true,
        emitDeclarationOnly: true,
        rootDir: PROJECT_ROOT,
        outDir: join(dir, "out"),
        lib: ["esnext", "dom", "dom.iterable"],
        types: [],
      },
      include: [],
      files: [join(SOURCES, "index.ts")],
    };
    const file = join(dir, "tsconfig.json");
    writeFileSync(file, JSON.stringify(config));
    await run(join(PROJECT_ROOT, "node_modules", ".bin", "tsc"), ["-p", file], PROJECT_ROOT);
    const emitted = join(dir, "out", relative(PROJECT_ROOT, SOURCES));
    // What no declaration speaks of is the package's own business and is left out.
    const waiting = ["index"];
    const done = new Set<string>();
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      if (done.has(name)) continue;
      done.add(name);
      const text = readFileSync(join(emitted, `${name}.d.ts`), "utf8").replaceAll(
        /((?:from |import\()"\.[^"]*)\.ts"/g,
        '$1.js"',
      );
      for (const [, from = ""] of text.matchAll(/(?:from |import\()"([^"]+)"/g)) {
        const other = relative(SOURCES, resolve(SOURCES, dirname(name), from));
        if (!from.startsWith(".") || other.startsWith(".."))
          throw new Error(`the declarations of ${name} speak of ${from}, which is not in the package`);
        waiting.push(other.replace(/\.js$/, ""));
      }
      const target = join(outdir, `${name}.d.ts`);
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, text);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** The packages that are bundled in, each with its licence. */
function notices({ inputs, outputs }: Metafile): string {
  const used = new Set(Object.values(outputs).flatMap((output) => Object.keys(output.inputs)));
  const packages = new Set(
    Object.keys(inputs)
      .filter((path) => used.has(path))
      .flatMap((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []),
  );
  const texts = [...packages].sort().map((path) => {
    const dir = resolve(path);
    const { name, version, license } = JSON.parse(readFileSync(join(dir, "package.json"), "utf8")) as Record<
      string,
      string
    >;
    const file = readdirSync(dir).find((entry) => /^licen[cs]e/i.test(entry));
    if (file === undefined) throw new Error(`${name} is bundled in and brings no licence`);
    return `## ${name} ${version} (${license})\n\n${readFileSync(join(dir, file), "utf8").trim()}\n`;
  });
  return `# Third-party notices\n\nThis package contains code of these packages.\n\n${texts.join("\n")}`;
}

/** Builds the package into a folder, from nothing; `npm pack` there gives the tarball. */
export async function buildSdk(dir: string): Promise<void> {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  const outdir = join(dir, "dist");
  const [metafile] = await Promise.all([bundle(outdir), declare(outdir)]);
  for (const name of ["package.json", "README.md"]) cpSync(join(SDK, name), join(dir, name));
  cpSync(join(PROJECT_ROOT, "LICENSE"), join(dir, "LICENSE"));
  writeFileSync(join(dir, "THIRD_PARTY_NOTICES.md"), notices(metafile));
}

if (import.meta.main) {
  const dir = resolve(process.argv[2] ?? join(PROJECT_ROOT, "dist", "sdk"));
  await buildSdk(dir);
  console.log(`built: ${relative(process.cwd(), dir)}; npm pack ./${relative(process.cwd(), dir)}`);
}
