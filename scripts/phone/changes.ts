// What has changed since a page was made, by topic: the ids of requests and contracts. A page that shows one reloads
// itself when it hears of it.

import type { VaultEvent } from "../../sdk/user-vault/index.ts";

/** The topic of pages that show everything. */
export const EVERYTHING = "everything";
/** Topics remembered; a page older than what was forgotten merely reloads once too often. */
const MAX_TOPICS = 1_000;
const KEEP_ALIVE_MS = 20_000;

export class Changes {
  /** Starts at the clock, so that pages made before a restart are older than everything after it. */
  #version = Date.now();
  #forgotten = this.#version;
  readonly #topics = new Map<string, number>();
  readonly #listeners = new Set<(topics: readonly string[]) => void>();

  get version(): number {
    return this.#version;
  }

  note(event: VaultEvent): void {
    this.#version += 1;
    const topics = topicsOf(event);
    for (const topic of topics) {
      this.#topics.delete(topic);
      this.#topics.set(topic, this.#version);
    }
    for (const [topic, version] of this.#topics) {
      if (this.#topics.size <= MAX_TOPICS) break;
      this.#topics.delete(topic);
      this.#forgotten = version;
    }
    for (const listener of this.#listeners) listener(topics);
  }

  #changedSince(topic: string, version: number): boolean {
    if (version < this.#forgotten) return true;
    return (topic === EVERYTHING ? this.#version : (this.#topics.get(topic) ?? 0)) > version;
  }

  /** Server-sent events: one `change` as soon as the topic is newer than the page. */
  stream(topic: string, since: number): ReadableStream<Uint8Array> {
    const encoder = new TextEncoder();
    let end = (): void => {};
    return new ReadableStream({
      start: (controller) => {
        const say = (text: string) => controller.enqueue(encoder.encode(text));
        const listener = (topics: readonly string[]) => {
          if (topic === EVERYTHING || topics.includes(topic)) say("event: change\ndata:\n\n");
        };
        this.#listeners.add(listener);
        const timer = setInterval(() => say(":\n\n"), KEEP_ALIVE_MS);
        end = () => {
          clearInterval(timer);
          this.#listeners.delete(listener);
        };
        say(":\n\n");
        if (this.#changedSince(topic, since)) listener([topic]);
      },
      cancel: () => end(),
    });
  }
}

/** Whatever an event is about, by the names ids have in every view; kinds of events to come need nothing here. */
function topicsOf(event: VaultEvent): string[] {
  const ids = ["request_id", "contract_id", "ref"];
  const parts = [
    event,
    ...Object.values(event).filter((value) => typeof value === "object" && value !== null),
  ];
  return parts.flatMap((part) =>
    ids.flatMap((name) => {
      const value = (part as Record<string, unknown>)[name];
      return typeof value === "string" ? [value] : [];
    }),
  );
}
