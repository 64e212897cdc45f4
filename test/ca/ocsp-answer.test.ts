import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Service } from "../../src/app.ts";
import { openCa } from "../../src/ca/ca.ts";
import { issue } from "../../src/ca/issue.ts";
import { settle } from "../../src/ca/settle.ts";
import { timekeeper } from "../../src/ca/timekeeper.ts";
import { parseCertificate } from "../../src/pki/certificate.ts";
import { type Fleet, startFleet } from "../support/acme-fleet.ts";
import { movedClock } from "../support/clock.ts";
import { failpoints } from "../support/failpoints.ts";
import { issuedSerial, opensslOcspRequest, opensslOcspVerdict, postOcsp, revokeSerial, systemRequest } from "../support/ocsp.ts";

let fleet: Fleet;
let files: { readonly issuer: string; readonly root: string };
let instances: readonly Service[];

beforeAll(async () => {
  fleet = await startFleet();
  const { directory } = fleet.grounds.ground;
  files = { issuer: join(directory, "chain.pem"), root: join(directory, "root.pem") };
  instances = [fleet.first.service, fleet.second];
});
afterAll(() => fleet[Symbol.asyncDispose]());

/** What every instance answers about these serial numbers, by openssl. */
async function verdicts(
  serials: readonly string[],
  { hash = "sha1", issuer = files.issuer }: { hash?: "sha1" | "sha256"; issuer?: string } = {},
) {
  const request = await opensslOcspRequest({ serials, hash, issuer });
  return await Promise.all(
    instances.map(async (instance) => {
      const answer = await postOcsp(instance, request);
      expect([answer.status, answer.headers["content-type"]]).toEqual([200, "application/ocsp-response"]);
      return await opensslOcspVerdict(answer.body, { serials, hash, ...files, issuer });
    }),
  );
}

/** A serial number that is reserved: its certificate could not be signed. */
async function reservedSerial(): Promise<string> {
  const { ca } = fleet.second;
  const { hsm } = failpoints((point) => {
    if (point === "sign:before") throw new Error("no signature");
  });
  await expect(issue({ ...ca, hsm: hsm(ca.hsm) }, systemRequest())).rejects.toThrow("no signature");
  const rows = await ca.database.read(
    (sql) => sql<{ serial: string }[]>`select encode(serial, 'hex') as serial from issuance order by created_at desc, serial limit 1`,
  );
  return rows[0]?.serial ?? "";
}

/** Closes every attempt that is open, as two hours later. */
async function closeAttempts(): Promise<void> {
  const { ca } = fleet.second;
  const clock = movedClock(2 * 3_600);
  const later = await openCa({ ...ca, clock, crlShards: {} });
  expect(await settle({ ...later, timekeeper: timekeeper(clock, undefined) })).toMatchObject({ closed: 1, failed: 0 });
}

describe("what a responder answers, verified by openssl with the responder's certificate from the response (RFC 6960 §4.2.2.2)", () => {
  test.for(["sha1", "sha256"] as const)(
    "a certificate that was issued and not revoked is good, by a CertID with %s (XO-3)",
    async (hash) => {
      const serial = await issuedSerial(fleet.first.service);
      for (const verdict of await verdicts([serial], { hash })) expect(verdict).toMatchObject({ verified: true, statuses: ["good"] });
    },
  );

  test.for([
    { reason: 0, told: undefined },
    { reason: 1, told: "0x1" },
    { reason: 3, told: "0x3" },
    { reason: 4, told: "0x4" },
    { reason: 5, told: "0x5" },
    { reason: 9, told: "0x9" },
  ])(
    "one that was revoked for reason $reason is revoked, with its time and with its reason unless that is 0 (RFC 5280 §5.3.1)",
    async ({ reason, told }) => {
      const serial = await issuedSerial(fleet.first.service);
      await revokeSerial(fleet.first.service, serial, reason);
      const [row] = await fleet.second.ca.database.read(
        (sql) => sql<{ at: Date }[]>`select revoked_at as at from revocation where encode(serial, 'hex') = ${serial}`,
      );
      for (const { verified, statuses, text } of await verdicts([serial])) {
        expect([verified, statuses]).toEqual([true, ["revoked"]]);
        const at = /Revocation Time: (.*)$/m.exec(text)?.[1] ?? "";
        expect(new Date(at)).toEqual(row?.at);
        expect(/Revocation Reason: .*\((0x\d)\)/.exec(text)?.[1]).toBe(told);
      }
    },
  );

  test("a reason that becomes keyCompromise later shows with its time (CAB Forum BR 7.2.2)", async () => {
    const serial = await issuedSerial(fleet.first.service);
    await revokeSerial(fleet.first.service, serial, 4);
    for (const { text } of await verdicts([serial])) expect(text).toContain("superseded");
    await revokeSerial(fleet.first.service, serial, 1);
    await expect
      .poll(async () => (await verdicts([serial])).every(({ text }) => text.includes("keyCompromise")), { timeout: 30_000 })
      .toBe(true);
  });

  test("a serial number that is reserved is unauthorized until its certificate is delivered; when its attempt is closed it is revoked", async () => {
    const serial = await reservedSerial();
    for (const { error } of await verdicts([serial])) expect(error).toBe("unauthorized");
    await closeAttempts();
    for (const verdict of await verdicts([serial])) expect(verdict).toMatchObject({ verified: true, statuses: ["revoked"] });
  });

  test.for([
    { name: "was never assigned", serial: () => randomBytes(16).toString("hex").replace(/^./, "4") },
    { name: "is of one octet", serial: () => "01" },
    { name: "has 20 octets", serial: () => `40${randomBytes(19).toString("hex")}` },
    { name: "is the root's own", serial: () => parseCertificate(authority("root-1").certificate).serial },
    { name: "is the issuing authority's own, which the root assigned", serial: () => authority("issuing-1").parsed.serial },
  ])("a serial number that $name is unauthorized, never good (XO-5, RFC 9919 §3.2.3)", async ({ serial }) => {
    for (const { error, statuses } of await verdicts([serial()])) expect([error, statuses]).toEqual(["unauthorized", ["not answered"]]);
  });

  test("the sibling that signs other certificates is asked at its own URL: here it is unauthorized, whatever the serial number", async () => {
    // The root has no responder, so nobody but the issuing authority is answered for.
    for (const serial of [authority("issuing-1").parsed.serial, await issuedSerial(fleet.first.service)]) {
      for (const { error } of await verdicts([serial], { issuer: files.root })) expect(error).toBe("unauthorized");
    }
  });

  test.for([
    { name: "the key of another", foreign: "key" },
    { name: "the name of another", foreign: "name" },
  ])("a CertID of the authority with $name is unauthorized (RFC 6960 §4.1.1)", async ({ foreign }) => {
    const serials = [await issuedSerial(fleet.first.service)];
    const ours = Buffer.from(await opensslOcspRequest({ serials, issuer: files.issuer }));
    const others = Buffer.from(await opensslOcspRequest({ serials, issuer: files.root }));
    // Both hashes are OCTET STRINGs of 20 octets.
    const head = Buffer.from([0x04, 20]);
    const name = ours.indexOf(head) + 2;
    const at = foreign === "name" ? name : ours.indexOf(head, name + 20) + 2;
    others.copy(ours, at, at, at + 20);
    for (const instance of instances) expect((await postOcsp(instance, ours)).body.toString("hex")).toBe("30030a0106");
  });

  test("several certificates of a request are answered in one response, in its order; one that was never issued makes all of it unauthorized", async () => {
    const serials = [
      await issuedSerial(fleet.first.service),
      await issuedSerial(fleet.first.service),
      await issuedSerial(fleet.first.service),
    ];
    await revokeSerial(fleet.first.service, serials[1] ?? "", 5);
    for (const verdict of await verdicts(serials)) expect(verdict).toMatchObject({ verified: true, statuses: ["good", "revoked", "good"] });
    for (const { error } of await verdicts([...serials, "4011"])) expect(error).toBe("unauthorized");
  });

  test("a response names its responder by key, carries the responder's certificate alone, and no extension (XO-12)", async () => {
    const [verdict] = await verdicts([await issuedSerial(fleet.first.service)]);
    expect(verdict?.text).toMatch(/Responder Id: [0-9A-F]{40}\n/);
    expect(verdict?.text.match(/^Certificate:$/gm)).toHaveLength(1);
    expect(verdict?.text).toContain("OCSP Signing");
    expect(verdict?.text).not.toMatch(/Response Extensions|Response Single Extensions/);
  });

  test("thisUpdate is producedAt, and nextUpdate a day later (XO-10, XO-11)", async () => {
    const [verdict] = await verdicts([await issuedSerial(fleet.first.service)]);
    const time = (name: string) => Date.parse(new RegExp(`${name}: (.*)$`, "m").exec(verdict?.text ?? "")?.[1] ?? "");
    expect(time("This Update")).toBe(time("Produced At"));
    expect(time("Next Update") - time("This Update")).toBe(24 * 3_600_000);
  });

  test("a nonce comes back and makes the response one of its own; without one the response is the same for everybody (XO-14, XO-15)", async () => {
    const serials = [await issuedSerial(fleet.first.service)];
    const plain = await opensslOcspRequest({ serials, issuer: files.issuer });
    const withNonce = await opensslOcspRequest({ serials, issuer: files.issuer, nonce: true });
    const { service } = fleet.first;
    const [one, two] = [await postOcsp(service, plain), await postOcsp(service, plain)];
    expect(one.body.equals(two.body)).toBe(true);
    const live = await postOcsp(service, withNonce);
    const verdict = await opensslOcspVerdict(live.body, { serials, ...files });
    expect(verdict).toMatchObject({ verified: true, statuses: ["good"] });
    const nonce = withNonce.subarray(-16);
    expect(live.body.includes(Buffer.from(nonce))).toBe(true);
    expect((await postOcsp(service, withNonce)).body.equals(live.body)).toBe(false);
  });
});

describe("a revocation shows on every instance (XO-17, XO-21)", () => {
  test("at once where the certificate was not asked for before, and by the feed where a good answer was kept", async () => {
    const [asked, unasked] = [await issuedSerial(fleet.first.service), await issuedSerial(fleet.first.service)];
    for (const { statuses } of await verdicts([asked])) expect(statuses).toEqual(["good"]);
    const { ask } = fleet.first;
    for (const serial of [asked, unasked]) {
      const answer = await ask(`/v1/certificates/${serial}/revoke`, { body: { reason: "superseded" } });
      expect(answer.status).toBe(200);
    }
    for (const { statuses } of await verdicts([unasked])) expect(statuses).toEqual(["revoked"]);
    await expect
      .poll(async () => (await verdicts([asked])).map(({ statuses }) => statuses[0]), { timeout: 30_000 })
      .toEqual(["revoked", "revoked"]);
  });
});

function authority(slug: string) {
  const found = fleet.first.service.ca.authorities.get(slug);
  if (!found) throw new Error("no authority");
  return found;
}
