// Invites: made, shown once with their QR code, listed, withdrawn.

import type { Hono } from "hono";
import type { InviteView } from "../../durable-objects/directory/invites.ts";
import { qrSvg } from "../http/links.ts";
import type { Offering } from "../protocol/offer.ts";
import { must, type Refusal } from "./api.ts";
import type { ConsoleContext, ConsoleEnv } from "./env.ts";
import { CONSOLE, page } from "./frame.tsx";
import { newOnce, onceOf } from "./once.ts";
import {
  Badge,
  Confirm,
  CopyButton,
  Day,
  Empty,
  Facts,
  Field,
  Form,
  Head,
  Id,
  Pager,
  Problems,
  Secret,
  Table,
  Time,
} from "./ui.tsx";
import { countWords } from "./words.ts";

const HERE = "/invites";
const BASE = `${CONSOLE}${HERE}`;
const BACK = { href: BASE, label: "Invites" };
const PAGE_SIZE = 25;
const HOUR_SECONDS = 3_600;
const LIFETIMES = [
  { value: String(HOUR_SECONDS), label: "1 hour" },
  { value: String(24 * HOUR_SECONDS), label: "1 day" },
  { value: String(7 * 24 * HOUR_SECONDS), label: "7 days" },
  { value: String(30 * 24 * HOUR_SECONDS), label: "30 days" },
  { value: String(365 * 24 * HOUR_SECONDS), label: "1 year" },
];

interface Created {
  invite_id: string;
  invite_url: string;
  deep_link: string;
  match_code?: string;
  expires_at: string;
  max_uses: number;
  offering_id?: string;
}

async function newPage(c: ConsoleContext, form?: URLSearchParams, refusal?: Refusal) {
  const { offerings } = must(await c.var.api.get<{ offerings: Offering[] }>("offerings"));
  const value = (name: string, otherwise: string) => form?.get(name) ?? c.req.query(name) ?? otherwise;
  return page(c, {
    title: "New invite",
    here: HERE,
    status: refusal?.status ?? 200,
    content: (
      <>
        <Head title="New invite" back={BACK}>
          <p>A link with a QR code. Whoever opens it sees your offering and decides in their VettID app.</p>
        </Head>
        {offerings.length === 0 ? (
          <Empty
            title="There is nothing to offer yet"
            action={
              c.var.api.may("admin") && (
                <a class="btn" href={`${CONSOLE}/offerings/new`}>
                  Write an offering
                </a>
              )
            }
          >
            An invite leads to an offering: publish one first.
          </Empty>
        ) : (
          <Form c={c} action={BASE} once={newOnce()} class="card form narrow">
            <Problems refusal={refusal} />
            <Field
              label="Offering"
              name="offering_id"
              value={value("offering_id", offerings[0]!.offering_id)}
              options={[
                ...offerings.map(({ offering_id, name }) => ({ value: offering_id, label: name })),
                ...(offerings.length > 1 ? [{ value: "", label: "Any: the person chooses" }] : []),
              ]}
              refusal={refusal}
            />
            <div class="form-row">
              <Field
                label="Valid for"
                name="expires_in_seconds"
                value={value("expires_in_seconds", String(24 * HOUR_SECONDS))}
                options={LIFETIMES}
                refusal={refusal}
              />
              <Field
                label="People who may use it"
                name="max_uses"
                type="number"
                value={value("max_uses", "1")}
                refusal={refusal}
                attributes={{ min: 1, max: 1_000_000, inputmode: "numeric" }}
              />
            </div>
            <Field
              label="Match code"
              name="match_code"
              hint="Six digits that you tell the person on another way than the link, so that a link in wrong hands is of no use."
              value={value("match_code", "")}
              options={[
                { value: "", label: "As the offering says" },
                { value: "yes", label: "Ask for one" },
                { value: "no", label: "Without" },
              ]}
            />
            <div class="actions">
              <button class="btn" type="submit">
                Make the invite
              </button>
              <a class="btn plain" href={BASE}>
                Back
              </a>
            </div>
          </Form>
        )}
      </>
    ),
  });
}

const createdPage = (c: ConsoleContext, created: Created) =>
  page(c, {
    title: "The invite",
    here: HERE,
    content: (
      <>
        <Head
          title="The invite is ready"
          back={BACK}
          actions={
            <a class="btn plain" href={`${BASE}/new`}>
              Make another
            </a>
          }
        >
          <p>
            Shown this once: its link is a key, and only its hash is kept. It is valid until{" "}
            <Day at={created.expires_at} />, for {countWords(created.max_uses, "person", "people")}.
          </p>
        </Head>
        <section class="card qr-card" aria-label="Invite">
          <div
            class="qr"
            role="img"
            aria-label="QR code with the link of this invite"
            dangerouslySetInnerHTML={{ __html: qrSvg(created.invite_url) }}
          />
          <div class="form">
            <div>
              <span class="legend">Link, for a browser or a camera</span>
              <Secret value={created.invite_url} what="the link" />
            </div>
            <div>
              <span class="legend">Link into the app, for a page of yours that runs on the phone</span>
              <Secret value={created.deep_link} what="the link into the app" />
            </div>
            {created.match_code !== undefined && (
              <div>
                <span class="legend">Match code: tell it to the person on another way</span>
                <p class="match">
                  {created.match_code} <CopyButton value={created.match_code} what="the match code" />
                </p>
              </div>
            )}
            <div class="actions">
              <a class="btn" href={created.invite_url} rel="noopener noreferrer">
                See what the person sees
              </a>
            </div>
          </div>
        </section>
      </>
    ),
  });

export function invitePages(pages: Hono<ConsoleEnv>): void {
  pages.get(HERE, async (c) => {
    const { invites, next_cursor } = must(
      await c.var.api.get<{ invites: InviteView[]; next_cursor?: string }>("contracts/invites", {
        cursor: c.req.query("cursor"),
        limit: PAGE_SIZE,
      }),
    );
    const mayWrite = c.var.api.may("contracts:write");
    const make = mayWrite && (
      <a class="btn" href={`${BASE}/new`}>
        New invite
      </a>
    );
    return page(c, {
      title: "Invites",
      here: HERE,
      content: (
        <>
          <Head title="Invites" actions={make}>
            <p>Links by which people connect. Their codes are shown when they are made, and never again.</p>
          </Head>
          {invites.length === 0 ? (
            <Empty title="No invite was made yet" action={make}>
              {mayWrite
                ? "Make one, and show its QR code or send its link. Your backend makes them with POST /api/v1/contracts/invite."
                : "Your key may not make invites: it lacks the scope contracts:write."}
            </Empty>
          ) : (
            <>
              <Table
                caption="Invites, newest first"
                head={["Offering", "Status", "Used", "Invite", "Made", "Valid until", ""]}
                rows={invites.map((invite) => [
                  <>
                    {invite.offering_id ?? "any offering"}
                    {invite.match_code_required && <span class="sub">with a match code</span>}
                  </>,
                  <Badge status={invite.status} />,
                  <>
                    {invite.uses} of {invite.max_uses.toLocaleString("en")}
                    {invite.wrong_match_codes > 0 && (
                      <span class="sub">{countWords(invite.wrong_match_codes, "wrong code")}</span>
                    )}
                  </>,
                  <Id value={invite.invite_id} />,
                  <Time at={invite.created_at} />,
                  <Time at={invite.expires_at} />,
                  mayWrite && invite.status === "open" ? (
                    <a class="btn plain small-btn" href={`${BASE}/${invite.invite_id}/withdraw`}>
                      Withdraw
                    </a>
                  ) : (
                    ""
                  ),
                ])}
              />
              <Pager c={c} shown={invites.length} next={next_cursor} />
            </>
          )}
        </>
      ),
    });
  });

  pages.get(`${HERE}/new`, (c) => newPage(c));
  pages.post(HERE, async (c) => {
    const { form } = c.var;
    const offeringId = form.get("offering_id") ?? "";
    const matchCode = form.get("match_code");
    const outcome = await c.var.api.send<Created>(
      "POST",
      "contracts/invite",
      {
        ...(offeringId === "" ? {} : { offering_id: offeringId }),
        max_uses: Number(form.get("max_uses")),
        expires_in_seconds: Number(form.get("expires_in_seconds")),
        ...(matchCode === "yes" || matchCode === "no" ? { match_code: matchCode === "yes" } : {}),
      },
      onceOf(c),
    );
    return outcome.ok ? createdPage(c, outcome.value) : newPage(c, form, outcome.refusal);
  });

  const withdrawPage = (c: ConsoleContext, id: string, refusal?: Refusal) =>
    page(c, {
      title: "Withdraw this invite?",
      here: HERE,
      status: refusal?.status ?? 200,
      content: (
        <Confirm
          c={c}
          title="Withdraw this invite?"
          action={`${BASE}/${encodeURIComponent(id)}/withdraw`}
          back={BACK}
          verb="Withdraw the invite"
          refusal={refusal}
        >
          <Facts items={[["Invite", <Id value={id} long />]]} />
          <p>Its link and QR code stop working at once, wherever they are. Connections made by it stay.</p>
        </Confirm>
      ),
    });
  pages.get(`${HERE}/:id/withdraw`, (c) => withdrawPage(c, c.req.param("id")));
  pages.post(`${HERE}/:id/withdraw`, async (c) => {
    const id = c.req.param("id");
    const outcome = await c.var.api.send("DELETE", `contracts/invites/${encodeURIComponent(id)}`);
    return outcome.ok ? c.redirect(`${BASE}?done=withdrawn`, 303) : withdrawPage(c, id, outcome.refusal);
  });
}
