import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { beginRevocation, continueRevocation } from "../../../src/ca/mass-revocation.ts";
import type { RevocationFilter } from "../../../src/ca/mass-revocation-store.ts";
import { writeCertificateRows } from "../../support/certificate-rows.ts";
import { opensslRequest, type Question, startService, type TestService } from "../../support/service.ts";
import { brokenStatus } from "../../support/status-invariants.ts";

let service: TestService;
const read: TestService["service"]["ca"]["database"]["read"] = (query) => service.service.ca.database.read(query);

beforeAll(async () => {
  service = await startService();
  await issued("model.example.org");
});
afterAll(() => service[Symbol.asyncDispose]());

async function issued(name: string, question: Question = {}, profile = "server"): Promise<Record<string, unknown>> {
  const { csr } = await opensslRequest(name);
  const answer = await service.ask("/v1/certificates", { ...question, body: { csr, profile } });
  expect(answer.status).toBe(201);
  return answer.json();
}

async function token(namespace: string, role = "admin"): Promise<string> {
  const expiresAt = new Date(Date.now() + 86_400_000).toISOString().replace(/\.\d{3}Z$/, "Z");
  return String((await service.ask("/v1/tokens", { body: { role, namespace, expiresAt } })).json()["token"]);
}

const ask = (body: unknown, question: Question = {}) => service.ask("/v1/revocations", { ...question, body });

/** The revocation at its end. */
async function ended(body: unknown, question: Question = {}): Promise<Record<string, unknown>> {
  const answer = await ask(body, question);
  expect([201, 202]).toContain(answer.status);
  const location = String(answer.headers["location"]);
  await expect.poll(async () => (await service.ask(location)).json()["state"], { timeout: 30_000 }).toBe("ended");
  return (await service.ask(location)).json();
}

/** Serials that are revoked, of these. */
async function revokedOf(serials: readonly string[]): Promise<readonly string[]> {
  const rows = await read((sql) => sql<{ serial: string }[]>`select encode(serial, 'hex') as serial from revocation`);
  const revoked = new Set(rows.map(({ serial }) => serial));
  return serials.filter((serial) => revoked.has(serial));
}

/** How many records of a revocation each of these certificates has. */
async function recordsOf(serials: readonly string[], operation = "certificate.revoke"): Promise<ReadonlyMap<string, number>> {
  const rows = await read(
    (sql) => sql<{ serial: string; count: number }[]>`
      select convert_from(bytes, 'UTF8')::jsonb #>> '{object,serial}' as serial, count(*)::integer as count from audit_record
      where convert_from(bytes, 'UTF8')::jsonb ->> 'operation' = ${operation} group by 1`,
  );
  const counts = new Map(rows.map(({ serial, count }) => [serial, count]));
  return new Map(serials.map((serial) => [serial, counts.get(serial) ?? 0]));
}

const within = (outer: string, inner: string) => inner === outer || inner.startsWith(`${outer}/`);
const octets = (text: string) => Buffer.from(text.padEnd(64, "0"), "hex");

describe("POST /v1/revocations", () => {
  test("revokes everything that fits and nothing else, each with a record of its own in its namespace", async () => {
    const spkiSha256 = octets("01");
    const mine = await read((sql) => writeCertificateRows(sql, { count: 2_500, spkiSha256, namespace: "/web" }));
    const others = await read((sql) => writeCertificateRows(sql, { count: 10, spkiSha256: octets("02") }));
    const body = { filter: { spkiSha256: spkiSha256.toString("hex") }, reason: "affiliationChanged" };
    expect(await ended(body)).toMatchObject({
      state: "ended",
      revoked: 2_500,
      reason: "affiliationChanged",
      filter: body.filter,
      namespace: "/",
    });
    expect((await revokedOf(mine)).length).toBe(2_500);
    expect(await revokedOf(others)).toEqual([]);
    expect(new Set((await recordsOf(mine)).values())).toEqual(new Set([1]));
    const [record] = await read(
      (sql) => sql<{ entry: unknown }[]>`
        select convert_from(bytes, 'UTF8')::jsonb as entry from audit_record
        where convert_from(bytes, 'UTF8')::jsonb #>> '{object,serial}' = ${mine[0] ?? ""} and convert_from(bytes, 'UTF8')::jsonb ->> 'operation' = 'certificate.revoke'`,
    );
    expect(record?.entry).toMatchObject({
      namespace: "/web",
      principal: expect.stringMatching(/^token:/) as unknown,
      object: { reason: 3 },
    });
  });

  test("with dryRun counts, shows ten at most, and changes nothing", async () => {
    const spkiSha256 = octets("03");
    const serials = await read((sql) => writeCertificateRows(sql, { count: 30, spkiSha256 }));
    const answer = await ask({ filter: { spkiSha256: spkiSha256.toString("hex") }, reason: "superseded", dryRun: true });
    expect(answer.status).toBe(200);
    const { count, sample } = answer.json() as { count: number; sample: unknown[] };
    expect([count, sample.length]).toEqual([30, 10]);
    expect(sample[0]).toMatchObject({ status: "valid", authority: "issuing-1", profile: "server" });
    expect(await revokedOf(serials)).toEqual([]);
    expect(answer.headers["location"]).toBeUndefined();
  });

  test.for([
    { name: "no filter", body: { reason: "superseded" }, status: 400, code: "malformed" },
    { name: "an empty filter", body: { filter: {}, reason: "superseded" }, status: 400, code: "malformed" },
    { name: "an empty filter, dry", body: { filter: {}, reason: "superseded", dryRun: true }, status: 400, code: "malformed" },
    { name: "no serial", body: { filter: { serials: [] }, reason: "superseded" }, status: 400, code: "malformed" },
    { name: "a member that is none", body: { filter: { serial: "4".repeat(32) }, reason: "superseded" }, status: 400, code: "malformed" },
    { name: "no reason", body: { filter: { profile: "mtls" } }, status: 400, code: "malformed" },
    {
      name: "a reason that is none",
      body: { filter: { profile: "mtls" }, reason: "certificateHold" },
      status: 422,
      code: "badRevocationReason",
    },
  ])("refuses $name", async ({ body, status, code }) => {
    const refused = await ask(body);
    expect([refused.status, refused.json()["code"]]).toEqual([status, code]);
  });

  test.for<{ name: string; filter: (one: Record<string, unknown>) => RevocationFilter | Record<string, unknown> }>([
    { name: "its serial", filter: ({ serial }) => ({ serials: [String(serial)] }) },
    { name: "its key", filter: ({ spkiSha256 }) => ({ spkiSha256 }) },
    { name: "its name", filter: () => ({ name: "one.filters.example.org" }) },
    { name: "its profile and time", filter: () => ({ profile: "client", issuedFrom: "2020-01-01T00:00:00Z" }) },
    { name: "its authority and profile", filter: () => ({ authority: "issuing-1", profile: "client" }) },
    {
      name: "name and key and serial",
      filter: ({ serial, spkiSha256 }) => ({ serials: [String(serial)], spkiSha256, name: "one.filters.example.org" }),
    },
  ])("finds a certificate by $name", async ({ filter }) => {
    const one = await issued("one.filters.example.org", {}, "client");
    const other = await issued("other.filters.example.org");
    expect(await ended({ filter: filter(one), reason: "superseded" })).toMatchObject({ revoked: 1 });
    expect(await revokedOf([String(one["serial"]), String(other["serial"])])).toEqual([one["serial"]]);
  });

  test.for<{ name: string; filter: (one: Record<string, unknown>) => unknown }>([
    { name: "the time before it", filter: ({ serial }) => ({ serials: [serial], issuedBefore: "2020-01-01T00:00:00Z" }) },
    { name: "the time after it", filter: ({ serial }) => ({ serials: [serial], issuedFrom: "2099-01-01T00:00:00Z" }) },
    { name: "another profile", filter: ({ serial }) => ({ serials: [serial], profile: "mtls" }) },
    { name: "another authority", filter: ({ serial }) => ({ serials: [serial], authority: "root-1" }) },
    { name: "another name", filter: ({ serial }) => ({ serials: [serial], name: "elsewhere.example.org" }) },
    { name: "another key", filter: ({ serial }) => ({ serials: [serial], spkiSha256: "0f".repeat(32) }) },
    { name: "another account", filter: ({ serial }) => ({ serials: [serial], account: "AAAA" }) },
  ])("does not find it by $name", async ({ filter }) => {
    const one = await issued("apart.example.org");
    expect(await ended({ filter: filter(one), reason: "superseded" })).toMatchObject({ revoked: 0 });
    expect(await revokedOf([String(one["serial"])])).toEqual([]);
  });

  test("by time of issuance finds from issuedFrom, which is in it, to issuedBefore, which is not", async () => {
    const spkiSha256 = octets("05");
    const at = async (time: string) =>
      (await read((sql) => writeCertificateRows(sql, { count: 1, spkiSha256, recordedAt: new Date(time) })))[0] ?? "";
    const times = ["09:59:59.999", "10:00:00.000", "10:00:00.001", "10:59:59.999", "11:00:00.000", "11:00:00.001"];
    const serials: string[] = [];
    for (const time of times) serials.push(await at(`2026-01-02T${time}Z`));
    const between = serials.slice(1, 4);
    const key = spkiSha256.toString("hex");
    const filter = { spkiSha256: key, issuedFrom: "2026-01-02T10:00:00Z", issuedBefore: "2026-01-02T11:00:00Z" };
    expect((await ask({ filter, reason: "superseded", dryRun: true })).json()).toMatchObject({ count: 3 });
    expect(await ended({ filter, reason: "superseded" })).toMatchObject({ revoked: 3 });
    expect(await revokedOf(serials)).toEqual(between);
    // Each bound alone takes in what is on its own side.
    const { issuedBefore: _until, ...from } = filter;
    const { issuedFrom: _from, ...until } = filter;
    expect((await ask({ filter: until, reason: "superseded", dryRun: true })).json()).toMatchObject({ count: 1 });
    expect((await ask({ filter: from, reason: "superseded", dryRun: true })).json()).toMatchObject({ count: 2 });
  });

  test("finds what was issued for an account, and what has ended or is revoked is left alone", async () => {
    const at = { principal: "acme:account-1", spkiSha256: octets("04") };
    const live = await read((sql) => writeCertificateRows(sql, { count: 20, ...at }));
    const over = await read((sql) => writeCertificateRows(sql, { count: 5, ...at, notAfter: new Date(Date.now() - 1_000) }));
    const [first = ""] = live;
    expect((await service.ask(`/v1/certificates/${first}/revoke`, { body: { reason: "cessationOfOperation" } })).status).toBe(200);
    expect(await ended({ filter: { account: "account-1" }, reason: "superseded" })).toMatchObject({ revoked: 19 });
    expect((await revokedOf(live)).length).toBe(20);
    expect(await revokedOf(over)).toEqual([]);
    const [row] = await read((sql) => sql`select reason from revocation where serial = ${Buffer.from(first, "hex")}`);
    expect(row?.["reason"]).toBe(5);
  });

  test("for keyCompromise takes those too that are revoked for another reason, each with its record (XC-5, BR 7.2.2)", async () => {
    const at = { principal: "acme:account-2", spkiSha256: octets("06"), namespace: "/web" };
    const serials = await read((sql) => writeCertificateRows(sql, { count: 5, ...at }));
    const [superseded = "", compromised = ""] = serials;
    for (const [serial, reason] of [
      [superseded, "superseded"],
      [compromised, "keyCompromise"],
    ])
      expect((await service.ask(`/v1/certificates/${serial}/revoke`, { body: { reason } })).status).toBe(200);
    const asked = { filter: { account: "account-2" }, reason: "keyCompromise" };
    expect((await ask({ ...asked, dryRun: true })).json()["count"]).toBe(4);
    expect(await ended(asked)).toMatchObject({ revoked: 4 });
    for (const serial of serials) {
      const [row] = await read((sql) => sql`select reason from revocation where serial = ${Buffer.from(serial, "hex")}`);
      expect(row?.["reason"]).toBe(1);
    }
    expect(new Set((await recordsOf(serials)).values())).toEqual(new Set([1]));
    expect(new Map([...(await recordsOf(serials, "certificate.compromise"))].filter(([, count]) => count > 0))).toEqual(
      new Map([[superseded, 1]]),
    );
  });

  test("never touches certificates of authorities, nor what the service makes for itself", async () => {
    const made = await read(
      (sql) => sql<{ serial: string }[]>`
        select encode(serial, 'hex') as serial from certificate where certificate is not null and profile in ('root', 'subordinate', 'ocsp-responder')`,
    );
    const serials = made.map(({ serial }) => serial);
    expect(serials.length).toBeGreaterThanOrEqual(2);
    expect(await ended({ filter: { serials }, reason: "superseded" })).toMatchObject({ revoked: 0 });
  });

  test("an equal request under the same Idempotency-Key is the same revocation, another one is refused", async () => {
    const one = await issued("again.example.org");
    const body = { filter: { serials: [one["serial"]] }, reason: "superseded" };
    const headers = { "idempotency-key": "many-1" };
    const first = await ask(body, { headers });
    const second = await ask(body, { headers });
    // Where the service's own job is at it, its end is not waited for.
    expect([201, 202]).toContain(first.status);
    expect(second.status).toBe(200);
    expect(second.headers["location"]).toBe(first.headers["location"]);
    const other = await ask({ ...body, reason: "cessationOfOperation" }, { headers });
    expect([other.status, other.json()["code"]]).toEqual([422, "idempotencyMismatch"]);
  });

  test("is 202 where it has not ended in a second, and goes on by itself", async () => {
    const one = await issued("slow.example.org");
    const { ca } = service.service;
    const location = await ca.database.transact(async ({ sql }) => {
      // Nothing can be revoked as long as this transaction lasts.
      await sql`lock table revocation in share mode`;
      const answer = await ask({ filter: { serials: [one["serial"]] }, reason: "superseded" });
      expect([answer.status, answer.json()]).toMatchObject([
        202,
        { state: "running", revoked: 0, createdBy: expect.stringMatching(/^token:/) as unknown },
      ]);
      expect((await service.ask(String(answer.headers["location"]))).json()).toEqual(answer.json());
      return String(answer.headers["location"]);
    });
    await expect.poll(async () => (await service.ask(location)).json()["state"], { timeout: 20_000 }).toBe("ended");
    expect((await service.ask(location)).json()).toMatchObject({ revoked: 1, endedAt: expect.any(String) as unknown });
    expect(await revokedOf([String(one["serial"])])).toEqual([one["serial"]]);
  });

  test("what is recorded behind its back while it runs is revoked before it ends", async () => {
    const spkiSha256 = octets("05");
    const { ca } = service.service;
    const early = await read((sql) => writeCertificateRows(sql, { count: 1_500, spkiSha256 }));
    const principal = { id: "system", namespace: "/", role: "admin" } as const;
    const { campaign } = await beginRevocation(ca, principal, {
      filter: { spkiSha256: spkiSha256.toString("hex") },
      reason: "superseded",
      requestId: "r",
    });
    let late: string[] = [];
    for (let step = 1; (await continueRevocation(ca, campaign.id)) !== "ended"; step++) {
      // Recorded before those that it has been at: behind its place.
      if (step === 1) {
        late = await read((sql) => writeCertificateRows(sql, { count: 7, spkiSha256, recordedAt: new Date(Date.now() - 60_000) }));
      }
      expect(step).toBeLessThan(100);
    }
    expect((await revokedOf([...early, ...late])).length).toBe(1_507);
    expect(new Set((await recordsOf([...early, ...late])).values())).toEqual(new Set([1]));
  });
});

type Named = { readonly csr: string; readonly spkiSha256: string; readonly serial: string };
async function named(question: Question = {}): Promise<Named> {
  const { csr } = await opensslRequest("key.example.org");
  const { spkiSha256, serial } = (await service.ask("/v1/certificates", { ...question, body: { csr, profile: "server" } })).json();
  return { csr, spkiSha256: String(spkiSha256), serial: String(serial) };
}
/** The status of a request for one more certificate of the key. */
const again = async ({ csr }: Named) => (await service.ask("/v1/certificates", { body: { csr, profile: "server" } })).status;
/** Whether the record of a revocation's beginning says that the key is blocked. */
async function keyBlocked(id: unknown): Promise<unknown> {
  const [row] = await read(
    (sql) => sql<{ object: Record<string, unknown> }[]>`
      select convert_from(bytes, 'UTF8')::jsonb -> 'object' as object from audit_record
      where convert_from(bytes, 'UTF8')::jsonb #>> '{object,revocation}' = ${String(id)}
        and convert_from(bytes, 'UTF8')::jsonb ->> 'operation' = 'revocation.create'`,
  );
  return row?.object["keyBlocked"];
}

describe("of a key for keyCompromise", () => {
  test("an administrator of / has it blocked: no certificate is issued for it from the answer on, and it is recorded (XK-3)", async () => {
    const key = await named();
    const answer = await ask({ filter: { spkiSha256: key.spkiSha256 }, reason: "keyCompromise" });
    expect(await again(key)).toBe(400);
    expect(await keyBlocked(answer.json()["id"])).toBe(true);
    await expect.poll(() => revokedOf([key.serial])).toEqual([key.serial]);
  });

  test.for<{ name: string; body: (key: Named) => Record<string, unknown>; status: number }>([
    { name: "with blockKey false", body: () => ({ blockKey: false }), status: 201 },
    { name: "for a narrower filter", body: (key) => ({ filter: { spkiSha256: key.spkiSha256, serials: [key.serial] } }), status: 201 },
    {
      name: "for a narrower filter with blockKey true",
      body: (key) => ({ filter: { spkiSha256: key.spkiSha256, serials: [key.serial] }, blockKey: true }),
      status: 400,
    },
    { name: "for another reason", body: () => ({ reason: "superseded" }), status: 201 },
    { name: "when it is looked at alone", body: () => ({ dryRun: true }), status: 201 },
  ])("$name one more certificate is then answered $status", async ({ body, status }) => {
    const key = await named();
    const answer = await ask({ filter: { spkiSha256: key.spkiSha256 }, reason: "keyCompromise", ...body(key) });
    expect(answer.status).toBeLessThan(300);
    expect(await again(key)).toBe(status);
  });

  test("an administrator of another namespace revokes its own certificates and blocks no key, by default or by word (XN-21)", async () => {
    const admin = await token("/tenant");
    const key = await named({ token: admin });
    const filter = { spkiSha256: key.spkiSha256 };
    const refused = await ask({ filter, reason: "keyCompromise", blockKey: true }, { token: admin });
    expect([refused.status, refused.json()["code"]]).toEqual([403, "policyDenied"]);
    expect(await revokedOf([key.serial])).toEqual([]);
    const answer = await ask({ filter, reason: "keyCompromise" }, { token: admin });
    expect(answer.status).toBe(201);
    expect(await revokedOf([key.serial])).toEqual([key.serial]);
    expect(await keyBlocked(answer.json()["id"])).toBeUndefined();
    expect(await again(key)).toBe(201);
  });

  test.for([
    { name: "another reason", body: { filter: { spkiSha256: "0a".repeat(32) }, reason: "superseded", blockKey: true } },
    { name: "no key", body: { filter: { profile: "mtls" }, reason: "keyCompromise", blockKey: true } },
  ])("blockKey with $name is malformed", async ({ body }) => {
    const refused = await ask(body);
    expect([refused.status, refused.json()["code"]]).toEqual([400, "malformed"]);
  });
});

describe("namespaces are apart (XN-21)", () => {
  const namespaces = ["/a", "/a/x", "/ab", "/b"] as const;

  test("an administrator of each revokes what lies in it and within it, and nothing of any other, whatever the filter names", async () => {
    for (const [index, own] of namespaces.entries()) {
      const spkiSha256 = octets(`1${index}`);
      const serials = new Map<string, string>();
      for (const namespace of namespaces) {
        const [serial = ""] = await read((sql) => writeCertificateRows(sql, { count: 1, namespace, spkiSha256 }));
        serials.set(serial, namespace);
      }
      const admin = await token(own);
      const expected = [...serials].filter(([, namespace]) => within(own, namespace)).map(([serial]) => serial);
      for (const filter of [{ serials: [...serials.keys()] }, { spkiSha256: spkiSha256.toString("hex") }]) {
        const preview = await ask({ filter, reason: "superseded", dryRun: true }, { token: admin });
        const remaining = expected.length - (await revokedOf(expected)).length;
        expect(preview.json()["count"]).toBe(remaining);
        const answer = await ask({ filter, reason: "superseded" }, { token: admin });
        expect([answer.status, answer.json()["revoked"]]).toEqual([201, remaining]);
      }
      expect((await revokedOf([...serials.keys()])).toSorted()).toEqual(expected.toSorted());
    }
  });

  test("one by one too, and a revocation of many is seen by those above it alone", async () => {
    const { location } = (await ask({ filter: { spkiSha256: "0e".repeat(32) }, reason: "superseded" }, { token: await token("/a/x") }))
      .headers;
    for (const [own, statuses] of Object.entries({ "/a": [200, 200], "/a/x": [200, 404], "/ab": [404, 404], "/b": [404, 404] })) {
      const admin = await token(own);
      expect((await service.ask(String(location), { token: admin })).status).toBe(statuses[0]);
      const [serial = ""] = await read((sql) => writeCertificateRows(sql, { count: 1, namespace: "/a" }));
      const answer = await service.ask(`/v1/certificates/${serial}/revoke`, { token: admin, body: {} });
      expect([answer.status, (await revokedOf([serial])).length]).toEqual([statuses[1], statuses[1] === 200 ? 1 : 0]);
    }
  });
});

test("after all of it what is told of every certificate holds: CRL and OCSP are of one mind (XC-6, XO-5)", async () => {
  expect(await brokenStatus(service.service)).toEqual([]);
});
