// What a failed validation becomes, for every route.

import type { Hook } from "@hono/zod-openapi";
import type { AppEnv } from "../app-env.ts";
import { validationError } from "./errors.ts";

export const onValidation: Hook<unknown, AppEnv, string, unknown> = (result) => {
  if (!result.success) throw validationError(result.error.issues);
};
