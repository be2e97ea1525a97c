// Runs the whole stack on this machine: both NATS clusters, the Worker, a user vault with a page that plays its phone.
//
//   npm run dev -- [--headless] [--dir .dev] [--fresh] [--tls] [--port N] [--phone-port N]
//                  [--servicespace-ws N] [--servicespace-tcp N] [--messagespace-ws N] [--messagespace-tcp N]

import { rmSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { phoneOfStack } from "./phone/phone.ts";
import { PROJECT_ROOT, writePrivateFile } from "./stack/files.ts";
import { isListening } from "./stack/ports.ts";
import { type Stack, startStack } from "./stack/stack.ts";

const DEFAULT_DIR = ".dev";
const DEFAULT_PORTS = {
  port: 8787,
  "phone-port": 8788,
  "servicespace-ws": 14280,
  "servicespace-tcp": 14222,
  "messagespace-ws": 15280,
  "messagespace-tcp": 15222,
};
type PortName = keyof typeof DEFAULT_PORTS;
const MAX_PORT = 65_535;
const KEEP_ALIVE_MS = 3_600_000;
const PARENT_POLL_MS = 500;

/** What `.dev/stack.json` holds while the stack runs, for programs that attach to it. */
interface StackFile {
  base_url: string;
  admin_api_key: string;
  service_id: string;
  servicespace: { ws: string; tcp: string };
  /** `user_creds_file`: a development credential that may read any `MessageSpace.>` subject. */
  messagespace: { ws: string; tcp: string; user_creds_file: string };
  /** With --tls: the authority to trust for both ws addresses. */
  ca_file?: string;
}

/** Something else that runs with the stack. */
interface Companion {
  /** One line for the person at the terminal. */
  description: string;
  stop(): Promise<void>;
}

await main().catch((error: unknown) => {
  console.error(`dev: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
});

async function main(): Promise<void> {
  const options = readArguments();
  const dir = resolve(PROJECT_ROOT, options.dir);
  const stackFile = join(dir, "stack.json");
  // Whoever waits for this file must not find the one of an earlier run.
  rmSync(stackFile, { force: true });
  process.once("exit", () => rmSync(stackFile, { force: true }));
  await expectFree(options.ports);

  // Until everything is up a signal just ends this process: what was started ends with it.
  let onSignal = (): void => process.exit(1);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => onSignal());

  const { ports } = options;
  const stack = await startStack({
    dir,
    fresh: options.fresh,
    tls: options.tls,
    ports: {
      worker: ports.port,
      serviceSpace: { ws: ports["servicespace-ws"], tcp: ports["servicespace-tcp"] },
      messageSpace: { ws: ports["messagespace-ws"], tcp: ports["messagespace-tcp"] },
    },
  });
  const userVault = await startUserVault(stack, ports["phone-port"]);

  let stopping = false;
  const stop = async () => {
    if (stopping) process.exit(1); // asked twice: now, without order
    stopping = true;
    await userVault.stop();
    await stack.stop();
    process.exit(0);
  };
  onSignal = () => void stop();
  stopWithNpm(() => void stop());

  const varsFile = join(options.dir === DEFAULT_DIR ? PROJECT_ROOT : dir, ".dev.vars");
  writePrivateFile(varsFile, devVars(stack.bindings));
  writePrivateFile(stackFile, `${JSON.stringify(describe(stack), null, 2)}\n`);
  announce(stack, userVault, stackFile, varsFile);

  if (!options.headless && process.stdin.isTTY) takeCommands(stack, stop);
  // A pending timer keeps the process; nothing else here needs to.
  setInterval(() => {}, KEEP_ALIVE_MS);
}

/**
 * Under npm there may be a shell between npm and this process, and a signal to npm ends only that shell:
 * then this process gets another parent, and takes that as the signal.
 */
function stopWithNpm(stop: () => void): void {
  if (process.env.npm_lifecycle_event === undefined) return;
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    stop();
  }, PARENT_POLL_MS);
}

/** The user vault that plays a person against this stack; it is stopped before the stack is. */
async function startUserVault(stack: Stack, port: number): Promise<Companion> {
  const phone = await phoneOfStack(stack, port);
  return { description: phone.url, stop: () => phone.stop() };
}

function readArguments() {
  const { values } = parseArgs({
    options: {
      headless: { type: "boolean", default: false },
      fresh: { type: "boolean", default: false },
      tls: { type: "boolean", default: false },
      dir: { type: "string", default: DEFAULT_DIR },
      ...(Object.fromEntries(Object.keys(DEFAULT_PORTS).map((name) => [name, { type: "string" }])) as Record<
        PortName,
        { type: "string" }
      >),
    },
  });
  const ports = { ...DEFAULT_PORTS };
  for (const name of Object.keys(DEFAULT_PORTS) as PortName[]) {
    const text = values[name];
    if (text === undefined) continue;
    const port = Number(text);
    if (!Number.isInteger(port) || port < 1 || port > MAX_PORT) {
      throw new Error(`--${name} must be a port number, 1 to ${MAX_PORT}`);
    }
    ports[name] = port;
  }
  return { headless: values.headless, fresh: values.fresh, tls: values.tls, dir: values.dir, ports };
}

async function expectFree(ports: Record<PortName, number>): Promise<void> {
  for (const [name, port] of Object.entries(ports)) {
    if (await isListening(port)) throw new Error(`port ${port} is in use: choose another with --${name}`);
  }
}

function describe(stack: Stack): StackFile {
  const { serviceSpace, messageSpace } = stack;
  return {
    base_url: stack.baseUrl,
    admin_api_key: stack.adminApiKey,
    service_id: stack.serviceId,
    servicespace: { ws: serviceSpace.server.wsUrl, tcp: serviceSpace.server.tcpUrl },
    messagespace: {
      ws: messageSpace.server.wsUrl,
      tcp: messageSpace.server.tcpUrl,
      user_creds_file: stack.userVaultCredsFile,
    },
    ...(stack.caFile !== undefined && { ca_file: stack.caFile }),
  };
}

/** The Worker's settings in the form `wrangler dev` reads; JSON's quoting is also dotenv's. */
function devVars(bindings: Record<string, string>): string {
  const lines = Object.entries(bindings).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `# Made by \`npm run dev\` for its own clusters. Not for any deployment.\n${lines.join("\n")}\n`;
}

function announce(stack: Stack, userVault: Companion, stackFile: string, varsFile: string): void {
  const here = (path: string) => relative(process.cwd(), path) || path;
  const { serviceSpace, messageSpace } = stack;
  console.log(`The stack is up.

  Worker         ${stack.baseUrl}
  service_id     ${stack.serviceId}
  admin key      ${stack.adminApiKey}
  console        ${stack.baseUrl}/console
  ServiceSpace   ${serviceSpace.server.wsUrl}   ${serviceSpace.server.tcpUrl}
  MessageSpace   ${messageSpace.server.wsUrl}   ${messageSpace.server.tcpUrl}
  phone          ${userVault.description}

  ${here(stackFile)}   all of this, for programs
  ${here(varsFile)}   the Worker's settings, for \`wrangler dev\`
  ${here(stack.worker.logFile)}   the Worker's log
`);
}

function takeCommands(stack: Stack, stop: () => Promise<void>): void {
  console.log(
    "r + Enter starts the Worker again with the sources as they are now, q + Enter ends everything.",
  );
  const lines = createInterface({ input: process.stdin });
  lines.on("line", async (line) => {
    const command = line.trim().toLowerCase();
    if (command === "q") await stop();
    if (command !== "r") return;
    try {
      await stack.worker.rebuild();
      console.log("The Worker runs the new sources.");
    } catch (error) {
      console.error(error instanceof Error ? error.message : String(error));
    }
  });
}
