// The log: one JSON object a line, on the console, where Workers Logs and every shipper read it. Ids, names, counts and
// reasons only: what a person wrote or shared, a body, a key or a URL with a query never get in here.

export type LogLevel = "info" | "warn" | "error";

type LogValue = string | number | boolean | null | undefined | LogValue[] | { [name: string]: LogValue };
export type LogFields = { [name: string]: LogValue };

/** `event` is a fixed name, `<part>.<what happened>`: what an operator searches for. */
export function log(level: LogLevel, event: string, fields: LogFields = {}): void {
  console[level](JSON.stringify({ level, event, ...fields }));
}

/** An error for the log: what it is called and says, never what it was about. */
export const errorText = (error: unknown): string => (error instanceof Error ? error.message : String(error));
