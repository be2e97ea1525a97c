// How the Directory changes: one step at a time, and never without its audit entry.

import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import { decodeCursor, encodeCursor } from "../../durable-objects/directory/cursor.ts";
import { DIRECTORY_NAME, type Directory } from "../../durable-objects/directory/directory.ts";
import { MAX_WAITING_STEPS, Overloaded, Serial } from "../../durable-objects/serial.ts";
import { directoryOf } from "../../src/http/objects.ts";
import { offeringContent } from "../support/offer.ts";

const caller = { keyId: "testkey00001" };

describe("steps", () => {
  it("run one after the other, in order, whatever each waits for", async () => {
    const serial = new Serial();
    const log: string[] = [];
    const step = (name: string, ms: number) =>
      serial.run(async () => {
        log.push(`${name} begins`);
        await scheduler.wait(ms);
        log.push(`${name} ends`);
        return name;
      });
    expect(await Promise.all([step("a", 20), step("b", 0), step("c", 5)])).toEqual(["a", "b", "c"]);
    expect(log).toEqual(["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
  });

  it("that throw reject their own caller and stop nobody else", async () => {
    const serial = new Serial();
    const failed = serial.run(() => {
      throw new Error("torn");
    });
    const next = serial.run(() => "next");
    await expect(failed).rejects.toThrow("torn");
    expect(await next).toBe("next");
  });

  it("beyond what may wait are turned away at once, and room comes back", async () => {
    const serial = new Serial();
    let finish = () => {};
    const first = serial.run(() => new Promise<void>((resolve) => (finish = resolve)));
    const waiting = Array.from({ length: MAX_WAITING_STEPS - 1 }, () => serial.run(() => {}));
    await expect(serial.run(() => {})).rejects.toThrow(Overloaded);
    await scheduler.wait(0);
    finish();
    await Promise.all([first, ...waiting]);
    expect(await serial.run(() => "again")).toBe("again");
  });
});

describe("a change", () => {
  afterEach(() => reset());
  const stub = () => env.DIRECTORY.getByName(DIRECTORY_NAME);
  const inside = <T>(test: (object: Directory, storage: DurableObjectStorage) => T | Promise<T>) =>
    runInDurableObject(stub(), (object: Directory, { storage }) => test(object, storage));

  it.each([
    ["before", "CREATE TRIGGER fail BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'disk full'); END"],
    ["after", "CREATE TRIGGER fail AFTER INSERT ON audit BEGIN SELECT raise(ABORT, 'disk full'); END"],
  ])("does not happen when its entry cannot be written, %s it was", async (_when, trigger) => {
    const first = await directoryOf(env).putOffering("login", offeringContent, caller);
    expect(first.ok).toBe(true);
    const offer = await directoryOf(env).offer();
    await inside(async (object, { sql }) => {
      const counted = () =>
        sql
          .exec(
            "SELECT (SELECT count(*) FROM offerings) AS o, (SELECT count(*) FROM invites) AS i, (SELECT count(*) FROM idempotency) AS k, (SELECT count(*) FROM audit) AS a",
          )
          .one();
      const before = counted();
      sql.exec(trigger);
      const changed = { ...offeringContent, name: "Changed" };
      await expect(object.putOffering("login", changed, caller)).rejects.toThrow("disk full");
      await expect(
        object.createInvite(
          { maxUses: 1, expiresInSeconds: 60 },
          { ...caller, idempotency: { key: "k", digest: "d" } },
        ),
      ).rejects.toThrow("disk full");
      expect(counted()).toEqual(before);
      expect((await object.offering("login"))?.name).toBe(offeringContent.name);
      sql.exec("DROP TRIGGER fail");
      expect(await object.putOffering("login", changed, caller)).toMatchObject({
        ok: true,
        value: { version: 2 },
      });
    });
    // The offer in memory is not that of the change that failed.
    expect((await directoryOf(env).offer()).offer_id).not.toBe(offer.offer_id);
    expect((await directoryOf(env).offer()).offerings[0]).toMatchObject({ name: "Changed" });
  });
});

describe("an offer whose transaction failed", () => {
  afterEach(() => reset());

  it("is given to nobody, then or later", async () => {
    await directoryOf(env).putOffering("login", offeringContent, caller);
    await runInDurableObject(
      env.DIRECTORY.getByName(DIRECTORY_NAME),
      async (object: Directory, { storage }) => {
        storage.sql.exec(
          "CREATE TRIGGER fail BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'disk full'); END",
        );
        await expect(object.offer()).rejects.toThrow("disk full");
        await expect(object.offer()).rejects.toThrow("disk full");
        storage.sql.exec("DROP TRIGGER fail");
        const offer = await object.offer();
        const [stored] = storage.sql.exec("SELECT offer_id FROM offers").toArray();
        expect(stored).toEqual({ offer_id: offer.offer_id });
      },
    );
  });
});

describe("a cursor", () => {
  it("comes back as it was given", () => {
    const position = { createdAt: 1_767_225_600_000, id: "7Hg5L2z2TBaehGXEd3SaGgb5moiSD53xwx8C1pdVExNV" };
    expect(decodeCursor(encodeCursor(position))).toEqual(position);
  });

  it.each(["", "zzz", "MTIzNA", "a".repeat(300), "MS4gT1IgMT0x"])("%j is not one of ours", (text) => {
    expect(decodeCursor(text)).toBeUndefined();
  });
});
