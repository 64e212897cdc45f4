import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { publishCrl } from "../../src/ca/publish-crl.ts";
import { openCrlDirectory } from "../../src/jobs/crl-directory.ts";
import { type CrlGround, crlGround, opensslCrl, standing } from "../support/crl-world.ts";

/** What 0.1.0 left in its database, as psql shows it: a slot with what is published, how its bytes are divided, and what was revoked. */
const publication = "6f1a2b8e-9a1d-4c55-8a52-5a40c6a7d9f1";
const slot = {
  number: "1795541181000",
  thisUpdate: "2026-11-24 17:26:21+00",
  nextUpdate: "2026-11-25 17:26:21+00",
  entries: 4,
  octets: 466,
  sha256: "2b5d8e5578fe1b11661f71bc3ad373b249f9837fc9587e2f3e2b51f9deb6cec3",
  snapshot: "828:828:",
  partOctets: [4, 376, 86],
};
const revocations = [
  {
    serial: "50e2e92f3a5bcddcf64d211b58323d15",
    revokedAt: "2026-11-24 17:26:18+00",
    reason: 0,
    notAfter: "2026-11-25 17:21:17+00",
    shard: 0,
  },
  {
    serial: "6924823ea289dba87cd359b92b8e7d58",
    revokedAt: "2026-11-24 17:26:17+00",
    reason: 4,
    notAfter: "2026-11-25 17:21:16+00",
    shard: 0,
  },
  {
    serial: "76fad54266a4e1cba63a3031f1ef0a6d",
    revokedAt: "2026-11-24 17:26:16+00",
    reason: 1,
    notAfter: "2027-02-22 17:21:15+00",
    shard: null,
  },
  {
    serial: "774e4bef08f37654a68f56583586bd71",
    revokedAt: "2026-11-24 17:26:19+00",
    reason: 9,
    notAfter: "2027-02-22 17:21:18+00",
    shard: null,
  },
];
const golden = () => readFile(join(import.meta.dirname, "../vectors/golden/0.1.0/full.crl"));

/** The entries of a CRL as openssl shows them. */
const entriesOf = (said: string): string | undefined => /Revoked Certificates:[\s\S]*?(?= {4}Signature Algorithm)/.exec(said)?.[0];

let crls: CrlGround;
beforeAll(async () => {
  crls = await crlGround();
  // What stands in the slot is another authority's.
  crls.ground.emitted.planted = true;
});
afterAll(() => crls[Symbol.asyncDispose]());

/** The database has the slot of 0.1.0, its parts, and so many of its revocations. */
beforeEach(async () => {
  const der = await golden();
  await crls.ca.database.transact(async ({ sql }) => {
    await sql`alter table crl_slot disable trigger crl_slot_order`;
    await sql`insert into crl_publication (id, path, fence) values (${publication}, 'issuing-1', 1) on conflict do nothing`;
    let offset = 0;
    for (const [position, octets] of slot.partOctets.entries()) {
      const bytes = der.subarray(offset, (offset += octets));
      await sql`insert into crl_part (publication, position, bytes) values (${publication}, ${position}, ${bytes}) on conflict do nothing`;
    }
    await sql`
      update crl_slot set publication = ${publication}, number = ${slot.number}, this_update = ${slot.thisUpdate},
        next_update = ${slot.nextUpdate}, entries = ${slot.entries}, octets = ${slot.octets},
        sha256 = ${Buffer.from(slot.sha256, "hex")}, snapshot = ${slot.snapshot}::pg_snapshot, lease_owner = null, lease_until = null
      where path = 'issuing-1'`;
    await sql`alter table crl_slot enable trigger crl_slot_order`;
  });
});

test("a CRL that 0.1.0 left in the database is served as it stands, octet by octet (XN-9)", async () => {
  await using directory = await openCrlDirectory(crls.ca, join(crls.ground.directory, "crl-golden"));
  await directory.refresh();
  expect(directory.crl("issuing-1")?.body).toEqual(await golden());
  expect(await readFile(join(crls.ground.directory, "crl-golden", "issuing-1.crl"))).toEqual(await golden());
  expect((await standing(crls.ca)).whole).toBe(true);
});

test("the next publication is held against it: without its revocations there is none (XC-21)", async () => {
  await expect(publishCrl(crls.ca, "issuing-1")).rejects.toMatchObject({
    members: { rules: expect.arrayContaining(["chancery_crl_entry_removed_early"]) },
  });
  expect((await standing(crls.ca)).der).toEqual(await golden());
});

test("with them the next one has every entry of it, and a greater number (XC-14, XC-18)", async () => {
  await crls.ca.database.transact(async ({ sql }) => {
    for (const { serial, revokedAt, reason, notAfter, shard } of revocations) {
      await sql`
        insert into revocation (authority, serial, revoked_at, reason, not_after, shard)
        values ('issuing-1', ${Buffer.from(serial, "hex")}, ${revokedAt}, ${reason}, ${notAfter}, ${shard})`;
    }
  });
  const published = await publishCrl(crls.ca, "issuing-1");
  expect(published?.number).toBeGreaterThan(BigInt(slot.number));
  const { der } = await standing(crls.ca);
  const { serials, text, verified } = await opensslCrl(der, join(crls.ground.directory, "chain.pem"));
  expect([serials, verified]).toEqual([revocations.map(({ serial }) => serial), true]);
  expect(entriesOf(text)).toBe(entriesOf((await opensslCrl(await golden())).text));
});
