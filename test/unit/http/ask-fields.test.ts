import { describe, expect, it } from "vitest";
import { askTimes, MAX_EXPIRY_SECONDS, MAX_LIFETIME_SECONDS } from "../../../src/http/ask-fields.ts";

const defaults = { defaultExpirySeconds: 300, defaultGraceSeconds: 10 };

describe("the times of an ask", () => {
  it.each([
    [{}, 300, 10],
    [{ expires_in_seconds: 60 }, 60, 10],
    [{ expires_in: 90 }, 90, 10],
    [{ timeout_seconds: 91 }, 91, 10],
    [{ ttl_hours: 1.5 }, 5_400, 10],
    [{ ttl_hours: 0.1 }, 360, 10],
    [{ offline_grace: 1 }, 300, 1],
    [{ offline_grace: 2_500 }, 300, 3],
    [{ offline_grace: 0 }, 300, 0],
    [{ offline_grace_hours: 0.5 }, 300, 1_800],
    [{ expires_in_seconds: 3_600, ttl_hours: 1 }, 3_600, 10],
    [{ expires_in_seconds: MAX_EXPIRY_SECONDS, offline_grace_seconds: 86_400 }, MAX_EXPIRY_SECONDS, 86_400],
  ])("%j come to %d s and %d s", (body, expiresInSeconds, offlineGraceSeconds) => {
    expect(askTimes(body, defaults)).toEqual({ ok: true, value: { expiresInSeconds, offlineGraceSeconds } });
  });

  it.each([
    [{ expires_in_seconds: 59 }, "expires_in_seconds"],
    [{ ttl_hours: 0 }, "ttl_hours"],
    [{ ttl_hours: 1_000 }, "ttl_hours"],
    [{ expires_in: 60, timeout_seconds: 61 }, "timeout_seconds"],
    [{ offline_grace: 1_000, offline_grace_hours: 1 }, "offline_grace_hours"],
    [{ offline_grace_seconds: MAX_LIFETIME_SECONDS }, "offline_grace_seconds"],
  ])("%j are refused, naming the field that was sent", (body, field) => {
    const times = askTimes(body, defaults);
    expect(!times.ok && times.details.map(({ path }) => path)).toContain(field);
  });
});
