// After VAULT_KEK was changed: everything that is wrapped under the one before is brought under the new one, so that
// VAULT_KEK_PREVIOUS can be taken away. The index of contracts knows every user there is, and for each the rotation
// that was last seen through; the others are woken, a few at a time, and rewrap themselves.
//
// What is done is in the rows, what is left is what they do not say: a crash costs the batches whose outcome was not
// written, and those are found done. A user who appears in the index later has a row that says nothing, and is
// looked at too. Does nothing while VAULT_KEK_PREVIOUS is not set.

import type { Config } from "../../src/config.ts";
import type { Wrapper } from "../../src/crypto/wrap.ts";
import { errorText, log } from "../../src/log.ts";
import type { Rewrapped, VaultKekState } from "../../src/rpc.ts";
import { Rewrapper } from "../rewrap.ts";
import { WRAPPED } from "./schema.ts";

/** Users rewrapping at once. */
const USERS_AT_ONCE = 8;
/** One run of the alarm; between two, others have the object. */
const RUN_MS = 5_000;
const PAUSE_MS = 1_000;
/** After objects that could not be reached, or that run another version still. */
const RETRY_MS = 10_000;
/** So many of them in one run end it. */
const MAX_FAILED = 100;

const DIRECTORY = "directory";

export interface RewrappingDeps {
  storage: DurableObjectStorage;
  config: Config;
  wrapper: Wrapper;
  /** The shards of the Journal, by name. */
  journals(): { name: string; object: Rewrapped }[];
  user(userId: string): Rewrapped;
  /** Makes sure the alarm fires no later than this, and that `work` is called then. */
  wakeBy(at: number): void;
}

export class Rewrapping {
  readonly #deps: RewrappingDeps;
  readonly #own: Rewrapper;
  readonly #rotation: number;
  #running: Promise<void> | undefined;
  /** Values that did not open, as far as this life of the object has seen. */
  #damaged = 0;

  constructor(deps: RewrappingDeps) {
    this.#deps = deps;
    this.#own = new Rewrapper(deps.storage, deps.wrapper, WRAPPED);
    this.#rotation = this.#currentRotation();
    this.wake();
  }

  /** A key that takes another's place begins a rotation, whether or not the one before has come to its end. */
  #currentRotation(): number {
    const { sql } = this.#deps.storage;
    const { id } = this.#deps.config.kek;
    const [last] = sql
      .exec<{ n: number; kek: string }>("SELECT n, kek FROM rotations ORDER BY n DESC LIMIT 1")
      .toArray();
    if (last?.kek === id) return last.n;
    const n = (last?.n ?? 0) + 1;
    sql.exec("INSERT INTO rotations (n, kek) VALUES (?, ?)", n, id);
    return n;
  }

  /** Sees to it that what is left is done, now that there may be something. */
  wake(): void {
    if (this.#isLeft()) this.#deps.wakeBy(Date.now() + PAUSE_MS);
  }

  #isLeft(): boolean {
    return (
      this.#deps.config.kek.previousId !== undefined &&
      (this.#users(1).length > 0 || this.#others().some(({ name }) => !this.#isMarked(name)))
    );
  }

  /** What the alarm is for: some seconds of the work. */
  work(): Promise<void> {
    if (!this.#isLeft()) return Promise.resolve();
    this.#running ??= this.#run()
      .then((pauseMs) => this.#deps.wakeBy(Date.now() + pauseMs))
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  /** How long to pause before looking for more. */
  async #run(): Promise<number> {
    const { storage, user, wakeBy } = this.#deps;
    const deadline = Date.now() + RUN_MS;
    // Behind it all, in case this object dies.
    wakeBy(deadline + RETRY_MS);
    const isOver = () => Date.now() >= deadline;
    const failed = new Set<string>();
    for (const { name, object } of this.#others()) {
      if (this.#isMarked(name)) continue;
      if (await this.#bring(object, name, isOver))
        storage.sql.exec(
          "INSERT OR REPLACE INTO rewrapped (object, rotation) VALUES (?, ?)",
          name,
          this.#rotation,
        );
      else failed.add(name);
    }
    while (!isOver() && failed.size < MAX_FAILED) {
      const users = this.#users(USERS_AT_ONCE + failed.size)
        .filter((userId) => !failed.has(userId))
        .slice(0, USERS_AT_ONCE);
      if (users.length === 0) break;
      await Promise.all(
        users.map(async (userId) => {
          if (await this.#bring(user(userId), userId, isOver))
            storage.sql.exec("UPDATE contracts SET rewrapped = ? WHERE user_id = ?", this.#rotation, userId);
          else failed.add(userId);
        }),
      );
    }
    return failed.size > 0 && !isOver() ? RETRY_MS : PAUSE_MS;
  }

  /** Batches of one object until nothing of it is left, or the time is over. */
  async #bring(object: Rewrapped, name: string, isOver: () => boolean): Promise<boolean> {
    try {
      do {
        const { done, damaged, kek } = await object.rewrap();
        // It runs with the settings of before: a deployment reaches objects one after the other.
        if (kek !== this.#deps.config.kek.id) return false;
        if (damaged > 0) {
          this.#damaged += damaged;
          log("error", "rewrap.damaged", { object: name, values: damaged });
        }
        if (done) return true;
      } while (!isOver());
    } catch (error) {
      log("warn", "rewrap.failed", { object: name, error: errorText(error) });
    }
    return false;
  }

  /** Objects beside the users' that wrap what they store. */
  #others(): { name: string; object: Rewrapped }[] {
    const own: Rewrapped = {
      rewrap: async () => {
        // Others have the object between two batches.
        await new Promise((resolve) => setTimeout(resolve, 0));
        return { ...this.#own.batch(), kek: this.#deps.config.kek.id };
      },
    };
    return [{ name: DIRECTORY, object: own }, ...this.#deps.journals()];
  }

  /** Users of whom it is not known that they are done. */
  #users(limit: number): string[] {
    return this.#deps.storage.sql
      .exec<{ user_id: string }>(
        "SELECT DISTINCT user_id FROM contracts WHERE rewrapped < ? LIMIT ?",
        this.#rotation,
        limit,
      )
      .toArray()
      .map(({ user_id }) => user_id);
  }

  #isMarked(object: string): boolean {
    return (
      this.#deps.storage.sql
        .exec("SELECT 1 FROM rewrapped WHERE object = ? AND rotation = ?", object, this.#rotation)
        .toArray().length > 0
    );
  }

  /** `count`: how many objects are left, at the cost of a read of each. */
  state({ count = false } = {}): VaultKekState {
    const { storage, config } = this.#deps;
    const { id, previousId } = config.kek;
    if (previousId === undefined) return { key_id: id, status: "current" };
    const users = () =>
      storage.sql
        .exec<{ n: number }>(
          "SELECT count(DISTINCT user_id) AS n FROM contracts WHERE rewrapped < ?",
          this.#rotation,
        )
        .one().n;
    return {
      key_id: id,
      previous_key_id: previousId,
      status: this.#isLeft() ? "rewrapping" : "rewrapped",
      ...(count
        ? { objects_left: this.#others().filter(({ name }) => !this.#isMarked(name)).length + users() }
        : {}),
      ...(this.#damaged > 0 ? { damaged_values: this.#damaged } : {}),
    };
  }
}
