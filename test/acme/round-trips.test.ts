import { afterAll, beforeAll, expect, test } from "vitest";
import { certificateOfOrder } from "../../src/acme/certificate.ts";
import { finalize } from "../../src/acme/finalize.ts";
import { newOrder } from "../../src/acme/new-order.ts";
import { readAuthorization } from "../../src/acme/read-authorization.ts";
import { readOrder } from "../../src/acme/read-order.ts";
import { respond } from "../../src/acme/respond.ts";
import { type AcmeGround, acmeGround, asking, csrFor, validated } from "../support/acme-world.ts";
import { httpAnswer } from "../support/validator.ts";

let ground: AcmeGround;
beforeAll(async () => {
  ground = await acmeGround();
});
afterAll(() => ground[Symbol.asyncDispose]());

test("what an issuance asks of the database: one answer for each step of its order, three for finalize", async () => {
  const { acme, directory } = ground;
  const account = await ground.newAccount();
  ground.validator.script.http = ({ path }) => httpAnswer(`${path?.split("/").at(-1) ?? ""}.${account.key.thumbprint}`);
  const counts: Record<string, number> = {};
  const counted = async <T>(name: string, act: () => Promise<T>): Promise<T> => {
    const before = acme.database.roundTrips();
    const result = await act();
    counts[name] = Math.min(counts[name] ?? Infinity, acme.database.roundTrips() - before);
    return result;
  };
  // A connection asks once more for a statement that is new to it: the fewest of several runs count.
  for (let run = 1; run <= 4; run += 1) {
    const name = `t${run}.example.org`;
    const { csr } = await csrFor(name);
    const { order } = await counted("newOrder", () => newOrder(acme, directory, account, asking(name)));
    const authorization = await counted("authorization", () => readAuthorization(acme, account, order.authorizations[0] ?? ""));
    await counted("challenge, its outcome", async () => {
      await respond(acme, account, authorization?.challenges[0]?.id ?? "");
      await validated(acme);
    });
    await counted("order", () => readOrder(acme, account, order.id));
    const ended = await counted("finalize", () => finalize(acme, account, order.id, { csr }, "test"));
    await counted("certificate", () => certificateOfOrder(acme, account, order.id));
    expect(ended?.status).toBe("valid");
  }
  expect(counts).toEqual({ newOrder: 1, authorization: 1, "challenge, its outcome": 2, order: 1, finalize: 3, certificate: 1 });
});
