import { afterAll, beforeAll, expect, test } from "vitest";
import type { Authority } from "../../src/ca/authority.ts";
import type { Ca } from "../../src/ca/ca.ts";
import { issue, issueFrom, type IssueRequest } from "../../src/ca/issue.ts";
import { settle } from "../../src/ca/settle.ts";
import { timekeeper } from "../../src/ca/timekeeper.ts";
import { csrFromText, parseCsr } from "../../src/pki/csr.ts";
import { movedClock } from "../support/clock.ts";
import { recordedEvents } from "../support/events.ts";
import { failpoints } from "../support/failpoints.ts";
import { brokenInvariants } from "../support/invariants.ts";
import { opensslRequest, startService, type TestService } from "../support/service.ts";

// An hour ahead, so that the service's own settling finds nothing that is old enough.
const clock = movedClock(3600);
let chancery: TestService;
/** The service's authority, and one more whose key the token does not hold. */
let ca: Ca;
let keyless: Authority;
beforeAll(async () => {
  chancery = await startService({ events: recordedEvents });
  const own = chancery.service.ca;
  const authority = own.authorities.get("issuing-1");
  if (!authority) throw new Error("no authority");
  keyless = { ...authority, slug: "issuing-0", key: { ...authority.key, ckaId: "00".repeat(16) } };
  ca = { ...own, clock, timekeeper: timekeeper(clock, undefined), authorities: new Map([...own.authorities, [keyless.slug, keyless]]) };
});
afterAll(() => chancery[Symbol.asyncDispose]());

const requestFor = async (name: string): Promise<IssueRequest> => {
  const { names, publicKey } = await parseCsr(csrFromText((await opensslRequest(name)).csr));
  const principal = { id: "system", namespace: "/" };
  return { door: "system", principal, requestHash: new Uint8Array(32), profile: "server", names, publicKey };
};

/** Opens attempts that no settling can finish: their key is gone. */
async function openUnsettleable(count: number): Promise<void> {
  const request = await requestFor("keyless.example.org");
  const outcomes = await Promise.allSettled(Array.from({ length: count }, () => issueFrom(ca, keyless, request)));
  for (const outcome of outcomes) expect(outcome).toMatchObject({ status: "rejected", reason: { code: "hsmUnavailable" } });
}

/** Opens an attempt that was interrupted before its signature. */
async function openSettleable(name: string): Promise<void> {
  const { hsm } = failpoints((point) => {
    if (point === "sign:before") throw new Error("interrupted");
  });
  const only = [...ca.authorities].filter(([slug]) => slug !== keyless.slug);
  await expect(issue({ ...ca, hsm: hsm(ca.hsm), authorities: new Map(only) }, await requestFor(name))).rejects.toThrow("interrupted");
}

const issued = async (name: string): Promise<number> => {
  const { certificates } = (await chancery.ask(`/v1/certificates?name=${name}`)).json();
  return Array.isArray(certificates) ? certificates.length : 0;
};

test.for([
  { name: "150 attempts that cannot be settled", open: 150, rounds: [{ finished: 1, failed: 150 }] },
  {
    name: "1,100 of them, more than one round tries",
    open: 950,
    rounds: [
      { finished: 0, failed: 1000 },
      { finished: 1, failed: 100 },
      { finished: 0, failed: 1000 },
    ],
  },
])("$name hold up none behind them (XI-1)", { timeout: 60_000 }, async ({ open, rounds }) => {
  const host = `behind-${open}.example.org`;
  await openUnsettleable(open);
  clock.aheadSeconds += 1;
  await openSettleable(host);
  clock.aheadSeconds += 60;
  for (const outcome of rounds) expect(await settle(ca)).toEqual({ ...outcome, closed: 0 });
  expect(await issued(host)).toBe(1);
  expect(await ca.database.read((sql) => brokenInvariants(sql))).toEqual([]);
});
