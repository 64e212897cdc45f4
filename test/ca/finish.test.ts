import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { IntentRow } from "../../src/ca/attempt-store.ts";
import type { Authority } from "../../src/ca/authority.ts";
import type { Ca } from "../../src/ca/ca.ts";
import { finish } from "../../src/ca/finish.ts";
import { issue, type IssueRequest } from "../../src/ca/issue.ts";
import { settle } from "../../src/ca/settle.ts";
import { timekeeper } from "../../src/ca/timekeeper.ts";
import { type CertificateContent, parseTbsCertificate, tbsCertificate } from "../../src/pki/certificate.ts";
import { csrFromText, parseCsr } from "../../src/pki/csr.ts";
import { lint } from "../../src/pki/lint.ts";
import { builtInProfiles, type Profile } from "../../src/pki/profile.ts";
import { movedClock } from "../support/clock.ts";
import { type RecordedEvents, recordedEvents } from "../support/events.ts";
import { failpoints } from "../support/failpoints.ts";
import { brokenInvariants } from "../support/invariants.ts";
import { opensslRequest, startService, type TestService } from "../support/service.ts";

// An hour ahead, so that the service's own settling finds nothing that is old enough.
const clock = movedClock(3600);
let chancery: TestService;
let ca: Ca;
let authority: Authority;
let events: RecordedEvents;
let signatures = 0;
const profile: Profile | undefined = builtInProfiles.find(({ name }) => name === "server");
beforeAll(async () => {
  chancery = await startService({ events: () => (events = recordedEvents()) });
  const own = chancery.service.ca;
  const { hsm } = failpoints((point) => void (point === "sign:after" && (signatures += 1)));
  ca = { ...own, clock, timekeeper: timekeeper(clock, undefined), hsm: hsm(own.hsm) };
  const issuing = own.authorities.get("issuing-1");
  if (!issuing) throw new Error("no authority");
  authority = issuing;
});
afterAll(() => chancery[Symbol.asyncDispose]());

const requestFor = async (name: string): Promise<IssueRequest> => {
  const { names, publicKey } = await parseCsr(csrFromText((await opensslRequest(name)).csr));
  const principal = { id: "system", namespace: "/" };
  return { door: "system", principal, requestHash: new Uint8Array(32), profile: "server", names, publicKey };
};

const contentOf = ({ names, publicKey }: IssueRequest): CertificateContent => ({ subject: [], names, spki: publicKey.spki });
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** The same world, but in it the bytes of an intent become those of other content as soon as they are durable; the intents are kept. */
function altering(content: CertificateContent, then: (row: IntentRow) => void = () => {}): { ca: Ca; rows: IntentRow[] } {
  const rows: IntentRow[] = [];
  const recordIntent: Ca["recordIntent"] = async (row) => {
    const outcome = await ca.recordIntent(row);
    if (!profile) throw new Error("no profile");
    const { serial, notBefore, notAfter } = parseTbsCertificate(row.tbs);
    row.tbs.set(tbsCertificate(authority.issuer, profile, content, { serial, notBefore, notAfter }));
    then(row);
    rows.push(row);
    return outcome;
  };
  return { ca: { ...ca, recordIntent }, rows };
}

/** What the database says of an attempt. */
const recordOf = async ({ serial }: IntentRow) => {
  const [row] = await ca.database.read(
    (sql) => sql<{ digest: string; ended: boolean; certificate: Uint8Array | null; revoked: boolean; records: string[] }[]>`
    select encode(sha256(i.tbs), 'hex') as digest, c.serial is not null as ended, c.certificate, r.serial is not null as revoked,
      array(select e ->> 'operation' from audit_record, lateral (select convert_from(bytes, 'UTF8')::jsonb as e) j
        where e -> 'object' ->> 'serial' = encode(i.serial, 'hex') order by 1 desc) as records
    from issuance i left join certificate c using (authority, serial) left join revocation r using (authority, serial)
    where i.serial = ${serial}`,
  );
  return row;
};

describe("bytes that change between lint and signature (XI-3, XI-6)", () => {
  const rows = [
    { name: "another public key", rule: "chancery_public_key_not_request", reads: /another key/, other: { spki: true } },
    { name: "another name", rule: "chancery_san_not_equal_request", reads: /subjectAltName is/, other: { names: true } },
  ] as const;

  test.for(rows)(
    "$name: nothing is signed, and the attempt is closed in time; with the checks off the same bytes are issued",
    async ({ rule, reads, other, name }) => {
      if (!profile) throw new Error("no profile");
      const host = name.replaceAll(" ", "-");
      const request = await requestFor(`a.${host}.example.org`);
      const foreign = contentOf(await requestFor(`b.${host}.example.org`));
      const content = { ...contentOf(request), ...("spki" in other ? { spki: foreign.spki } : { names: foreign.names }) };

      const broken = await ca.database.read((sql) => brokenInvariants(sql));
      const first = altering(content);
      const before = signatures;
      await expect(issue(first.ca, request)).rejects.toMatchObject({ code: "internal", detail: expect.stringContaining("linted") });
      expect(signatures).toBe(before);
      const [altered] = first.rows;
      if (!altered) throw new Error("no intent");
      expect(events.told.filter(({ event }) => event === "issuance.refused").at(-1)?.fields).toEqual({
        authority: "issuing-1",
        serial: Buffer.from(altered.serial).toString("hex"),
      });
      expect(lint(altered.tbs, { profile, issuer: authority.issuer, ...contentOf(request) }).map((finding) => finding.rule)).toContain(
        rule,
      );
      expect(await recordOf(altered)).toMatchObject({ digest: altered.tbsSha256, ended: false, records: ["certificate.issue"] });

      clock.aheadSeconds += 2 * 3600;
      expect(await settle(ca)).toEqual({ finished: 0, closed: 1, failed: 0 });
      expect(await recordOf(altered)).toMatchObject({
        certificate: null,
        revoked: true,
        records: ["certificate.issue", "certificate.close"],
      });
      expect(await ca.database.read((sql) => brokenInvariants(sql))).toEqual(broken);

      // Without the first check the token signs them, and the second decoder keeps the certificate back.
      const second = altering(content, (row) => Object.assign(row, { tbsSha256: sha256(row.tbs) }));
      await expect(issue(second.ca, request)).rejects.toMatchObject({
        code: "internal",
        detail: expect.stringContaining("second decoder"),
      });
      expect(events.told.filter(({ event }) => event === "second-decoder.disagreed").at(-1)?.fields["differences"]).toEqual([
        expect.stringMatching(reads),
      ]);
      const [signed] = second.rows;
      if (!signed) throw new Error("no intent");
      expect(await recordOf(signed)).toMatchObject({ ended: false });

      // Without either the certificate is issued, and the invariants see it.
      const { serial, requestId, namespace, principal, tbs } = signed;
      const issued = await finish(ca, authority, profile, { serial, requestId, namespace, principal, tbs });
      expect(issued.names.map(({ value }) => value)).toEqual(content.names.map(({ value }) => value));
      expect(issued.spkiSha256).toBe(sha256(content.spki));
      expect(await ca.database.read((sql) => brokenInvariants(sql))).toContain(`the certificate ${issued.serial} is not over its intent`);
    },
  );
});
