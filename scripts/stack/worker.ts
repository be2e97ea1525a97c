// The Worker in workerd, in a process group of its own that can be killed and started again.

import { join } from "node:path";
import { type Bundle, bundleModules, bundleWorkerOptions, ensureBundle, OFFLINE_ENV } from "./bundle.ts";
import { makePrivateDir, PROJECT_ROOT } from "./files.ts";
import { freePorts, LOOPBACK, waitForPort } from "./ports.ts";
import { ProcessGroup } from "./process-group.ts";
import type { StartedMessage, StartMessage } from "./worker-child.ts";

/** How the Worker is run. */
export interface WorkerOptions {
  /** Folder of the objects' storage and the log; kept between runs. */
  dir: string;
  /** Settings and secrets, over those of wrangler.toml. Undefined removes one. */
  bindings: Record<string, string | undefined>;
  /** Chosen when left out. */
  port?: number | undefined;
  /** Built from the sources when left out. */
  bundle?: Bundle | undefined;
  /** PEM file of an authority that workerd shall trust besides the usual ones. */
  caFile?: string | undefined;
  /** Milliseconds between calls of scheduled(); default one minute, as in wrangler.toml. */
  cronIntervalMs?: number | undefined;
  /** Whether the port leads straight into the Worker, past the entry Worker that Miniflare puts in front. */
  direct?: boolean | undefined;
  /** Where a debugger or profiler may attach; nowhere when left out. */
  inspectorPort?: number | undefined;
}

const START_TIMEOUT_MS = 30_000;
const START_ATTEMPTS = 5;
const STOPPED_TIMEOUT_MS = 5_000;
const CRON_INTERVAL_MS = 60_000;
const CRON = "* * * * *";

/** One Worker over as many lives as a test gives it; port and storage stay the same. */
export class WorkerProcess {
  readonly #options: WorkerOptions;
  #bindings: Record<string, string | undefined>;
  #bundle: Bundle | undefined;
  #group: ProcessGroup | undefined;
  #port: number | undefined;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#bindings = options.bindings;
    this.#bundle = options.bundle;
    this.#port = options.port;
  }

  /** `http://127.0.0.1:port`, known after reservePort() or the first start. */
  get baseUrl(): string {
    if (this.#port === undefined) throw new Error("the Worker has no port before its first start");
    return `http://${LOOPBACK}:${this.#port}`;
  }

  /** Whether the process that holds workerd is alive. */
  get running(): boolean {
    return this.#group?.running ?? false;
  }

  /** Process number of the group (Node and workerd). */
  get pid(): number | undefined {
    return this.running ? this.#group?.pid : undefined;
  }

  /** Where Miniflare, workerd and the Worker's console write. */
  get logFile(): string {
    return join(this.#options.dir, "worker.log");
  }

  /** Chooses the port before the start, so that the bindings can name it. */
  async reservePort(): Promise<string> {
    this.#port ??= (await freePorts(1))[0] as number;
    return this.baseUrl;
  }

  /** Replaces bindings for the next start; those not named stay. */
  setBindings(bindings: Record<string, string | undefined>): void {
    this.#bindings = { ...this.#bindings, ...bindings };
  }

  /** Starts workerd and waits until it takes connections. Does nothing if it runs. */
  async start(): Promise<void> {
    if (this.running) return;
    this.#bundle ??= await ensureBundle();
    await this.reservePort();
    for (let attempt = 1; ; attempt++) {
      const group = this.#spawn();
      const started = await this.#begin(group, this.#bundle);
      if (started.ready) {
        this.#group = group;
        return;
      }
      const failure = group.failure(`did not start: ${started.error}`);
      await group.kill();
      // The port of a life just killed may take a moment to be given back.
      if (!/address already in use/i.test(failure.message) || attempt >= START_ATTEMPTS) throw failure;
    }
  }

  /** Ends Node and workerd in order. */
  async stop(): Promise<void> {
    await this.#group?.stop();
    await this.#waitUntilDown();
  }

  /** SIGKILL to Node and workerd at once, in the middle of whatever they do. */
  async kill(): Promise<void> {
    await this.#group?.kill();
    await this.#waitUntilDown();
  }

  /** Kills and starts again on the same port and storage. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** Bundles the sources as they are now, then starts again in order. If they do not build, the old one runs on. */
  async rebuild(): Promise<void> {
    this.#bundle = await ensureBundle();
    await this.stop();
    await this.start();
  }

  /** The end of the log. */
  logTail(): string {
    return this.#group?.logTail() ?? "";
  }

  #spawn(): ProcessGroup {
    const { dir, caFile } = this.#options;
    makePrivateDir(dir);
    return new ProcessGroup({
      name: "the Worker",
      command: process.execPath,
      args: [join(PROJECT_ROOT, "scripts", "stack", "worker-child.ts")],
      logFile: this.logFile,
      // Node reads this at its start, so does Miniflare for workerd.
      env: { ...OFFLINE_ENV, ...(caFile && { NODE_EXTRA_CA_CERTS: caFile }) },
      ipc: true,
    });
  }

  #begin(group: ProcessGroup, bundle: Bundle): Promise<StartedMessage> {
    const options = bundleWorkerOptions(bundle);
    const message: StartMessage = {
      port: this.#port as number,
      persistDir: join(this.#options.dir, "storage"),
      workerOptions: { ...options, bindings: defined({ ...options.bindings, ...this.#bindings }) },
      modules: bundleModules(bundle),
      modulesRoot: bundle.dir,
      cronIntervalMs: this.#options.cronIntervalMs ?? CRON_INTERVAL_MS,
      cron: CRON,
      direct: this.#options.direct ?? false,
      inspectorPort: this.#options.inspectorPort,
    };
    return new Promise((resolve) => {
      const timer = setTimeout(
        () => resolve({ ready: false, error: `no answer within ${START_TIMEOUT_MS} ms` }),
        START_TIMEOUT_MS,
      );
      const settle = (result: StartedMessage) => {
        clearTimeout(timer);
        resolve(result);
      };
      group.child.once("message", (answer) => settle(answer as StartedMessage));
      group.exited.then((code) => settle({ ready: false, error: `ended with ${code}` }));
      group.child.send(message, (error) => {
        if (error) settle({ ready: false, error: String(error) });
      });
    });
  }

  async #waitUntilDown(): Promise<void> {
    if (this.#port !== undefined && this.#group) await waitForPort(this.#port, false, STOPPED_TIMEOUT_MS);
  }
}

function defined(bindings: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(bindings).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
