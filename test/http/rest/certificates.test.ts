import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { request as tlsRequest } from "node:https";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { opensslRequest, type Question, startService, type TestService } from "../../support/service.ts";

let service: TestService;
let csr: string;

beforeAll(async () => {
  service = await startService();
  csr = (await opensslRequest("a.example.org", "b.example.org")).csr;
});
afterAll(() => service[Symbol.asyncDispose]());

function post(body: unknown, key?: string, question: Question = {}) {
  return service.ask("/v1/certificates", {
    method: "POST",
    body,
    ...question,
    headers: { ...(key !== undefined && { "idempotency-key": key }), ...question.headers },
  });
}

async function problem(answer: Promise<{ readonly status: number; readonly json: () => Record<string, unknown> }>) {
  const { status, json } = await answer;
  return [status, json()["code"]];
}

describe("POST /v1/certificates", () => {
  test("201 with Location and every member of the contract, and the certificate is what they say", async () => {
    const answer = await post({ csr, profile: "server", lifetimeSeconds: 86_400 });
    const issued = answer.json();
    expect(answer.status).toBe(201);
    expect(answer.headers["location"]).toBe(`/v1/certificates/${String(issued["serial"])}`);
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(answer.headers["cache-control"]).toBe("no-store");
    expect(issued).toEqual({
      serial: expect.stringMatching(/^[4-7][0-9a-f]{31}$/),
      authority: "issuing-1",
      profile: "server",
      namespace: "/",
      subject: "",
      names: [
        { type: "dns", value: "a.example.org" },
        { type: "dns", value: "b.example.org" },
      ],
      notBefore: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      notAfter: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      status: "valid",
      keyAlgorithm: "P-256",
      spkiSha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      certificate: expect.stringMatching(/^-----BEGIN CERTIFICATE-----\n/),
      chain: await readFile(join(service.ground.directory, "chain.pem"), "utf8"),
    });
    const certificate = new X509Certificate(String(issued["certificate"]));
    expect(certificate.serialNumber.toLowerCase()).toBe(issued["serial"]);
    expect(certificate.subjectAltName).toBe("DNS:a.example.org, DNS:b.example.org");
    // Both ends of the validity count (RFC 5280 §4.1.2.5).
    expect(Date.parse(String(issued["notAfter"])) - Date.parse(String(issued["notBefore"]))).toBe(86_399_000);
    const issuer = new X509Certificate(String(issued["chain"]));
    const root = new X509Certificate(await readFile(join(service.ground.directory, "root.pem")));
    expect([certificate.verify(issuer.publicKey), issuer.verify(root.publicKey)]).toEqual([true, true]);
  });

  test("the same key and body give 200 and the same answer, in whatever form the request comes", async () => {
    const first = await post({ csr, profile: "server" }, "once");
    const base64 = csr.replaceAll(/-----.*-----|\s/g, "");
    const repeats = await Promise.all([
      post({ csr, profile: "server" }, "once"),
      post({ profile: "server", csr: base64 }, "once"),
      post(JSON.stringify({ csr, profile: "server" }, undefined, 4), "once"),
    ]);
    expect(first.status).toBe(201);
    for (const repeat of repeats) {
      expect(repeat.status).toBe(200);
      expect(repeat.headers["location"]).toBe(first.headers["location"]);
      expect(repeat.json()).toEqual(first.json());
    }
  });

  test.for([
    { name: "another profile", body: { profile: "client" } },
    { name: "another lifetime", body: { profile: "server", lifetimeSeconds: 86_400 } },
    { name: "another request", body: { profile: "server", csr: true } },
  ])("the same key with $name is 422", async ({ body }) => {
    const key = `mismatch-${JSON.stringify(body).length}`;
    expect((await post({ csr, profile: "server" }, key)).status).toBe(201);
    const other = "csr" in body ? { ...body, csr: (await opensslRequest("a.example.org")).csr } : { csr, ...body };
    expect(await problem(post(other, key))).toEqual([422, "idempotencyMismatch"]);
  });

  test("another principal's same key is another request (XI-10)", async () => {
    const expiresAt = new Date(Date.now() + 86_400_000).toISOString().replace(/\.\d{3}Z$/, "Z");
    const grant = { role: "requester", namespace: "/", expiresAt };
    const token = String((await service.ask("/v1/tokens", { body: grant })).json()["token"]);
    const mine = await post({ csr, profile: "server" }, "shared");
    const theirs = await post({ csr, profile: "server" }, "shared", { token });
    expect([mine.status, theirs.status]).toEqual([201, 201]);
    expect(theirs.json()["serial"]).not.toBe(mine.json()["serial"]);
  });

  test("50 equal requests at once give one certificate", async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => post({ csr, profile: "server" }, "raced")));
    expect(new Set(answers.map((answer) => answer.json()["serial"])).size).toBe(1);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([...Array(49).fill(200), 201]);
  });

  test("without a key each request has a certificate of its own", async () => {
    const [first, second] = await Promise.all([post({ csr, profile: "server" }), post({ csr, profile: "server" })]);
    expect(first.json()["serial"]).not.toBe(second.json()["serial"]);
  });

  test("what a client began goes on when it hangs up, and its repetition finds the certificate", async () => {
    const body = JSON.stringify({ csr, profile: "server" });
    const outgoing = tlsRequest({
      port: service.service.listeners.tls.port,
      host: "127.0.0.1",
      path: "/v1/certificates",
      method: "POST",
      rejectUnauthorized: false,
      agent: false,
      headers: {
        authorization: `Bearer ${service.adminToken}`,
        "content-type": "application/json",
        "idempotency-key": "hung-up",
        "content-length": body.length,
      },
    });
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    outgoing.on("error", () => undefined).on("close", () => resolve());
    outgoing.end(body, () => setImmediate(() => outgoing.destroy()));
    await closed;
    expect([200, 201]).toContain((await post({ csr, profile: "server" }, "hung-up")).status);
  });

  test.for([
    {
      name: "a lifetime one second beyond the profile",
      body: { profile: "server", lifetimeSeconds: 7_776_001 },
      expected: [422, "lifetimeOutOfRange"],
    },
    { name: "exactly the profile's lifetime", body: { profile: "server", lifetimeSeconds: 7_776_000 }, expected: [201, undefined] },
    { name: "a lifetime of zero", body: { profile: "server", lifetimeSeconds: 0 }, expected: [400, "malformed"] },
    { name: "a lifetime with a fraction", body: { profile: "server", lifetimeSeconds: 86_400.5 }, expected: [400, "malformed"] },
    { name: "a lifetime beyond 31 bits", body: { profile: "server", lifetimeSeconds: 2 ** 31 }, expected: [400, "malformed"] },
    { name: "a lifetime as text", body: { profile: "server", lifetimeSeconds: "86400" }, expected: [400, "malformed"] },
    { name: "a profile that is none", body: { profile: "nonsense" }, expected: [403, "policyDenied"] },
    { name: "the root's profile", body: { profile: "root" }, expected: [403, "policyDenied"] },
    { name: "the profile of subordinates", body: { profile: "subordinate" }, expected: [403, "policyDenied"] },
    { name: "the profile of OCSP responders", body: { profile: "ocsp-responder" }, expected: [403, "policyDenied"] },
    { name: "no profile", body: {}, expected: [400, "malformed"] },
    { name: "an unknown member", body: { profile: "server", subject: "CN=x" }, expected: [400, "malformed"] },
    { name: "no certificate request", body: { profile: "server", csr: undefined }, expected: [400, "malformed"] },
    { name: "an empty certificate request", body: { profile: "server", csr: "" }, expected: [400, "malformed"] },
    { name: "a certificate request that is none", body: { profile: "server", csr: "hello" }, expected: [400, "badCSR"] },
    {
      name: "a certificate request of more than 16 KiB",
      body: { profile: "server", csr: Buffer.alloc(16 * 1024 + 1, 0x30).toString("base64") },
      expected: [413, "tooLarge"],
    },
  ])("$name: $expected", async ({ body, expected }) => {
    expect(await problem(post({ csr, ...body }))).toEqual(expected);
  });

  test.for([
    { name: "empty", key: "", status: 400 },
    { name: "1 character", key: "a", status: 201 },
    { name: "255 characters", key: "k".repeat(255), status: 201 },
    { name: "256 characters", key: "k".repeat(256), status: 400 },
    { name: "a space inside", key: "a b", status: 400 },
    { name: "a letter beyond ASCII", key: "é", status: 400 },
    { name: "a tab", key: "a\tb", status: 400 },
  ])("an Idempotency-Key of $name: $status", async ({ key, status }) => {
    expect((await post({ csr, profile: "server" }, key)).status).toBe(status);
  });
});

describe("GET /v1/certificates/{serial}", () => {
  test.for([
    { accept: undefined, type: "application/json" },
    { accept: "*/*", type: "application/json" },
    { accept: "application/*", type: "application/json" },
    { accept: "application/json;q=0.1, application/pkix-cert", type: "application/pkix-cert" },
    { accept: "application/pem-certificate-chain", type: "application/pem-certificate-chain" },
    { accept: "APPLICATION/PKIX-CERT", type: "application/pkix-cert" },
    { accept: "text/html, */*;q=0.1", type: "application/json" },
    { accept: "*/*, application/json;q=0", type: "application/pem-certificate-chain" },
  ])("Accept: $accept gives $type (RFC 9110 §12.5.1)", async ({ accept, type }) => {
    const issued = (await post({ csr, profile: "server" }, "negotiated")).json();
    const answer = await service.ask(`/v1/certificates/${String(issued["serial"])}`, {
      headers: { ...(accept !== undefined && { accept }) },
    });
    expect([answer.status, answer.headers["content-type"]]).toEqual([200, type]);
    if (type === "application/json") expect(answer.json()).toEqual(issued);
    if (type === "application/pem-certificate-chain")
      expect(answer.text).toBe(`${String(issued["certificate"])}${String(issued["chain"])}`);
    if (type === "application/pkix-cert") {
      expect(answer.headers["content-length"]).toBe(String(new X509Certificate(String(issued["certificate"])).raw.length));
    }
  });

  test.for(["text/html", "application/pkix-crl", "application/json;q=0", "", "nonsense", "*/*;q=0"])(
    "Accept: %s is 406 and lists what there is",
    async (accept) => {
      const { serial } = (await post({ csr, profile: "server" }, "negotiated")).json();
      const answer = await service.ask(`/v1/certificates/${String(serial)}`, { headers: { accept } });
      expect(answer.json()).toMatchObject({ status: 406, code: "notAcceptable", detail: expect.stringContaining("application/pkix-cert") });
    },
  );

  test.for(["0".repeat(32), "4F".repeat(16), "4f".repeat(15), "4f".repeat(17), "nonsense", "%00", "%ff", "%zz"])(
    "%s is 404",
    async (serial) => {
      expect(await problem(service.ask(`/v1/certificates/${serial}`))).toEqual([404, "notFound"]);
    },
  );
});

describe("GET /v1/certificates", () => {
  beforeAll(async () => {
    for (const name of ["list.example.org", "list.example.org", "other.example.org"]) {
      const answer = await post({ csr: (await opensslRequest(name)).csr, profile: "mtls" });
      expect(answer.status).toBe(201);
    }
  });

  type Page = { readonly certificates: readonly Record<string, unknown>[]; readonly nextCursor?: string };
  const page = async (query: string): Promise<Page> => {
    const answer = await service.ask(`/v1/certificates${query}`);
    expect(answer.status).toBe(200);
    return answer.json() as Page;
  };

  test("every member of the contract but certificate and chain, newest first", async () => {
    const { certificates } = await page("?profile=mtls");
    expect(certificates.map(({ names }) => names)).toEqual(
      ["other.example.org", "list.example.org", "list.example.org"].map((value) => [{ type: "dns", value }]),
    );
    expect(Object.keys(certificates[0] ?? {}).toSorted()).toEqual(
      [
        "authority",
        "keyAlgorithm",
        "names",
        "namespace",
        "notAfter",
        "notBefore",
        "profile",
        "serial",
        "spkiSha256",
        "status",
        "subject",
      ].toSorted(),
    );
  });

  test("pages of any size hold the same certificates as one page, and the last has no cursor", async () => {
    const all = (await page("")).certificates;
    for (const limit of [1, 2, 7, 1000]) {
      const collected: unknown[] = [];
      for (let cursor: string | undefined = ""; cursor !== undefined;) {
        const next: Page = await page(`?limit=${limit}${cursor === "" ? "" : `&cursor=${cursor}`}`);
        collected.push(...next.certificates);
        cursor = next.nextCursor;
      }
      expect(collected).toEqual(all);
    }
  });

  test("filters by name, serial, status, profile and the end of the validity", async () => {
    const [newest] = (await page("?profile=mtls")).certificates;
    const { serial, notAfter } = { serial: String(newest?.["serial"]), notAfter: String(newest?.["notAfter"]) };
    const count = async (query: string) => (await page(query)).certificates.length;
    expect(await count("?name=list.example.org")).toBe(2);
    expect(await count("?name=LIST.Example.org&status=valid&profile=mtls")).toBe(2);
    expect(await count("?name=example.org")).toBe(0);
    expect(await count("?name=192.0.2.1")).toBe(0);
    expect(await count("?name=spiffe://list.example.org/a")).toBe(0);
    expect(await count(`?serial=${serial}`)).toBe(1);
    expect(await count("?profile=mtls&status=expired")).toBe(0);
    expect(await count("?profile=mtls&status=revoked")).toBe(0);
    expect(await count(`?serial=${serial}&notAfterFrom=${notAfter}`)).toBe(1);
    expect(await count(`?serial=${serial}&notAfterBefore=${notAfter}`)).toBe(0);
  });

  test.for([
    { name: "an unknown parameter", query: "colour=red" },
    { name: "a parameter in another case", query: "Limit=1" },
    { name: "a parameter twice", query: "limit=1&limit=2" },
    { name: "limit 0", query: "limit=0" },
    { name: "limit 1001", query: "limit=1001" },
    { name: "limit with a sign", query: "limit=%2B1" },
    { name: "limit in hex", query: "limit=0x10" },
    { name: "limit empty", query: "limit=" },
    { name: "a status that is none", query: "status=good" },
    { name: "a serial that is too short", query: "serial=4f" },
    { name: "a serial in capitals", query: `serial=${"4F".repeat(16)}` },
    { name: "a day without a time", query: "notAfterFrom=2026-11-01" },
    { name: "a time without a zone", query: "notAfterFrom=2026-11-01T12:00:00" },
    { name: "the 30th of February", query: "notAfterBefore=2026-02-30T00:00:00Z" },
    { name: "a time that its zone moves beyond the year 9999", query: "notAfterBefore=9999-12-31T23:59:59-01:00" },
    { name: "a time that its zone moves before the year 1", query: "notAfterFrom=0001-01-01T00:00:00%2B01:00" },
    { name: "the year 0", query: "notAfterFrom=0000-06-01T00:00:00Z" },
    { name: "a profile with NUL", query: "profile=a%00b" },
    { name: "a URI with NUL", query: "name=urn:a%00b" },
    { name: "a URI without a host", query: "name=spiffe:///a" },
    { name: "hour 24", query: "notAfterBefore=2026-02-20T24:00:00Z" },
    { name: "a name that is none", query: "name=a..b" },
    { name: "a name with NUL", query: "name=a%00b" },
    { name: "a query that is not UTF-8", query: "name=%ff" },
    { name: "broken percent-encoding", query: "name=%zz" },
    { name: "a cursor that is none", query: "cursor=x" },
    {
      name: "a cursor beyond the year 9999",
      query: `cursor=${Buffer.from(`${"001eb208c2dc0000"}${"00".repeat(16)}`, "hex").toString("base64url")}`,
    },
    { name: "a cursor with padding", query: "cursor=AAAA%3D" },
    { name: "a cursor of the right length with a foreign character", query: `cursor=${"A".repeat(31)}%2B` },
  ])("$name is 400", async ({ query }) => {
    expect(await problem(service.ask(`/v1/certificates?${query}`))).toEqual([400, "malformed"]);
  });

  test("limit 1 and limit 1000 are taken; a zone other than Z is", async () => {
    for (const query of ["limit=1", "limit=1000", "notAfterFrom=2026-11-01T12:00:00%2B02:00", "notAfterBefore=9999-12-31T23:59:59Z"]) {
      expect((await service.ask(`/v1/certificates?${query}`)).status).toBe(200);
    }
  });
});

describe("GET /v1/authorities and GET /v1/profiles", () => {
  test("authorities: the root issues itself, the intermediate has the root above it", async () => {
    const { authorities } = (await service.ask("/v1/authorities")).json() as { authorities: Record<string, unknown>[] };
    expect(authorities.map(({ slug, kind, issuer }) => ({ slug, kind, issuer }))).toEqual([
      { slug: "root-1", kind: "root", issuer: "root-1" },
      { slug: "issuing-1", kind: "issuing", issuer: "root-1" },
    ]);
    const [root, issuing] = authorities.map(({ certificate }) => new X509Certificate(String(certificate)));
    expect(root && issuing?.verify(root.publicKey)).toBe(true);
  });

  test("profiles: those that can be asked for are among them, with their lifetimes", async () => {
    const { profiles } = (await service.ask("/v1/profiles")).json() as { profiles: Record<string, unknown>[] };
    expect(profiles).toContainEqual(
      expect.objectContaining({ name: "server", kind: "end-entity", lifetimeSeconds: expect.objectContaining({ default: 7_776_000 }) }),
    );
    expect(profiles.map(({ name }) => name)).toEqual(expect.arrayContaining(["server", "client", "mtls"]));
  });
});
