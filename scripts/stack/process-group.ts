// A child process in a group of its own, that never outlives us.

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { makePrivateDir } from "./files.ts";

/** How a group is started. */
export interface ProcessGroupOptions {
  /** Names the process in error messages. */
  name: string;
  command: string;
  args: string[];
  /** Standard output and error are appended here. */
  logFile: string;
  /** Added to this process's environment. */
  env?: Record<string, string>;
  /** Opens a message channel to the child (it must be a Node process). */
  ipc?: boolean;
}

/** How long stop() waits after SIGTERM before it kills. */
const STOP_GRACE_MS = 5_000;
/** How much of a log an error message quotes. */
const LOG_TAIL_CHARACTERS = 2_000;
/** Stands for the process number of a child that could not be started. */
const NOT_STARTED = 0;

/**
 * One running child and everything it starts, in a process group of its own: a Ctrl-C in the terminal
 * reaches only us (so that we choose the order of stopping), and one signal reaches the whole group.
 * A shell waits beside it on a pipe from this process: if we die without cleaning up, even by SIGKILL,
 * the pipe closes and the shell kills the group.
 */
export class ProcessGroup {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Settles with the exit code (or the signal's name) once the group's leader is gone. */
  readonly exited: Promise<number | string>;
  readonly #options: ProcessGroupOptions;
  readonly #guard: ChildProcess | undefined;
  #running = true;

  constructor(options: ProcessGroupOptions) {
    this.#options = options;
    makePrivateDir(dirname(options.logFile));
    const log = openSync(options.logFile, "a", 0o600);
    try {
      this.child = spawn(options.command, options.args, {
        detached: true,
        stdio: options.ipc ? ["ignore", log, log, "ipc"] : ["ignore", log, log],
        env: { ...process.env, ...options.env },
      });
    } finally {
      closeSync(log);
    }
    this.exited = new Promise((resolve) => {
      this.child.once("error", (error) => {
        this.#running = false;
        resolve(String(error));
      });
      this.child.once("exit", (code, signal) => {
        this.#running = false;
        resolve(code ?? signal ?? "unknown");
      });
    });
    // Neither child nor guard may keep this process alive when it has nothing else to do.
    this.child.unref();
    if (options.ipc) this.child.channel?.unref();
    this.pid = this.child.pid ?? NOT_STARTED;
    if (this.pid === NOT_STARTED) return; // the error event tells `exited` why
    this.#guard = spawn(
      "/bin/sh",
      ["-c", 'read -r _; kill -s KILL -- "-$1" 2>/dev/null', "guard", String(this.pid)],
      {
        detached: true,
        stdio: ["pipe", "ignore", "ignore"],
      },
    );
    this.#guard.on("error", () => {});
    this.#guard.unref();
    (this.#guard.stdin as unknown as { unref(): void } | null)?.unref();
  }

  /** Whether the group's leader is alive, as far as this process was told. */
  get running(): boolean {
    return this.#running;
  }

  /** Sends a signal to every process of the group. A group that is gone is no error. */
  signal(signal: NodeJS.Signals): void {
    if (this.pid === NOT_STARTED) return;
    try {
      process.kill(-this.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }

  /** SIGKILL to the whole group: nothing gets to clean up, as in a power cut. */
  async kill(): Promise<void> {
    this.child.ref(); // what is awaited must keep the event loop alive
    this.signal("SIGKILL");
    await this.exited;
    this.#release();
  }

  /** Asks the leader to end, then kills what is left of the group. */
  async stop(): Promise<void> {
    if (this.#running) {
      this.child.ref();
      // Only the leader: it ends its own children in the right order.
      this.child.kill("SIGTERM");
      // A frozen process gets the signal only once it runs again.
      this.signal("SIGCONT");
      let timer: NodeJS.Timeout | undefined;
      const grace = new Promise((resolve) => {
        timer = setTimeout(resolve, STOP_GRACE_MS);
      });
      await Promise.race([this.exited, grace]);
      clearTimeout(timer);
    }
    await this.kill();
  }

  /** The end of the log, for an error message. */
  logTail(): string {
    const { logFile } = this.#options;
    const text = existsSync(logFile) ? readFileSync(logFile, "utf8").trim() : "";
    return text.slice(-LOG_TAIL_CHARACTERS);
  }

  /** An error that says what happened to this process and what it said last. */
  failure(what: string): Error {
    return new Error(`${this.#options.name} ${what}; log: ${this.#options.logFile}\n${this.logTail()}`);
  }

  #release(): void {
    // The guard first: once the group is gone its number may be given to others.
    this.#guard?.kill("SIGKILL");
    this.#guard?.stdin?.destroy();
  }
}
