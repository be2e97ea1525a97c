// What the client does in every runtime: the same file runs in Node, workerd, Deno and Bun, against a real vault.

import {
  isApproved,
  NotFoundError,
  ServiceVault,
  verifyApproval,
  verifyChain,
  verifyContractRecord,
  verifyWebhook,
} from "@vettid/service-vault";

/** Asks, waits, lists and verifies; throws when anything is not as it should be. */
export async function smoke({ baseUrl, apiKey, userId, delivery }) {
  const vault = new ServiceVault({ baseUrl, apiKey });
  const { service_id: serviceId, public_key: publicKey } = await vault.info();

  const request = await vault.auth.request({ user_id: userId, purpose: `Log in ${crypto.randomUUID()}` });
  const answer = await request.wait({ timeoutMs: 30_000 });
  if (!isApproved(answer)) throw new Error(`the login ended as ${answer.status}`);
  const statement = await verifyApproval(answer, { userId, serviceId, requestId: request.id });

  const { record } = await vault.contracts.get(statement.contract_id);
  await verifyContractRecord(record, { contractId: statement.contract_id, userId, serviceId });
  const chain = await verifyChain(vault.audit.list({ user_id: userId, limit: 2 }), {
    serviceId,
    publicKey,
    userId,
  });
  if (chain.entries < 3) throw new Error("the chain is too short");

  let found = false;
  for await (const event of vault.events({ userId, signal: AbortSignal.timeout(20_000) })) {
    found = event.type === "auth.response" && event.data.request_id === request.id;
    if (found) break;
  }
  if (!found) throw new Error("the answer's event is not in the feed");

  const { contract_id: known } = statement;
  // One id in 58 ends as it is.
  const unknown = known.slice(0, -1) + (known.endsWith("1") ? "2" : "1");
  const missing = await vault.contracts.get(unknown).catch((error) => error);
  if (!(missing instanceof NotFoundError) || missing.requestId === undefined) throw missing;

  const hook = new Request("https://shop.example/hook", {
    method: "POST",
    headers: delivery.headers,
    body: delivery.body,
  });
  const event = await verifyWebhook(hook, { publicKeys: [delivery.publicKey] });
  return { status: answer.status, entries: chain.entries, event: event.type };
}
