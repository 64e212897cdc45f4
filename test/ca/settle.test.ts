import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { IntentRow } from "../../src/ca/attempt-store.ts";
import type { Authority } from "../../src/ca/authority.ts";
import type { Ca } from "../../src/ca/ca.ts";
import { issue, issueFrom, type IssueRequest } from "../../src/ca/issue.ts";
import { settle, settleUnfinished } from "../../src/ca/settle.ts";
import { timekeeper } from "../../src/ca/timekeeper.ts";
import { parseTbsCertificate, tbsCertificate } from "../../src/pki/certificate.ts";
import { csrFromText, parseCsr } from "../../src/pki/csr.ts";
import { builtInProfiles, type Profile } from "../../src/pki/profile.ts";
import { movedClock } from "../support/clock.ts";
import { type RecordedEvents, recordedEvents } from "../support/events.ts";
import { failpoints } from "../support/failpoints.ts";
import { brokenInvariants } from "../support/invariants.ts";
import { opensslRequest, startService, type TestService } from "../support/service.ts";

// An hour ahead, so that the service's own settling finds nothing that is old enough.
const clock = movedClock(3600);
let chancery: TestService;
let events: RecordedEvents;
let signatures = 0;
/** The service's authority, and one more whose key the token does not hold. */
let ca: Ca;
let keyless: Authority;
beforeAll(async () => {
  chancery = await startService({ events: () => (events = recordedEvents()) });
  const { hsm } = failpoints((point) => void (point === "sign:after" && (signatures += 1)));
  const own = { ...chancery.service.ca, hsm: hsm(chancery.service.ca.hsm) };
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

/** The same world without the second authority, and with nothing left open. */
function keyed(): Ca {
  return { ...ca, authorities: new Map([...ca.authorities].filter(([slug]) => slug !== keyless.slug)), unfinished: new Map() };
}

/** Opens an attempt that was interrupted before its signature. */
async function openSettleable(name: string): Promise<void> {
  const { hsm } = failpoints((point) => {
    if (point === "sign:before") throw new Error("interrupted");
  });
  await expect(issue({ ...keyed(), hsm: hsm(ca.hsm) }, await requestFor(name))).rejects.toThrow("interrupted");
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

/** How the database says that an attempt ended, and how many there are of its request. */
const endOf = async ({ serial }: IntentRow) =>
  await ca.database.read(
    (sql) => sql`
    select c.certificate, r.serial is not null as revoked,
      (select count(*)::integer from issuance a where a.request_id = i.request_id) as attempts
    from issuance i join certificate c using (authority, serial) left join revocation r using (authority, serial)
    where i.serial = ${serial}`,
  );

describe("an attempt whose stored bytes lint refuses (XI-3)", () => {
  const server = builtInProfiles.find(({ name }) => name === "server");

  /** Opens an attempt, interrupted before its signature, over bytes of the same content as another profile would have them. */
  async function openUnlintable(world: Ca, request: IssueRequest, otherwise: Partial<Profile>): Promise<IntentRow> {
    const opened: IntentRow[] = [];
    const recordIntent: Ca["recordIntent"] = async (row) => {
      const issuer = world.authorities.get("issuing-1")?.issuer;
      if (!issuer || !server) throw new Error("no authority, or no profile");
      const { serial, notBefore, notAfter, names, spki } = parseTbsCertificate(row.tbs);
      const content = { subject: [], names, spki };
      opened.push({ ...row, tbs: tbsCertificate(issuer, { ...server, ...otherwise }, content, { serial, notBefore, notAfter }) });
      for (const altered of opened) await world.recordIntent(altered);
      throw new Error("interrupted");
    };
    await expect(issue({ ...world, recordIntent }, request)).rejects.toThrow("interrupted");
    const [row] = opened;
    if (!row) throw new Error("no intent");
    return row;
  }

  test.for([
    {
      name: "by the round over all",
      door: "system",
      rule: "chancery_key_usage_not_profile",
      otherwise: { keyUsage: ["keyCertSign"] },
      round: settle,
    },
    {
      name: "by the instance that left it open",
      door: "acme",
      rule: "chancery_extended_key_usage_not_profile",
      otherwise: { extendedKeyUsage: ["clientAuth"] },
      round: settleUnfinished,
    },
  ] as const)("is never signed, and closed for good, $name", async ({ door, rule, otherwise, round }) => {
    const request = { ...(await requestFor("unlintable.example.org")), door, key: rule };
    const before = signatures;
    const world = keyed();
    const row = await openUnlintable(world, request, otherwise);
    await expect(issue({ ...world, unfinished: new Map() }, request)).rejects.toMatchObject({ code: "busy" });
    clock.aheadSeconds += 60;
    await round(world);
    expect(await endOf(row)).toEqual([{ certificate: null, revoked: true, attempts: 1 }]);
    expect(events.told.filter(({ event }) => event === "lint.refused").at(-1)?.fields).toMatchObject({
      serial: Buffer.from(row.serial).toString("hex"),
      rules: expect.arrayContaining([rule]),
    });
    await expect(issue(world, request)).rejects.toMatchObject({ code: "policyDenied" });
    expect(signatures).toBe(before);
    expect(await ca.database.read((sql) => brokenInvariants(sql))).toEqual([]);
  });
});
