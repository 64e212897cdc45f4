import { createHash, X509Certificate } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig } from "../../../src/config.ts";
import { administer } from "../../support/server.ts";
import {
  type AcmeAnswer,
  acmeClient,
  type AcmeClient,
  authorityExtension,
  certificateKeys,
  certificateRequest,
  encoded,
  texts,
  thumbprint,
  usageExtension,
} from "../../support/acme-client.ts";
import { standingGround, type Ground, startService, type TestService } from "../../support/service.ts";

/** What the applicant's host answers to http-01, by token. */
const shown = new Map<string, string>();
let web: Server;
let ground: Ground;
/** Asks the applicant's host: nothing is taken for granted. */
let service: TestService;
let client: AcmeClient;

const directories = `
default: { names: ["*"], wildcards: true, singleLabels: true, ipRanges: ["127.0.0.0/8"] }
narrow: { names: [".example.org"] }
`;

beforeAll(async () => {
  web = createServer((incoming, outgoing) => {
    const answer = shown.get(incoming.url?.split("/").at(-1) ?? "");
    outgoing.writeHead(answer === undefined ? 404 : 200).end(answer);
  });
  await new Promise<void>((resolve) => {
    // On every address of 127.0.0.0/8.
    web.listen(0, "0.0.0.0", resolve);
  });
  const bare = await standingGround({ CHANCERY_HTTP01_PORT: String((web.address() as AddressInfo).port) });
  await writeFile(join(bare.directory, "directories.yaml"), directories);
  const env = { ...bare.env, CHANCERY_ACME_DIRECTORIES: "directories.yaml" };
  ground = { ...bare, env, config: loadConfig({ env, directory: bare.directory }) };
  service = await startService({}, ground);
  client = await acmeClient(service);
  await client.register();
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  web.close();
  await ground[Symbol.asyncDispose]();
});

function told({ status, problem }: AcmeAnswer): { status: number; problem: string | undefined } {
  return { status, problem };
}

function location(answer: AcmeAnswer): string {
  return answer.header("location") ?? "";
}

type ChallengeObject = {
  readonly type: string;
  readonly url: string;
  readonly token: string;
  readonly status: string;
  readonly error?: object;
};

function challengesOf(authorization: AcmeAnswer): readonly ChallengeObject[] {
  return authorization.json["challenges"] as readonly ChallengeObject[];
}

/** The first authorization of an order. */
async function authorizationOf(order: AcmeAnswer): Promise<AcmeAnswer> {
  return await client.post(texts(order.json["authorizations"])[0] ?? "", "");
}

/** Puts the key authorizations of every http-01 challenge of the order where they are asked for. */
async function show(order: AcmeAnswer): Promise<void> {
  for (const url of texts(order.json["authorizations"])) {
    for (const { token } of challengesOf(await client.post(url, ""))) shown.set(token, `${token}.${thumbprint(client.key)}`);
  }
}

/** A new order for 127.0.0.0/8 addresses, shown and found valid. */
async function readyOrder(addresses: readonly string[], more: object = {}): Promise<AcmeAnswer> {
  const order = await client.order(addresses, more);
  await show(order);
  const ready = await client.prove(order, "http-01");
  expect(ready.json["status"]).toBe("ready");
  return ready;
}

let last = 0;
/** An address that no other test has. */
function freshAddress(): string {
  last += 1;
  return `127.0.7.${last}`;
}

/** A newOrder for these identifiers. */
function asking(identifiers: unknown): () => Promise<AcmeAnswer> {
  return () => client.post(client.url("new-order"), { identifiers });
}

/** A CSR for the name, its octets changed. */
async function changed(name: string, change: (csr: Buffer) => Uint8Array): Promise<string> {
  return encoded(change(Buffer.from(await certificateRequest([name]), "base64url")));
}

/** Orders, shows and finalizes. */
async function issueFor(addresses: readonly string[]): Promise<{ order: AcmeAnswer; chain: string }> {
  await show(await client.order(addresses));
  return await client.issue(addresses);
}

/** A CSR under a key that the service has put aside. */
async function reservedKeyRequest(name: string, kind: "authority" | "compromised"): Promise<string> {
  const keys = await certificateKeys();
  const spki = new Uint8Array(await globalThis.crypto.subtle.exportKey("spki", keys.publicKey));
  const digest = createHash("sha256").update(spki).digest();
  await administer(
    ground.databaseUrl,
    (sql) => sql`insert into reserved_key (spki_sha256, kind, reserved_at) values (${digest}, ${kind}, now())`,
  );
  return await certificateRequest([name], { keys });
}

/** RSA of 1024 bits. */
function weakKeys(): ReturnType<typeof certificateKeys> {
  const algorithm = { name: "RSASSA-PKCS1-v1_5", modulusLength: 1024, publicExponent: Uint8Array.of(1, 0, 1), hash: "SHA-256" };
  return globalThis.crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
}

/** A CSR under the account's own key. */
async function ownKeyRequest(name: string): Promise<string> {
  const pair = await certificateKeys();
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const { subtle } = globalThis.crypto;
  const pkcs8 = client.key.privateKey.export({ type: "pkcs8", format: "der" });
  const privateKey = await subtle.importKey("pkcs8", new Uint8Array(pkcs8), algorithm, true, ["sign"]);
  const publicKey = await subtle.importKey("jwk", { ...client.key.jwk }, algorithm, true, ["verify"]);
  return await certificateRequest([name], { keys: { ...pair, privateKey, publicKey } });
}

describe("newOrder", () => {
  test("AO-1: it answers 201 with Location and all that was asked, and reading it gives the same (AM-1)", async () => {
    const notAfter = new Date(Date.now() + 86_400_000).toISOString().replace(/\.\d{3}Z$/, "Z");
    const order = await client.order(["www.example.org", "example.org"], { notAfter, profile: "server" });
    expect(order.status).toBe(201);
    expect(location(order)).toMatch(/\/acme\/default\/order\/[\w-]{22}$/);
    expect(order.json).toEqual({
      status: "pending",
      expires: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      identifiers: [
        { type: "dns", value: "example.org" },
        { type: "dns", value: "www.example.org" },
      ],
      profile: "server",
      notAfter,
      authorizations: [expect.stringContaining("/authz/"), expect.stringContaining("/authz/")],
      finalize: `${location(order)}/finalize`,
    });
    const read = await client.post(location(order), "");
    expect([read.status, read.json, location(read)]).toEqual([200, order.json, location(order)]);
  });

  const dns = (value: unknown) => asking([{ type: "dns", value }]);
  const ip = (value: unknown) => asking([{ type: "ip", value }]);
  test.for<{ id: string; name: string; ask: () => Promise<AcmeAnswer>; problem: string; sub?: boolean }>([
    { id: "AO-2", name: "no identifiers", ask: asking(undefined), problem: "malformed" },
    { id: "AO-2", name: "an empty list", ask: asking([]), problem: "malformed" },
    { id: "AO-2", name: "a value that is no text", ask: dns(1), problem: "malformed" },
    { id: "AO-2", name: "a type that is missing", ask: asking([{ value: "example.org" }]), problem: "malformed" },
    {
      id: "AO-2",
      name: "101 identifiers",
      ask: asking(Array.from({ length: 101 }, (_, index) => ({ type: "dns", value: `n${index}.example.org` }))),
      problem: "malformed",
    },
    { id: "AO-3", name: "an e-mail address", ask: asking([{ type: "email", value: "a@example.org" }]), problem: "unsupportedIdentifier" },
    { id: "AO-4", name: "a name of 254 characters", ask: dns(`${"a".repeat(62)}.`.repeat(4) + "ab"), problem: "malformed", sub: true },
    { id: "AO-4", name: "an empty label", ask: dns("a..example.org"), problem: "malformed", sub: true },
    { id: "AO-4", name: "a label of 64 characters", ask: dns(`${"a".repeat(64)}.example.org`), problem: "malformed", sub: true },
    { id: "AO-4", name: "an outer hyphen", ask: dns("-a.example.org"), problem: "malformed", sub: true },
    { id: "AO-4", name: "an underscore", ask: dns("a_b.example.org"), problem: "malformed", sub: true },
    { id: "AO-4", name: "NUL", ask: dns("a\0.example.org"), problem: "malformed", sub: true },
    { id: "AO-4", name: "other letters", ask: dns("ä.example.org"), problem: "malformed", sub: true },
    { id: "AO-4", name: "a final dot", ask: dns("example.org."), problem: "malformed", sub: true },
    { id: "AO-5", name: "a dotted address as dns", ask: dns("192.0.2.1"), problem: "malformed", sub: true },
    { id: "AO-5", name: "an address in hex as dns", ask: dns("0xc0000201"), problem: "malformed", sub: true },
    { id: "AO-5", name: "an integer as dns", ask: dns("3221225985"), problem: "malformed", sub: true },
    { id: "AO-5", name: "two wildcards", ask: dns("*.*.example.org"), problem: "malformed", sub: true },
    { id: "AO-5", name: "a wildcard in the middle", ask: dns("a.*.example.org"), problem: "malformed", sub: true },
    { id: "AO-5", name: "a wildcard within a label", ask: dns("a*.example.org"), problem: "malformed", sub: true },
    { id: "AO-6", name: "xn-- that is no A-label", ask: dns("xn--a-ecp.example.org"), problem: "malformed", sub: true },
    { id: "AO-6", name: "eleven labels", ask: dns(`${"a.".repeat(9)}example.org`), problem: "malformed", sub: true },
    { id: "AO-7", name: "?? and two hyphens", ask: dns("ab--cd.example.org"), problem: "rejectedIdentifier", sub: true },
    { id: "AO-10", name: "an IPv6 address in long form", ask: ip("2001:db8:0:0:0:0:0:1"), problem: "malformed", sub: true },
    { id: "AO-10", name: "an IPv6 address in brackets", ask: ip("[2001:db8::1]"), problem: "malformed", sub: true },
    { id: "AO-10", name: "a zone", ask: ip("fe80::1%eth0"), problem: "malformed", sub: true },
    { id: "AO-10", name: "an address that is not allowed", ask: ip("192.0.2.1"), problem: "rejectedIdentifier", sub: true },
    { id: "AO-11", name: "notAfter that is no time", ask: () => client.order(["a.org"], { notAfter: "tomorrow" }), problem: "malformed" },
    {
      id: "AO-11",
      name: "notAfter in the past",
      ask: () => client.order(["a.org"], { notAfter: "2020-01-01T00:00:00Z" }),
      problem: "malformed",
    },
    {
      id: "AO-11",
      name: "notAfter before notBefore",
      ask: () => {
        const [notBefore, notAfter] = [50, 40].map((minutes) => new Date(Date.now() + minutes * 60_000).toISOString());
        return client.order(["a.org"], { notBefore, notAfter });
      },
      problem: "malformed",
    },
    {
      id: "S-24",
      name: "notBefore two hours ahead",
      ask: () => client.order(["a.org"], { notBefore: new Date(Date.now() + 7_200_000).toISOString() }),
      problem: "malformed",
    },
    {
      id: "AO-11",
      name: "notAfter beyond the profile",
      ask: () => client.order(["a.org"], { notAfter: "2099-01-01T00:00:00Z" }),
      problem: "malformed",
    },
    { id: "AP-1", name: "another profile", ask: () => client.order(["a.org"], { profile: "mtls" }), problem: "invalidProfile" },
  ])("$id: $name is $problem 400", async ({ ask, problem, sub }) => {
    const answer = await ask();
    expect(told(answer)).toEqual({ status: 400, problem });
    if (!sub) return;
    // RFC 8555 §6.7.1: the identifier stands in the subproblem, of a registered type, and nowhere else.
    expect(answer.json["identifier"]).toBeUndefined();
    expect(answer.json["subproblems"]).toEqual([
      {
        type: `urn:ietf:params:acme:error:${problem}`,
        detail: expect.any(String),
        identifier: expect.objectContaining({ type: expect.any(String) }),
      },
    ]);
  });

  test("AJ-40: subproblems of several types are compound", async () => {
    const answer = await client.order(["a_b.example.org", "ab--cd.example.org", "good.example.org"]);
    expect(told(answer)).toEqual({ status: 400, problem: "compound" });
    expect((answer.json["subproblems"] as { type: string }[]).map(({ type }) => type.split(":").at(-1))).toEqual([
      "malformed",
      "rejectedIdentifier",
    ]);
  });

  test("AO-7: names against the directory's policy, single labels and localhost are rejectedIdentifier", async () => {
    const narrow = await acmeClient(service, { directory: "narrow" });
    await narrow.register();
    for (const name of ["example.net", "*.example.org", "intranet", "localhost"]) {
      expect(told(await narrow.order([name]))).toEqual({ status: 400, problem: "rejectedIdentifier" });
    }
    expect((await narrow.order(["a.example.org"])).status).toBe(201);
  });

  test("AO-8, AO-9: capitals and duplicates are folded; a name and its wildcard are two authorizations", async () => {
    const order = await client.order(["A.Example.org", "a.example.org", "*.example.org"]);
    expect(order.json["identifiers"]).toEqual([
      { type: "dns", value: "*.example.org" },
      { type: "dns", value: "a.example.org" },
    ]);
    const beside = await client.order(["b.example.org", "*.b.example.org"]);
    expect(texts(beside.json["authorizations"])).toHaveLength(2);
  });

  test("AO-13, AK-8: of 16 equal orders at once there is one, and each is 201 with its Location", async () => {
    const answers = await Promise.all(Array.from({ length: 16 }, () => client.order(["equal.example.org", "also.example.org"])));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201));
    expect(new Set(answers.map(location)).size).toBe(1);
  });
});

describe("authorizations and challenges", () => {
  test.for([
    { name: "localhost", wildcard: false, types: ["http-01", "dns-01", "tls-alpn-01"] },
    { name: "*.w.example.org", wildcard: true, types: ["dns-01"] },
    { name: "127.0.6.1", wildcard: false, types: ["http-01", "tls-alpn-01"] },
  ])("AO-41: $name is offered what can show it; its identifier has no *.", async ({ name, wildcard, types }) => {
    const authorization = await authorizationOf(await client.order([name]));
    expect(authorization.json).toMatchObject({ status: "pending", identifier: { value: name.replace("*.", "") } });
    expect(authorization.json["wildcard"]).toBe(wildcard ? true : undefined);
    expect(challengesOf(authorization).map(({ type }) => type)).toEqual(types);
  });

  test("AO-42: a token is 43 characters of base64url, own to each challenge", async () => {
    const tokens = challengesOf(await authorizationOf(await client.order(["t.example.org"]))).map(({ token }) => token);
    for (const token of tokens) expect(token).toMatch(/^[\w-]{43}$/);
    expect(new Set(tokens).size).toBe(tokens.length);
  });

  test("AO-14, AO-30, AO-31, AO-33, AO-41: {} is 200 processing with a link up and Retry-After; then valid, alone in its authorization, and unchanged", async () => {
    const order = await client.order([freshAddress()]);
    await show(order);
    const url = texts(order.json["authorizations"])[0] ?? "";
    const [challenge] = challengesOf(await client.post(url, ""));
    const answer = await client.post(challenge?.url ?? "", {});
    expect(answer.status).toBe(200);
    expect(answer.lines("link")).toContain(`<${url}>;rel="up"`);
    expect(["processing", "valid"]).toContain(answer.json["status"]);
    expect(answer.header("retry-after")).toBe(answer.json["status"] === "processing" ? "1" : undefined);
    await client.prove(order, "http-01");
    const authorization = await client.post(url, "");
    expect(authorization.json["status"]).toBe("valid");
    expect(challengesOf(authorization)).toEqual([
      { type: "http-01", url: challenge?.url, status: "valid", token: challenge?.token, validated: expect.stringMatching(/Z$/) },
    ]);
    const again = await client.post(challenge?.url ?? "", { keyAuthorization: "AO-31" });
    expect([again.status, again.json]).toEqual([200, challengesOf(authorization)[0]]);
    // AO-14: a name that the account has shown needs nothing more.
    expect((await client.order(texts((order.json["identifiers"] as { value: string }[]).map(({ value }) => value)))).json["status"]).toBe(
      "ready",
    );
  });

  test("AV-7: a wrong answer is unauthorized in the challenge, and the order is invalid with the same error", async () => {
    const order = await client.order([freshAddress()]);
    const failed = await client.prove(order, "http-01");
    const authorization = await authorizationOf(order);
    const error = { type: "urn:ietf:params:acme:error:unauthorized", status: 403, detail: expect.stringContaining("404") };
    expect(authorization.json["status"]).toBe("invalid");
    expect(challengesOf(authorization)).toEqual([expect.objectContaining({ type: "http-01", status: "invalid", error })]);
    expect(failed.json).toMatchObject({ status: "invalid", error });
  });

  test("AO-34: a challenge of an authorization that has ended is malformed 400", async () => {
    const order = await client.order([freshAddress()]);
    const authorization = await authorizationOf(order);
    await client.post(texts(order.json["authorizations"])[0] ?? "", { status: "deactivated" });
    const answer = await client.post(challengesOf(authorization)[0]?.url ?? "", {});
    expect(told(answer)).toEqual({ status: 400, problem: "malformed" });
    expect(answer.detail).toContain("expired");
  });

  test("AO-20: deactivation answers 200 and ends the order; another body is malformed 400", async () => {
    const order = await client.order(["d.example.org"]);
    const url = texts(order.json["authorizations"])[0] ?? "";
    for (const payload of [{}, { status: "valid" }])
      expect(told(await client.post(url, payload))).toEqual({ status: 400, problem: "malformed" });
    const answer = await client.post(url, { status: "deactivated" });
    expect([answer.status, answer.json["status"]]).toEqual([200, "deactivated"]);
    expect((await client.post(location(order), "")).json["status"]).toBe("invalid");
  });
});

describe("finalize and certificate", () => {
  test("AF-1, AC-1: it answers 200 with Location; the chain is leaf and issuers without the root, the same bytes at every read", async () => {
    const addresses = [freshAddress()];
    const order = await readyOrder(addresses);
    const answer = await client.finalize(order, await certificateRequest(addresses));
    expect([answer.status, location(answer)]).toEqual([200, location(order)]);
    expect(["valid", "processing"]).toContain(answer.json["status"]);
    const done = await client.post(location(order), "");
    expect(done.json).toMatchObject({ status: "valid", certificate: location(order).replace("/order/", "/cert/") });
    const certificate = await client.post(String(done.json["certificate"]), "");
    expect(certificate.header("content-type")).toBe("application/pem-certificate-chain");
    expect(certificate.text).toMatch(/^(-----BEGIN CERTIFICATE-----\n([\w+/=]{1,64}\n)+-----END CERTIFICATE-----\n){2}$/);
    const [leaf, issuer] = certificate.text.split(/(?<=-----END CERTIFICATE-----\n)/).map((pem) => new X509Certificate(pem));
    expect(leaf?.checkIP(addresses[0] ?? "")).toBe(addresses[0]);
    expect(issuer && leaf?.checkIssued(issuer)).toBe(true);
    expect(issuer?.issuer).not.toBe(issuer?.subject);
    expect((await client.post(String(done.json["certificate"]), "")).text).toBe(certificate.text);
  });

  test.for([
    { accept: "application/pkix-cert", type: "application/pkix-cert", up: 1 },
    { accept: "application/pem-certificate-chain", type: "application/pem-certificate-chain", up: 0 },
    { accept: "*/*", type: "application/pem-certificate-chain", up: 0 },
    { accept: "text/html", type: "application/pem-certificate-chain", up: 0 },
  ])("AC-1: Accept: $accept gives $type", async ({ accept, type, up }) => {
    const address = "127.0.7.200";
    const { order } = await issueFor([address]);
    const answer = await client.post(String(order.json["certificate"]), "", { headers: { accept } });
    expect([answer.status, answer.header("content-type")]).toEqual([200, type]);
    const leaf = new X509Certificate(answer.bytes);
    expect(leaf.checkIP(address)).toBe(address);
    // RFC 8555 §7.4.2: a form that has one certificate leads to its issuer's, as the certificate itself does.
    const links = answer.lines("link").flatMap((line) => /^<(.*)>;rel="up"$/.exec(line)?.[1] ?? []);
    expect(links).toHaveLength(up);
    for (const link of links) expect(leaf.infoAccess?.split("\n")).toContain(`CA Issuers - URI:${link}`);
  });

  test("AO-12: dates that were asked for stand exactly in the certificate", async () => {
    const from = Math.floor(Date.now() / 1000) * 1000 + 3_600_000;
    const dates = { notBefore: new Date(from).toISOString(), notAfter: new Date(from + 5 * 86_400_000).toISOString() };
    const addresses = [freshAddress()];
    const order = await readyOrder(addresses, dates);
    await client.finalize(order, await certificateRequest(addresses));
    const { text } = await client.post(location(order).replace("/order/", "/cert/"), "");
    const leaf = new X509Certificate(text);
    expect([leaf.validFromDate.getTime(), leaf.validToDate.getTime()]).toEqual([from, from + 5 * 86_400_000]);
  });

  test("AT-5: from newOrder to the certificate every answer is 200 or 201, and after finalize the order never reads ready", async () => {
    const addresses = [freshAddress()];
    const made = await client.order(addresses);
    await show(made);
    const [authorization] = [await authorizationOf(made)];
    const challenge = challengesOf(authorization).find(({ type }) => type === "http-01");
    const responded = await client.post(challenge?.url ?? "", {});
    const ready = await client.prove(made, "http-01");
    const finished = await client.finalize(ready, await certificateRequest(addresses));
    const reads = await Promise.all(Array.from({ length: 8 }, () => client.post(location(made), "")));
    expect([made, authorization, responded, ready, finished].map(({ status }) => status)).toEqual([201, 200, 200, 200, 200]);
    for (const { status, json } of [finished, ...reads]) {
      expect(status).toBe(200);
      expect(["processing", "valid"]).toContain(json["status"]);
    }
  });

  test("AF-2, AM-2: finalize of an order that is pending or valid is orderNotReady 403 with its Location", async () => {
    const pending = await client.order(["p.example.org"]);
    const early = await client.finalize(pending, await certificateRequest(["p.example.org"]));
    expect([told(early), location(early)]).toEqual([{ status: 403, problem: "orderNotReady" }, location(pending)]);
    const addresses = [freshAddress()];
    const { order } = await issueFor(addresses);
    const late = await client.finalize(order, await certificateRequest(addresses));
    expect([told(late), location(late)]).toEqual([{ status: 403, problem: "orderNotReady" }, location(order)]);
  });

  type Row = { id: string; name: string; csr: (name: string) => Promise<unknown> | unknown; problem: string };
  test("AF-4 to AF-9, AF-20: a CSR that is refused leaves the order ready, and a good one finishes it", async () => {
    const address = freshAddress();
    const order = await readyOrder([address]);
    const rows: readonly Row[] = [
      { id: "AF-4", name: "no csr", csr: () => undefined, problem: "malformed" },
      { id: "AF-4", name: "no base64url", csr: () => "a+b=", problem: "malformed" },
      { id: "AF-4", name: "no DER", csr: () => encoded("csr"), problem: "malformed" },
      { id: "AF-4", name: "an octet less", csr: (name) => changed(name, (csr) => csr.subarray(0, -1)), problem: "malformed" },
      {
        id: "AF-4",
        name: "an octet more",
        csr: (name) => changed(name, (csr) => Buffer.concat([csr, Buffer.alloc(1)])),
        problem: "malformed",
      },
      { id: "AF-4", name: "more than 16 KiB", csr: () => encoded(Buffer.alloc(16_385)), problem: "malformed" },
      {
        id: "AF-5",
        name: "a signature that is wrong",
        csr: (name) => changed(name, (csr) => csr.fill((csr.at(-1) ?? 0) ^ 1, csr.length - 1)),
        problem: "badCSR",
      },
      { id: "AF-6", name: "a name more", csr: (name) => certificateRequest([name, "127.0.0.1"]), problem: "badCSR" },
      { id: "AF-6", name: "another name", csr: () => certificateRequest(["127.0.0.1"]), problem: "badCSR" },
      { id: "AF-6", name: "no name", csr: () => certificateRequest([]), problem: "badCSR" },
      {
        id: "AF-7",
        name: "CA:true",
        csr: (name) => certificateRequest([name], { extensions: [authorityExtension()] }),
        problem: "badCSR",
      },
      { id: "AF-9", name: "the account's key", csr: (name) => ownKeyRequest(name), problem: "badCSR" },
      { id: "AF-9", name: "a key of ours", csr: (name) => reservedKeyRequest(name, "authority"), problem: "badCSR" },
      { id: "AF-9", name: "a blocked key", csr: (name) => reservedKeyRequest(name, "compromised"), problem: "badCSR" },
      { id: "AF-9", name: "a weak key", csr: async (name) => certificateRequest([name], { keys: await weakKeys() }), problem: "badCSR" },
    ];
    for (const { id, name, csr, problem } of rows) {
      const answer = await client.post(String(order.json["finalize"]), { csr: await csr(address) });
      expect({ row: `${id}: ${name}`, ...told(answer) }).toEqual({ row: `${id}: ${name}`, status: 400, problem });
    }
    expect((await client.post(location(order), "")).json["status"]).toBe("ready");
    // Clients write the first identifier into the CN, an address too.
    expect((await client.finalize(order, await certificateRequest([address], { commonName: address }))).status).toBe(200);
  });

  test("AT-9, AF-8: names in the CN alone are taken; what else the CSR asks for is ignored", async () => {
    const name = "localhost";
    const order = await client.order([name]);
    await show(order);
    const ready = await client.prove(order, "http-01");
    const wish = usageExtension("1.3.6.1.5.5.7.3.4");
    await client.finalize(ready, await certificateRequest([], { commonName: name, extensions: [wish] }));
    const { text } = await client.post(location(order).replace("/order/", "/cert/"), "");
    const leaf = new X509Certificate(text);
    expect([leaf.checkHost(name), leaf.keyUsage]).toEqual([name, ["1.3.6.1.5.5.7.3.1"]]);
  });

  test("AK-2: of 16 finalizes of one order at once there is one certificate, and nobody sees anything but it or 403", async () => {
    const addresses = [freshAddress()];
    const order = await readyOrder(addresses);
    const csr = await certificateRequest(addresses);
    const answers = await Promise.all(Array.from({ length: 16 }, () => client.finalize(order, csr)));
    for (const answer of answers) {
      if (answer.status !== 200) expect(told(answer)).toEqual({ status: 403, problem: "orderNotReady" });
      expect(location(answer)).toBe(location(order));
    }
    const list = (await service.ask(`/v1/certificates?name=${addresses[0]}`)).json();
    expect(list["certificates"]).toHaveLength(1);
    expect((await client.post(location(order), "")).json["status"]).toBe("valid");
  });
});

describe("where Pebble and Boulder do otherwise than the RFC, the RFC is followed (AT-7, production)", () => {
  test.for<{ name: string; ask: () => Promise<AcmeAnswer>; status: number; problem?: string; nonce?: true }>([
    {
      name: "a url that is not the request's is unauthorized 403 (RFC 8555 §6.4)",
      ask: () => client.post(client.account(), "", { protected: { url: client.url("new-order") } }),
      status: 403,
      problem: "unauthorized",
    },
    {
      name: "a nonce that is not base64url is malformed, with one that works (RFC 8555 §6.5.2)",
      ask: () => client.post(client.account(), "", { protected: { nonce: "a+b=" } }),
      status: 400,
      problem: "malformed",
      nonce: true,
    },
    { name: "newNonce may not be stored (RFC 8555 §7.2)", ask: () => client.ask(client.url("new-nonce")), status: 204, nonce: true },
    {
      name: "members that nobody knows are ignored in an account (RFC 8555 §7.3)",
      ask: () => client.post(client.account(), { resource: "reg", more: {} }),
      status: 200,
    },
    {
      name: "and in the response to a challenge (RFC 8555 §7.5.1)",
      ask: async () => {
        const order = await client.order([freshAddress()]);
        await show(order);
        return await client.post(challengesOf(await authorizationOf(order))[0]?.url ?? "", {
          keyAuthorization: "x",
          resource: "challenge",
        });
      },
      status: 200,
    },
    {
      name: "an account that was deactivated is unauthorized 401 (RFC 8555 §7.3.6)",
      ask: async () => {
        const gone = await acmeClient(service);
        await gone.register();
        await gone.post(gone.account(), { status: "deactivated" });
        return await gone.post(gone.account(), "");
      },
      status: 401,
      problem: "unauthorized",
    },
    {
      name: "a CSR for other names than the order's is badCSR 400 (RFC 8555 §7.4)",
      ask: async () => await client.finalize(await readyOrder([freshAddress()]), await certificateRequest(["127.0.0.1"])),
      status: 400,
      problem: "badCSR",
    },
  ])("$name", async ({ ask, status, problem, nonce }) => {
    const answer = await ask();
    expect(told(answer)).toEqual({ status, problem });
    if (nonce) {
      expect(answer.header("cache-control")).toBe("no-store");
      const again = { protected: { nonce: answer.header("replay-nonce") } };
      expect((await client.post(client.account(), "", again)).status).toBe(200);
    }
  });
});
