// What the console's cookie holds: sealed, bounded in time, and of no use to whoever changes it.

import { base64urlnopad } from "@scure/base";
import { describe, expect, it } from "vitest";
import {
  IDLE_MS,
  isOwnForm,
  LIFETIME_MS,
  newSession,
  openSession,
  renewed,
  SESSION_OWNER,
  sealSession,
} from "../../../src/console/session.ts";
import { wrapperFor } from "../../../src/crypto/wrap.ts";

const NOW = Date.UTC(2026, 0, 31, 8, 15);
const KEY = { id: "a".repeat(12), secretHash: "0123456789abcdef".repeat(4) };
const kek = (byte: number) => new Uint8Array(32).fill(byte);
const wrapper = wrapperFor([kek(1)], SESSION_OWNER);

describe("a sealed session", () => {
  const session = newSession(KEY, NOW);
  const sealed = sealSession(wrapper, session);

  it("opens to what was sealed", () => {
    expect(openSession(wrapper, sealed, NOW)).toEqual(session);
    expect(session).toMatchObject({ keyId: KEY.id, startedAt: NOW, seenAt: NOW });
  });

  it("says nothing about the key, in the text or in its bytes", () => {
    const bytes = new TextDecoder("latin1").decode(base64urlnopad.decode(sealed));
    for (const text of [sealed, bytes]) {
      expect(text).not.toContain(KEY.id);
      expect(text).not.toContain(KEY.secretHash);
      expect(text).not.toContain(session.formToken);
    }
  });

  it("fits a cookie and is another text each time", () => {
    expect(sealed.length).toBeLessThan(1_000);
    expect(sealed).toMatch(/^[A-Za-z0-9_-]+$/);
    expect(sealSession(wrapper, session)).not.toBe(sealed);
  });

  it("opens under the KEK before the current one, as anything stored does", () => {
    expect(openSession(wrapperFor([kek(2), kek(1)], SESSION_OWNER), sealed, NOW)).toEqual(session);
  });

  it.each([
    ["another KEK", wrapperFor([kek(2)], SESSION_OWNER)],
    ["another owner's key", wrapperFor([kek(1)], "directory")],
  ])("does not open under %s", (_name, other) => {
    expect(openSession(other, sealed, NOW)).toBeUndefined();
  });

  it("does not open when any byte of it was changed", () => {
    const bytes = base64urlnopad.decode(sealed);
    for (let at = 0; at < bytes.length; at++) {
      const other = Uint8Array.from(bytes);
      other[at]! ^= 1;
      expect(openSession(wrapper, base64urlnopad.encode(other), NOW), `byte ${at}`).toBeUndefined();
    }
  });

  it.each([
    ["nothing", ""],
    ["no base64", "!!!"],
    ["noise", "AAAA"],
    ["a text without end", "A".repeat(100_000)],
    ["another value sealed as a session", sealSession(wrapper, { keyId: "x" } as never)],
    [
      "a value that was sealed for another place",
      base64urlnopad.encode(wrapper.wrap(session, "directory/keys")),
    ],
  ])("%s is no session", (_name, text) => {
    expect(openSession(wrapper, text, NOW)).toBeUndefined();
  });

  it("ends after an hour without use", () => {
    expect(openSession(wrapper, sealed, NOW + IDLE_MS - 1)).toBeDefined();
    expect(openSession(wrapper, sealed, NOW + IDLE_MS)).toBeUndefined();
  });

  it("ends after twelve hours, however much it is used", () => {
    let used = session;
    for (let now = NOW; now < NOW + LIFETIME_MS - 1; now += IDLE_MS / 2) used = renewed(used, now) ?? used;
    const fresh = sealSession(wrapper, { ...used, seenAt: NOW + LIFETIME_MS - 1 });
    expect(openSession(wrapper, fresh, NOW + LIFETIME_MS - 1)).toBeDefined();
    expect(openSession(wrapper, fresh, NOW + LIFETIME_MS)).toBeUndefined();
  });

  it("is sealed anew only once its note of the last use is old", () => {
    expect(renewed(session, NOW + 1_000)).toBeUndefined();
    expect(renewed(session, NOW + 120_000)).toEqual({ ...session, seenAt: NOW + 120_000 });
  });
});

describe("a form", () => {
  const session = newSession(KEY, NOW);
  it("is one of this session's by its token alone", () => {
    expect(isOwnForm(session, session.formToken)).toBe(true);
    expect(isOwnForm(session, newSession(KEY, NOW).formToken)).toBe(false);
    expect(isOwnForm(session, "")).toBe(false);
    expect(isOwnForm(session, undefined)).toBe(false);
  });
});
