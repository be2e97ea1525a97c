// `npm run dev -- --headless` as another program uses it: wait for stack.json, attach, end it by a signal.

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { PROJECT_ROOT } from "../../scripts/stack/files.ts";
import { connectWithCreds } from "../../scripts/stack/nats-client.ts";
import { MESSAGESPACE_STREAM } from "../../scripts/stack/operator.ts";
import { freePorts, waitForPort } from "../../scripts/stack/ports.ts";

/** Includes bundling the Worker, if its sources changed. */
const START_TIMEOUT_MS = 45_000;
const GONE_TIMEOUT_MS = 5_000;
const POLL_MS = 50;

interface StackFile {
  base_url: string;
  admin_api_key: string;
  service_id: string;
  servicespace: { ws: string; tcp: string };
  messagespace: { ws: string; tcp: string; user_creds_file: string };
}

const dir = mkdtempSync(join(tmpdir(), "service-vault-dev-"));
const stackFile = join(dir, "stack.json");
let dev: ChildProcess | undefined;

afterEach(() => {
  dev?.kill("SIGKILL");
});
afterAll(() => {
  rmSync(dir, { recursive: true, force: true });
});

function startDev(
  ports: number[],
  ...more: string[]
): { exited: Promise<number | string>; output: () => string } {
  const names = [
    "--port",
    "--servicespace-ws",
    "--servicespace-tcp",
    "--messagespace-ws",
    "--messagespace-tcp",
    "--phone-port",
  ];
  const args = names.flatMap((name, at) => [name, String(ports[at])]);
  rmSync(stackFile, { force: true }); // one left by a run that was killed
  const script = join(PROJECT_ROOT, "scripts", "dev.ts");
  const child = spawn(process.execPath, [script, "--headless", "--dir", dir, ...args, ...more], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  dev = child;
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  child.stderr.on("data", (chunk) => {
    output += chunk;
  });
  return {
    exited: new Promise((resolve) =>
      child.once("close", (code, signal) => resolve(code ?? signal ?? "unknown")),
    ),
    output: () => output,
  };
}

async function untilUp(output: () => string): Promise<StackFile> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!existsSync(stackFile)) {
    if (Date.now() > deadline || dev?.exitCode !== null)
      throw new Error(`the stack did not come up:\n${output()}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return JSON.parse(readFileSync(stackFile, "utf8"));
}

/** Every listener is gone, so every process that held one is. */
async function expectAllGone(ports: number[]): Promise<void> {
  const gone = await Promise.all(ports.map((port) => waitForPort(port, false, GONE_TIMEOUT_MS)));
  expect(gone).toEqual(ports.map(() => true));
}

describe("the development stack", () => {
  let serviceId: string;

  test("can be attached to by what stack.json says, and ends on SIGTERM with nothing left", async () => {
    const ports = await freePorts(6);
    const { exited, output } = startDev(ports);
    const stack = await untilUp(output);
    serviceId = stack.service_id;
    expect(stack).toMatchObject({
      base_url: `http://127.0.0.1:${ports[0]}`,
      admin_api_key: expect.stringMatching(/^svk_dev_/),
      servicespace: { ws: `ws://127.0.0.1:${ports[1]}`, tcp: `nats://127.0.0.1:${ports[2]}` },
      messagespace: { ws: `ws://127.0.0.1:${ports[3]}`, tcp: `nats://127.0.0.1:${ports[4]}` },
    });
    expect(statSync(stackFile).mode & 0o077).toBe(0);
    expect((await fetch(`${stack.base_url}/ready`)).status).toBe(200);

    const creds = readFileSync(stack.messagespace.user_creds_file, "utf8");
    const nc = await connectWithCreds(stack.messagespace.ws, creds);
    const manager = await nc.jetstreamManager();
    expect((await manager.streams.info(MESSAGESPACE_STREAM)).config.subjects).toEqual(["MessageSpace.>"]);
    await nc.close();

    dev?.kill("SIGTERM");
    expect(await exited).toBe(0);
    expect(existsSync(stackFile)).toBe(false);
    await expectAllGone(ports);
  });

  test("started again it is the same service; killed outright it still leaves nothing behind", async () => {
    const ports = await freePorts(6);
    const { exited, output } = startDev(ports, "--tls");
    const stack = await untilUp(output);
    expect(stack.service_id).toBe(serviceId);
    expect(stack.servicespace.ws).toBe(`wss://127.0.0.1:${ports[1]}`);
    // Ready means that the Worker holds both sessions over wss.
    expect((await fetch(`${stack.base_url}/ready`)).status).toBe(200);

    dev?.kill("SIGKILL");
    expect(await exited).toBe("SIGKILL");
    await expectAllGone(ports);
  });

  test("says which port is taken and how to choose another", async () => {
    const ports = await freePorts(6);
    const first = startDev(ports);
    await untilUp(first.output);
    const running = dev;
    const second = startDev(ports, "--dir", join(dir, "second"));
    expect(await second.exited).toBe(1);
    expect(second.output()).toContain(`port ${ports[0]} is in use: choose another with --port`);
    running?.kill("SIGTERM");
    expect(await first.exited).toBe(0);
    await expectAllGone(ports);
  });
});
