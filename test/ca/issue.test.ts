import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodePem } from "../../src/pki/pem.ts";
import { brokenInvariants } from "../support/invariants.ts";
import { opensslRequest, startService, type TestService } from "../support/service.ts";
import { brokenStatus } from "../support/status-invariants.ts";

let chancery: TestService;
let csr: string;
beforeAll(async () => {
  chancery = await startService();
  csr = (await opensslRequest("a.example.org", "b.example.org")).csr;
});
afterAll(() => chancery[Symbol.asyncDispose]());

const issue = (body: Record<string, unknown>, key?: string) =>
  chancery.ask("/v1/certificates", { body, headers: key === undefined ? {} : { "idempotency-key": key } });

const inADay = (): string => `${new Date(Date.now() + 86_400_000).toISOString().slice(0, 19)}Z`;

describe("a certificate over REST", () => {
  test("is what OpenSSL's decoder reads: names, times, issuer and signature", async () => {
    const answer = await issue({ csr, profile: "server", lifetimeSeconds: 86_400 });
    expect(answer.status).toBe(201);
    const body = answer.json();
    expect(answer.headers["location"]).toBe(`/v1/certificates/${String(body["serial"])}`);
    expect(body).toMatchObject({
      authority: "issuing-1",
      profile: "server",
      namespace: "/",
      subject: "",
      status: "valid",
      keyAlgorithm: "P-256",
      names: [
        { type: "dns", value: "a.example.org" },
        { type: "dns", value: "b.example.org" },
      ],
    });
    const leaf = new X509Certificate(String(body["certificate"]));
    const issuer = new X509Certificate(String(body["chain"]));
    expect(leaf.subjectAltName).toBe("DNS:a.example.org, DNS:b.example.org");
    expect(leaf.serialNumber.toLowerCase()).toBe(body["serial"]);
    expect(leaf.verify(issuer.publicKey)).toBe(true);
    expect(leaf.checkIssued(issuer)).toBe(true);
    expect((leaf.validToDate.getTime() - leaf.validFromDate.getTime()) / 1000).toBe(86_400 - 1);
  });

  test("is not made for a prime modulus, which is judged behind what the profile says (XK-2)", async () => {
    const vector = new URL("../vectors/csr/prime-modulus.json", import.meta.url);
    const { der } = JSON.parse(readFileSync(vector, "utf8")) as { der: string }; // our own committed file
    const refused = await issue({ csr: der, profile: "server" });
    expect([refused.status, refused.json()["detail"]]).toEqual([400, "the RSA modulus is a prime"]);
    const tooLong = await issue({ csr: der, profile: "server", lifetimeSeconds: 2_000_000_000 });
    expect(tooLong.json()).toMatchObject({ code: "lifetimeOutOfRange" });
  });

  test("can be read back by its serial, as JSON, PEM chain and DER", async () => {
    const body = (await issue({ csr, profile: "mtls" })).json();
    const path = `/v1/certificates/${String(body["serial"])}`;
    expect((await chancery.ask(path)).json()).toEqual(body);
    const pem = await chancery.ask(path, { headers: { accept: "application/pem-certificate-chain" } });
    expect(pem.text).toBe(`${String(body["certificate"])}${String(body["chain"])}`);
    expect(decodePem(pem.text, "CERTIFICATE")).toHaveLength(2);
  });

  test("has an audit record that names its serial and the id of the request", async () => {
    const answer = await issue({ csr, profile: "server" });
    const records = await chancery.service.ca.database.read(
      (sql) => sql<{ entry: { requestId: string; object: { serial: string } } }[]>`
        select convert_from(bytes, 'UTF8')::jsonb as entry from audit_record where convert_from(bytes, 'UTF8')::jsonb ->> 'operation' = 'certificate.issue'`,
    );
    const own = records.filter(({ entry }) => entry.object.serial === answer.json()["serial"]);
    expect(own.map(({ entry }) => entry.requestId)).toEqual([answer.headers["x-request-id"]]);
  });

  test("serials have 16 octets, begin with 0x40 to 0x7f, and never repeat (XV-6)", async () => {
    const serials = await Promise.all(
      Array.from({ length: 50 }, async () => String((await issue({ csr, profile: "server" })).json()["serial"])),
    );
    expect(new Set(serials).size).toBe(50);
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9a-f]{31}$/);
  });
});

describe("Idempotency-Key", () => {
  test("the same key and body give the same answer, with 200", async () => {
    const first = await issue({ csr, profile: "server" }, "order-1");
    const second = await issue({ csr, profile: "server" }, "order-1");
    expect([first.status, second.status]).toEqual([201, 200]);
    expect(second.json()).toEqual(first.json());
  });

  test("the same key with another body is refused with 422", async () => {
    await issue({ csr, profile: "server" }, "order-2");
    const other = await issue({ csr, profile: "client" }, "order-2");
    expect(other.status).toBe(422);
    expect(other.json()["code"]).toBe("idempotencyMismatch");
  });

  test("50 requests at once under one key make one certificate (I7)", async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => issue({ csr, profile: "server" }, "order-3")));
    expect(new Set(answers.map((answer) => String(answer.json()["serial"]))).size).toBe(1);
    expect(answers.filter((answer) => answer.status === 201)).toHaveLength(1);
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(49);
  });

  test("nobody occupies or reads the key of another principal (XI-10)", async () => {
    const expires = inADay();
    const created = await chancery.ask("/v1/tokens", { body: { role: "requester", namespace: "/team-a", expiresAt: expires } });
    expect(created.status).toBe(201);
    const mine = await issue({ csr, profile: "server" }, "order-4");
    const theirs = await chancery.ask("/v1/certificates", {
      body: { csr, profile: "server" },
      headers: { "idempotency-key": "order-4" },
      token: String(created.json()["token"]),
    });
    expect(theirs.status).toBe(201);
    expect(theirs.json()["serial"]).not.toBe(mine.json()["serial"]);
    const read = await chancery.ask(`/v1/certificates/${String(mine.json()["serial"])}`, { token: String(created.json()["token"]) });
    expect(read.status).toBe(404);
  });
});

const page = async (rest: string) => (await chancery.ask(`/v1/certificates?name=listed.example.org&limit=2${rest}`)).json();

describe("the list", () => {
  test("has no nextCursor at its end, also where the last page is full", async () => {
    const { csr: listed } = await opensslRequest("listed.example.org");
    for (let count = 0; count < 4; count++) await chancery.ask("/v1/certificates", { body: { csr: listed, profile: "server" } });
    const first = await page("");
    const second = await page(`&cursor=${String(first["nextCursor"])}`);
    const serials = [first, second].flatMap(({ certificates }) => (certificates as { serial: string }[]).map(({ serial }) => serial));
    expect(new Set(serials).size).toBe(4);
    expect(second).not.toHaveProperty("nextCursor");
  });
});

describe("refusals", () => {
  test.for([
    {
      name: "one second more than the profile's maximum",
      body: { profile: "server", lifetimeSeconds: 7_776_001 },
      status: 422,
      code: "lifetimeOutOfRange",
    },
    { name: "a profile that is not there", body: { profile: "nothing" }, status: 403, code: "policyDenied" },
    { name: "a profile of the service's own", body: { profile: "subordinate" }, status: 403, code: "policyDenied" },
    { name: "no request at all", body: { profile: "server", csr: "hello" }, status: 400, code: "badCSR" },
  ])("$name: $code", async ({ body, status, code }) => {
    const answer = await issue({ csr, ...body });
    expect(answer.status).toBe(status);
    expect(answer.json()).toMatchObject({ status, code, type: expect.stringMatching(new RegExp(`/problems/${code}$`)) });
    expect(answer.headers["content-type"]).toMatch(/^application\/problem\+json/);
  });

  test("a revoked token issues nothing, although it was verified a moment ago", async () => {
    const expires = inADay();
    const created = (await chancery.ask("/v1/tokens", { body: { role: "requester", namespace: "/", expiresAt: expires } })).json();
    const token = String(created["token"]);
    expect((await chancery.ask("/v1/certificates", { body: { csr, profile: "server" }, token })).status).toBe(201);
    await chancery.service.ca.database.read((sql) => sql`insert into api_token_revocation values (${String(created["id"])}, now())`);
    const refused = await chancery.ask("/v1/certificates", { body: { csr, profile: "server" }, token });
    expect([refused.status, refused.json()["code"]]).toEqual([403, "policyDenied"]);
  });
});

test("after all of it the database is whole (I2, I3, I4, I7)", async () => {
  expect(await chancery.service.ca.database.read((sql) => brokenInvariants(sql))).toEqual([]);
  expect(await brokenStatus(chancery.service)).toEqual([]);
});
