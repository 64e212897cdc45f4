import { afterAll, beforeAll, expect, test } from "vitest";
import { listCertificates } from "../../src/ca/certificates.ts";
import type { Database } from "../../src/database/connect.ts";
import { opensslRequest, startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

test("a page of 1,000 certificates leaves the event loop to others while it is rendered (S-48)", async () => {
  const { csr } = await opensslRequest("a.example.org");
  expect((await service.ask("/v1/certificates", { body: { csr, profile: "server" } })).status).toBe(201);
  const { ca } = service.service;
  const { database } = ca;
  await database.read(
    (sql) => sql`
      insert into certificate (authority, serial, namespace, profile, certificate, spki_sha256, not_before, not_after, recorded_at)
      select authority, decode(lpad(to_hex(n), 32, '0'), 'hex'), namespace, profile, certificate, spki_sha256, not_before, not_after, recorded_at
      from (select * from certificate where certificate is not null limit 1) c, generate_series(1, 1000) n`,
  );

  // Counted from when the rows are at hand: every turn is one that rendering has left.
  const turns = countTurns();
  const transact: Database["transact"] = async (act) => {
    const rows = await database.transact(act);
    turns.start();
    return rows;
  };
  const page = await listCertificates({ ...ca, database: { ...database, transact } }, "/", { limit: 1000 });
  expect(page.certificates).toHaveLength(1000);
  expect(turns.stop()).toBeGreaterThanOrEqual(30);
});

/** Counts the turns of the event loop between `start` and `stop`. */
function countTurns(): { start(): void; stop(): number } {
  let count = 0;
  let counting = true;
  const turn = (): void => {
    count += 1;
    if (counting) setImmediate(turn);
  };
  return {
    start: () => void setImmediate(turn),
    stop() {
      counting = false;
      return count;
    },
  };
}
