// The process that holds Miniflare (and below it workerd). Started by worker.ts, spoken to by messages.

import { Log, LogLevel, Miniflare } from "miniflare";
import type { BundleModule } from "./bundle.ts";

/** What the parent sends once. */
export interface StartMessage {
  port: number;
  persistDir: string;
  workerOptions: Record<string, unknown>;
  modules: BundleModule[];
  /** Imports between modules are relative to this folder. */
  modulesRoot: string;
  /** How often scheduled() is called, as the cron trigger would. */
  cronIntervalMs: number;
  cron: string;
  /** Whether `port` leads straight into the Worker. */
  direct: boolean;
  /** Where a debugger may attach. */
  inspectorPort?: number | undefined;
}

/** What the child answers once. */
export type StartedMessage = { ready: true; url: string } | { ready: false; error: string };

process.once("message", (message) => {
  start(message as StartMessage).then(answer, (error: unknown) => {
    const text = error instanceof Error ? error.message : String(error);
    console.error(text); // whole into the log, from which the parent quotes
    answer({ ready: false, error: text.split("\n", 1)[0] as string });
  });
});

async function start(options: StartMessage): Promise<StartedMessage> {
  const miniflare = new Miniflare({
    host: "127.0.0.1",
    // Port 0: any free one, where nobody calls.
    port: options.direct ? 0 : options.port,
    ...(options.inspectorPort === undefined ? {} : { inspectorPort: options.inspectorPort }),
    cf: false,
    telemetry: { enabled: false },
    log: new Log(LogLevel.WARN),
    defaultPersistRoot: options.persistDir,
    workers: [
      {
        ...options.workerOptions,
        name: WORKER_NAME,
        modules: options.modules,
        modulesRoot: options.modulesRoot,
        ...(options.direct ? { unsafeDirectSockets: [{ host: "127.0.0.1", port: options.port }] } : {}),
      },
    ],
  } as ConstructorParameters<typeof Miniflare>[0]);
  const url = await miniflare.ready;

  // Cloudflare calls scheduled() by the crons of wrangler.toml; Miniflare leaves that to us.
  const runCron = async () => {
    try {
      const worker = (await miniflare.getWorker(WORKER_NAME)) as unknown as ScheduledTarget;
      await worker.scheduled({ cron: options.cron });
    } catch (error) {
      console.error("scheduled() failed:", error);
    }
  };
  const cron = setInterval(runCron, options.cronIntervalMs);

  process.once("SIGTERM", async () => {
    clearInterval(cron);
    await miniflare.dispose();
    process.exit(0);
  });
  return { ready: true, url: url.origin };
}

const WORKER_NAME = "main";

/** What getWorker() gives, as far as it is used here; the types of both packages do not agree on it. */
interface ScheduledTarget {
  scheduled(options: { cron: string }): Promise<unknown>;
}

function answer(message: StartedMessage): void {
  process.send?.(message);
}
