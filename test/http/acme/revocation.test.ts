import { execFile } from "node:child_process";
import { generateKeyPairSync, KeyObject, X509Certificate } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type AcmeAnswer,
  acmeClient,
  type AcmeClient,
  certificateKeys,
  certificateRequest,
  encoded,
  signingKey,
  type SigningKey,
} from "../../support/acme-client.ts";
import { type MovedClock, movedClock } from "../../support/clock.ts";
import { opensslOcspRequest, opensslOcspVerdict, postOcsp } from "../../support/ocsp.ts";
import { standingGround, type Ground, startService, type TestService } from "../../support/service.ts";
import { exchange } from "../exchange.ts";
import { brokenStatus } from "../../support/status-invariants.ts";

let clock: MovedClock;
let ground: Ground;
let service: TestService;
let client: AcmeClient;
beforeAll(async () => {
  clock = movedClock();
  ground = await standingGround({ CHANCERY_TEST_ALWAYS_VALID: "true" });
  service = await startService({ clock }, ground);
  client = await acmeClient(service);
  await client.register();
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await ground[Symbol.asyncDispose]();
});

type Held = { readonly leaf: X509Certificate; readonly key: SigningKey; readonly certificate: string; readonly order: string };

let last = 0;
/** A certificate for a new name, and its key as one that signs JWS. */
async function issued(more: object = {}, names: readonly string[] = [`r${(last += 1)}.example.org`]): Promise<Held> {
  const keys = await certificateKeys();
  const order = await client.order(names, more);
  const ready = await client.prove(order);
  await client.finalize(ready, await certificateRequest(names, { keys }));
  const url = order.header("location") ?? "";
  const { text } = await client.post(url.replace("/order/", "/cert/"), "");
  const leaf = new X509Certificate(text);
  const jwk = KeyObject.from(keys.publicKey).export({ format: "jwk" });
  return { leaf, key: { alg: "ES256", privateKey: KeyObject.from(keys.privateKey), jwk }, certificate: encoded(leaf.raw), order: url };
}

function revoke(payload: object, by: AcmeClient = client): Promise<AcmeAnswer> {
  return by.post(by.url("revoke-cert"), payload);
}

function revokeByKey(payload: object, key: SigningKey): Promise<AcmeAnswer> {
  return client.post(client.url("revoke-cert"), payload, { key, protected: { kid: undefined, jwk: key.jwk, alg: key.alg } });
}

function told({ status, problem }: AcmeAnswer): { status: number; problem: string | undefined } {
  return { status, problem };
}

/** What openssl reads in an answer of the responder about a certificate. */
async function ocspStatus({ leaf }: Held, nonce: boolean): Promise<string> {
  const asked = { serials: [leaf.serialNumber.toLowerCase()], issuer: join(ground.directory, "chain.pem"), nonce };
  const answer = await postOcsp(service.service, await opensslOcspRequest(asked));
  return (await opensslOcspVerdict(answer.body, { ...asked, root: join(ground.directory, "root.pem") })).statuses[0] ?? "";
}

/** Serial numbers in the full CRL that is served, as openssl writes them. */
async function crlSerials(): Promise<string> {
  const { body } = await exchange(service.service.listeners.status, { path: "/crl/issuing-1.crl" });
  const file = join(ground.directory, "fetched.crl");
  await writeFile(file, body);
  return (await promisify(execFile)("openssl", ["crl", "-inform", "DER", "-in", file, "-noout", "-text"])).stdout;
}

async function runJobs(...names: readonly string[]): Promise<void> {
  for (const name of names) await service.service.jobs.find((job) => job.name === name)?.act(new AbortController().signal);
}

describe("what verifiers learn of a revocation (AR-20)", () => {
  test("AR-20: after the 200 no OCSP answer that is made says good, kept ones end with the feed, and the next CRL has it", async () => {
    const held = await issued();
    expect([await ocspStatus(held, false), await ocspStatus(held, true)]).toEqual(["good", "good"]);
    expect(await crlSerials()).not.toContain(held.leaf.serialNumber);
    expect((await revoke({ certificate: held.certificate, reason: 4 })).status).toBe(200);
    expect(await ocspStatus(held, true)).toBe("revoked");
    // The service's own run of a job may be under way when ours comes, which then has nothing to do.
    const statusKept = async () => (await runJobs("status feed"), ocspStatus(held, false));
    await expect.poll(statusKept).toBe("revoked");
    const published = async () => (await runJobs("crl", "crl directory"), crlSerials());
    const entry = new RegExp(`Serial Number: ${held.leaf.serialNumber}\\n.*\\n.*\\n.*Reason Code:.*\\n *Superseded`);
    await expect.poll(published).toMatch(entry);
    const seconds = service.service.jobs
      .filter(({ name }) => ["crl", "crl directory"].includes(name))
      .map(({ everySeconds }) => everySeconds);
    expect(seconds.reduce((sum, one) => sum + one, 0)).toBeLessThan(60);
  });
});

describe("revokeCert", () => {
  test("AR-1, AR-11: the account that got it, or its key, gets 200 and an empty body; again it is alreadyRevoked 400", async () => {
    for (const ask of [
      (held: Held) => revoke({ certificate: held.certificate }),
      (held: Held) => revokeByKey({ certificate: held.certificate }, held.key),
    ]) {
      const held = await issued();
      const first = await ask(held);
      expect([first.status, first.text]).toEqual([200, ""]);
      expect(first.header("replay-nonce")).toBeDefined();
      const shown = await service.ask(`/v1/certificates/${held.leaf.serialNumber.toLowerCase()}`);
      expect(shown.json()["status"]).toBe("revoked");
      expect(told(await ask(held))).toEqual({ status: 400, problem: "alreadyRevoked" });
    }
  });

  test("AR-3: another account with valid authorizations for all of its names may, one for some may not (RFC 8555 §7.6)", async () => {
    const held = await issued({}, ["all.example.org", "some.example.org"]);
    const other = await acmeClient(service);
    await other.register();
    await other.prove(await other.order(["some.example.org"]));
    expect(told(await revoke({ certificate: held.certificate }, other))).toEqual({ status: 403, problem: "unauthorized" });
    await other.prove(await other.order(["all.example.org"]));
    // AR-9: what only its holder can know.
    expect(told(await revoke({ certificate: held.certificate, reason: 1 }, other))).toEqual({
      status: 400,
      problem: "badRevocationReason",
    });
    expect((await revoke({ certificate: held.certificate }, other)).status).toBe(200);
  });

  test("AR-4: another account, and another key, are unauthorized 403", async () => {
    const held = await issued();
    const other = await acmeClient(service);
    await other.register();
    expect(told(await revoke({ certificate: held.certificate }, other))).toEqual({ status: 403, problem: "unauthorized" });
    expect(told(await revokeByKey({ certificate: held.certificate }, signingKey()))).toEqual({ status: 403, problem: "unauthorized" });
  });

  test("AR-4: neither kid nor jwk, and both, are malformed 400", async () => {
    const { certificate, key } = await issued();
    for (const who of [{ kid: undefined }, { jwk: key.jwk }]) {
      const answer = await client.post(client.url("revoke-cert"), { certificate }, { protected: who });
      expect(told(answer)).toEqual({ status: 400, problem: "malformed" });
    }
  });

  test("AR-4, AR-6: a weak jwk is judged as a key of the certificate, not as an account's", async () => {
    const held = await issued();
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
    const weak: SigningKey = { alg: "RS256", privateKey, jwk: publicKey.export({ format: "jwk" }) };
    expect(told(await revokeByKey({ certificate: held.certificate }, weak))).toEqual({ status: 403, problem: "unauthorized" });
    // Weak is one thing, long another: nobody gets an exponentiation of this length out of us.
    const long = { ...weak, jwk: { ...weak.jwk, e: encoded(Buffer.alloc(128, 0xff)) } };
    expect(told(await revokeByKey({ certificate: held.certificate }, long))).toEqual({ status: 400, problem: "badPublicKey" });
    // What an account's key must not show says nothing against who gives a certificate up (AJ-18).
    const leaked = { ...held.key, jwk: { ...held.key.jwk, d: "AAAA" } };
    expect((await revokeByKey({ certificate: held.certificate }, leaked)).status).toBe(200);
  });

  test.for([undefined, 0, 1, 3, 4, 5])("AR-7: reason %j is accepted", async (reason) => {
    const held = await issued();
    expect((await revoke({ certificate: held.certificate, reason })).status).toBe(200);
  });

  test("AR-8: reasons that are for authorities, or none, are badRevocationReason 400 with those that are allowed", async () => {
    const held = await issued();
    for (const reason of [2, 6, 7, 8, 9, 10, 11, -1, 1.5, "1", null]) {
      const answer = await revoke({ certificate: held.certificate, reason });
      expect({ reason, ...told(answer) }).toEqual({ reason, status: 400, problem: "badRevocationReason" });
      expect(answer.detail).toContain("0, 1, 3, 4, 5");
    }
    expect((await revoke({ certificate: held.certificate })).status).toBe(200);
  });

  test("AR-10: a key that its holder calls compromised is in no certificate any more", async () => {
    const held = await issued();
    expect((await revokeByKey({ certificate: held.certificate, reason: 1 }, held.key)).status).toBe(200);
    const other = await acmeClient(service, { key: held.key });
    expect(told(await other.register())).toEqual({ status: 400, problem: "badPublicKey" });
  });

  test("AR-12: no base64url and no DER are malformed 400; what is not ours is malformed 404", async () => {
    const held = await issued();
    for (const certificate of [undefined, 1, "a+b", encoded("certificate"), encoded(held.leaf.raw.subarray(1))]) {
      expect(told(await revoke({ certificate }))).toEqual({ status: 400, problem: "malformed" });
    }
    const otherBytes = Buffer.from(held.leaf.raw);
    otherBytes[otherBytes.length - 1] = (otherBytes.at(-1) ?? 0) ^ 1;
    expect(told(await revoke({ certificate: encoded(otherBytes) }))).toEqual({ status: 404, problem: "malformed" });
  });
});

describe("revokeCert of a certificate that is over", () => {
  test("AR-13: is unauthorized 403", async () => {
    const held = await issued({ notAfter: new Date(Date.now() + 3_700_000).toISOString() });
    clock.aheadSeconds = 3_800;
    expect(told(await revoke({ certificate: held.certificate }))).toEqual({ status: 403, problem: "unauthorized" });
    clock.aheadSeconds = 0;
  });
});

/** certID of RFC 9773 §4.1: octets of the AKI's key identifier and of the serial number as they stand in DER. */
function certificateId({ leaf }: Held): string {
  const serial = Buffer.from(leaf.serialNumber, "hex");
  const octets = (serial[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.alloc(1), serial]) : serial;
  return `${encoded(authorityKeyIdentifier(leaf.raw))}.${encoded(octets)}`;
}

/** The 20 octets behind id-ce-authorityKeyIdentifier, OCTET STRING, SEQUENCE, [0]. */
function authorityKeyIdentifier(der: Buffer): Buffer {
  const at = der.indexOf(Buffer.from("0603551d23041830168014", "hex"));
  return der.subarray(at + 11, at + 31);
}

describe("renewal information", () => {
  test("AI-1, AI-2, AI-3: anybody gets a window that begins after issuance and ends before the certificate, and when to ask again", async () => {
    const held = await issued();
    const answer = await client.ask(`${client.url("renewal-info")}/${certificateId(held)}`);
    expect([answer.status, answer.header("retry-after"), answer.header("content-type")]).toEqual([200, "21600", "application/json"]);
    const { start, end } = answer.json["suggestedWindow"] as { start: string; end: string };
    expect(Date.parse(start)).toBeGreaterThan(Date.now());
    expect(Date.parse(end)).toBeGreaterThan(Date.parse(start));
    expect(Date.parse(end)).toBeLessThanOrEqual(held.leaf.validToDate.getTime());
    const head = await client.ask(`${client.url("renewal-info")}/${certificateId(held)}`, { method: "HEAD" });
    expect([head.status, head.text]).toEqual([200, ""]);
  });

  test("AI-2: a certificate that was revoked is to be renewed now", async () => {
    const held = await issued();
    await revoke({ certificate: held.certificate });
    const answer = await client.ask(`${client.url("renewal-info")}/${certificateId(held)}`);
    expect(Date.parse((answer.json["suggestedWindow"] as { end: string }).end)).toBeLessThanOrEqual(Date.now());
    expect([answer.status, answer.header("retry-after")]).toEqual([200, "3600"]);
  });

  test("XA-3: while issuance is halted clients are to come back within the hour", async () => {
    const url = `${client.url("renewal-info")}/${certificateId(await issued())}`;
    const retryAfter = async () => (await client.ask(url)).header("retry-after");
    expect((await service.ask("/v1/halt", { body: { reason: "drill" } })).status).toBe(200);
    try {
      expect(await retryAfter()).toBe("3600");
    } finally {
      await service.ask("/v1/resume", { body: { reason: "over" } });
    }
    expect(await retryAfter()).toBe("21600");
  });

  test.for([
    { name: "one part", id: () => "AAAA", status: 400 },
    { name: "three parts", id: () => "AAAA.AAAA.AAAA", status: 400 },
    { name: "padding", id: () => "AAAA=.AAAA", status: 400 },
    {
      name: "an authority that is not ours",
      id: (held: Held) => `${encoded(Buffer.alloc(20))}.${certificateId(held).split(".")[1]}`,
      status: 400,
    },
    {
      name: "a serial that is not there",
      id: (held: Held) => `${certificateId(held).split(".")[0]}.${encoded(Buffer.alloc(16, 1))}`,
      status: 404,
    },
  ])("AI-1: a certID with $name is malformed $status", async ({ id, status }) => {
    const answer = await client.ask(`${client.url("renewal-info")}/${id(await issued())}`);
    expect(told(answer)).toEqual({ status, problem: "malformed" });
  });

  test("AI-4: replaces stands in the order at every read; a second order is alreadyReplaced 409, an equal one the same", async () => {
    const names = ["replaced.example.org"];
    const replaces = certificateId(await issued({}, names));
    const order = await client.order(names, { replaces });
    expect([order.status, order.json["replaces"]]).toEqual([201, replaces]);
    expect((await client.post(order.header("location") ?? "", "")).json["replaces"]).toBe(replaces);
    expect((await client.order(names, { replaces })).header("location")).toBe(order.header("location"));
    expect(told(await client.order([...names, "more.example.org"], { replaces }))).toEqual({ status: 409, problem: "alreadyReplaced" });
  });

  test("AI-5: a certificate of another service is reflected without effect; another account's, or one of other names, is malformed 400", async () => {
    const held = await issued({}, ["mine.example.org"]);
    const foreign = `${encoded(Buffer.alloc(20, 9))}.${encoded(Buffer.alloc(16, 1))}`;
    const order = await client.order(["mine.example.org"], { replaces: foreign });
    expect([order.status, order.json["replaces"]]).toEqual([201, foreign]);
    const other = await acmeClient(service);
    await other.register();
    for (const [by, name] of [
      [other, "mine.example.org"],
      [client, "others.example.org"],
    ] as const) {
      const answer = await by.order([name], { replaces: certificateId(held) });
      expect(told(answer)).toEqual({ status: 400, problem: "malformed" });
      // Clients look for the word, and try again without it.
      expect(answer.detail).toContain("replaces");
    }
  });
});

test("after all of it what is told of every certificate holds: CRL and OCSP are of one mind (XC-6, XO-5)", async () => {
  expect(await brokenStatus(service.service)).toEqual([]);
});
