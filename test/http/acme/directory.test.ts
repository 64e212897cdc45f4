import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { acmeClient, type AcmeClient } from "../../support/acme-client.ts";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadConfig } from "../../../src/config.ts";
import { standingGround, type Ground, startService, type TestService } from "../../support/service.ts";

const baseUrl = "https://ca.example.org";

describe("the directory of an evaluation", () => {
  let ground: Ground;
  let service: TestService;
  let client: AcmeClient;
  beforeAll(async () => {
    ground = await standingGround({ CHANCERY_BASE_URL: baseUrl });
    service = await startService({}, ground);
    client = await acmeClient(service);
    await client.register();
  });
  afterAll(async () => {
    await service[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  const root = `${baseUrl}/acme/default`;
  const object = {
    newNonce: `${root}/new-nonce`,
    newAccount: `${root}/new-account`,
    newOrder: `${root}/new-order`,
    revokeCert: `${root}/revoke-cert`,
    keyChange: `${root}/key-change`,
    renewalInfo: `${root}/renewal-info`,
    meta: { externalAccountRequired: false, profiles: { server: expect.any(String) } },
  };

  test("AD-1, AD-2: it has exactly the members that are served, with absolute URLs, by GET and POST-as-GET", async () => {
    const got = await client.ask(client.url("directory"));
    expect(got.header("content-type")).toBe("application/json");
    expect(got.json).toEqual(object);
    expect((await client.post(client.url("directory"), "")).json).toEqual(object);
  });

  test("AD-1: everything that it advertises works: none is 404 or 405", async () => {
    for (const member of ["newAccount", "newOrder", "revokeCert", "keyChange"] as const) {
      expect([400, 403]).toContain((await client.post(object[member], "")).status);
    }
    expect((await client.ask(`${object.renewalInfo}/AAAA.AAAA`)).status).toBe(400);
  });

  test.for([{ host: "evil.example.net" }, { "x-forwarded-host": "evil.example.net", "x-forwarded-proto": "http" }])(
    "AD-3: URLs begin with the configured base URL whatever %j says",
    async (headers) => {
      const answer = await client.ask(client.url("directory"), { headers: headers as Record<string, string> });
      expect(answer.json).toEqual(object);
      expect(answer.text).not.toContain("evil");
    },
  );

  test("AD-4: the index is linked from everything but the directory; a nonce is on no GET but newNonce's", async () => {
    const index = [`<${root}/directory>;rel="index"`];
    const directory = await client.ask(client.url("directory"));
    expect([directory.lines("link"), directory.header("replay-nonce")]).toEqual([[], undefined]);
    const renewal = await client.ask(`${object.renewalInfo}/AAAA.AAAA`);
    expect([renewal.lines("link"), renewal.header("replay-nonce")]).toEqual([index, undefined]);
    const account = await client.post(client.account(), "");
    expect(account.lines("link")).toEqual(index);
  });

  test.for([
    { method: "HEAD", status: 200 },
    { method: "GET", status: 204 },
  ])("newNonce answers $status to $method, with a nonce that nothing may keep (RFC 8555 §7.2)", async ({ method, status }) => {
    const answer = await client.ask(object.newNonce, { method });
    expect([answer.status, answer.text]).toEqual([status, ""]);
    expect(answer.header("replay-nonce")).toMatch(/^[\w-]{20,64}$/);
    expect(answer.header("cache-control")).toBe("no-store");
    expect(answer.lines("link")).toEqual([`<${root}/directory>;rel="index"`]);
  });

  test("newNonce takes POST-as-GET", async () => {
    expect((await client.post(object.newNonce, "")).status).toBe(204);
  });
});

/** A service with this file of directories. */
async function withFile<Value>(text: string, act: (service: TestService, ground: Ground) => Promise<Value>): Promise<Value> {
  await using bare = await standingGround({ CHANCERY_BASE_URL: baseUrl });
  await writeFile(join(bare.directory, "directories.yaml"), text);
  const env = { ...bare.env, CHANCERY_ACME_DIRECTORIES: "directories.yaml" };
  const ground = { ...bare, env, config: loadConfig({ env, directory: bare.directory }), [Symbol.asyncDispose]: () => Promise.resolve() };
  await using service = await startService({}, ground);
  return await act(service, ground);
}

describe("directories as configured", () => {
  test("AD-2: meta has what was set; two directories know nothing of each other's accounts", async () => {
    const text = `
first:
  names: [.example.org]
  termsOfService: https://example.org/terms
  website: https://example.org/
  externalAccountRequired: false
second:
  profile: mtls
  ipRanges: [10.0.0.0/8]
  externalAccountRequired: true
`;
    await withFile(text, async (service) => {
      const first = await acmeClient(service, { directory: "first" });
      expect((await first.ask(first.url("directory"))).json["meta"]).toEqual({
        termsOfService: "https://example.org/terms",
        website: "https://example.org/",
        externalAccountRequired: false,
        profiles: { server: expect.any(String) },
      });
      const second = await acmeClient(service, { directory: "second", key: first.key });
      expect((await second.ask(second.url("directory"))).json["meta"]).toEqual({
        externalAccountRequired: true,
        profiles: { mtls: expect.any(String) },
      });
      expect((await first.register({ termsOfServiceAgreed: true })).status).toBe(201);
      const found = await second.register({ onlyReturnExisting: true });
      expect(found.problem).toBe("accountDoesNotExist");
      const foreign = await second.post(second.url("new-order"), {}, { protected: { kid: first.account(), jwk: undefined } });
      expect(foreign.problem).toBe("malformed");
    });
  });
});
