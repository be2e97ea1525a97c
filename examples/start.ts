// How an example begins: the vault from the environment, a port, and a line that says where it is.

import { serve } from "@hono/node-server";
import { ServiceVault } from "@vettid/service-vault";
import type { Hono } from "hono";

/** What an example needs. */
export interface Setting {
  vault: ServiceVault;
  /** Where this server is reached, by people's browsers and by the vault's webhooks. */
  origin: string;
}

/** Serves what `make` makes, on PORT or the example's own port. */
export async function start(make: (setting: Setting) => Promise<Hono>, defaultPort: number): Promise<void> {
  const { VAULT_URL, VAULT_API_KEY, PORT } = process.env;
  if (VAULT_URL === undefined || VAULT_API_KEY === undefined)
    throw new Error(
      "set VAULT_URL and VAULT_API_KEY, as `npm run example` does for the stack of `npm run dev`",
    );
  const port = Number(PORT ?? defaultPort);
  const origin = process.env.ORIGIN ?? `http://127.0.0.1:${port}`;
  const vault = new ServiceVault({ baseUrl: VAULT_URL, apiKey: VAULT_API_KEY });
  const app = await make({ vault, origin });
  serve({ fetch: app.fetch, hostname: "127.0.0.1", port }, () => console.log(`open ${origin}`));
}

/** One endpoint for this server, and the key its deliveries are signed with: made once, found again at each start. */
export async function webhookKey(vault: ServiceVault, url: string, types: string[]): Promise<string> {
  const { webhooks } = await vault.webhooks.list().page();
  if (!webhooks.some((hook) => hook.url === url)) await vault.webhooks.create({ url, types });
  return (await vault.webhooks.list().page()).public_key;
}
