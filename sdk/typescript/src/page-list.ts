// A list that the vault gives out in pages, read as one.

/** One answer of a list, as the vault gave it. */
export type Page = { next_cursor?: string | undefined };

/**
 * `for await (const contract of vault.contracts.list())` reads as many pages as it needs; leaving the loop ends the
 * reading. Nothing is asked before. Each loop starts over.
 */
export class PageList<Item, Answer extends object = Page> implements AsyncIterable<Item> {
  readonly #read: (cursor: string | undefined) => Promise<Answer>;
  readonly #name: string;

  /** `name`: the answer's member that holds the items. */
  constructor(name: string, read: (cursor: string | undefined) => Promise<Answer>) {
    this.#name = name;
    this.#read = read;
  }

  /** The first page, with whatever else the answer carries. Its `next_cursor` is the `cursor` of another list. */
  page(): Promise<Answer> {
    return this.#read(undefined);
  }

  /** Page by page. */
  async *pages(): AsyncGenerator<Answer, void, undefined> {
    let cursor: string | undefined;
    do {
      const page = await this.#read(cursor);
      yield page;
      const next = (page as Page).next_cursor;
      // The same cursor again would never end.
      cursor = next === cursor ? undefined : next;
    } while (cursor !== undefined);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void, undefined> {
    for await (const page of this.pages()) yield* (page as Record<string, Item[]>)[this.#name] ?? [];
  }

  /** Everything, or the first `max`. */
  async toArray(max = Number.POSITIVE_INFINITY): Promise<Item[]> {
    const items: Item[] = [];
    if (max <= 0) return items;
    for await (const item of this) if (items.push(item) >= max) break;
    return items;
  }
}
