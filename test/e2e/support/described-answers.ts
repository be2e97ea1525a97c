// Every answer that an end-to-end test gets through its backend is held against what the Worker says of itself in
// /openapi.json. Read once for each Worker.

import { Described, type OpenApiDocument } from "../../../scripts/openapi/described.ts";
import { Backend } from "../../../scripts/stack/backend.ts";

const descriptions = new Map<string, Promise<Described>>();

async function read(baseUrl: string): Promise<Described> {
  const response = await fetch(`${baseUrl}/openapi.json`, { headers: { connection: "close" } });
  if (!response.ok) throw new Error(`/openapi.json answered ${response.status}`);
  return new Described((await response.json()) as OpenApiDocument);
}

Backend.witness = async ({ baseUrl, method, path, answer: { status, headers, body } }) => {
  // What is refused for all alike may come at any moment; reading the description would be refused as well.
  if (status === 429 || status >= 500) return;
  const description = descriptions.get(baseUrl) ?? read(baseUrl);
  descriptions.set(baseUrl, description);
  description.catch(() => descriptions.delete(baseUrl));
  const faults = (await description).faultsOf(
    { method, path: new URL(path, baseUrl).pathname },
    { status, contentType: headers.get("content-type"), body },
  );
  if (faults.length > 0) throw new Error(`not as /openapi.json describes it:\n${faults.join("\n")}`);
};
