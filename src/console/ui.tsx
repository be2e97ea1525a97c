// What the console's pages are put together from: times, ids, badges, fields, lists, and the page that asks before
// anything is destroyed.

import type { Child } from "hono/jsx";
import type { Refusal } from "./api.ts";
import type { ConsoleContext } from "./env.ts";
import { Icon } from "./icons.tsx";
import { agoWords, dateWords, plainly } from "./words.ts";

/** A time as people say it; exactly, for whoever points at it or reads it with a program. */
export const Time = ({ at, now = Date.now() }: { at: string; now?: number }) => (
  <time datetime={at} title={at} class="nowrap">
    {agoWords(Date.parse(at), now)}
  </time>
);

/** The same as a date. */
export const Day = ({ at }: { at: string }) => (
  <time datetime={at} title={at} class="nowrap">
    {dateWords(Date.parse(at))}
  </time>
);

export const CopyButton = ({ value, what }: { value: string; what: string }) => (
  <button class="copy" type="button" data-copy={value} aria-label={`Copy ${what}`} hidden>
    <Icon name="copy" size={16} />
  </button>
);

/** Ids that route themselves are longer than any other. */
const ROUTED_CHARACTERS = 50;

/**
 * Shortened by the style alone: whoever selects it, with or without script, gets all of it. An id that begins with its
 * user's part is told from the others by its end.
 */
export const Id = ({ value, long = false }: { value: string; long?: boolean }) => (
  <span class={`id ${long ? "long" : ""} ${value.length > ROUTED_CHARACTERS ? "tail" : ""}`}>
    <code title={value}>{value}</code>
    <CopyButton value={value} what={value} />
  </span>
);

/** Shown this once, whole. */
export const Secret = ({ value, what }: { value: string; what: string }) => (
  <div class="secret">
    <code>{value}</code>
    <CopyButton value={value} what={what} />
  </div>
);

const TONES: Record<string, "good" | "wait" | "bad"> = {
  active: "good",
  ready: "good",
  open: "good",
  enabled: "good",
  delivered: "good",
  approved: "good",
  offline_approved: "good",
  success: "good",
  applied: "good",
  verified: "good",
  attested: "good",
  pending: "wait",
  paused: "wait",
  connecting: "wait",
  expired: "bad",
  rejected: "bad",
  denied: "bad",
  dead: "bad",
  closed: "bad",
  halted: "bad",
  disabled: "bad",
  error: "bad",
  lapsed: "bad",
  unproven: "bad",
  refused: "bad",
  failing: "wait",
  unchecked: "wait",
};
const WORDS: Record<string, string> = {
  offline_approved: "approved offline",
  used_up: "used up",
  dead: "given up",
  closed: "down",
};
export const Badge = ({ status }: { status: string }) => (
  <span class={`badge ${Object.hasOwn(TONES, status) ? TONES[status] : ""}`}>
    {Object.hasOwn(WORDS, status) ? WORDS[status] : status.replaceAll("_", " ")}
  </span>
);

interface HeadProps {
  title: Child;
  badge?: Child;
  back?: { href: string; label: string };
  actions?: Child;
  children?: Child;
}
export const Head = ({ title, badge, back, actions, children }: HeadProps) => (
  <div class="head">
    <div>
      {back !== undefined && (
        <div class="crumbs">
          <a href={back.href}>‹ {back.label}</a>
        </div>
      )}
      <h1>
        {title} {badge}
      </h1>
      {children}
    </div>
    {actions !== undefined && <div class="actions">{actions}</div>}
  </div>
);

export const Empty = ({ title, children, action }: { title: string; children?: Child; action?: Child }) => (
  <div class="card empty">
    <strong>{title}</strong>
    <p>{children}</p>
    {action !== undefined && <div class="actions">{action}</div>}
  </div>
);

export const Facts = ({ items }: { items: readonly (readonly [string, Child] | undefined)[] }) => (
  <dl class="facts-list">
    {items.map(
      (item) =>
        item !== undefined && (
          <div>
            <dt>{item[0]}</dt>
            <dd>{item[1]}</dd>
          </div>
        ),
    )}
  </dl>
);

/** A role said aloud: on a phone the rows are cards, and browsers then forget that it is a table. */
const as = (role: string) => ({ role });

export const Table = ({
  caption,
  head,
  rows,
}: {
  caption: string;
  /** The last column may be nameless: what can be done. */
  head: readonly string[];
  rows: readonly (readonly Child[])[];
}) => (
  <div class="card flush">
    <table class="table" {...as("table")}>
      <caption>{caption}</caption>
      <thead {...as("rowgroup")}>
        <tr {...as("row")}>
          {head.map((name) => (
            <th scope="col" {...as("columnheader")}>
              {name === "" ? <span class="skip">Actions</span> : name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody {...as("rowgroup")}>
        {rows.map(([first, ...cells]) => (
          <tr {...as("row")}>
            <th scope="row" {...as("rowheader")}>
              {first}
            </th>
            {cells.map((cell, at) => (
              <td {...as("cell")} data-label={head[at + 1]} class={head[at + 1] === "" ? "act" : ""}>
                {cell}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

/** The link to the next page of a list, with everything else of the address kept. */
export function Pager({
  c,
  shown,
  total,
  next,
  parameter = "cursor",
}: {
  c: ConsoleContext;
  shown: number;
  total?: number;
  next: string | undefined;
  parameter?: string;
}) {
  const url = new URL(c.req.url);
  url.searchParams.delete("done");
  const isLater = url.searchParams.has(parameter);
  const first = new URL(url);
  first.searchParams.delete(parameter);
  if (next !== undefined) url.searchParams.set(parameter, next);
  if (next === undefined && !isLater && total === undefined) return null;
  const here = ({ pathname, search }: URL) => `${pathname}${search}`;
  return (
    <nav class="pager" aria-label="Pages">
      <span>{total === undefined ? `${shown} on this page` : `${shown} of ${total}`}</span>
      <span class="actions">
        {isLater && (
          <a class="btn plain small-btn" href={here(first)}>
            Back to the first
          </a>
        )}
        {next !== undefined && (
          <a class="btn plain small-btn" href={here(url)} rel="next">
            Next page
          </a>
        )}
      </span>
    </nav>
  );
}

// ---- forms ----------------------------------------------------------------------------------------------

/** What a refused form says: everything that was wrong, with a way to the field. */
export const Problems = ({ refusal }: { refusal: Refusal | undefined }) => {
  if (refusal === undefined) return null;
  const named = refusal.details.filter(({ path }) => path !== "");
  return (
    <div class="alert" role="alert" id="problems">
      <strong>{named.length === 0 ? "That did not work" : "Please change this and send it again"}</strong>
      {named.length === 0 ? (
        <p>{sentence(refusal.detail)}</p>
      ) : (
        <ul>
          {named.map(({ path, message }) => (
            <li>
              <a href={`#${fieldId(path)}`}>{fieldWords(path)}</a>: {plainly(message)}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
};

export const sentence = (text: string): string => {
  const start = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(start) ? start : `${start}.`;
};
/** One entry of a field of many lines is shown at the field. */
const fieldId = (name: string): string =>
  `f-${name.replace(/\[\d+\]$/, "").replaceAll(/[^a-z0-9_]+/gi, "-")}`;
/** `capabilities[0].description` as it is said: "capability 1, description". */
const fieldWords = (path: string): string =>
  path
    .replaceAll(/\[(\d+)\]/g, (_, at: string) => ` ${Number(at) + 1}`)
    .replaceAll(".", ", ")
    .replaceAll("_", " ");

export function errorAt(refusal: Refusal | undefined, path: string): string | undefined {
  const found = refusal?.details.find((detail) => detail.path === path || detail.path.startsWith(`${path}[`));
  return found && plainly(found.message);
}

interface FieldProps {
  label: string;
  name: string;
  value?: string | undefined;
  hint?: Child;
  refusal?: Refusal | undefined;
  type?: string;
  required?: boolean;
  /** Lines of a text area. */
  lines?: number;
  mono?: boolean;
  options?: readonly { value: string; label: string }[];
  list?: string;
  attributes?: Record<string, string | number | boolean>;
}
export const Field = (props: FieldProps) => {
  const { label, name, value = "", hint, refusal, type = "text", lines, options, mono, list } = props;
  const id = fieldId(name);
  const error = errorAt(refusal, name);
  const described = [
    ...(hint === undefined ? [] : [`${id}-hint`]),
    ...(error === undefined ? [] : [`${id}-error`]),
  ];
  const shared = {
    id,
    name,
    class: `input ${mono ? "mono" : ""}`,
    ...(props.required ? { required: true } : {}),
    ...(error === undefined ? {} : { "aria-invalid": "true" }),
    ...(described.length === 0 ? {} : { "aria-describedby": described.join(" ") }),
    ...props.attributes,
  };
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {hint !== undefined && (
        <span class="hint" id={`${id}-hint`}>
          {hint}
        </span>
      )}
      {options !== undefined ? (
        <select {...shared}>
          {options.map((option) => (
            <option value={option.value} {...(option.value === value ? { selected: true } : {})}>
              {option.label}
            </option>
          ))}
        </select>
      ) : lines !== undefined ? (
        // A browser drops the first line break of a text area.
        <textarea rows={lines} {...shared}>{`\n${value}`}</textarea>
      ) : (
        <input type={type} value={value} {...(list === undefined ? {} : { list })} {...shared} />
      )}
      {error !== undefined && (
        <span class="error" id={`${id}-error`}>
          {error}
        </span>
      )}
    </div>
  );
};

export const Tick = ({
  label,
  name,
  value = "on",
  checked,
  hint,
}: {
  label: Child;
  name: string;
  value?: string;
  checked: boolean;
  hint?: Child;
}) => (
  <label class="tick">
    <input type="checkbox" name={name} value={value} {...(checked ? { checked: true } : {})} />
    <span>
      {label}
      {hint !== undefined && <span class="hint">{hint}</span>}
    </span>
  </label>
);

/** A form of ours: it carries the session's token, and what makes sending it twice the same as once. */
export const Form = ({
  c,
  action,
  once,
  children,
  ...attributes
}: {
  c: ConsoleContext;
  action: string;
  once?: string;
  children?: Child;
  class?: string;
  novalidate?: boolean;
  "data-preview"?: string;
}) => (
  <form method="post" action={action} {...attributes}>
    <input type="hidden" name="token" value={c.var.session.formToken} />
    {once !== undefined && <input type="hidden" name="once" value={once} />}
    {children}
  </form>
);

/** One button that does something at once. */
export const Press = ({
  c,
  action,
  children,
  kind = "plain small-btn",
  values = {},
}: {
  c: ConsoleContext;
  action: string;
  children: Child;
  kind?: string;
  values?: Record<string, string>;
}) => (
  <Form c={c} action={action}>
    {Object.entries(values).map(([name, value]) => (
      <input type="hidden" name={name} value={value} />
    ))}
    <button class={`btn ${kind}`} type="submit">
      {children}
    </button>
  </Form>
);

/** Asks before something that cannot be taken back, on a page of its own. */
export const Confirm = ({
  c,
  title,
  action,
  back,
  verb,
  danger = true,
  refusal,
  children,
}: {
  c: ConsoleContext;
  title: string;
  action: string;
  back: { href: string; label: string };
  verb: string;
  danger?: boolean;
  refusal?: Refusal | undefined;
  /** What it means, and fields. */
  children: Child;
}) => (
  <>
    <Head title={title} back={back} />
    <Problems refusal={refusal} />
    <Form c={c} action={action} class="card form narrow">
      {children}
      <div class="actions">
        <button class={`btn ${danger ? "danger" : ""}`} type="submit">
          {verb}
        </button>
        <a class="btn plain" href={back.href}>
          Leave it as it is
        </a>
      </div>
    </Form>
  </>
);
