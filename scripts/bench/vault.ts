// The vault under test: workerd served directly, both clusters real, people connected, an admin key in hand.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LOGIN_OFFERING } from "../stack/backend.ts";
import type { Bundle } from "../stack/bundle.ts";
import { type Stack, startStack, UNBRAKED } from "../stack/stack.ts";
import { type CrowdHandle, startCrowd } from "./crowd-handle.ts";
import { HttpClient } from "./http.ts";

/** Calls in flight that a bench keeps up; connections are kept alive. */
export const IN_FLIGHT = 16;
const CONNECT_BATCH = 250;

export interface Vault {
  stack: Stack;
  http: HttpClient;
  crowd: CrowdHandle;
  /** User ids of everyone connected. */
  people: string[];
  /** Connects more people until there are so many. */
  grow(people: number): Promise<void>;
  stop(): Promise<void>;
}

export async function startVault(options: {
  dir: string;
  bundle: Bundle;
  vars?: Record<string, string>;
  inspectorPort?: number;
}): Promise<Vault> {
  const stack = await startStack({
    ...options,
    // The log's batches come as in a deployment.
    vars: { ...UNBRAKED, AUDIT_BATCH_SECONDS: undefined, ...options.vars },
    fresh: true,
    direct: true,
  });
  const http = new HttpClient(stack.baseUrl, 2 * IN_FLIGHT, { authorization: `Bearer ${stack.adminApiKey}` });
  const crowd = await startCrowd(stack);
  const people: string[] = [];
  await http.expect(200, { method: "PUT", path: "/api/v1/offerings/login", body: LOGIN_OFFERING });
  const invite = await http.expect(201, {
    method: "POST",
    path: "/api/v1/contracts/invite",
    body: { offering_id: "login", max_uses: 1_000_000 },
  });
  const offer = (await http.expect(200, { method: "GET", path: "/.well-known/vettid-service" })).body;
  return {
    stack,
    http,
    crowd,
    people,
    grow: async (wanted) => {
      while (people.length < wanted) {
        const batch = Math.min(CONNECT_BATCH, wanted - people.length);
        const { userIds, repeated } = await crowd.connect(offer, invite.body.invite_code, batch);
        people.push(...userIds);
        // Nothing was killed and no message should be lost: worth a look at why.
        if (repeated > 0)
          console.error(`${repeated} of ${batch} submissions were answered only when repeated`);
      }
    },
    stop: async () => {
      await http.close();
      await crowd.stop();
      await stack.stop();
    },
  };
}

/** workerd's process number within a group that Node leads. */
function workerdOf(group: number): number {
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(join("/proc", name, "stat"), "utf8");
      const [, command = "", rest = ""] = /^\d+ \((.*)\) (.*)$/s.exec(stat) ?? [];
      // Of what follows the command: state, parent, group.
      if (command === "workerd" && Number(rest.split(" ")[2]) === group) return Number(name);
    } catch {
      // Ended while we looked.
    }
  }
  throw new Error("workerd was not found among the processes");
}

/** Linux counts a process's time in hundredths of a second. */
const TICKS_PER_SECOND = 100;

/** User and system time workerd has used so far, in milliseconds. Linux only. */
export function cpuMs(group: number): number {
  const stat = readFileSync(`/proc/${workerdOf(group)}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // Fields 14 and 15 of proc(5); the first here is the third there.
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND;
}
