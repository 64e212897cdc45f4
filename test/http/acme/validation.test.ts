import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createServer as createWebServer, type Server } from "node:http";
import type { AddressInfo, Server as NetServer } from "node:net";
import { createSecureContext, createServer as createTlsServer, type Server as TlsServer } from "node:tls";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig } from "../../../src/config.ts";
import { parseDatabaseUrl } from "../../../src/database/address.ts";
import { type AcmeAnswer, acmeClient, type AcmeClient, certificateRequest, texts, thumbprint } from "../../support/acme-client.ts";
import { type DnsServer, startDnsServer, zone } from "../../support/dns-server.ts";
import { startProxy } from "../../support/proxy.ts";
import { standingGround, type Ground, startService, type TestService } from "../../support/service.ts";

/** The applicant's zone, and what else the resolver knows. */
const records: Record<string, { A?: string[]; CNAME?: string[]; TXT?: string[] }> = {};
/** The applicant's tls-alpn-01 certificates: key and certificate in PEM, by the name that SNI asks for. */
const shown = new Map<string, string>();
/** Names that SNI asked for. */
const asked: string[] = [];
/** What the applicant's web server answers to everything; nothing: it hangs up. */
let body: string | undefined;
let dns: DnsServer;
let tls: TlsServer;
let web: Server;
let ground: Ground;
let service: TestService;
let client: AcmeClient;

async function listening(server: NetServer): Promise<string> {
  // On every address of 127.0.0.0/8.
  await new Promise<void>((resolve) => server.listen(0, "0.0.0.0", resolve));
  return String((server.address() as AddressInfo).port);
}

beforeAll(async () => {
  dns = await startDnsServer(zone(records));
  tls = createTlsServer({
    ALPNProtocols: ["acme-tls/1"],
    SNICallback: (name, done) => {
      asked.push(name);
      const pem = shown.get(name);
      done(null, pem === undefined ? undefined : createSecureContext({ key: pem, cert: pem }));
    },
  });
  tls.on("tlsClientError", () => {});
  web = createWebServer((incoming, outgoing) => {
    if (body === undefined) incoming.socket.destroy();
    else outgoing.end(body);
  });
  ground = await standingGround({
    CHANCERY_DNS_SERVERS: dns.text,
    CHANCERY_TLSALPN01_PORT: await listening(tls),
    CHANCERY_HTTP01_PORT: await listening(web),
    CHANCERY_VALIDATION_ALLOW: "127.0.0.0/8,::1/128,2001:db8::/32",
    CHANCERY_NAT64_PREFIXES: "2001:db8:64::/96,2001:db8:6500::/40",
  });
  service = await startService({}, ground);
  client = await acmeClient(service);
  await client.register();
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await ground[Symbol.asyncDispose]();
  await dns[Symbol.asyncDispose]();
  tls.close();
  web.close();
});

type ChallengeObject = { readonly url: string; readonly type: string; readonly token: string; readonly status: string };

/** The challenges of one kind, of each authorization of the order in turn. */
async function challengesOf(order: AcmeAnswer, type: string): Promise<ChallengeObject[]> {
  const found: ChallengeObject[] = [];
  for (const url of texts(order.json["authorizations"])) {
    const { json } = await client.post(url, "");
    found.push(...(json["challenges"] as ChallengeObject[]).filter((challenge) => challenge.type === type));
  }
  return found;
}

function keyAuthorization({ token }: ChallengeObject): string {
  return `${token}.${thumbprint(client.key)}`;
}

function digest(challenge: ChallengeObject): Buffer {
  return createHash("sha256").update(keyAuthorization(challenge)).digest();
}

/** Finalizes, and gives the status of the order after that. */
async function finished(order: AcmeAnswer, names: readonly string[]): Promise<unknown> {
  return (await client.finalize(order, await certificateRequest(names))).json["status"];
}

/** Shows the certificate for a challenge to whoever asks for `servername`. */
async function show(challenge: ChallengeObject, servername: string, subjectAltName: string): Promise<void> {
  const proof = `1.3.6.1.5.5.7.1.31=critical,DER:0420${digest(challenge).toString("hex")}`;
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "-", "-subj", "/CN=self", "-days", "7"];
  const extensions = ["-addext", `subjectAltName=${subjectAltName}`, "-addext", proof];
  const { stdout } = await promisify(execFile)("openssl", ["req", "-x509", ...key, ...extensions]);
  shown.set(servername, stdout);
}

test.for([
  { name: "10.0.0.1 by a prefix of 96 bits", address: "2001:db8:64::a00:1" },
  { name: "10.0.0.1 by a prefix of 40 bits", address: "2001:db8:650a:0:1::" },
])(
  "S-01: an address behind the network's own NAT64 is judged as $name, though the prefix is listed (RFC 6052 §2.2)",
  async ({ address }) => {
    const failed = await client.prove(await client.order([address]), "http-01");
    expect(failed.json).toMatchObject({ status: "invalid", error: { type: "urn:ietf:params:acme:error:connection" } });
    expect((failed.json["error"] as { detail: string }).detail).toContain("leads to no address that is contacted");
  },
);

describe("dns-01 by a resolver (RFC 8555 §8.4)", () => {
  test("AV-3: the digests of a name and of its wildcard stand beside each other, behind a CNAME", async () => {
    const names = ["z.example.org", "*.z.example.org"];
    const order = await client.order(names);
    const digests = (await challengesOf(order, "dns-01")).map((challenge) => digest(challenge).toString("base64url"));
    expect(digests).toHaveLength(2);
    records["_acme-challenge.z.example.org"] = { CNAME: ["z.validation.example.net"] };
    records["z.validation.example.net"] = { TXT: ["v=spf1 -all", ...digests] };
    const ready = await client.prove(order, "dns-01");
    expect(ready.json["status"]).toBe("ready");
    expect(["valid", "processing"]).toContain(await finished(ready, names));
  });

  test.for([
    { name: "that does not exist", records: {}, error: { type: "urn:ietf:params:acme:error:dns", status: 400 }, says: "NXDOMAIN" },
    {
      name: "with another text",
      records: { "_acme-challenge.w.example.org": { TXT: ["another text"] } },
      error: { type: "urn:ietf:params:acme:error:unauthorized", status: 403 },
      says: "1 TXT records",
    },
  ])("AV-7: a record $name makes the order invalid, and the error names the resolver", async ({ records: more, error, says }) => {
    Object.assign(records, more);
    const failed = await client.prove(await client.order(["w.example.org"]), "dns-01");
    expect(failed.json).toMatchObject({ status: "invalid", error });
    const { detail } = failed.json["error"] as { detail: string };
    expect(detail).toContain(says);
    expect(detail).toContain("127.0.0.1");
    expect(detail).not.toContain("another text");
  });
});

describe("tls-alpn-01 by a server (RFC 8737 §3, RFC 8738 §6)", () => {
  test.for([
    { name: "alpn.example.org", servername: "alpn.example.org", subjectAltName: "DNS:alpn.example.org" },
    { name: "127.0.9.3", servername: "3.9.0.127.in-addr.arpa", subjectAltName: "IP:127.0.9.3" },
  ])("AV-4: $name is asked for as $servername and met by its certificate", async ({ name, servername, subjectAltName }) => {
    records["alpn.example.org"] = { A: ["127.0.9.2"] };
    const order = await client.order([name]);
    const [challenge] = await challengesOf(order, "tls-alpn-01");
    if (challenge) await show(challenge, servername, subjectAltName);
    const ready = await client.prove(order, "tls-alpn-01");
    expect(ready.json["status"]).toBe("ready");
    expect(asked).toContain(servername);
    expect(["valid", "processing"]).toContain(await finished(ready, [name]));
  });

  test("AV-7: a certificate for another name is unauthorized", async () => {
    records["other.example.org"] = { A: ["127.0.9.4"] };
    const order = await client.order(["other.example.org"]);
    const [challenge] = await challengesOf(order, "tls-alpn-01");
    if (challenge) await show(challenge, "other.example.org", "DNS:alpn.example.org");
    const failed = await client.prove(order, "tls-alpn-01");
    expect(failed.json).toMatchObject({ status: "invalid", error: { type: "urn:ietf:params:acme:error:unauthorized", status: 403 } });
  });
});

describe("no answer (RFC 8555 §8.2)", () => {
  test("AV-6: the challenge stays processing with the error shown and Retry-After, and a later attempt meets it", async () => {
    records["late.example.org"] = { A: ["127.0.9.5"] };
    const order = await client.order(["late.example.org"]);
    const [challenge] = await challengesOf(order, "http-01");
    const url = challenge?.url ?? "";
    await client.post(url, {});
    await expect.poll(async () => (await client.post(url, "")).json["error"], { timeout: 10_000 }).toBeDefined();
    const waiting = await client.post(url, "");
    expect(waiting.json).toMatchObject({
      status: "processing",
      error: { type: "urn:ietf:params:acme:error:connection", status: 400, detail: expect.stringContaining("127.0.9.5") },
    });
    expect(waiting.header("retry-after")).toMatch(/^\d+$/);
    expect((await client.post(order.header("location") ?? "", "")).json["status"]).toBe("pending");
    if (challenge) body = keyAuthorization(challenge);
    // The next attempt is the service's own.
    await expect.poll(async () => (await client.post(url, "")).json["status"], { timeout: 20_000 }).toBe("valid");
    expect((await client.post(url, "")).json["error"]).toBeUndefined();
    expect((await client.post(order.header("location") ?? "", "")).json["status"]).toBe("ready");
  });
});

test("the database is never contacted, whatever is allowed, by the name that the service knows it by either (S-02)", async () => {
  await using bare = await standingGround();
  await using proxy = await startProxy(bare.databaseUrl);
  const { port } = parseDatabaseUrl(proxy.url);
  const env = {
    ...bare.env,
    DATABASE_URL: proxy.url.replace("127.0.0.1", "LOCALHOST"),
    CHANCERY_HTTP01_PORT: String(port),
    CHANCERY_VALIDATION_ALLOW: "127.0.0.0/8",
  };
  await using own = await startService({}, { ...bare, env, config: loadConfig({ env, directory: bare.directory }) });
  const by = await acmeClient(own);
  await by.register();
  const order = await by.prove(await by.order(["127.0.0.1"]), "http-01");
  expect([order.json["status"], order.json["error"]]).toEqual([
    "invalid",
    { type: "urn:ietf:params:acme:error:connection", detail: expect.stringContaining("127.0.0.1 (own)"), status: 400 },
  ]);
});
