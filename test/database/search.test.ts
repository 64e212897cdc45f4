import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { openDatabase } from "../../src/database/connect.ts";
import { search } from "../../src/database/search.ts";
import { freshDatabase } from "../support/database.ts";
import { recordedEvents } from "../support/events.ts";
import { opensslRequest, startService } from "../support/service.ts";

test("a search that takes too long is busy, and says nothing against the database; another statement that does says so", async () => {
  await using fresh = await freshDatabase();
  const events = recordedEvents();
  await using database = await openDatabase({ url: fresh.url, poolSize: 2, statementTimeoutMs: 200 }, { events });
  await expect(search(database, (sql) => sql`select pg_sleep(60)`)).rejects.toMatchObject({ code: "busy" });
  expect([database.health().ready, events.told.filter(({ event }) => event === "database.failed")]).toEqual([true, []]);
  expect(await search(database, async (sql) => (await sql`select 1`).length)).toBe(1);
  await expect(database.read((sql) => sql`select pg_sleep(60)`)).rejects.toMatchObject({ code: "databaseUnavailable" });
  expect(database.health().ready).toBe(false);
});

test("24 slow searches at once leave connections to everything else: a certificate is revoked, and the status feed reads on (S-48)", async () => {
  await using chancery = await startService();
  const { ask, service } = chancery;
  const { csr } = await opensslRequest("searched.example.org");
  const issued = await ask("/v1/certificates", { body: { csr, profile: "server" } });
  // Longer than half of the time that anything waits for a connection: without a bound the others come third.
  const searches = Array.from({ length: 24 }, () => search(service.ca.database, (sql) => sql`select pg_sleep(3.5)`));
  const outcomes = Promise.allSettled(searches);
  await setImmediate();
  const revoked = await Promise.all([
    service.ocsp.feed.poll(),
    ask(`/v1/certificates/${String(issued.json()["serial"])}/revoke`, { body: { reason: "superseded" } }),
    service.ca.halt.refresh(),
  ]);
  expect(revoked[1].status).toBe(200);
  const refused = (await outcomes).filter((outcome) => outcome.status === "rejected");
  expect(refused.length).toBeGreaterThan(0);
  for (const { reason } of refused) expect(reason).toMatchObject({ code: "busy" });
  expect(await search(service.ca.database, async (sql) => (await sql`select 1`).length)).toBe(1);
});
