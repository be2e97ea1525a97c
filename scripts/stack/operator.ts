// The NATS operators, accounts and users of the two clusters, as PROTOCOL §3 lays them out.
//
// Publishers and streams live in different accounts. NATS does not check the reply subject of a
// publish, so whoever publishes straight into an account with JetStream can name `$JS.API...` as the
// reply and have the acknowledgement purge the stream. From an account without JetStream that imports
// the subject as a service, the acknowledgement comes back into that account and finds nothing there.

import {
  createAccount,
  createOperator,
  createUser,
  type Export,
  encodeAccount,
  encodeOperator,
  encodeUser,
  fmtCreds,
  fromSeed,
  type Import,
  type KeyPair,
  type OperatorLimits,
  type Permissions,
} from "@nats-io/jwt";
import { serviceInboxPrefix } from "../../src/protocol/subjects.ts";

/** Grows when accounts, permissions or the shape below change: material of another version is refused. */
export const OPERATOR_MATERIAL_VERSION = 1;

/** The stream of everything users send, on the service's cluster, and its one durable consumer. */
export const FROM_USER_STREAM = "FROM_USER";
export const BRIDGE_CONSUMER = "BRIDGE";
/** The stream of everything services send, on the platform's cluster. */
export const MESSAGESPACE_STREAM = "MESSAGESPACE";

/** An account: who signs for it, and its JWT as the servers get it. */
export interface AccountMaterial {
  name: string;
  public_key: string;
  seed: string;
  jwt: string;
  /** Only where users are signed by a key other than the account's own. */
  signing_public_key?: string;
  signing_seed?: string;
}

/** What both clusters' operators have. The operator's own seed signs nothing but the operator's JWT. */
export interface OperatorMaterial {
  version: number;
  service_id: string;
  operator: {
    public_key: string;
    seed: string;
    signing_public_key: string;
    signing_seed: string;
    jwt: string;
  };
  system_account: AccountMaterial;
}

/** The service's own cluster. */
export interface ServiceSpaceMaterial extends OperatorMaterial {
  /** Has JetStream, owns the streams; the bridge is its only user. */
  service_account: AccountMaterial;
  /** No JetStream; users' JWTs are signed with its signing key, in the Worker. */
  users_account: AccountMaterial;
  creds: {
    /** Text of a .creds file: the Worker's bridge, in the service account. */
    bridge: string;
    /** Text of a .creds file: may look up and update accounts of this operator, nothing else. */
    system: string;
  };
}

/** The platform's cluster, as a development copy of it. */
export interface MessageSpaceMaterial extends OperatorMaterial {
  /** Has JetStream, owns the stream; user vaults live here. */
  platform_account: AccountMaterial;
  /** No JetStream; services live here. */
  services_account: AccountMaterial;
  creds: {
    /** Text of a .creds file: the service, in the services account. */
    service: string;
    /** Text of a .creds file: development only, may read any `MessageSpace.>` subject. */
    user_vault: string;
    /** Text of a .creds file: makes the stream, nothing else. */
    provisioner: string;
  };
}

/** Inbox prefix of the credential that makes streams on the platform's cluster. */
export const PROVISIONER_INBOX_PREFIX = "_INBOX_provisioner";

/** What the Worker's bridge needs on the service's cluster, and no more: the account that owns the streams. */
export function bridgePermissions(serviceId: string): { publish: string[]; subscribe: string[] } {
  const consumer = `${FROM_USER_STREAM}.${BRIDGE_CONSUMER}`;
  return {
    publish: [
      `$JS.API.STREAM.INFO.${FROM_USER_STREAM}`,
      `$JS.API.STREAM.CREATE.${FROM_USER_STREAM}`,
      `$JS.API.STREAM.UPDATE.${FROM_USER_STREAM}`,
      `$JS.API.CONSUMER.INFO.${consumer}`,
      `$JS.API.CONSUMER.CREATE.${consumer}`,
      `$JS.API.CONSUMER.DURABLE.CREATE.${consumer}`,
      `$JS.API.CONSUMER.MSG.NEXT.${consumer}`,
      `$JS.ACK.${consumer}.>`,
      `ServiceSpace.${serviceId}.toUser.>`,
      `ServiceSpace.${serviceId}.internal.>`,
    ],
    subscribe: [`${serviceInboxPrefix(serviceId)}.>`],
  };
}

/** What changing the list of revoked users needs in the system account, and no more. */
export const systemPermissions = (serviceId: string): { publish: string[]; subscribe: string[] } => ({
  publish: ["$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP"],
  subscribe: [`${serviceInboxPrefix(serviceId)}.>`],
});

/** What a service needs on the platform's cluster, and no more. */
export const messageSpacePermissions = (serviceId: string): { publish: string[]; subscribe: string[] } => ({
  publish: [`MessageSpace.*.fromService.${serviceId}.>`],
  subscribe: [`${serviceInboxPrefix(serviceId)}.>`],
});

const UNLIMITED = -1;

const CONNECTION_LIMITS: OperatorLimits = {
  subs: UNLIMITED,
  data: UNLIMITED,
  payload: UNLIMITED,
  imports: UNLIMITED,
  exports: UNLIMITED,
  conn: UNLIMITED,
  leaf: UNLIMITED,
  wildcards: true,
};

/** Without these four JetStream is off for the account. */
const JETSTREAM_LIMITS: OperatorLimits = {
  mem_storage: UNLIMITED,
  disk_storage: UNLIMITED,
  streams: UNLIMITED,
  consumer: UNLIMITED,
};

/** Makes the operator, accounts and credentials of a service's own cluster. */
export async function makeServiceSpaceMaterial(serviceId: string): Promise<ServiceSpaceMaterial> {
  const base = await makeOperator("ServiceSpace", serviceId);
  const signer = base.operator.signing_seed;
  const fromUser = `ServiceSpace.${serviceId}.fromUser.>`;
  const toUser = `ServiceSpace.${serviceId}.toUser.>`;

  const service = createAccount();
  const serviceAccount = await makeAccount("SERVICE", service, signer, {
    limits: { ...CONNECTION_LIMITS, ...JETSTREAM_LIMITS },
    exports: [
      { name: "from-user", subject: fromUser, type: "service" },
      { name: "to-user", subject: toUser, type: "stream" },
    ],
  });
  const usersAccount = await makeAccount(
    "USERS",
    createAccount(),
    signer,
    {
      limits: CONNECTION_LIMITS,
      imports: [
        { name: "from-user", subject: fromUser, account: serviceAccount.public_key, type: "service" },
        { name: "to-user", subject: toUser, account: serviceAccount.public_key, type: "stream" },
      ],
    },
    createAccount(),
  );

  return {
    ...base,
    service_account: serviceAccount,
    users_account: usersAccount,
    creds: {
      bridge: await makeUserCreds({
        name: "bridge",
        accountPublicKey: serviceAccount.public_key,
        issuerSeed: serviceAccount.seed,
        ...bridgePermissions(serviceId),
      }),
      system: await makeUserCreds({
        name: "account-updates",
        accountPublicKey: base.system_account.public_key,
        issuerSeed: base.system_account.seed,
        ...systemPermissions(serviceId),
      }),
    },
  };
}

/** Makes a development copy of the platform's cluster, with one service on it. */
export async function makeMessageSpaceMaterial(serviceId: string): Promise<MessageSpaceMaterial> {
  const base = await makeOperator("MessageSpace", serviceId);
  const signer = base.operator.signing_seed;
  const fromService = `MessageSpace.*.fromService.${serviceId}.>`;

  const platformAccount = await makeAccount("PLATFORM", createAccount(), signer, {
    limits: { ...CONNECTION_LIMITS, ...JETSTREAM_LIMITS },
    exports: [{ name: `from-service-${serviceId}`, subject: fromService, type: "service" }],
  });
  const servicesAccount = await makeAccount("SERVICES", createAccount(), signer, {
    limits: CONNECTION_LIMITS,
    imports: [
      {
        name: `from-service-${serviceId}`,
        subject: fromService,
        account: platformAccount.public_key,
        type: "service",
      },
    ],
  });

  const stream = MESSAGESPACE_STREAM;
  return {
    ...base,
    platform_account: platformAccount,
    services_account: servicesAccount,
    creds: {
      service: await makeUserCreds({
        name: "service",
        accountPublicKey: servicesAccount.public_key,
        issuerSeed: servicesAccount.seed,
        ...messageSpacePermissions(serviceId),
      }),
      user_vault: await makeUserCreds({
        name: "user-vault-development",
        accountPublicKey: platformAccount.public_key,
        issuerSeed: platformAccount.seed,
        publish: [
          "$JS.API.INFO",
          "$JS.API.STREAM.NAMES",
          `$JS.API.STREAM.INFO.${stream}`,
          `$JS.API.STREAM.MSG.GET.${stream}`,
          // CREATE, INFO, DELETE, LIST, NAMES, each with and without consumer name and filter.
          `$JS.API.CONSUMER.*.${stream}`,
          `$JS.API.CONSUMER.*.${stream}.>`,
          `$JS.API.CONSUMER.DURABLE.CREATE.${stream}.*`,
          `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
          `$JS.ACK.${stream}.>`,
          "$JS.FC.>",
        ],
        subscribe: ["_INBOX.>", "MessageSpace.>"],
      }),
      provisioner: await makeUserCreds({
        name: "provisioner",
        accountPublicKey: platformAccount.public_key,
        issuerSeed: platformAccount.seed,
        publish: [
          `$JS.API.STREAM.INFO.${stream}`,
          `$JS.API.STREAM.CREATE.${stream}`,
          `$JS.API.STREAM.UPDATE.${stream}`,
        ],
        subscribe: [`${PROVISIONER_INBOX_PREFIX}.>`],
      }),
    },
  };
}

/** A user to be made. Subjects not listed are denied; an empty list denies all. */
export interface UserOptions {
  name: string;
  /** The account the user belongs to (A...). */
  accountPublicKey: string;
  /** Seed of that account, or of one of its signing keys (SA...). */
  issuerSeed: string;
  publish: string[];
  subscribe: string[];
  /** Seconds until the JWT expires; without it the JWT lasts until it is revoked. */
  expiresInSeconds?: number;
}

/** Makes a user with a new key and gives the text of its .creds file. */
export async function makeUserCreds(options: UserOptions): Promise<string> {
  const user = createUser();
  const permissions: Permissions = {
    pub: allowing(options.publish),
    sub: allowing(options.subscribe),
  };
  const jwt = await encodeUser(
    options.name,
    user,
    keyFromSeed(options.issuerSeed),
    {
      ...permissions,
      issuer_account: options.accountPublicKey,
      subs: UNLIMITED,
      data: UNLIMITED,
      payload: UNLIMITED,
    },
    options.expiresInSeconds === undefined
      ? {}
      : { exp: Math.floor(Date.now() / 1000) + options.expiresInSeconds },
  );
  return new TextDecoder().decode(fmtCreds(jwt, user));
}

/** NATS takes an empty allow list as "everything": deny has to be said. */
function allowing(subjects: string[]): { allow: string[] } | { deny: string[] } {
  return subjects.length > 0 ? { allow: subjects } : { deny: [">"] };
}

async function makeOperator(name: string, serviceId: string): Promise<OperatorMaterial> {
  const operator = createOperator();
  const signing = createOperator();
  const system = createAccount();
  return {
    version: OPERATOR_MATERIAL_VERSION,
    service_id: serviceId,
    operator: {
      public_key: operator.getPublicKey(),
      seed: seedText(operator),
      signing_public_key: signing.getPublicKey(),
      signing_seed: seedText(signing),
      jwt: await encodeOperator(name, operator, {
        signing_keys: [signing.getPublicKey()],
        system_account: system.getPublicKey(),
      }),
    },
    system_account: await makeAccount("SYS", system, seedText(signing), { limits: CONNECTION_LIMITS }),
  };
}

async function makeAccount(
  name: string,
  account: KeyPair,
  operatorSigningSeed: string,
  claims: { limits: OperatorLimits; exports?: Export[]; imports?: Import[] },
  userSigner?: KeyPair,
): Promise<AccountMaterial> {
  const jwt = await encodeAccount(
    name,
    account,
    { ...claims, ...(userSigner && { signing_keys: [userSigner.getPublicKey()] }) },
    { signer: keyFromSeed(operatorSigningSeed) },
  );
  return {
    name,
    public_key: account.getPublicKey(),
    seed: seedText(account),
    jwt,
    ...(userSigner && { signing_public_key: userSigner.getPublicKey(), signing_seed: seedText(userSigner) }),
  };
}

function seedText(key: KeyPair): string {
  return new TextDecoder().decode(key.getSeed());
}

function keyFromSeed(seed: string): KeyPair {
  return fromSeed(new TextEncoder().encode(seed));
}
