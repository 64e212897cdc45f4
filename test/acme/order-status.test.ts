import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Account } from "../../src/acme/account.ts";
import { newOrder } from "../../src/acme/new-order.ts";
import type { Order, OrderStatus } from "../../src/acme/order.ts";
import { deactivateAuthorization, readAuthorization } from "../../src/acme/read-authorization.ts";
import { respond } from "../../src/acme/respond.ts";
import { updateAccount } from "../../src/acme/update-account.ts";
import { validateDue } from "../../src/acme/validate.ts";
import { settle, settleUnfinished } from "../../src/ca/settle.ts";
import { Fault } from "../../src/fault.ts";
import { type AcmeGround, acmeGround, asking, csrFor, standing, validated } from "../support/acme-world.ts";
import type { Point } from "../support/failpoints.ts";
import { finalize } from "../../src/acme/finalize.ts";
import { brokenInvariants } from "../support/invariants.ts";
import { httpAnswer, noAnswer } from "../support/validator.ts";

let ground: AcmeGround;
beforeAll(async () => {
  ground = await acmeGround();
});
afterAll(() => ground[Symbol.asyncDispose]());

const names = ["a.example.org", "b.example.org"];

/** What may follow what (RFC 8555 §7.1.6). Between two looks more than one step may lie. */
const successors: Readonly<Record<OrderStatus, readonly OrderStatus[]>> = {
  pending: ["pending", "ready", "invalid"],
  ready: ["ready", "processing", "valid", "invalid"],
  processing: ["processing", "valid", "invalid"],
  valid: ["valid"],
  invalid: ["invalid"],
};

type Event =
  | { readonly kind: "respond"; readonly authorization: number; readonly answer: "right" | "wrong" | "none" | "away" }
  | { readonly kind: "deactivate"; readonly authorization: number }
  | { readonly kind: "deactivate account" | "settle" }
  | { readonly kind: "pass"; readonly seconds: number }
  | { readonly kind: "finalize"; readonly fails: Point | undefined };

const authorization = fc.nat(1);
const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("respond"),
      authorization,
      answer: fc.constantFrom("right", "right", "right", "right", "none", "away", "wrong"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("deactivate"), authorization }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom("settle", "settle", "settle", "settle", "deactivate account") }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("pass"), seconds: fc.constantFrom(6, 16, 60, 7_200, 86_400, 7 * 86_400) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("finalize"),
      fails: fc.constantFrom(
        undefined,
        "intent:before",
        "intent:after",
        "sign:before",
        "sign:after",
        "certificate:before",
        "certificate:after",
      ),
    }),
  },
) as fc.Arbitrary<Event>;

/** Both names shown, as most orders begin. */
const met: readonly Event[] = [0, 1].map((each) => ({ kind: "respond", authorization: each, answer: "right" }));

/** The token away for longer than the same bytes may be signed. */
const away: readonly Event[] = [
  { kind: "finalize", fails: "sign:before" },
  { kind: "pass", seconds: 7_200 },
  { kind: "settle" },
  { kind: "finalize", fails: undefined },
];

/** Lets one thing happen. Refusals are part of it. */
async function happen(what: Event, account: Account, order: Order): Promise<void> {
  const { acme, other, validator } = ground;
  switch (what.kind) {
    case "respond": {
      const found = await readAuthorization(acme, account, order.authorizations[what.authorization] ?? "");
      const { answer } = what;
      validator.script.http = ({ path }) => {
        if (answer === "away") throw new Fault("validatorUnavailable", "away");
        if (answer === "none") return noAnswer("connection");
        return httpAnswer(answer === "right" ? `${path?.split("/").at(-1) ?? ""}.${account.key.thumbprint}` : "wrong");
      };
      await respond(acme, account, found?.challenges[0]?.id ?? "").catch(expected);
      await validated(acme);
      return;
    }
    case "deactivate":
      await deactivateAuthorization(acme, account, order.authorizations[what.authorization] ?? "", "test");
      return;
    case "deactivate account":
      await updateAccount(acme, account, { status: "deactivated" }, "test").catch(expected);
      return;
    case "pass":
      ground.clock.aheadSeconds += what.seconds;
      await validateDue(other);
      await validated(other);
      return;
    case "settle":
      await settleUnfinished(acme.ca);
      await settle(other.ca);
      return;
    case "finalize":
      ground.on.reach = (point) => {
        if (point === what.fails) throw new Fault("hsmUnavailable", `failed at ${point}`);
      };
      await finalize(acme, account, order.id, csr, "test").catch(expected);
      ground.on.reach = undefined;
      return;
    default:
      what satisfies never;
  }
}

const expected = (error: unknown): void => {
  if (!(error instanceof Fault)) throw error;
};

let csr: { readonly csr: string };

test(
  "whatever happens, an order never goes back, is valid with its one certificate, and invalid for a reason (AO-40, I9)",
  { timeout: 300_000 },
  async () => {
    csr = await csrFor(...names);
    const reached = new Set<OrderStatus>();
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.constant(met), fc.constant([])),
        fc.array(event, { minLength: 4, maxLength: 14 }),
        async (first, random) => {
          const events = [...first, ...random];
          const account = await ground.newAccount();
          const { order } = await newOrder(ground.acme, ground.directory, account, asking(...names));
          let before: OrderStatus = "pending";
          let begun = false;
          let ended = false;
          for (const what of events) {
            await happen(what, account, order);
            ended ||= what.kind === "deactivate" || what.kind === "deactivate account" || ground.clock.now() >= order.expiresAt;
            const now = await standing(ground.other, account, order);
            expect(successors[before], `${before} → ${now.status} by ${JSON.stringify(what)}`).toContain(now.status);
            // An issuance that has begun fails through the client alone.
            begun ||= now.status === "processing";
            if (begun && now.status === "invalid") expect(ended).toBe(true);
            expect(now.error !== undefined).toBe(now.status === "invalid");
            expect(now.certificate !== undefined).toBe(now.status === "valid");
            before = now.status;
            reached.add(before);
          }
          const certificates = await ground.acme.database.read(
            (sql) =>
              sql`select from issuance join certificate c using (authority, serial) where request_id = ${order.requestId} and c.certificate is not null`,
          );
          expect(certificates).toHaveLength(before === "valid" ? 1 : 0);
        },
      ),
      { numRuns: 12, examples: [[met, [...away]]] },
    );
    expect([...reached].toSorted()).toEqual(["invalid", "pending", "processing", "ready", "valid"]);
    await settle(ground.other.ca);
    expect(await ground.acme.database.read((sql) => brokenInvariants(sql))).toEqual([]);
  },
);
