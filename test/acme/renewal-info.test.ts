import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Account } from "../../src/acme/account.ts";
import { parseCertificateId } from "../../src/acme/certificate-id.ts";
import { renewalInfo } from "../../src/acme/renewal-info.ts";
import { judgeReplacement } from "../../src/acme/replacement.ts";
import { revokeCertificate } from "../../src/acme/revoke-certificate.ts";
import { openCa } from "../../src/ca/ca.ts";
import type { StoredCertificate } from "../../src/ca/certificates.ts";
import { beginRevocation, continueRevocation } from "../../src/ca/mass-revocation.ts";
import { type Renewable, renewalWindow } from "../../src/ca/renewal-window.ts";
import { type AccountWorld, accountWorld, certified, json, registered } from "./account-world.ts";
import { clockOf } from "../support/clock.ts";

const fault = (code: string, detail: unknown = expect.anything()) => expect.objectContaining({ name: "Fault", code, detail });

const dayMs = 86_400_000;
const start2026 = Date.UTC(2026, 0, 1);
const at = (milliseconds: number) => new Date(start2026 + milliseconds);

/** Certificates of every life, recorded at once, late, or after their end. */
const renewable: fc.Arbitrary<Renewable> = fc
  .record({
    profile: fc.constantFrom("server", "client", "mtls"),
    lifeSeconds: fc.integer({ min: 60, max: 400 * 86_400 }),
    lateMs: fc.oneof(fc.integer({ min: 0, max: 600_000 }), fc.integer({ min: 0, max: 500 * dayMs })),
    aheadSeconds: fc.integer({ min: -300, max: 7 * 86_400 }),
  })
  .map(({ profile, lifeSeconds, lateMs, aheadSeconds }) => ({
    profile,
    notBefore: at(aheadSeconds * 1000),
    notAfter: at((aheadSeconds + lifeSeconds - 1) * 1000),
    issuedAt: at(lateMs),
    revoked: false,
  }));

describe("the renewal window (AI-2, XA-2, W-30, RFC 9773 §4.2)", () => {
  test("begins before it ends, in whole seconds, later than the time of issue: 5,000 certificates (AI-3)", () => {
    fc.assert(
      fc.property(renewable, fc.integer({ min: 0, max: 900 * dayMs }), (certificate, nowMs) => {
        const { start, end } = renewalWindow(certificate, at(nowMs));
        expect(start.getTime()).toBeLessThan(end.getTime());
        expect(start.getTime()).toBeGreaterThan(certificate.issuedAt.getTime());
        expect([start.getTime() % 1000, end.getTime() % 1000]).toEqual([0, 0]);
      }),
      { numRuns: 5_000 },
    );
  });

  test("is the same whenever it is asked for (AI-1)", () => {
    fc.assert(
      fc.property(renewable, fc.nat(900 * dayMs), fc.nat(900 * dayMs), (certificate, one, other) => {
        expect(renewalWindow(certificate, at(one))).toEqual(renewalWindow(certificate, at(other)));
      }),
    );
  });

  test("ends before the certificate does, where it was recorded two minutes before that or earlier", () => {
    fc.assert(
      fc.property(renewable, (certificate) => {
        fc.pre(certificate.notAfter.getTime() - certificate.issuedAt.getTime() > 120_000);
        expect(renewalWindow(certificate, at(0)).end.getTime()).toBeLessThan(certificate.notAfter.getTime());
      }),
    );
  });

  test("of a certificate that was recorded later begins no sooner", () => {
    fc.assert(
      fc.property(renewable, fc.integer({ min: 0, max: 100 * dayMs }), (certificate, moreMs) => {
        const later = { ...certificate, issuedAt: new Date(certificate.issuedAt.getTime() + moreMs) };
        fc.pre(later.issuedAt < later.notAfter);
        expect(renewalWindow(later, at(0)).start.getTime()).toBeGreaterThanOrEqual(renewalWindow(certificate, at(0)).start.getTime());
      }),
      { endOnFailure: true },
    );
  });

  test("of a certificate that ends later begins no sooner, where both were recorded before half of their life", () => {
    fc.assert(
      fc.property(renewable, fc.integer({ min: 0, max: 100 * dayMs }), (certificate, moreMs) => {
        const lifeMs = certificate.notAfter.getTime() - certificate.notBefore.getTime();
        fc.pre(certificate.issuedAt.getTime() < certificate.notBefore.getTime() + 0.48 * lifeMs);
        const longer = { ...certificate, notAfter: new Date(certificate.notAfter.getTime() + moreMs) };
        expect(renewalWindow(longer, at(0)).start.getTime()).toBeGreaterThanOrEqual(renewalWindow(certificate, at(0)).start.getTime());
      }),
      { endOnFailure: true },
    );
  });

  test("of a revoked certificate is past: from an hour ago to half an hour ago (AI-2, XA-3)", () => {
    fc.assert(
      fc.property(renewable, fc.nat(900 * dayMs), (certificate, nowMs) => {
        const now = Math.floor(at(nowMs).getTime() / 1000) * 1000;
        expect(renewalWindow({ ...certificate, revoked: true }, new Date(now))).toEqual({
          start: new Date(now - 3_600_000),
          end: new Date(now - 1_800_000),
        });
      }),
    );
  });

  test.for([
    // Centre at two thirds of 90 days, 1 % of them to either side.
    { name: "90 days", profile: "server", notAfterMs: 90 * dayMs, issuedMs: 300_000, start: 59.1 * dayMs, end: 60.9 * dayMs },
    {
      name: "just ten days",
      profile: "server",
      notAfterMs: 10 * dayMs,
      issuedMs: 300_000,
      start: 567_360_000,
      end: 584_640_000,
    },
    // Below ten days: around half of it.
    { name: "nine days", profile: "client", notAfterMs: 9 * dayMs, issuedMs: 300_000, start: 4.41 * dayMs, end: 4.59 * dayMs },
    // A workload's: from half of what it has left to two thirds.
    {
      name: "a workload's 24 hours",
      profile: "mtls",
      notAfterMs: dayMs + 300_000,
      issuedMs: 300_000,
      start: 300_000 + dayMs / 2,
      end: 300_000 + (dayMs * 2) / 3,
    },
    // Recorded when its window had begun: what was left counts (AI-3).
    {
      name: "90 days, recorded on the 70th",
      profile: "server",
      notAfterMs: 90 * dayMs,
      issuedMs: 70 * dayMs,
      start: 80 * dayMs,
      end: 70 * dayMs + Math.floor((20 * dayMs * 2) / 3),
    },
    {
      name: "90 days, recorded after them",
      profile: "server",
      notAfterMs: 90 * dayMs,
      issuedMs: 91 * dayMs,
      start: 91 * dayMs + 1_000,
      end: 91 * dayMs + 2_000,
    },
  ])("of $name", ({ profile, notAfterMs, issuedMs, start, end }) => {
    const certificate = { profile, notBefore: at(0), notAfter: at(notAfterMs), issuedAt: at(issuedMs), revoked: false };
    const seconds = (milliseconds: number) => at(Math.floor(milliseconds / 1000) * 1000);
    expect(renewalWindow(certificate, at(0))).toEqual({ start: seconds(start), end: seconds(end) });
  });
});

let world: AccountWorld;
let account: Account;
let certificate: StoredCertificate;
beforeAll(async () => {
  world = await accountWorld();
  ({ account } = await registered(world.acme, world.directories.open));
  certificate = await certified(world.acme, world.directories.open, account, ["ari.example.org", "second.example.org"]);
});
afterAll(() => world[Symbol.asyncDispose]());

/** The keyIdentifier of a certificate's authorityKeyIdentifier: the 20 octets behind its tag and length (RFC 5280 §4.2.1.1). */
function keyIdentifierOf(der: Uint8Array): Buffer {
  const bytes = Buffer.from(der);
  const head = Buffer.from("0603551d230418301680 14".replace(" ", ""), "hex");
  const index = bytes.indexOf(head);
  if (index < 0) throw new Error("there is no authorityKeyIdentifier");
  return bytes.subarray(index + head.length, index + head.length + 20);
}
const certId = (one: StoredCertificate) =>
  `${keyIdentifierOf(one.certificate).toString("base64url")}.${Buffer.from(one.serial, "hex").toString("base64url")}`;

describe("certID (XA-1, RFC 9773 §4.1)", () => {
  test("of the RFC's example is read as its key identifier and serial number, the leading zero kept", () => {
    // The example's authority is not ours: a stand-in with that key identifier cannot be made, its serial is read all the same.
    expect(parseCertificateId(world.acme, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")).toEqual({
      authority: undefined,
      serial: new Uint8Array(Buffer.from("0087654321", "hex")),
    });
  });

  test("of an issued certificate names its authority and serial", () => {
    expect(parseCertificateId(world.acme, certId(certificate))).toEqual({
      authority: certificate.authority,
      serial: new Uint8Array(Buffer.from(certificate.serial, "hex")),
    });
  });

  test.for([
    "",
    ".",
    "a",
    "aYhba4dGQEHhs3uEe6CuLN4ByNQ",
    "aYhba4dGQEHhs3uEe6CuLN4ByNQ.",
    ".AIdlQyE",
    "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE.",
    "a.b.c",
    "aYhba4dGQEHhs3uEe6CuLN4ByNQ=.AIdlQyE=",
    "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyF",
    "aYhba4dG+EHhs3uEe6CuLN4ByNQ.AIdlQyE",
    "aYhb ZA.AIdlQyE",
  ])("%s is malformed (AI-1)", async (text) => {
    await expect(renewalInfo(world.acme, text)).rejects.toEqual(fault("malformed"));
    await expect(judgeReplacement(world.acme, account, [{ type: "dns", value: "ari.example.org" }], text)).rejects.toEqual(
      fault("malformed", expect.stringContaining("replaces")),
    );
  });
});

describe("renewalInfo", () => {
  test("of an issued certificate is its window, and asks to come back after six hours (AI-1)", async () => {
    const { window, retryAfterSeconds } = await renewalInfo(world.acme, certId(certificate));
    expect(retryAfterSeconds).toBe(21_600);
    const lifeMs = certificate.notAfter.getTime() - certificate.notBefore.getTime();
    const centre = certificate.notBefore.getTime() + (lifeMs * 2) / 3;
    expect(Math.abs((window.start.getTime() + window.end.getTime()) / 2 - centre)).toBeLessThan(2_000);
    expect(window.start.getTime()).toBeGreaterThan(certificate.issuedAt.getTime());
  });

  test("of another authority is malformed, of an unknown serial notFound (AI-1)", async () => {
    const [aki] = certId(certificate).split(".");
    await expect(renewalInfo(world.acme, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")).rejects.toEqual(fault("malformed"));
    for (const serial of ["AIdlQyE", Buffer.alloc(16, 0x41).toString("base64url"), Buffer.alloc(500, 1).toString("base64url")])
      await expect(renewalInfo(world.acme, `${String(aki)}.${serial}`)).rejects.toEqual(fault("notFound"));
  });

  test("of a revoked certificate is a window in the past, also by another instance (AI-2)", async () => {
    const revoked = await certified(world.acme, world.directories.open, account, ["revoked.example.org"]);
    const payload = json({ certificate: Buffer.from(revoked.certificate).toString("base64url") });
    await revokeCertificate(world.acme, { account }, payload, "r");
    const { window } = await renewalInfo(world.second, certId(revoked));
    expect(window.start.getTime()).toBeLessThan(window.end.getTime());
    expect(window.end.getTime()).toBeLessThan(world.acme.clock.now().getTime());
  });
});

describe("replaces (AI-4, AI-5, XA-4, RFC 9773 §5)", () => {
  const shared = [
    { type: "dns", value: "second.example.org" },
    { type: "dns", value: "new.example.org" },
  ] as const;

  test("names a certificate of the account with a shared identifier; in its window from its beginning", async () => {
    const { window } = await renewalInfo(world.acme, certId(certificate));
    for (const [seconds, inWindow] of [
      [-1, false],
      [0, true],
      [86_400 * 20, true],
    ] as const) {
      const acme = { ...world.acme, clock: clockOf(() => new Date(window.start.getTime() + seconds * 1000)) };
      expect(await judgeReplacement(acme, account, shared, certId(certificate))).toEqual({
        certificate: {
          authority: certificate.authority,
          serial: new Uint8Array(Buffer.from(certificate.serial, "hex")),
          notAfter: certificate.notAfter,
        },
        inWindow,
      });
    }
  });

  test("of another service, or of a serial that is not ours, has no effect (AI-5)", async () => {
    const [aki] = certId(certificate).split(".");
    for (const text of ["aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE", `${String(aki)}.AIdlQyE`])
      expect(await judgeReplacement(world.acme, account, shared, text)).toBeUndefined();
  });

  test("of another account, or without a shared identifier, is malformed and says replaces (AI-5, AT-13)", async () => {
    const refused = fault("malformed", expect.stringContaining("replaces"));
    const { account: other } = await registered(world.acme, world.directories.open);
    await expect(judgeReplacement(world.acme, other, shared, certId(certificate))).rejects.toEqual(refused);
    for (const value of ["third.example.org", "*.second.example.org", "example.org"])
      await expect(judgeReplacement(world.acme, account, [{ type: "dns", value }], certId(certificate))).rejects.toEqual(refused);
  });
});

test("renewalInfo, while certificates are revoked by a filter, of any namespace, asks to come back within the hour (XA-3)", async () => {
  // Behind all others: the service ends, which would go on with it by itself.
  await world.chancery.service[Symbol.asyncDispose]();
  const ca = await openCa(world.second.ca);
  const retryAfter = async () => (await renewalInfo({ ...world.second, ca }, certId(certificate))).retryAfterSeconds;
  expect(await retryAfter()).toBe(21_600);
  const principal = { id: "system", namespace: "/team", role: "admin" } as const;
  const { campaign } = await beginRevocation(ca, principal, { filter: { profile: "mtls" }, reason: "superseded", requestId: "r" });
  expect(await retryAfter()).toBe(3_600);
  while ((await continueRevocation(ca, campaign.id)) !== "ended");
  expect(await retryAfter()).toBe(21_600);
});
