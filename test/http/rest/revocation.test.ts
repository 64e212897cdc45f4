import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { settleUnfinished } from "../../../src/ca/settle.ts";
import { Fault } from "../../../src/fault.ts";
import { movedClock } from "../../support/clock.ts";
import { brokenInvariants } from "../../support/invariants.ts";
import { opensslRequest, type Question, startService, type TestService } from "../../support/service.ts";
import { brokenStatus } from "../../support/status-invariants.ts";

const clock = movedClock();
/** What becomes of transactions that revoke. */
let commit: "as usual" | "lost before" | "lost behind" = "as usual";
let service: TestService;
let requester: string;

beforeAll(async () => {
  service = await startService({
    clock,
    database: (database) => ({
      ...database,
      // The answer to COMMIT is lost: done or not, the caller cannot tell.
      transact: async (act) => {
        const lose = commit;
        const lost = new Fault("databaseUnavailable", "the connection to the database failed");
        const result = await database.transact(async (tx) => {
          const done = await act(tx);
          if (lose === "lost before") throw lost;
          return done;
        });
        if (lose === "lost behind") throw lost;
        return result;
      },
      [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
    }),
  });
  requester = await token("requester", "/");
});
afterAll(() => service[Symbol.asyncDispose]());

const time = (milliseconds: number) => new Date(milliseconds).toISOString().replace(/\.\d{3}Z$/, "Z");

const tokenBody = (role: string, namespace: string) => ({ role, namespace, expiresAt: time(clock.now().getTime() + 86_400_000) });

async function token(role: string, namespace: string): Promise<string> {
  return String((await service.ask("/v1/tokens", { body: tokenBody(role, namespace) })).json()["token"]);
}

type Issued = { readonly serial: string; readonly key: string; readonly notBefore: string; readonly csr: string };

async function issued(question: Question = {}, request?: { csr: string; key: string }): Promise<Issued> {
  const { csr, key } = request ?? (await opensslRequest("revoked.example.org"));
  const answer = (await service.ask("/v1/certificates", { ...question, body: { csr, profile: "server" } })).json();
  return { serial: String(answer["serial"]), key, csr, notBefore: String(answer["notBefore"]) };
}

const revoke = (serial: string, body: unknown = {}, question: Question = {}) =>
  service.ask(`/v1/certificates/${serial}/revoke`, { ...question, body });
const shown = async (serial: string) => (await service.ask(`/v1/certificates/${serial}`)).json();

async function recorded(serial: string): Promise<{ reason: number; revokedAt: Date }[]> {
  return await service.service.ca.database.read(
    (sql) => sql<{ reason: number; revokedAt: Date }[]>`
      select reason, revoked_at as "revokedAt" from revocation where serial = ${Buffer.from(serial, "hex")}`,
  );
}

async function records(serial: string): Promise<Record<string, unknown>[]> {
  const rows = await service.service.ca.database.read((sql) => sql<{ bytes: Uint8Array }[]>`select bytes from audit_record order by id`);
  return rows
    .map(({ bytes }) => JSON.parse(Buffer.from(bytes).toString("utf8")))
    .filter(({ operation, object }) => /^certificate\.(revoke|compromise)$/.test(operation) && object?.serial === serial);
}

/** A proof as the documentation says that openssl makes one. */
async function proofOf(key: string, serial: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "chancery-proof-"));
  try {
    await writeFile(join(directory, "key"), key);
    const args = ["req", "-new", "-key", join(directory, "key"), "-subj", `/CN=chancery key compromise ${serial}`];
    return (await promisify(execFile)("openssl", args)).stdout;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

describe("POST /v1/certificates/{serial}/revoke", () => {
  test("200 with the certificate as it is then, everywhere the same, and one audit record", async () => {
    const { serial } = await issued();
    const before = time(clock.now().getTime());
    const answer = await revoke(serial, { reason: "superseded" });
    const after = time(clock.now().getTime());
    expect(answer.status).toBe(200);
    expect(answer.json()).toMatchObject({
      serial,
      status: "revoked",
      revocationReason: "superseded",
      certificate: expect.any(String) as unknown,
    });
    const revokedAt = String(answer.json()["revokedAt"]);
    expect([revokedAt >= before, revokedAt <= after]).toEqual([true, true]);
    expect(await shown(serial)).toEqual(answer.json());
    const [listed] = (await service.ask(`/v1/certificates?serial=${serial}&status=revoked`)).json()["certificates"] as unknown[];
    expect(listed).toMatchObject({ serial, revokedAt: answer.json()["revokedAt"], revocationReason: "superseded" });
    expect(await records(serial)).toMatchObject([
      {
        principal: expect.stringMatching(/^token:/) as unknown,
        namespace: "/",
        requestId: answer.headers["x-request-id"],
        object: { reason: 4 },
      },
    ]);
  });

  test.for([
    { given: {}, name: "unspecified", code: 0 },
    { given: { reason: "unspecified" }, name: "unspecified", code: 0 },
    { given: { reason: "keyCompromise" }, name: "keyCompromise", code: 1 },
    { given: { reason: "affiliationChanged" }, name: "affiliationChanged", code: 3 },
    { given: { reason: "superseded" }, name: "superseded", code: 4 },
    { given: { reason: "cessationOfOperation" }, name: "cessationOfOperation", code: 5 },
    { given: { reason: "privilegeWithdrawn" }, name: "privilegeWithdrawn", code: 9 },
  ])("takes $given of an administrator (RFC 5280 §5.3.1, XC-3)", async ({ given, name, code }) => {
    const { serial } = await issued();
    expect((await revoke(serial, given)).json()["revocationReason"]).toBe(name);
    expect(await recorded(serial)).toMatchObject([{ reason: code }]);
  });

  test("refuses every other reason and lists those that are allowed (XC-3, XC-4)", async () => {
    const { serial } = await issued();
    for (const reason of ["cACompromise", "certificateHold", "removeFromCRL", "aACompromise", "keycompromise", "1", "", "toString"]) {
      const refused = await revoke(serial, { reason });
      expect([refused.status, refused.json()["code"]]).toEqual([422, "badRevocationReason"]);
      expect(refused.json()["detail"]).toBe(
        "reason must be one of unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn",
      );
    }
    expect((await shown(serial))["status"]).toBe("valid");
  });

  test("a requester revokes its own, by all reasons but the administrators' (XC-4), and nobody else's; a viewer none", async () => {
    const mine = await issued({ token: requester });
    const withdrawn = await revoke(mine.serial, { reason: "privilegeWithdrawn" }, { token: requester });
    expect([withdrawn.status, withdrawn.json()["code"]]).toEqual([422, "badRevocationReason"]);
    expect(withdrawn.json()["detail"]).not.toContain("privilegeWithdrawn");
    const theirs = await issued();
    const other = await token("requester", "/");
    for (const [serial, credential] of [
      [theirs.serial, requester],
      [mine.serial, other],
      [mine.serial, await token("viewer", "/")],
    ]) {
      const refused = await revoke(serial ?? "", {}, { token: credential ?? "" });
      expect([refused.status, refused.json()["code"]]).toEqual([403, "policyDenied"]);
    }
    expect((await revoke(mine.serial, { reason: "superseded" }, { token: requester })).status).toBe(200);
  });

  test("what lies in another namespace is not there (S-12, XN-21)", async () => {
    const { serial } = await issued();
    const refused = await revoke(serial, {}, { token: await token("admin", "/elsewhere") });
    const unknown = await revoke("4".repeat(32), {}, { token: await token("admin", "/elsewhere") });
    expect([refused.status, unknown.status]).toEqual([404, 404]);
    expect((await shown(serial))["status"]).toBe("valid");
  });

  test("again is 409 alreadyRevoked, whatever the reason; the first stands (XC-4)", async () => {
    const { serial } = await issued();
    await revoke(serial, { reason: "superseded" });
    for (const reason of ["superseded", "cessationOfOperation", "unspecified"]) {
      const again = await revoke(serial, { reason });
      expect([again.status, again.json()["code"]]).toEqual([409, "alreadyRevoked"]);
    }
    expect(await recorded(serial)).toMatchObject([{ reason: 4 }]);
    expect((await records(serial)).length).toBe(1);
  });

  test("under the Idempotency-Key of the request that revoked it, it is 200 with the same answer; another body is 422", async () => {
    const { serial } = await issued();
    const headers = { "idempotency-key": `revoke-${serial}` };
    const answers = await Promise.all(Array.from({ length: 20 }, () => revoke(serial, { reason: "superseded" }, { headers })));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    for (const answer of answers) expect(answer.json()).toEqual(answers[0]?.json());
    expect((await records(serial)).length).toBe(1);
    const other = await revoke(serial, { reason: "cessationOfOperation" }, { headers });
    expect([other.status, other.json()["code"]]).toEqual([422, "idempotencyMismatch"]);
    const another = await revoke((await issued()).serial, { reason: "superseded" }, { headers });
    expect(another.status).toBe(422);
    // A name of one's own: what others call theirs is nothing to it.
    expect((await revoke(serial, {}, { headers, token: await token("admin", "/") })).status).toBe(409);
  });

  test("keyCompromise takes the place of another reason, and moves its time back (XC-5, BR 7.2.2)", async () => {
    const { serial, notBefore } = await issued();
    await revoke(serial, { reason: "superseded" });
    const changed = await revoke(serial, { reason: "keyCompromise", revokedAt: notBefore });
    expect([changed.status, changed.json()["revocationReason"], changed.json()["revokedAt"]]).toEqual([200, "keyCompromise", notBefore]);
    expect(await recorded(serial)).toEqual([{ reason: 1, revokedAt: new Date(notBefore) }]);
    expect((await records(serial)).map(({ operation }) => operation)).toEqual(["certificate.revoke", "certificate.compromise"]);
    expect((await revoke(serial, { reason: "keyCompromise" })).status).toBe(409);
  });

  test("without a time of its own, keyCompromise leaves the time that stands", async () => {
    const { serial } = await issued();
    const first = (await revoke(serial, { reason: "superseded" })).json()["revokedAt"];
    clock.aheadSeconds += 5;
    expect((await revoke(serial, { reason: "keyCompromise" })).json()).toMatchObject({
      revokedAt: first,
      revocationReason: "keyCompromise",
    });
  });

  test("a time back goes with keyCompromise alone, and neither before the certificate nor into the future", async () => {
    const { serial, notBefore } = await issued();
    const at = Date.parse(notBefore);
    for (const body of [
      { reason: "superseded", revokedAt: notBefore },
      { revokedAt: notBefore },
      { reason: "keyCompromise", revokedAt: time(at - 1_000) },
      { reason: "keyCompromise", revokedAt: time(clock.now().getTime() + 2_000) },
    ]) {
      const refused = await revoke(serial, body);
      expect([refused.status, refused.json()["code"]]).toEqual([400, "malformed"]);
    }
    expect((await revoke(serial, { reason: "keyCompromise", revokedAt: time(at + 1_000) })).json()["revokedAt"]).toBe(time(at + 1_000));
  });

  test("one that has expired is refused in words, on its last second it is not", async () => {
    const { csr } = await opensslRequest("short.example.org");
    const body = { csr, profile: "server", lifetimeSeconds: 3_600 };
    const one = (await service.ask("/v1/certificates", { body })).json();
    const ahead = clock.aheadSeconds;
    try {
      clock.aheadSeconds = ahead + Math.ceil((Date.parse(String(one["notAfter"])) - clock.now().getTime()) / 1000) + 1;
      const refused = await revoke(String(one["serial"]));
      expect([refused.status, refused.json()["code"]]).toEqual([409, "certificateExpired"]);
    } finally {
      clock.aheadSeconds = ahead;
    }
    expect((await revoke(String(one["serial"]))).status).toBe(200);
  });
});

describe("a proof by the key", () => {
  test("blocks the key and revokes all its certificates; without one only this certificate (XC-5, XN-15)", async () => {
    const request = await opensslRequest("compromised.example.org");
    const all = [await issued({}, request), await issued({}, request), await issued({ token: requester }, request)];
    const apart = await issued();
    const [first, second, third] = all;
    if (!first || !second || !third) throw new Error("none issued");
    expect((await revoke(first.serial, { reason: "keyCompromise" })).status).toBe(200);
    expect((await shown(second.serial))["status"]).toBe("valid");
    expect((await service.ask("/v1/certificates", { body: { csr: request.csr, profile: "server" } })).status).toBe(201);

    const proof = await proofOf(request.key, second.serial);
    expect((await revoke(second.serial, { reason: "keyCompromise", proof })).status).toBe(200);
    for (const { serial } of all) expect(await shown(serial)).toMatchObject({ status: "revoked", revocationReason: "keyCompromise" });
    expect((await shown(apart.serial))["status"]).toBe("valid");
    const refused = await service.ask("/v1/certificates", { body: { csr: request.csr, profile: "server" } });
    expect([refused.status, refused.json()["code"]]).toEqual([400, "badCSR"]);
    expect((await records(third.serial)).length).toBe(1);
  });

  test("blocks the key of a certificate that is revoked for keyCompromise already: 200, and it is recorded (XC-5, XK-3)", async () => {
    const request = await opensslRequest("proven-later.example.org");
    const { serial } = await issued({}, request);
    expect((await revoke(serial, { reason: "keyCompromise" })).status).toBe(200);
    const proof = await proofOf(request.key, serial);
    const headers = { "idempotency-key": `prove-${serial}` };
    const proven = await revoke(serial, { reason: "keyCompromise", proof }, { headers });
    expect([proven.status, proven.json()]).toEqual([200, await shown(serial)]);
    expect((await revoke(serial, { reason: "keyCompromise", proof }, { headers })).status).toBe(200);
    expect((await revoke(serial, { reason: "keyCompromise", proof })).status).toBe(409);
    expect((await service.ask("/v1/certificates", { body: { csr: request.csr, profile: "server" } })).status).toBe(400);
    const [first, second, ...more] = await records(serial);
    expect(first).toMatchObject({ operation: "certificate.revoke", object: { reason: 1 } });
    expect(first?.["object"]).not.toHaveProperty("keyBlocked");
    expect(second).toMatchObject({ operation: "certificate.compromise", object: { reason: 1, keyBlocked: true } });
    expect(more).toEqual([]);
  });

  test("a proof of any other kind changes nothing: the certificate's own public request, another certificate's proof, another key's", async () => {
    const one = await issued();
    const other = await issued();
    for (const proof of [one.csr, await proofOf(one.key, other.serial), await proofOf(other.key, one.serial), "noise"]) {
      const refused = await revoke(one.serial, { reason: "keyCompromise", proof });
      expect([refused.status, refused.json()["code"]]).toEqual([400, "badCSR"]);
    }
    const elsewhere = await revoke(one.serial, { reason: "superseded", proof: await proofOf(one.key, one.serial) });
    expect([elsewhere.status, elsewhere.json()["code"]]).toEqual([400, "malformed"]);
    expect((await shown(one.serial))["status"]).toBe("valid");
  });
});

describe("a key that an administrator calls compromised", () => {
  test("is blocked without a proof where an administrator of / asks for it: all its certificates are revoked for it (XC-5, XK-3)", async () => {
    const request = await opensslRequest("reported.example.org");
    const [first, second, third] = [await issued({}, request), await issued({ token: requester }, request), await issued({}, request)];
    await revoke(third.serial, { reason: "superseded" });
    expect((await revoke(first.serial, { reason: "keyCompromise", blockKey: true })).status).toBe(200);
    for (const { serial } of [first, second, third]) {
      expect(await shown(serial)).toMatchObject({ status: "revoked", revocationReason: "keyCompromise" });
    }
    expect((await service.ask("/v1/certificates", { body: { csr: request.csr, profile: "server" } })).json()["code"]).toBe("badCSR");
    expect(await records(first.serial)).toMatchObject([{ operation: "certificate.revoke", object: { keyBlocked: true } }]);
    expect(await records(third.serial)).toMatchObject([{ object: { reason: 4 } }, { operation: "certificate.compromise" }]);
  });

  test("is not blocked by anybody else's word, nor for another reason, nor as an authority's", async () => {
    const { serial, csr } = await issued({ token: requester });
    const below = await token("admin", "/team");
    const theirs = await issued({ token: below });
    const refused = [
      await revoke(serial, { reason: "keyCompromise", blockKey: true }, { token: requester }),
      await revoke(theirs.serial, { reason: "keyCompromise", blockKey: true }, { token: below }),
      await revoke(serial, { reason: "superseded", blockKey: true }),
      await revoke(serial, { reason: "keyCompromise", blockKey: false }),
      await revoke(await serialOf("issuing-1"), { reason: "keyCompromise", blockKey: true }),
    ];
    expect(refused.map((answer) => answer.json()["code"])).toEqual(["policyDenied", "policyDenied", "malformed", "malformed", "malformed"]);
    for (const one of [serial, theirs.serial]) expect((await shown(one))["status"]).toBe("valid");
    expect((await service.ask("/v1/certificates", { body: { csr, profile: "server" } })).status).toBe(201);
  });
});

describe("what was signed and could not be recorded (AR-20, XI-2)", () => {
  test("is no certificate yet by its serial; by its key it is blocked at once, and revoked once it is recorded", async () => {
    const { database } = service.service.ca;
    const request = await opensslRequest("undelivered.example.org");
    const { spkiSha256 } = await shown((await issued({}, request)).serial);
    const ask = () => service.ask("/v1/certificates", { body: { csr: request.csr, profile: "server" } });
    await database.read((sql) =>
      sql.unsafe("create trigger refused before insert on certificate for each statement execute function refuse_change()"),
    );
    expect((await ask()).status).toBe(500);
    const [open] = await database.read(
      (sql) => sql<{ serial: string }[]>`
        select encode(i.serial, 'hex') as serial from issuance i left join certificate c using (authority, serial) where c.serial is null`,
    );
    const serial = open?.serial ?? "";
    expect((await revoke(serial, { reason: "superseded" })).status).toBe(404);
    expect((await service.ask("/v1/revocations", { body: { filter: { spkiSha256 }, reason: "keyCompromise" } })).status).toBeLessThan(300);
    expect((await ask()).json()["code"]).toBe("badCSR");

    await database.read((sql) => sql.unsafe("drop trigger refused on certificate"));
    // As the job does within a minute.
    const left = { authority: "issuing-1", serial: Buffer.from(serial, "hex") };
    await settleUnfinished({ ...service.service.ca, unfinished: new Map([[serial, left]]) });
    expect(await shown(serial)).toMatchObject({ serial });
    await service.service.jobs.find(({ name }) => name === "compromised keys")?.act(new AbortController().signal);
    expect(await shown(serial)).toMatchObject({ status: "revoked", revocationReason: "keyCompromise" });
  });
});

describe("a revocation is durable, or it is not answered", () => {
  test.for([
    { lost: "lost before" as const, status: 503, reasons: [] },
    { lost: "lost behind" as const, status: 200, reasons: [{ reason: 4 }] },
  ])("the answer to its commit is $lost it: $status, as the database says", async ({ lost, status, reasons }) => {
    const { serial } = await issued();
    commit = lost;
    const answer = await revoke(serial, { reason: "superseded" }).finally(() => (commit = "as usual"));
    expect(answer.status).toBe(status);
    if (status === 503) expect([answer.json()["code"], answer.headers["retry-after"]]).toEqual(["databaseUnavailable", "5"]);
    expect(await recorded(serial)).toMatchObject(reasons);
    expect((await revoke(serial, { reason: "superseded" })).status).toBe(status === 503 ? 200 : 409);
  });

  test("a token that was revoked by another instance revokes nothing, though this one remembers it for seconds", async () => {
    const { serial } = await issued();
    const made = (await service.ask("/v1/tokens", { body: tokenBody("admin", "/") })).json();
    const admin = String(made["token"]);
    expect((await service.ask("/v1/profiles", { token: admin })).status).toBe(200);
    await service.service.ca.database.read(
      (sql) => sql`insert into api_token_revocation (token_id, revoked_at) values (${String(made["id"])}, now())`,
    );
    const refused = await revoke(serial, {}, { token: admin });
    expect([refused.status, refused.json()["code"]]).toEqual([401, "unauthenticated"]);
    expect(await recorded(serial)).toEqual([]);
  });
});

/** Of an authority's certificate. */
async function serialOf(slug: string): Promise<string> {
  const [row] = await service.service.ca.database.read(
    (sql) => sql<{ serial: string }[]>`
      select encode(c.serial, 'hex') as serial from certificate c join authority a on a.certificate = c.certificate where a.slug = ${slug}`,
  );
  return row?.serial ?? "";
}

// Behind all that issues: from then on nothing is.
describe("certificates of authorities", () => {
  test("are revoked by an administrator of / with a reason that is one (XC-3), and a root by nobody", async () => {
    const serial = await serialOf("issuing-1");
    for (const body of [{}, { reason: "unspecified" }]) {
      const refused = await revoke(serial, body);
      expect([refused.status, refused.json()["code"]]).toEqual([422, "badRevocationReason"]);
      expect(refused.json()["detail"]).not.toContain("unspecified");
    }
    const requested = await revoke(serial, { reason: "superseded" }, { token: requester });
    const below = await revoke(serial, { reason: "superseded" }, { token: await token("admin", "/team") });
    expect([requested.status, below.status]).toEqual([403, 404]);
    expect((await revoke(await serialOf("root-1"), { reason: "superseded" })).status).toBe(403);
    const revoked = await revoke(serial, { reason: "cessationOfOperation" });
    expect([revoked.status, revoked.json()["authority"]]).toEqual([200, "root-1"]);
  });
});

test("what must hold of the database holds, and of what is told of every certificate by CRL and OCSP", async () => {
  expect(await service.service.ca.database.read((sql) => brokenInvariants(sql))).toEqual([]);
  expect(await brokenStatus(service.service)).toEqual([]);
});
