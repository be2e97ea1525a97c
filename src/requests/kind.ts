// What a kind of request is. A kind is data: HTTP routes, OpenAPI, the payload the user sees, the result's check
// and the user vault's handler types all come from it.

import type { z } from "zod";
import type { Operation as GrantOperation } from "../contracts/grant.ts";
import type { Approval } from "../protocol/asking.ts";
import type { Machine } from "./machine.ts";

/** One way of asking within a kind (`data` has browse, request, read and write). */
export interface KindOperation<Input = unknown, Payload = unknown, ResultValue = unknown> {
  /** Sent to the user as `operation` where the kind has several; the path's last part. */
  readonly name: string;
  readonly summary: string;
  readonly path: string;
  readonly successStatus: 201 | 202;
  /** The capabilities it may need, for documentation; `grant` says which one a given ask needs. */
  readonly capabilities: readonly string[];
  /** Whether `purpose` must be given. */
  readonly purposeRequired: boolean;
  /** Body fields beyond those of every ask. */
  readonly input: z.ZodType<Input>;
  /** Fields of the payload beyond those of every ask. */
  readonly payload: z.ZodType<Payload>;
  readonly toPayload: (input: Input) => Payload;
  readonly grant: (input: Input) => GrantOperation;
  /** What makes two asks the same for the cooling-off after a denial, beside kind and purpose. */
  readonly sameness: (input: Input) => { action?: string; resource?: string };
  /** What an approving answer must carry as `result`; undefined when the approval alone is the answer. */
  readonly result: z.ZodType<ResultValue> | undefined;
  /** The result is a value the user shares: read it once and it is destroyed 300 s later, each read is audited. */
  readonly sharesValue?: boolean;
  /** Ask the person for the number that the POST's answer shows. */
  readonly matchCode?: (input: Input) => boolean;
  readonly defaultExpirySeconds: number;
  readonly defaultGraceSeconds: number;
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
  readonly title: string;
  /** GET path without the id. */
  readonly getPath: string;
  readonly operations: readonly KindOperation[];
  /** Requests of this kind one user may have open at once. */
  readonly maxOpen?: number;
  /** What happens to a request beside being asked and answered. */
  readonly machine?: Machine;
  /** Fields the kind's GET adds to those of every request. */
  readonly view: (request: RequestFacts) => Record<string, unknown>;
  readonly viewSchema: z.ZodRawShape;
}

/** Types an operation by its own schemas; the registry holds operations of every kind side by side. */
export const defineOperation = <Input, Payload, ResultValue>(
  operation: KindOperation<Input, Payload, ResultValue>,
): KindOperation => operation as unknown as KindOperation;
