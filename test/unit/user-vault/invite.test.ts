import { describe, expect, it } from "vitest";
import { VaultError } from "../../../sdk/user-vault/errors.ts";
import { parseInvite } from "../../../sdk/user-vault/invite.ts";

const CODE = "12Vq7kVJ3oYc9TzJ8xQmRnAb";
const SERVICE = "4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi";

describe("an invite", () => {
  it.each([
    ["a link", `https://vault.example/connect/${CODE}#${SERVICE}`, "https://vault.example"],
    [
      "a link with a port",
      `https://vault.example:8443/connect/${CODE}#${SERVICE}`,
      "https://vault.example:8443",
    ],
    [
      "a link with what a messenger added",
      `https://vault.example/connect/${CODE}?utm=1#${SERVICE}`,
      "https://vault.example",
    ],
    [
      "a link with white space around it",
      `  https://vault.example/connect/${CODE}#${SERVICE}\n`,
      "https://vault.example",
    ],
    [
      "a deep link",
      `vettid://connect?vault=vault.example&code=${CODE}&service=${SERVICE}`,
      "https://vault.example",
    ],
    [
      "a deep link without slashes",
      `vettid:connect?vault=vault.example&code=${CODE}&service=${SERVICE}`,
      "https://vault.example",
    ],
    ["a development link", `http://127.0.0.1:8787/connect/${CODE}#${SERVICE}`, "http://127.0.0.1:8787"],
    [
      "a development deep link",
      `vettid://connect?vault=127.0.0.1:8787&code=${CODE}&service=${SERVICE}`,
      "http://127.0.0.1:8787",
    ],
    [
      "a development deep link with its scheme",
      `vettid://connect?vault=${encodeURIComponent("http://127.0.0.1:8787")}&code=${CODE}&service=${SERVICE}`,
      "http://127.0.0.1:8787",
    ],
  ])("is read from %s", (_, text, origin) => {
    expect(parseInvite(text)).toEqual({ origin, code: CODE, serviceId: SERVICE });
  });

  it.each([
    ["text that is no link", "hello"],
    ["another scheme", `ftp://vault.example/connect/${CODE}#${SERVICE}`],
    ["plain http to another machine", `http://vault.example/connect/${CODE}#${SERVICE}`],
    ["a link without the service's id", `https://vault.example/connect/${CODE}`],
    ["a malformed service id", `https://vault.example/connect/${CODE}#0OIl`],
    ["a malformed code", `https://vault.example/connect/short#${SERVICE}`],
    ["another path", `https://vault.example/other/${CODE}#${SERVICE}`],
    ["a path below the code", `https://vault.example/connect/${CODE}/credentials#${SERVICE}`],
    ["a user name in the address", `https://me:secret@vault.example/connect/${CODE}#${SERVICE}`],
    [
      "a deep link that names two vaults",
      `vettid://connect?vault=a.example&vault=b.example&code=${CODE}&service=${SERVICE}`,
    ],
    [
      "a deep link whose vault has a path",
      `vettid://connect?vault=a.example/x&code=${CODE}&service=${SERVICE}`,
    ],
    ["a deep link to somewhere else", `vettid://pay?vault=a.example&code=${CODE}&service=${SERVICE}`],
    ["a deep link without a code", `vettid://connect?vault=a.example&service=${SERVICE}`],
    [
      "a deep link over plain http",
      `vettid://connect?vault=${encodeURIComponent("http://a.example")}&code=${CODE}&service=${SERVICE}`,
    ],
    ["something endless", `https://vault.example/connect/${CODE}?${"x".repeat(3_000)}#${SERVICE}`],
  ])("is refused: %s", (_, text) => {
    expect(() => parseInvite(text)).toThrowError(VaultError);
    try {
      parseInvite(text);
    } catch (error) {
      expect((error as VaultError).code).toBe("invite_invalid");
    }
  });
});
