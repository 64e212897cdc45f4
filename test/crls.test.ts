import { afterAll, beforeAll, expect, test } from "vitest";
import { exchange } from "./http/exchange.ts";
import { writeCertificateRows } from "./support/certificate-rows.ts";
import { recordedEvents } from "./support/events.ts";
import { opensslRequest, startService, type TestService } from "./support/service.ts";

const events = recordedEvents();
let chancery: TestService;
beforeAll(async () => {
  chancery = await startService({ events: () => events });
  // What the rows that are written are modelled on.
  const { csr } = await opensslRequest("model.example.org");
  await chancery.ask("/v1/certificates", { body: { csr, profile: "server" } });
});
afterAll(() => chancery[Symbol.asyncDispose]());

/** Certificates of issuing-1 that are revoked. */
async function revoked(count: number): Promise<void> {
  const { database } = chancery.service.ca;
  const serials = await database.read((sql) => writeCertificateRows(sql, { count }));
  await database.read(
    (sql) => sql`
      insert into revocation (authority, serial, revoked_at, reason, not_after)
      select authority, serial, date_trunc('second', now()), 4, not_after from certificate where encode(serial, 'hex') = any(${serials})`,
  );
}

/** Entries of the CRL that is served. */
async function entries(): Promise<string | undefined> {
  const { text } = await exchange(chancery.service.listeners.ops, { path: "/metrics" });
  return /^chancery_crl_entries\{crl="issuing-1"\} (\d+)$/m.exec(text)?.[1];
}

test.for([
  { more: 10_000, served: "10000", told: [] },
  { more: 1, served: "10001", told: [{ level: "warn", fields: { crl: "issuing-1", entries: 10_001 } }] },
])(
  "a full CRL of $served entries without shards is told of from 10,001 on (XC-13)",
  { timeout: 60_000 },
  async ({ more, served, told }) => {
    await revoked(more);
    await expect.poll(entries, { timeout: 40_000, interval: 500 }).toBe(served);
    await chancery.service.jobs.find(({ name }) => name === "crl age")?.act(new AbortController().signal);
    expect(events.told.filter(({ event }) => event === "crl.large")).toMatchObject(told);
  },
);
