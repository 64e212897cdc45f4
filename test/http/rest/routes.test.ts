import { createHash, createPublicKey } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RestDoors } from "../../../src/http/doors.ts";
import { restDoor } from "../../../src/http/rest/door.ts";
import type { Route } from "../../../src/http/rest/route.ts";
import { routes } from "../../../src/http/rest/routes.ts";
import { acmeClient } from "../../support/acme-client.ts";
import { type Answer, asking, opensslRequest, startService, type TestService } from "../../support/service.ts";

let service: TestService;
let strangerToken: string;
let viewerToken: string;
let requesterToken: string;
/** What an administrator of "/" owns, for everyone else to try. */
let serial: string;
let tokenId: string;
let keyId: string;
let accountId: string;
let orderId: string;
let revocationId: string;
let request: string;
/** Within the year that the administrator's own token lasts. */
const expiresAt = new Date(Date.now() + 86_400_000).toISOString().replace(/\.\d{3}Z$/, "Z");

beforeAll(async () => {
  service = await startService();
  strangerToken = await token("admin", "/other");
  viewerToken = await token("viewer", "/");
  requesterToken = await token("requester", "/");
  request = (await opensslRequest("a.example.org")).csr;
  const issued = await service.ask("/v1/certificates", { body: { csr: request, profile: "server" } });
  serial = String(issued.json()["serial"]);
  tokenId = String((await service.ask("/v1/tokens", { body: grant("viewer", "/") })).json()["id"]);
  const key = { namespace: "/", directory: "default" };
  keyId = String((await service.ask("/v1/acme/external-account-keys", { body: key })).json()["id"]);
  const nothing = { filter: { spkiSha256: "ab".repeat(32) }, reason: "superseded" };
  revocationId = String((await service.ask("/v1/revocations", { body: nothing })).json()["id"]);
  const client = await acmeClient(service);
  accountId = lastPart((await client.register()).header("location"));
  orderId = lastPart((await client.order(["a.example.org"])).header("location"));
});
afterAll(() => service[Symbol.asyncDispose]());

function lastPart(url: string | undefined): string {
  return url?.split("/").at(-1) ?? "";
}

function grant(role: string, namespace: string) {
  return { role, namespace, expiresAt };
}

async function token(role: string, namespace: string): Promise<string> {
  return String((await service.ask("/v1/tokens", { body: grant(role, namespace) })).json()["token"]);
}

/** Everything that hono would serve and the table does not name. */
function unlisted(mounted: readonly { readonly method: string; readonly path: string }[], table: readonly Route[]): string[] {
  const paths = new Set(table.map(({ path }) => path));
  const rows = new Set(table.map(({ method, path }) => `${method} ${path}`));
  return mounted
    .filter(({ method, path }) => (method === "ALL" ? !paths.has(path) : !rows.has(`${method} ${path}`)))
    .map(({ method, path }) => `${method} ${path}`);
}

const noDoors: RestDoors = {
  baseUrl: "https://localhost",
  random: { bytes: (length) => new Uint8Array(length) },
  events: { tell: () => undefined, measure: () => undefined },
  authenticate: () => expect.unreachable(),
  may: () => expect.unreachable(),
  issue: () => expect.unreachable(),
  readCertificate: () => expect.unreachable(),
  listCertificates: () => expect.unreachable(),
  revokeCertificate: () => expect.unreachable(),
  previewRevocation: () => expect.unreachable(),
  beginRevocation: () => expect.unreachable(),
  readRevocation: () => expect.unreachable(),
  stopRevocation: () => expect.unreachable(),
  haltIssuance: () => expect.unreachable(),
  resumeIssuance: () => expect.unreachable(),
  showHalt: () => expect.unreachable(),
  profiles: () => expect.unreachable(),
  authorities: () => expect.unreachable(),
  crl: () => expect.unreachable(),
  createToken: () => expect.unreachable(),
  listTokens: () => expect.unreachable(),
  revokeToken: () => expect.unreachable(),
  createExternalAccountKey: () => expect.unreachable(),
  listExternalAccountKeys: () => expect.unreachable(),
  revokeExternalAccountKey: () => expect.unreachable(),
  listAcmeAccounts: () => expect.unreachable(),
  readAcmeAccount: () => expect.unreachable(),
  revokeAcmeAccount: () => expect.unreachable(),
  listAcmeOrders: () => expect.unreachable(),
  readAcmeOrder: () => expect.unreachable(),
  recordDenial: () => expect.unreachable(),
};

describe("every route declares its rule (S-15, S-41, CV-1)", () => {
  test("nothing is mounted that the table does not name", () => {
    const app = restDoor(noDoors, routes);
    expect(unlisted(app.routes, routes)).toEqual([]);
    app.get("/v1/hidden", () => new Response());
    expect(unlisted(app.routes, routes)).toEqual(["GET /v1/hidden"]);
  });

  test("only the pages that explain problems are public", () => {
    expect(routes.filter(({ action }) => action === "public").map(({ path }) => path)).toEqual(["/problems/:code"]);
  });

  test("no row stands twice", () => {
    const rows = routes.map(({ method, path }) => `${method} ${path}`);
    expect(new Set(rows).size).toBe(rows.length);
  });
});

/** What each kind of caller gets of what belongs to the administrator of "/". A row for every route: the test below holds it to the table. */
const matrix: readonly {
  readonly route: string;
  readonly path: () => string;
  readonly body?: () => unknown;
  readonly stranger: number;
  readonly viewer: number;
  readonly requester: number;
}[] = [
  {
    route: "POST /v1/certificates",
    path: () => "/v1/certificates",
    body: () => ({ csr: request, profile: "server" }),
    stranger: 201,
    viewer: 403,
    requester: 201,
  },
  { route: "GET /v1/certificates/:serial", path: () => `/v1/certificates/${serial}`, stranger: 404, viewer: 200, requester: 200 },
  { route: "GET /v1/certificates", path: () => "/v1/certificates", stranger: 200, viewer: 200, requester: 200 },
  {
    route: "POST /v1/certificates/:serial/revoke",
    path: () => `/v1/certificates/${serial}/revoke`,
    body: () => ({ reason: "superseded" }),
    stranger: 404,
    viewer: 403,
    // It is the administrator's.
    requester: 403,
  },
  {
    route: "POST /v1/revocations",
    path: () => "/v1/revocations",
    body: () => ({ filter: { serials: [serial] }, reason: "superseded" }),
    // Of what is theirs, nothing fits.
    stranger: 201,
    viewer: 403,
    requester: 403,
  },
  { route: "GET /v1/revocations/:id", path: () => `/v1/revocations/${revocationId}`, stranger: 404, viewer: 403, requester: 403 },
  {
    route: "POST /v1/revocations/:id/stop",
    path: () => `/v1/revocations/${revocationId}/stop`,
    body: () => ({ reason: "a try" }),
    stranger: 404,
    viewer: 403,
    requester: 403,
  },
  { route: "POST /v1/halt", path: () => "/v1/halt", body: () => ({ reason: "a try" }), stranger: 403, viewer: 403, requester: 403 },
  { route: "POST /v1/resume", path: () => "/v1/resume", body: () => ({ reason: "a try" }), stranger: 403, viewer: 403, requester: 403 },
  { route: "GET /v1/halt", path: () => "/v1/halt", stranger: 403, viewer: 403, requester: 403 },
  { route: "GET /v1/authorities", path: () => "/v1/authorities", stranger: 200, viewer: 200, requester: 200 },
  { route: "GET /v1/profiles", path: () => "/v1/profiles", stranger: 200, viewer: 200, requester: 200 },
  { route: "POST /v1/tokens", path: () => "/v1/tokens", body: () => grant("viewer", "/"), stranger: 403, viewer: 403, requester: 403 },
  { route: "GET /v1/tokens", path: () => "/v1/tokens", stranger: 200, viewer: 403, requester: 403 },
  { route: "DELETE /v1/tokens/:id", path: () => `/v1/tokens/${tokenId}`, stranger: 404, viewer: 403, requester: 403 },
  {
    route: "POST /v1/acme/external-account-keys",
    path: () => "/v1/acme/external-account-keys",
    body: () => ({ namespace: "/", directory: "default" }),
    stranger: 403,
    viewer: 403,
    requester: 403,
  },
  {
    route: "GET /v1/acme/external-account-keys",
    path: () => "/v1/acme/external-account-keys",
    stranger: 200,
    viewer: 403,
    requester: 403,
  },
  {
    route: "DELETE /v1/acme/external-account-keys/:id",
    path: () => `/v1/acme/external-account-keys/${keyId}`,
    stranger: 404,
    viewer: 403,
    requester: 403,
  },
  { route: "GET /v1/acme/accounts", path: () => "/v1/acme/accounts", stranger: 200, viewer: 200, requester: 200 },
  { route: "GET /v1/acme/accounts/:id", path: () => `/v1/acme/accounts/${accountId}`, stranger: 404, viewer: 200, requester: 200 },
  {
    route: "POST /v1/acme/accounts/:id/revoke",
    path: () => `/v1/acme/accounts/${accountId}/revoke`,
    body: () => ({ reason: "the server was sold" }),
    stranger: 404,
    viewer: 403,
    requester: 403,
  },
  { route: "GET /v1/acme/orders", path: () => "/v1/acme/orders", stranger: 200, viewer: 200, requester: 200 },
  { route: "GET /v1/acme/orders/:id", path: () => `/v1/acme/orders/${orderId}`, stranger: 404, viewer: 200, requester: 200 },
  { route: "GET /problems/:code", path: () => "/problems/badCSR", stranger: 200, viewer: 200, requester: 200 },
];

/** RFC 6750 §3. */
function challenge(error: string | false): string {
  return `Bearer realm="chancery"${error === false ? "" : `, error="${error}"`}`;
}

describe("who may do what, through the running service", () => {
  test("the matrix has a row for every route", () => {
    expect(matrix.map(({ route }) => route).toSorted()).toEqual(routes.map(({ method, path }) => `${method} ${path}`).toSorted());
  });

  test.for(matrix)(
    "$route: 401 without a token and with one that is noise, $stranger for a stranger, $viewer for a viewer",
    async (row) => {
      const isPublic = row.route.includes("/problems/");
      const ask = (credential: string | null, headers = {}) =>
        service.ask(row.path(), { method: row.route.split(" ", 1)[0] ?? "GET", body: row.body?.(), token: credential, headers });
      const unknown = `${viewerToken.slice(0, -8)}AAAAAAAA`;
      for (const credential of [null, "noise", unknown]) {
        const answer = await ask(credential);
        expect(answer.status).toBe(isPublic ? 200 : 401);
        expect(answer.headers["www-authenticate"]).toBe(isPublic ? undefined : challenge(credential !== null && "invalid_token"));
      }
      const basic = await ask(null, { authorization: `Basic ${Buffer.from("a:b").toString("base64")}` });
      expect([basic.status, basic.headers["www-authenticate"]]).toEqual(isPublic ? [200, undefined] : [401, challenge(false)]);
      expect((await ask(strangerToken)).status).toBe(row.stranger);
      const viewed = await ask(viewerToken);
      expect(viewed.status).toBe(row.viewer);
      expect(viewed.headers["www-authenticate"]).toBe(row.viewer === 403 ? challenge("insufficient_scope") : undefined);
      expect((await ask(requesterToken)).status).toBe(row.requester);
    },
  );

  test("to a stranger, what is not theirs looks like what does not exist: same status, same words (S-12)", async () => {
    expect(await looks(`/v1/certificates/${serial}`, "GET")).toEqual(await looks(`/v1/certificates/${"4".repeat(32)}`, "GET"));
    expect(await looks(`/v1/tokens/${tokenId}`, "DELETE")).toEqual(
      await looks("/v1/tokens/00000000-0000-4000-8000-000000000000", "DELETE"),
    );
  });

  test("lists of a stranger do not hold what is not theirs", async () => {
    const certificates = (await service.ask("/v1/certificates", { token: strangerToken })).text;
    expect(certificates).not.toContain(serial);
    expect((await service.ask("/v1/tokens", { token: strangerToken })).text).not.toContain(tokenId);
    expect((await service.ask("/v1/acme/external-account-keys", { token: strangerToken })).text).not.toContain(keyId);
    expect((await service.ask("/v1/acme/accounts", { token: strangerToken })).text).not.toContain(accountId);
    for (const path of ["/v1/acme/orders", `/v1/acme/orders?account=${accountId}`])
      expect((await service.ask(path, { token: strangerToken })).text).not.toContain(orderId);
  });

  test("who may not do a thing is told so before the body is looked at (REST-1)", async () => {
    const broken = { method: "POST", body: "{", headers: { "content-type": "text/plain" } };
    expect((await service.ask("/v1/certificates", { ...broken, token: null })).status).toBe(401);
    expect((await service.ask("/v1/certificates", { ...broken, token: viewerToken })).status).toBe(403);
    expect((await service.ask("/v1/certificates", { ...broken, token: requesterToken })).status).toBe(415);
  });

  test("a revoked token is refused from the next request on, and revoking it again is 204 as before", async () => {
    const created = (await service.ask("/v1/tokens", { body: grant("viewer", "/") })).json();
    const credential = String(created["token"]);
    expect((await service.ask("/v1/profiles", { token: credential })).status).toBe(200);
    for (let i = 0; i < 2; i++) {
      const revoked = await service.ask(`/v1/tokens/${String(created["id"])}`, { method: "DELETE" });
      expect([revoked.status, revoked.text]).toEqual([204, ""]);
    }
    expect((await service.ask("/v1/profiles", { token: credential })).status).toBe(401);
  });

  test("a token's text stands in the answer that creates it and in no list", async () => {
    const created = await service.ask("/v1/tokens", { body: grant("requester", "/team") });
    expect(created.status).toBe(201);
    const { id, token: text, ...rest } = created.json();
    expect(created.headers["location"]).toBe(`/v1/tokens/${String(id)}`);
    expect(rest).toMatchObject({ role: "requester", namespace: "/team", expiresAt });
    const list = await service.ask("/v1/tokens");
    expect(list.text).toContain(String(id));
    expect(list.text).not.toContain(String(text).slice(-20));
  });

  test.for(["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00Z"])(
    "a token until a time that PostgreSQL has not is malformed: %s",
    async (time) => {
      const refused = await service.ask("/v1/tokens", { body: { ...grant("viewer", "/"), expiresAt: time } });
      expect([refused.status, refused.json()["code"]]).toEqual([400, "malformed"]);
    },
  );

  test("several Authorization headers are refused, since two readers might take two (S-47)", async () => {
    const { port } = service.service.listeners.tls;
    const ask = asking({ port, ca: await service.ask("/v1/authorities").then(rootPem), token: service.adminToken });
    expect((await ask("/v1/profiles")).status).toBe(200);
    const doubled = await service.ask("/v1/profiles", {
      token: null,
      headers: { Authorization: [`Bearer ${service.adminToken}`, "Bearer x"] as never },
    });
    expect([doubled.status, doubled.json()["code"]]).toEqual([400, "malformed"]);
  });
});

/** Waits for the answer, and expects one audit record of its request. */
async function leaves(expected: object, answer: Promise<Answer>): Promise<void> {
  const { headers } = await answer;
  const found = (await service.service.ca.database.read((sql) => sql`select bytes from audit_record`))
    .map((row) => JSON.parse(Buffer.from(row["bytes"]).toString("utf8")))
    .filter((entry) => entry.requestId === headers["x-request-id"]);
  expect(found).toMatchObject([expected]);
}

describe("what is refused leaves a record, under the id of its request (AUD-17)", () => {
  test("a role that may not", async () => {
    const viewer = await token("viewer", "/");
    const expected = { operation: "certificate.issue", outcome: "denied", object: { code: "policyDenied" } };
    await leaves(expected, service.ask("/v1/certificates", { body: { csr: request, profile: "server" }, token: viewer }));
  });

  test.for([
    { name: "a profile that may not be asked for", body: { profile: "root" }, code: "policyDenied" },
    { name: "a lifetime outside of its profile", body: { profile: "server", lifetimeSeconds: 2 ** 31 - 1 }, code: "lifetimeOutOfRange" },
  ])("$name", async ({ body, code }) => {
    const requester = await token("requester", "/");
    const expected = { operation: "certificate.issue", outcome: "denied", object: { profile: body.profile, code } };
    await leaves(expected, service.ask("/v1/certificates", { body: { csr: request, ...body }, token: requester }));
  });

  test("a key that is reserved", async () => {
    const { csr, key } = await opensslRequest("reserved.example.org");
    const spki = createPublicKey(key).export({ type: "spki", format: "der" });
    const sha256 = createHash("sha256").update(spki).digest();
    await service.service.ca.database.read((sql) => sql`insert into reserved_key values (${sha256}, 'authority', now())`);
    const requester = await token("requester", "/");
    const expected = { operation: "certificate.issue", outcome: "denied", object: { profile: "server", code: "badCSR" } };
    await leaves(expected, service.ask("/v1/certificates", { body: { csr, profile: "server" }, token: requester }));
  });

  test("a token that would outlive its maker; and what is done with tokens has the id too", async () => {
    const admin = await token("admin", "/");
    const long = { ...grant("viewer", "/"), expiresAt: new Date(Date.parse(expiresAt) + 1_000).toISOString().replace(".000Z", "Z") };
    await leaves({ operation: "token.create", outcome: "denied" }, service.ask("/v1/tokens", { body: long, token: admin }));
    const created = service.ask("/v1/tokens", { body: grant("viewer", "/") });
    await leaves({ operation: "token.create", outcome: "success" }, created);
    const id = String((await created).json()["id"]);
    await leaves({ operation: "token.revoke", outcome: "success" }, service.ask(`/v1/tokens/${id}`, { method: "DELETE" }));
  });
});

/** An answer to the stranger, but for the ids in it. */
async function looks(path: string, method: string): Promise<unknown> {
  const { status, json } = await service.ask(path, { method, token: strangerToken });
  const { requestId, ...rest } = json();
  expect(requestId).toMatch(/^[0-9a-f]{32}$/);
  return { status, ...rest, detail: String(rest["detail"]).replaceAll(/[0-9a-f-]{32,36}/g, "…") };
}

function rootPem(answer: { readonly json: () => Record<string, unknown> }): string {
  const { authorities } = answer.json() as { authorities: { kind: string; certificate: string }[] };
  return authorities.find(({ kind }) => kind === "root")?.certificate ?? "";
}
