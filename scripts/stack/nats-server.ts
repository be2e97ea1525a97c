// A real nats-server in operator mode: JetStream, full account resolver, TCP and WebSocket.

import { execFileSync } from "node:child_process";
import { accessSync, constants, readdirSync, rmSync } from "node:fs";
import { delimiter, join } from "node:path";
import { makePrivateDir, writePrivateFile } from "./files.ts";
import type { AccountMaterial, OperatorMaterial } from "./operator.ts";
import { freePorts, LOOPBACK, waitForPort } from "./ports.ts";
import { ProcessGroup } from "./process-group.ts";
import type { TlsFiles } from "./tls.ts";

/** Ports of one server; those left out are chosen. */
export interface NatsPorts {
  tcp?: number | undefined;
  ws?: number | undefined;
}

/** How a server is started. */
export interface NatsServerOptions {
  /** Name of the server, in its log and in our error messages. */
  name: string;
  /** Folder of configuration, log, account JWTs and stream data; kept between runs. */
  dir: string;
  operator: OperatorMaterial;
  accounts: AccountMaterial[];
  ports?: NatsPorts | undefined;
  /** With certificates the WebSocket side is wss; TCP stays plain. */
  tls?: TlsFiles | undefined;
}

const START_TIMEOUT_MS = 10_000;
const READY_POLL_MS = 10;
const STOPPED_TIMEOUT_MS = 5_000;
const START_ATTEMPTS = 5;
/** Within which a client must have signed the server's nonce: its own 2 seconds are short on a machine under load. */
const AUTHENTICATION_TIMEOUT_SECONDS = 15;
const MAX_MEMORY_STORE = "64M";
const MAX_FILE_STORE = "1G";
const RESOLVER_INTERVAL = "2m";
const MAX_STORED_ACCOUNTS = 1_000;

/** `<program>_<process number>.ports` */
const PORTS_FILE_ENDING = ".ports";

/** Where Debian puts daemons: not on every user's path. */
const EXTRA_PATHS = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"];

/** Finds nats-server: NATS_SERVER_BIN, the path, /usr/sbin. */
export function findNatsServer(): string {
  const candidates = process.env.NATS_SERVER_BIN
    ? [process.env.NATS_SERVER_BIN]
    : [...(process.env.PATH ?? "").split(delimiter), ...EXTRA_PATHS].map((dir) => join(dir, "nats-server"));
  for (const candidate of candidates) {
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      // not there: the next one
    }
  }
  throw new Error("nats-server not found: run `npm run setup`, or name the binary in NATS_SERVER_BIN");
}

/** A nats-server process, over as many lives as a test gives it; ports and data stay the same. */
export class NatsServer {
  readonly #options: NatsServerOptions;
  #ports: { tcp: number; ws: number } | undefined;
  #group: ProcessGroup | undefined;

  constructor(options: NatsServerOptions) {
    this.#options = options;
  }

  /** `nats://127.0.0.1:port` */
  get tcpUrl(): string {
    return `nats://${LOOPBACK}:${this.#bound.tcp}`;
  }

  /** `ws://127.0.0.1:port`, or `wss://` with certificates. */
  get wsUrl(): string {
    return `${this.#options.tls ? "wss" : "ws"}://${LOOPBACK}:${this.#bound.ws}`;
  }

  /** The ports in use; they stay the same over restarts. */
  get ports(): { tcp: number; ws: number } {
    return { ...this.#bound };
  }

  /** Process number of the running server. */
  get pid(): number | undefined {
    return this.#group?.running ? this.#group.pid : undefined;
  }

  /** Where the server logs. */
  get logFile(): string {
    return join(this.#options.dir, "nats-server.log");
  }

  /** Starts the server and waits until both listeners answer. Does nothing if it runs. */
  async start(): Promise<void> {
    if (this.#group?.running) return;
    const binary = findNatsServer();
    const { ports } = this.#options;
    const chosenByUs = this.#ports === undefined && (ports?.tcp === undefined || ports.ws === undefined);
    for (let attempt = 1; ; attempt++) {
      const bound = this.#ports ?? (await this.#choosePorts());
      const group = this.#spawn(binary, bound);
      if (await this.#untilReady(group)) {
        this.#group = group;
        this.#ports = bound;
        return;
      }
      await group.kill();
      // Ports we chose ourselves may have been taken since: choose again.
      if (!chosenByUs || attempt >= START_ATTEMPTS) throw group.failure("did not start");
    }
  }

  /** Ends the server in order. */
  async stop(): Promise<void> {
    await this.#group?.stop();
    await this.#waitUntilDown();
  }

  /** SIGKILL: nothing is flushed, no client is told. */
  async kill(): Promise<void> {
    await this.#group?.kill();
    await this.#waitUntilDown();
  }

  /** Freezes the server: connections stay open and nothing answers. */
  pause(): void {
    this.#group?.signal("SIGSTOP");
  }

  /** Ends a freeze. */
  resume(): void {
    this.#group?.signal("SIGCONT");
  }

  /** Removes all stream data, as a lost disk would. Only while stopped. */
  wipeStreams(): void {
    if (this.#group?.running) throw new Error(`stop ${this.#options.name} before its data is removed`);
    rmSync(this.#streamDir, { recursive: true, force: true });
  }

  get #streamDir(): string {
    return join(this.#options.dir, "jetstream");
  }

  get #bound(): { tcp: number; ws: number } {
    if (!this.#ports) throw new Error(`${this.#options.name} has no ports before its first start`);
    return this.#ports;
  }

  async #choosePorts(): Promise<{ tcp: number; ws: number }> {
    const [tcp, ws] = await freePorts(2);
    const { ports } = this.#options;
    return { tcp: ports?.tcp ?? (tcp as number), ws: ports?.ws ?? (ws as number) };
  }

  #spawn(command: string, ports: { tcp: number; ws: number }): ProcessGroup {
    const { dir, name } = this.#options;
    makePrivateDir(dir);
    // A life that was killed leaves this file, and its process number may come again.
    for (const file of readdirSync(dir)) if (file.endsWith(PORTS_FILE_ENDING)) rmSync(join(dir, file));
    const config = join(dir, "nats-server.conf");
    writePrivateFile(config, this.#config(ports));
    return new ProcessGroup({ name, command, args: ["-c", config], logFile: this.logFile });
  }

  /**
   * The server writes this file once all its listeners are up. That the ports accept would prove nothing:
   * another process may hold them.
   */
  async #untilReady(group: ProcessGroup): Promise<boolean> {
    const { dir } = this.#options;
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (group.running && Date.now() < deadline) {
      if (readdirSync(dir).some((file) => file.endsWith(`_${group.pid}${PORTS_FILE_ENDING}`))) return true;
      await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
    }
    return false;
  }

  #config(ports: { tcp: number; ws: number }): string {
    const { dir, operator, accounts, name, tls } = this.#options;
    // The resolver keeps what was pushed over a preload that is older.
    const preload = [operator.system_account, ...accounts]
      .map((a) => `  ${a.public_key}: ${a.jwt}`)
      .join("\n");
    const encryption = tls
      ? `tls { cert_file: ${quote(tls.certFile)}, key_file: ${quote(tls.keyFile)} }`
      : "no_tls: true";
    return `server_name: ${quote(name)}
listen: "${LOOPBACK}:${ports.tcp}"
ports_file_dir: ${quote(dir)}
websocket { listen: "${LOOPBACK}:${ports.ws}", ${encryption} }
authorization { timeout: ${AUTHENTICATION_TIMEOUT_SECONDS} }
operator: ${operator.operator.jwt}
system_account: ${operator.system_account.public_key}
resolver: {
  type: full, dir: ${quote(join(dir, "accounts"))}
  allow_delete: true, interval: "${RESOLVER_INTERVAL}", limit: ${MAX_STORED_ACCOUNTS}
}
resolver_preload: {
${preload}
}
jetstream { store_dir: ${quote(this.#streamDir)}, max_mem: ${MAX_MEMORY_STORE}, max_file: ${MAX_FILE_STORE} }
`;
  }

  async #waitUntilDown(): Promise<void> {
    if (this.#ports) await waitForPort(this.#ports.tcp, false, STOPPED_TIMEOUT_MS);
  }
}

/** What `nats-server --version` says, for error reports. */
export function natsServerVersion(): string {
  return execFileSync(findNatsServer(), ["--version"], { encoding: "utf8" }).trim();
}

function quote(text: string): string {
  return JSON.stringify(text);
}
