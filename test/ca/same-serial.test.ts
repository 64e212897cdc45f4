import { createHash } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { issueFrom } from "../../src/ca/issue.ts";
import { exchange, type Received } from "../http/exchange.ts";
import { systemRequest } from "../support/ocsp.ts";
import { addAuthority } from "../support/second-authority.ts";
import { type Ground, standingGround, startService, type TestService } from "../support/service.ts";
import { certId, ocspRequest, readSaidCrl, readSaidOcsp, type StatusIssuer, statusIssuer } from "../support/status-bytes.ts";
import { brokenStatus } from "../support/status-invariants.ts";

const slugs = ["issuing-1", "issuing-2"] as const;
type Slug = (typeof slugs)[number];

let ground: Ground;
let chancery: TestService;
let serial: string;

beforeAll(async () => {
  ground = await standingGround();
  await addAuthority(ground);
  chancery = await startService({}, ground);
});
afterAll(async () => {
  await chancery[Symbol.asyncDispose]();
  await ground[Symbol.asyncDispose]();
});

/** A certificate of each authority, under one serial number. */
beforeEach(async () => {
  const { ca } = chancery.service;
  const drawn = crypto.getRandomValues(new Uint8Array(16));
  const random = { bytes: (length: number) => (length === 16 ? new Uint8Array(drawn) : ca.random.bytes(length)) };
  const serials: string[] = [];
  for (const slug of slugs) {
    const authority = ca.authorities.get(slug);
    if (!authority) throw new Error(`no ${slug}`);
    serials.push((await issueFrom({ ...ca, random }, authority, systemRequest())).certificate.serial);
  }
  expect(new Set(serials)).toHaveLength(1);
  serial = serials[0] ?? "";
});

const issuer = (slug: Slug): StatusIssuer => statusIssuer(chancery.service.ca.authorities.get(slug)?.certificate ?? new Uint8Array());

/** A form of the question: how the CertID is hashed, and how it is sent. */
const forms = (["sha1", "sha256"] as const).flatMap((hash) => (["GET", "POST"] as const).map((method) => ({ hash, method })));
type Form = (typeof forms)[number];

/** Asks the responder of `slug` for the serial number as a certificate of `asked`. */
async function ask(slug: Slug, asked: StatusIssuer, { hash, method }: Form): Promise<Received> {
  const request = ocspRequest([certId(asked, serial, hash)]);
  const path = `/ocsp/${slug}`;
  const sent =
    method === "POST"
      ? { method, path, headers: { "content-type": "application/ocsp-request" }, body: request }
      : { method, path: `${path}/${encodeURIComponent(request.toString("base64"))}` };
  return await exchange(chancery.service.listeners.status, sent);
}

/** What the responder of an authority says of its own certificate in each form, with the signature and everything else verified. */
async function said(slug: Slug): Promise<readonly unknown[]> {
  const own = issuer(slug);
  return await Promise.all(
    forms.map(async (form) => {
      const { error, faults, statuses } = readSaidOcsp((await ask(slug, own, form)).body, own);
      expect([error, faults, [...statuses.keys()]]).toEqual([0, [], [certId(own, serial, form.hash).toString("hex")]]);
      return [...statuses.values()][0];
    }),
  );
}

/** The answers themselves, each as its hash. */
const keptOf = (slug: Slug) => Promise.all(forms.map(async (form) => digest((await ask(slug, issuer(slug), form)).body)));

async function revokeAt(slug: Slug, reason: string): Promise<void> {
  const answer = await chancery.ask("/v1/revocations", { body: { filter: { serials: [serial], authority: slug }, reason } });
  expect([answer.status, answer.json()["revoked"]]).toEqual([201, 1]);
}

const good = forms.map(() => ({ status: "good" }));
const revoked = (reason: number) => forms.map(() => expect.objectContaining({ status: "revoked", reason }));

describe("two authorities that have a certificate of the same serial number (RFC 6960 §4.1.1: a CertID names issuer and serial number)", () => {
  test("are each asked for their own: the responder of one answers for it alone, and any other CertID is unauthorized, asked first or last", async () => {
    const [one, two] = [issuer("issuing-1"), issuer("issuing-2")];
    const mixtures = [
      { ...one, keyBits: two.keyBits },
      { ...two, keyBits: one.keyBits },
    ];
    const foreign = { "issuing-1": [two, ...mixtures], "issuing-2": [one, ...mixtures] };
    const refused = async () => {
      for (const slug of slugs)
        for (const asked of foreign[slug])
          for (const form of forms) expect((await ask(slug, asked, form)).body.toString("hex")).toBe("30030a0106");
    };
    await refused();
    for (const slug of slugs) expect(await said(slug)).toEqual(good);
    await refused();
    for (const slug of slugs) expect(await said(slug)).toEqual(good);
  });

  test("revoke it apart: what one revoked is revoked in every form, the other's goes on as it was kept, octet by octet, and so do the CRLs", async () => {
    for (const slug of slugs) expect(await said(slug)).toEqual(good);
    const kept = await keptOf("issuing-2");

    await revokeAt("issuing-1", "superseded");
    await expect.poll(() => said("issuing-1"), { timeout: 30_000 }).toEqual(revoked(4));
    expect(await keptOf("issuing-2")).toEqual(kept);
    expect(await brokenStatus(chancery.service)).toEqual([]);
    expect(await entries()).toEqual([expect.objectContaining({ reason: 4 }), undefined]);

    const standing = await keptOf("issuing-1");
    await revokeAt("issuing-2", "affiliationChanged");
    await expect.poll(() => said("issuing-2"), { timeout: 30_000 }).toEqual(revoked(3));
    expect(await keptOf("issuing-1")).toEqual(standing);
    expect(await brokenStatus(chancery.service)).toEqual([]);
    expect(await entries()).toEqual([expect.objectContaining({ reason: 4 }), expect.objectContaining({ reason: 3 })]);
  });
});

const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** The serial number's entry on the CRL of each authority. */
async function entries(): Promise<readonly unknown[]> {
  return await Promise.all(
    slugs.map(async (slug) => {
      const { body } = await exchange(chancery.service.listeners.status, { path: `/crl/${slug}.crl` });
      return readSaidCrl(body, issuer(slug)).entries.get(serial);
    }),
  );
}
