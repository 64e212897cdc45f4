import { X509Certificate } from "node:crypto";
import { Certificate, type CRLDistributionPoints } from "pkijs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { settle } from "../../src/ca/settle.ts";
import { exchange, type Received, type Sent } from "../http/exchange.ts";
import { movedClock } from "../support/clock.ts";
import { issueLeaf, revokeLeaf } from "../support/crl-world.ts";
import { failpoints, type Point } from "../support/failpoints.ts";
import { type Ground, opensslRequest, standingGround, startService, type TestService } from "../support/service.ts";
import { certId, ocspRequest, readSaidCrl, readSaidOcsp, type SaidOcsp, statusIssuer } from "../support/status-bytes.ts";
import { brokenStatus, statusWitness } from "../support/status-invariants.ts";

/* What other authorities' status services failed at in public: each must be impossible here, seen through the listener. */

const hour = 3_600;
const clock = movedClock();
let failing: Point | undefined;
let ground: Ground;
let chancery: TestService;

const started = (): Promise<TestService> => {
  const points = failpoints((point) => {
    if (point === failing) throw new Error(`failed at ${point}`);
  });
  return startService(
    {
      ...points,
      clock,
      database: (database) => points.database(database),
    },
    ground,
  );
};

beforeAll(async () => {
  ground = await standingGround({ CHANCERY_CRL_SHARDS: "mtls=3" });
  chancery = await started();
});
afterAll(async () => {
  await chancery[Symbol.asyncDispose]();
  await ground[Symbol.asyncDispose]();
});

type Ask = (sent: Sent) => Promise<Received>;
const send: Ask = (sent) => exchange(chancery.service.listeners.status, sent);
const query: TestService["service"]["ca"]["database"]["read"] = (act) => chancery.service.ca.database.read(act);
const job = (name: string) => chancery.service.jobs.find((each) => each.name === name)?.act(new AbortController().signal);

async function authority(slug: string): Promise<Uint8Array> {
  const [row] = await query((sql) => sql<{ certificate: Uint8Array }[]>`select certificate from authority where slug = ${slug}`);
  if (!row) throw new Error(`there is no ${slug}`);
  return row.certificate;
}

async function ocsp(serial: string, ask = send): Promise<SaidOcsp> {
  const issuer = statusIssuer(await authority("issuing-1"));
  const request = ocspRequest([certId(issuer, serial, "sha1")]);
  return readSaidOcsp((await ask({ path: `/ocsp/issuing-1/${encodeURIComponent(request.toString("base64"))}` })).body, issuer);
}

const said = ({ error, statuses }: SaidOcsp): unknown => (error === 0 ? [...statuses.values()][0] : error);

test("every CRL that certificates will name is served when a service is there, before its first certificate (XN-12, XC-16)", async () => {
  const slots = await query((sql) => sql<{ path: string; authority: string }[]>`select path, authority from crl_slot order by path`);
  expect(slots.map(({ path }) => path)).toEqual(["issuing-1", "issuing-1/0", "issuing-1/1", "issuing-1/2", "root-1"]);
  for (const { path, authority: slug } of slots) {
    const { status, body } = await send({ path: `/crl/${path}.crl` });
    expect([path, status, readSaidCrl(body, statusIssuer(await authority(slug))).faults]).toEqual([path, 200, []]);
  }
});

test("what the token signed and nobody recorded is revoked by CRL and OCSP once its attempt is closed, and never good (XN-5, XI-1)", async () => {
  const { csr } = await opensslRequest("lost.example.org");
  failing = "sign:after";
  const answer = await chancery.ask("/v1/certificates", { body: { csr, profile: "server" } }).finally(() => (failing = undefined));
  expect(answer.status).toBe(500);
  const [open] = await query(
    (sql) => sql<{ serial: string }[]>`
      select encode(serial, 'hex') as serial from issuance i where not exists (select from certificate c where c.serial = i.serial)`,
  );
  const serial = open?.serial ?? "";
  const unauthorized = 6;
  expect(said(await ocsp(serial))).toBe(unauthorized);
  clock.aheadSeconds += 2 * hour;
  expect(await settle(chancery.service.ca)).toMatchObject({ closed: 1 });
  expect(await brokenStatus(chancery.service)).toEqual([]);
  expect(said(await ocsp(serial))).toMatchObject({ status: "revoked", reason: 0 });
  const { entries } = readSaidCrl((await send({ path: "/crl/issuing-1.crl" })).body, statusIssuer(await authority("issuing-1")));
  expect(entries.has(serial)).toBe(true);
});

test("a certificate whose record fails is not delivered; once it is, OCSP says good, with no time between (XN-6, XI-2, XO-5)", async () => {
  const { csr } = await opensslRequest("record.example.org");
  const question = { body: { csr, profile: "server" }, headers: { "idempotency-key": "record" } };
  const whole = chancery.service.ca.database;
  await whole.transact(async ({ sql }) => {
    await sql`create function refuse_certificate() returns trigger language plpgsql as $$ begin raise exception 'the disk is full'; end $$`;
    await sql`create trigger refused before insert on certificate execute function refuse_certificate()`;
  });
  try {
    const refused = await chancery.ask("/v1/certificates", question);
    expect(refused.status).toBeGreaterThanOrEqual(500);
    expect(refused.text).not.toContain("BEGIN CERTIFICATE");
  } finally {
    await whole.transact(async ({ sql }) => void (await sql`drop trigger refused on certificate`));
  }
  const delivered = async (): Promise<string | undefined> => {
    const answer = await chancery.ask("/v1/certificates", question);
    if (answer.status >= 500) return undefined;
    const serial = String(answer.json()["serial"]);
    // At once: whoever has the certificate may ask.
    expect(said(await ocsp(serial))).toEqual({ status: "good" });
    return serial;
  };
  clock.aheadSeconds += 60;
  await settle(chancery.service.ca);
  await expect.poll(delivered, { timeout: 20_000 }).toMatch(/^[0-9a-f]{32}$/);
  expect(await brokenStatus(chancery.service)).toEqual([]);
});

test("a revocation without a reason has none, on CRL and by OCSP: nothing is put on hold by default (XN-10, XC-3)", async () => {
  const { csr } = await opensslRequest("plain.example.org");
  const serial = String((await chancery.ask("/v1/certificates", { body: { csr, profile: "server" } })).json()["serial"]);
  const held = await chancery.ask(`/v1/certificates/${serial}/revoke`, { body: { reason: "certificateHold" } });
  expect([held.status, held.json()["code"]]).toEqual([422, "badRevocationReason"]);
  expect(said(await ocsp(serial))).toEqual({ status: "good" });
  expect((await chancery.ask(`/v1/certificates/${serial}/revoke`, { body: {} })).status).toBe(200);
  expect(await brokenStatus(chancery.service)).toEqual([]);
  const { entries } = readSaidCrl((await send({ path: "/crl/issuing-1.crl" })).body, statusIssuer(await authority("issuing-1")));
  expect(entries.get(serial)).toMatchObject({ status: "revoked", reason: 0 });
  expect(entries.get(serial)).toEqual(said(await ocsp(serial)));
});

/** Whatever the URLs in live certificates lead to, asked as a stranger would: what does not hold, in sentences (XC-22). */
async function brokenUrls(ask: Ask): Promise<string[]> {
  const { statusUrl } = ground.config;
  const rows = await query(
    (sql) => sql<{ authority: string; issuer: string; serial: string; certificate: Uint8Array }[]>`
      select c.authority, a.issuer, encode(c.serial, 'hex') as serial, c.certificate from certificate c join authority a on a.slug = c.authority
      where c.certificate is not null and c.not_after > ${clock.now().toISOString()}`,
  );
  const broken: string[] = [];
  for (const { authority: slug, serial, certificate } of rows) {
    const issuer = await authority(slug);
    const get = (url: string): Promise<Received> => {
      if (!url.startsWith(`${statusUrl}/`)) throw new Error(`${serial} names ${url}`);
      return ask({ path: url.slice(statusUrl.length) });
    };
    const x509 = new X509Certificate(certificate);
    const information = x509.infoAccess ?? "";
    for (const [, url = ""] of information.matchAll(/^CA Issuers - URI:(.+)$/gm)) {
      const { status, body } = await get(url);
      if (status !== 200 || !x509.verify(new X509Certificate(body).publicKey))
        broken.push(`${url} does not lead to the issuer of ${serial}`);
    }
    for (const [, url = ""] of information.matchAll(/^OCSP - URI:(.+)$/gm)) {
      if ((await ocsp(serial, ({ path }) => get(`${url}${path.slice("/ocsp/issuing-1".length)}`))).error !== 0)
        broken.push(`${url} does not know ${serial}`);
    }
    for (const url of distributionPoints(certificate)) {
      const crl = readSaidCrl((await get(url)).body, statusIssuer(issuer));
      const age = clock.now().getTime() - crl.thisUpdate.getTime();
      for (const fault of crl.faults) broken.push(`${url}: ${fault}`);
      if (age * 2 >= crl.nextUpdate.getTime() - crl.thisUpdate.getTime()) broken.push(`${url}: half of its life is over`);
      if (crl.distributionPoint !== undefined && crl.distributionPoint !== url)
        broken.push(`${url} is in ${serial}, and the CRL is of ${crl.distributionPoint}`);
    }
  }
  return broken;
}

function distributionPoints(certificate: Uint8Array): string[] {
  const { extensions = [] } = Certificate.fromBER(certificate);
  const points = extensions.find(({ extnID }) => extnID === "2.5.29.31")?.parsedValue as CRLDistributionPoints | undefined;
  return (points?.distributionPoints ?? []).flatMap(({ distributionPoint }) =>
    Array.isArray(distributionPoint) ? distributionPoint.map(({ value }) => String(value)) : [],
  );
}

test("every URL in a live certificate leads to what is of it; a shard under another's URL, and a CRL that nobody renews, are found (XN-13, XC-22)", async () => {
  const leaves = await Promise.all(Array.from({ length: 12 }, () => issueLeaf(chancery.service.ca, "mtls", 86_400)));
  for (const leaf of leaves.slice(0, 3)) await revokeLeaf(chancery.service.ca, leaf);
  expect(await brokenStatus(chancery.service)).toEqual([]);
  const urls = new Set(leaves.flatMap(({ der }) => distributionPoints(der)));
  expect(urls.size).toBeGreaterThan(1);
  const named = leaves.map(({ der }) => new X509Certificate(der).infoAccess ?? "");
  for (const information of named)
    expect(information).toMatch(/^OCSP - URI:http.*^CA Issuers - URI:http|^CA Issuers - URI:http.*^OCSP - URI:http/ms);
  expect(await brokenUrls(send)).toEqual([]);

  const exchanged: Record<string, string> = {
    "/crl/issuing-1/0.crl": "/crl/issuing-1/1.crl",
    "/crl/issuing-1/1.crl": "/crl/issuing-1/0.crl",
  };
  expect(await brokenUrls((sent) => send({ ...sent, path: exchanged[sent.path] ?? sent.path }))).toContainEqual(
    expect.stringMatching(/issuing-1\/[01]\.crl is in [0-9a-f]{32}, and the CRL is of .*issuing-1\/[01]\.crl$/),
  );

  const before = new Map<string, Received>();
  for (const url of urls) {
    const path = url.slice(ground.config.statusUrl.length);
    before.set(path, await send({ path }));
  }
  clock.aheadSeconds += 13 * hour;
  expect(await brokenStatus(chancery.service)).toEqual([]);
  expect(await brokenUrls(async (sent) => before.get(sent.path) ?? (await send(sent)))).toContainEqual(
    expect.stringMatching(/\.crl: half of its life is over$/),
  );
  expect(await brokenUrls(send)).toEqual([]);
});

test("through months and starts of the service anew nothing that is served lasts longer than a day or is older than half of one (XN-9, XO-11, XC-17)", async () => {
  const { serial } = await issueLeaf(chancery.service.ca, "server", 86_400);
  // A day and an hour, a responder's certificate and more, and just before and behind an answer's renewal.
  for (const aheadSeconds of [25 * hour, 16 * 24 * hour, 11 * hour, hour + 1, 31 * 24 * hour, 90 * 24 * hour]) {
    clock.aheadSeconds += aheadSeconds;
    await job("responders");
    expect(await statusWitness({ services: [chancery.service], alone: 40 }).look()).toEqual([]);
    expect(said(await ocsp(serial))).toEqual({ status: "good" });
    await chancery[Symbol.asyncDispose]();
    chancery = await started();
  }
  expect(await brokenStatus(chancery.service)).toEqual([]);
});
