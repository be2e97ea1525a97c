// What a kind of request is. A kind is data: HTTP routes, OpenAPI, the payload the user sees, the result's check
// and the user vault's handler types all come from it.

import type { z } from "zod";
import type { Operation as GrantOperation } from "../contracts/grant.ts";
import type { Approval, RequestPayload } from "../protocol/asking.ts";
import type { Machine } from "./machine.ts";

/** The earlier request an ask builds on: the secret it stored, the datastore it agreed on. */
export interface About {
  requestId: string;
  operation: string;
  /** Of the earlier ask, without what was withheld. */
  input: unknown;
  state?: unknown;
}

/** Which earlier request an ask builds on. */
export interface AboutWanted {
  requestId: string;
  operation: string;
  /** What it is called when there is none. */
  noun: string;
  /** Why this ask cannot be made about it; undefined when it can. */
  conflict?: (about: About) => string | undefined;
}

/** One way of asking within a kind (`data` has browse, request, read and write). */
export interface KindOperation<Input = unknown, Payload = unknown, ResultValue = unknown> {
  /** Sent to the user as `operation` where the kind has several; the path's last part. */
  readonly name: string;
  readonly summary: string;
  /** `{name}` in it is a field of the input; with `get` and `delete` the other fields come from the query. */
  readonly path: string;
  /** Absent: `post`. */
  readonly method?: "post" | "put" | "delete";
  /** A GET that makes the same ask, or joins one just like it that is still open. */
  readonly joinPath?: string;
  readonly successStatus: 201 | 202;
  /** The capabilities it may need, for documentation; `grant` says which one a given ask needs. */
  readonly capabilities: readonly string[];
  /** Whether `purpose` must be given. */
  readonly purposeRequired: boolean;
  /** Body fields beyond those of every ask. */
  readonly input: z.ZodType<Input>;
  /** Fields of the payload beyond those of every ask. */
  readonly payload: z.ZodType<Payload>;
  readonly toPayload: (input: Input, about: About | undefined) => Payload;
  readonly grant: (input: Input, about: About | undefined) => GrantOperation;
  /**
   * Id and operation of the earlier request this ask builds on. It must be this user's, of this kind and approved;
   * otherwise the caller is told that there is no such thing.
   */
  readonly about?: (input: Input) => AboutWanted;
  /**
   * Fields of input and payload that are for the user alone. They travel sealed and are stored nowhere here, not
   * even wrapped; whoever checks the approval later puts them back into the payload.
   */
  readonly withheld?: readonly string[];
  /** Whether only the person may decide about this payload: a user vault asks no policy. */
  readonly personDecides?: (payload: Payload) => boolean;
  /**
   * The person agreed to it when they approved what it builds on: a user vault answers at once, within what was
   * agreed, and asks neither them nor a policy.
   */
  readonly standing?: boolean;
  /** What makes two asks the same for the cooling-off after a denial, beside kind and purpose. */
  readonly sameness: (input: Input) => { action?: string; resource?: string };
  /** What an approving answer must carry as `result`; undefined when the approval alone is the answer. */
  readonly result: z.ZodType<ResultValue> | undefined;
  /**
   * What the schema cannot say: whether the result fits what was asked (a signature that verifies). Runs before the
   * answer counts; false makes it a bad answer, which leaves the request open. The user vault runs it before it signs.
   */
  readonly check?: (result: ResultValue, facts: CheckFacts) => Promise<boolean> | boolean;
  /** The result is a value the user shares: read it once and it is destroyed 300 s later, each read is audited. */
  readonly sharesValue?: boolean;
  /** Ask the person for the number that the POST's answer shows. */
  readonly matchCode?: (input: Input) => boolean;
  readonly defaultExpirySeconds: number;
  readonly defaultGraceSeconds: number;
  /** A valid input: /openapi.json shows it, and the test of the grant decision asks with it. */
  readonly example: Input;
  /** With `about`: the input of the earlier ask, where that operation's own example would not do. */
  readonly exampleAbout?: unknown;
  /** A result that would answer the example, where one can be made up. */
  readonly exampleResult?: ResultValue;
  /** Goes without `operation` in the payload: what the kind's bare name means. One of the kind's operations may. */
  readonly unnamed?: boolean;
  /** Nobody answers it: it has done its part once the user's vault has it, and is then `delivered`. */
  readonly unanswered?: boolean;
  /** What must be granted beside `grant`. */
  readonly grantAlso?: (input: Input) => readonly GrantOperation[];
  /** Where its requests are read and what may become of them, when that is not as the kind has it. */
  readonly resource?: Resource;
}

/** What an operation may hold a result against. */
export interface CheckFacts {
  /** As the user saw it. */
  payload: RequestPayload;
  /** base64. */
  userSigningKey: string;
  /** The operation's input; absent in the user vault, which sees only the payload. */
  input?: unknown;
}

/** A request as the kind's view sees it. */
export interface RequestFacts {
  status: string;
  /** The payload the user saw: the kind's own fields are among its members. */
  payload: Record<string, unknown>;
  result?: unknown;
  approval?: Approval;
  respondedAt?: string;
  /** The machine's state, where the kind has one. */
  state?: unknown;
}

export interface Kind {
  /** `auth`: makes the event types `auth.request` and `auth.response`. */
  readonly name: string;
  /** The ask's event type where it is not `<name>.request` (`call.initiate`). */
  readonly eventType?: string;
  /** The ask's `ref` is its own id, as a session's (`call.initiate`). */
  readonly ownRef?: boolean;
  /** A last name of the event type that comes from the ask itself (`notify.<category>`). */
  readonly eventTypeTail?: (input: unknown) => string;
  readonly title: string;
  /** GET path without the id. */
  readonly getPath: string;
  /** A second name under which the request's id is given out (`call_id`). */
  readonly idName?: string;
  /** Lists a user's requests of this sort, `GET <getPath>?user_id=`, under this name. */
  readonly listName?: string;
  readonly operations: readonly KindOperation[];
  /** Requests of this kind one user may have open at once. */
  readonly maxOpen?: number;
  /** What happens to a request beside being asked and answered. */
  readonly machine?: Machine;
  /** Fields the kind's GET adds to those of every request. */
  readonly view: (request: RequestFacts) => Record<string, unknown>;
  readonly viewSchema: z.ZodRawShape;
  /** Fields that only the kind's own path shows: there `status` may be the kind's own word. */
  readonly pathView?: (request: RequestFacts) => Record<string, unknown>;
  readonly pathSchema?: z.ZodRawShape;
}

/** Requests of one sort: their path, their machine and how they are shown. A kind is one; an operation may be another. */
export type Resource = Pick<
  Kind,
  | "title"
  | "getPath"
  | "idName"
  | "listName"
  | "maxOpen"
  | "machine"
  | "view"
  | "viewSchema"
  | "pathView"
  | "pathSchema"
>;

/** Types an operation by its own schemas; the registry holds operations of every kind side by side. */
export const defineOperation = <Input, Payload, ResultValue>(
  operation: KindOperation<Input, Payload, ResultValue>,
): KindOperation => operation as unknown as KindOperation;
