import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listCrlSlots } from "../../src/ca/crl-store.ts";
import { publishCrl } from "../../src/ca/publish-crl.ts";
import { listDueRootCrls, publishDueCrls, sweepCrls } from "../../src/ca/publish-due-crls.ts";
import { parseCertificate } from "../../src/pki/certificate.ts";
import { renewRootCrl } from "../../src/root-crl.ts";
import { type CrlGround, crlGround, issueLeaf, opensslCrl, opensslVerdict, revokeLeaf, standing } from "../support/crl-world.ts";
import { brokenInvariants } from "../support/invariants.ts";
import { clockOf } from "../support/clock.ts";

let crls: CrlGround;
let files: { root: string; chain: string };
beforeAll(async () => {
  crls = await crlGround({ mtls: 4 });
  files = { root: join(crls.ground.directory, "root.pem"), chain: join(crls.ground.directory, "chain.pem") };
});
afterAll(() => crls[Symbol.asyncDispose]());

/** The URL of the CRL that a certificate names. */
const named = (leaf: { readonly der: Uint8Array }): string => parseCertificate(leaf.der).urls.crl[0] ?? "";

/** A second goes by, and whatever is due is published. */
const publish = async (): Promise<number> => {
  crls.clock.aheadSeconds += 1;
  return await publishDueCrls(crls.ca);
};

describe("the CRLs of an authority", () => {
  test("stand before its first certificate, empty ones too: the full one, each shard, and the root's (XC-16)", async () => {
    await using fresh = await crlGround({ mtls: 2 });
    const slots = await fresh.ca.database.read(listCrlSlots);
    expect(slots.map(({ path, published }) => [path, published?.entries])).toEqual([
      ["issuing-1", 0],
      ["issuing-1/0", 0],
      ["issuing-1/1", 0],
      ["root-1", 0],
    ]);
  });

  test("without revocations have no revokedCertificates (RFC 5280 §5.1.2.6, XC-2)", async () => {
    await using fresh = await crlGround();
    expect((await opensslCrl((await standing(fresh.ca)).der)).text).toContain("No Revoked Certificates.");
  });

  test("are those of the authority's key, last a day for the service and 180 days for the root (XC-17)", async () => {
    for (const { path, chain, days } of [
      { path: "issuing-1", chain: files.chain, days: 1 },
      { path: "root-1", chain: files.root, days: 180 },
    ]) {
      const { der, thisUpdate, nextUpdate } = await standing(crls.ca, path);
      expect((await opensslCrl(der, chain)).verified).toBe(true);
      expect(nextUpdate.getTime() - thisUpdate.getTime()).toBe(days * 86_400_000);
    }
  });
});

describe("a revocation", () => {
  test("is on the full CRL at the job's next turn, with its time and reason, and openssl refuses the certificate", async () => {
    const leaf = await issueLeaf(crls.ca);
    const before = await standing(crls.ca);
    expect(await opensslVerdict(leaf.der, { ...files, crl: before.der, at: crls.clock.now() })).toBe("OK");
    await revokeLeaf(crls.ca, leaf, 1);
    expect(await publish()).toBe(1);
    const after = await standing(crls.ca);
    expect(after.number).toBeGreaterThan(before.number);
    expect(await opensslVerdict(leaf.der, { ...files, crl: after.der, at: crls.clock.now() })).toBe("23");
    const { text, serials } = await opensslCrl(after.der, files.chain);
    expect(serials).toContain(leaf.serial);
    expect(text).toContain("Key Compromise");
  });

  test("of no reason has none in its entry (RFC 5280 §5.3.1, XC-3)", async () => {
    const leaf = await issueLeaf(crls.ca);
    await revokeLeaf(crls.ca, leaf, 0);
    await publish();
    const { text } = await opensslCrl((await standing(crls.ca)).der);
    const entry = text.slice(text.indexOf(leaf.serial.toUpperCase())).split("Serial Number")[0];
    expect(entry).not.toContain("Reason");
  });

  test("that becomes keyCompromise later is on the next CRL as that (XC-5)", async () => {
    const leaf = await issueLeaf(crls.ca);
    await revokeLeaf(crls.ca, leaf, 4);
    await publish();
    await revokeLeaf(crls.ca, leaf, 1);
    expect(await publish()).toBe(1);
    const { text } = await opensslCrl((await standing(crls.ca)).der);
    expect(text.slice(text.indexOf(leaf.serial.toUpperCase())).split("Serial Number")[0]).toContain("Key Compromise");
  });

  test("makes nothing due that it is not in: without a new one the job publishes nothing", async () => {
    await publish();
    expect(await publish()).toBe(0);
  });

  test("that commits late, behind one that began after it, is not missed", async () => {
    const [late, early] = [await issueLeaf(crls.ca), await issueLeaf(crls.ca)];
    const open = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const slow = crls.other.database.transact(async ({ sql }) => {
      await sql`insert into revocation (authority, serial, revoked_at, reason, not_after)
        values ('issuing-1', ${Buffer.from(late.serial, "hex")}, ${crls.clock.now().toISOString()}, 0, ${late.notAfter.toISOString()})`;
      begun.resolve();
      await open.promise;
    });
    try {
      await begun.promise;
      await revokeLeaf(crls.ca, early);
      expect(await publish()).toBe(1);
      const { serials } = await opensslCrl((await standing(crls.ca)).der);
      expect([serials.includes(early.serial), serials.includes(late.serial)]).toEqual([true, false]);
    } finally {
      open.resolve();
    }
    await slow;
    expect(await publish()).toBe(1);
    expect((await opensslCrl((await standing(crls.ca)).der)).serials).toContain(late.serial);
  });

  test("stays until it was on one CRL behind its certificate's end, and then goes (RFC 5280 §3.3, XC-18)", async () => {
    const leaf = await issueLeaf(crls.ca);
    await revokeLeaf(crls.ca, leaf);
    await publish();
    const secondsLeft = (leaf.notAfter.getTime() - crls.clock.now().getTime()) / 1000;
    crls.clock.aheadSeconds += Math.ceil(secondsLeft) + 1;
    const onNext = async (): Promise<boolean> => {
      crls.clock.aheadSeconds += 1;
      const crl = await publishCrl(crls.ca, "issuing-1");
      expect(crl?.thisUpdate.getTime()).toBeGreaterThan(leaf.notAfter.getTime());
      return (await opensslCrl((await standing(crls.ca)).der)).serials.includes(leaf.serial);
    };
    expect([await onNext(), await onNext()]).toEqual([true, false]);
  });

  test("by an instance whose clock is ahead is on the CRL at once, at thisUpdate until its time has come", async () => {
    const leaf = await issueLeaf(crls.ca);
    const ahead = new Date(Math.floor(crls.clock.now().getTime() / 1000) * 1000 + 600_000);
    await crls.ca.database.read(
      (sql) => sql`insert into revocation (authority, serial, revoked_at, reason, not_after)
        values ('issuing-1', ${Buffer.from(leaf.serial, "hex")}, ${ahead.toISOString()}, 0, ${leaf.notAfter.toISOString()})`,
    );
    const dateOnNext = async (): Promise<Date> => {
      expect(await publish()).toBe(1);
      const { text } = await opensslCrl((await standing(crls.ca)).der);
      return new Date(/Revocation Date: (.*)/.exec(text.slice(text.indexOf(leaf.serial.toUpperCase())))?.[1] ?? "");
    };
    expect(await dateOnNext()).toEqual((await standing(crls.ca)).thisUpdate);
    crls.clock.aheadSeconds += 700;
    await revokeLeaf(crls.ca, await issueLeaf(crls.ca));
    expect(await dateOnNext()).toEqual(ahead);
  });

  test("of a certificate that is over already is on one CRL (XC-18)", async () => {
    const leaf = await issueLeaf(crls.ca);
    crls.clock.aheadSeconds += 3_700;
    await publishDueCrls(crls.ca);
    await crls.ca.database.read(
      (sql) => sql`insert into revocation (authority, serial, revoked_at, reason, not_after)
        values ('issuing-1', ${Buffer.from(leaf.serial, "hex")}, ${leaf.notAfter.toISOString()}, 0, ${leaf.notAfter.toISOString()})`,
    );
    expect(await publish()).toBe(1);
    expect((await opensslCrl((await standing(crls.ca)).der)).serials).toContain(leaf.serial);
  });
});

describe("a shard", () => {
  test("has the entries of the certificates that name it, under an issuingDistributionPoint that is their URL (RFC 5280 §5.2.5, XC-10)", async () => {
    const leaf = await issueLeaf(crls.ca, "mtls");
    const [url = ""] = parseCertificate(leaf.der).urls.crl;
    const shard = /issuing-1\/\d\.crl$/.exec(url)?.[0].slice(0, -".crl".length) ?? "";
    expect(url).toBe(`${crls.ground.config.statusUrl}/crl/${shard}.crl`);
    await revokeLeaf(crls.ca, leaf);
    // The full CRL and the shard.
    expect(await publish()).toBe(2);
    const { text, serials } = await opensslCrl((await standing(crls.ca, shard)).der, files.chain);
    expect(serials).toEqual([leaf.serial]);
    expect(text.replace(/\s+/g, " ")).toContain(`X509v3 Issuing Distribution Point: critical Full Name: URI:${url} Only User Certificates`);
    expect((await opensslCrl((await standing(crls.ca)).der)).serials).toContain(leaf.serial);
    const at = crls.clock.now();
    expect(await opensslVerdict(leaf.der, { ...files, crl: (await standing(crls.ca, shard)).der, at })).toBe("23");
    // Another shard says nothing of it: openssl asks for one whose scope it is in (error 44).
    const wrong = shard.endsWith("0") ? "issuing-1/1" : "issuing-1/0";
    expect(await opensslVerdict(leaf.der, { ...files, crl: (await standing(crls.ca, wrong)).der, at })).toBe("44");
  });

  test("keeps its certificates when the number of shards changes; none is dropped (XC-11, XN-8)", async () => {
    await using fresh = await crlGround({ mtls: 8 });
    const leaves = await Promise.all(Array.from({ length: 24 }, () => issueLeaf(fresh.ca, "mtls")));
    expect(new Set(leaves.map(named)).size).toBeGreaterThan(3);

    const fewer = await fresh.start({ mtls: 2 });
    for (const leaf of leaves) await revokeLeaf(fewer, leaf);
    fresh.clock.aheadSeconds += 1;
    await publishDueCrls(fewer);
    for (const leaf of leaves) {
      const path = named(leaf).slice(`${fresh.ground.config.statusUrl}/crl/`.length, -".crl".length);
      expect((await opensslCrl((await standing(fewer, path)).der)).serials).toContain(leaf.serial);
    }
    const full = await opensslCrl((await standing(fewer)).der);
    expect(full.serials.toSorted()).toEqual(leaves.map(({ serial }) => serial).toSorted());
    const later = await issueLeaf(fewer, "mtls");
    expect(named(later)).toMatch(/\/issuing-1\/[01]\.crl$/);
  });

  test("whose URL certificates name cannot move: a start under another CHANCERY_STATUS_URL is refused (XC-10)", async () => {
    await using fresh = await crlGround();
    await fresh.ca.database.read(
      (sql) =>
        sql`insert into crl_slot (path, authority, shard, url) values ('issuing-1/9', 'issuing-1', 9, 'http://old.example.org/crl/issuing-1/9.crl')`,
    );
    await expect(fresh.start({ mtls: 10 })).rejects.toMatchObject({
      code: "refusedToStart",
      detail: expect.stringContaining("http://old.example.org/crl/issuing-1/9.crl"),
    });
  });

  test.for([{ root: 2 }, { "ocsp-responder": 2 }, { nothing: 2 }])(
    "none is made for a profile whose certificates name no CRL of users: %j is refused",
    async (shards) => {
      await expect(crls.start(shards)).rejects.toMatchObject({
        code: "refusedToStart",
        detail: expect.stringContaining("CHANCERY_CRL_SHARDS"),
      });
    },
  );
});

describe("time", () => {
  test("a CRL is renewed six hours after its thisUpdate, and not a second earlier (XC-17)", async () => {
    await publish();
    const { thisUpdate, number } = await standing(crls.ca);
    const wait = thisUpdate.getTime() + 6 * 3_600_000 - crls.clock.now().getTime();
    crls.clock.aheadSeconds += wait / 1000 - 5;
    await publishDueCrls(crls.ca);
    expect((await standing(crls.ca)).number).toBe(number);
    crls.clock.aheadSeconds += 5;
    await publishDueCrls(crls.ca);
    expect((await standing(crls.ca)).number).toBeGreaterThan(number);
  });

  test("the number is thisUpdate in milliseconds, and one more than the last where that is greater (XC-14)", async () => {
    crls.clock.aheadSeconds += 1;
    const first = await publishCrl(crls.ca, "issuing-1");
    expect(first?.number).toBe(BigInt(first?.thisUpdate.getTime() ?? 0));
    await crls.ca.database.read((sql) => sql`update crl_slot set number = number + 2500 where path = 'issuing-1'`);
    crls.clock.aheadSeconds += 1;
    const second = await publishCrl(crls.ca, "issuing-1");
    expect(second?.number).toBe((first?.number ?? 0n) + 2_501n);
    crls.clock.aheadSeconds += 3;
  });

  test("no second CRL bears the same second: the job waits for the next", async () => {
    const clock = clockOf(() => new Date(Math.floor(crls.clock.now().getTime() / 1000) * 1000 + 2_000));
    const at = clock.now();
    const ca = { ...crls.ca, timekeeper: { ...crls.ca.timekeeper, signingTime: () => at } };
    expect(await publishCrl(ca, "issuing-1")).toMatchObject({ thisUpdate: at });
    expect(await publishCrl(ca, "issuing-1")).toBeUndefined();
    crls.clock.aheadSeconds += 3;
  });

  test("a clock that was set back publishes nothing whose thisUpdate regresses, and alarms (XC-18, XV-8)", async () => {
    const before = await standing(crls.ca);
    crls.clock.aheadSeconds -= 3_600;
    const told = crls.events.told.length;
    // One that has signed nothing itself yet: what it may not go behind stands in the database.
    const started = await crls.start({ mtls: 4 });
    await expect(publishCrl(started, "issuing-1")).rejects.toMatchObject({ code: "busy" });
    await expect(publishCrl(crls.ca, "issuing-1")).rejects.toMatchObject({ code: "busy" });
    expect(crls.events.told.slice(told)).toContainEqual(expect.objectContaining({ level: "error", event: "clock.refused" }));
    crls.clock.aheadSeconds += 3_601;
    expect(await standing(crls.ca)).toMatchObject({ number: before.number, thisUpdate: before.thisUpdate });
    expect(await publishCrl(crls.ca, "issuing-1")).toBeDefined();
  });
});

describe("a root's CRL", () => {
  test("is asked for where it lacks a revocation, and lists it with its reason once its token is at hand (XC-3)", async () => {
    await using fresh = await crlGround();
    expect(await listDueRootCrls(fresh.ca)).toEqual([]);
    const { parsed } = fresh.ca.authorities.get("issuing-1") ?? {};
    if (!parsed) throw new Error("no authority");
    await fresh.ca.database.read(
      (sql) => sql`insert into revocation (authority, serial, revoked_at, reason, not_after)
        values ('root-1', ${Buffer.from(parsed.serial, "hex")}, ${fresh.clock.now().toISOString()}, 5, ${parsed.notAfter.toISOString()})`,
    );
    expect(await listDueRootCrls(fresh.ca)).toEqual(["root-1"]);
    fresh.clock.aheadSeconds += 1;
    await renewRootCrl(fresh.ground.config, "root-1", { clock: fresh.clock });
    expect(await listDueRootCrls(fresh.ca)).toEqual([]);
    const { text, serials } = await opensslCrl((await standing(fresh.ca, "root-1")).der, join(fresh.ground.directory, "root.pem"));
    expect(serials).toEqual([parsed.serial]);
    expect(text).toContain("Cessation Of Operation");
  });
});

describe("a database that was restored", () => {
  test("publishes anew at once, with a number beyond any that it has lost (XC-14)", async () => {
    await publish();
    const kept = await standing(crls.ca);
    // What a backup of this moment would restore; then time goes on, and CRLs that the backup does not know are published.
    const leaf = await issueLeaf(crls.ca);
    await revokeLeaf(crls.ca, leaf);
    await publish();
    const lost = await standing(crls.ca);
    await crls.ca.database.read((sql) => sql`alter table crl_slot disable trigger crl_slot_order`);
    await crls.ca.database.read(
      (
        sql,
      ) => sql`update crl_slot set publication = ${kept.publication}, number = ${String(kept.number)}, this_update = ${kept.thisUpdate.toISOString()},
        next_update = ${kept.nextUpdate.toISOString()}, entries = ${kept.entries}, octets = ${kept.octets}, sha256 = ${Buffer.from(kept.sha256, "hex")},
        previous = null, snapshot = '999999999:999999999:' where path = 'issuing-1'`,
    );
    await crls.ca.database.read((sql) => sql`alter table crl_slot enable trigger crl_slot_order`);
    expect(await publish()).toBe(1);
    const after = await standing(crls.ca);
    expect(after.number).toBeGreaterThan(lost.number);
    expect((await opensslCrl(after.der)).serials).toContain(leaf.serial);
    // The snapshot is of this database now: nothing is due any more.
    expect(await publish()).toBe(0);
  });
});

describe("what was superseded", () => {
  test("goes at the sweep: of each slot the CRL that stands and the one before stay", async () => {
    for (let round = 0; round < 3; round++) {
      crls.clock.aheadSeconds += 1;
      await publishCrl(crls.ca, "issuing-1");
    }
    await sweepCrls(crls.ca);
    const publications = await crls.ca.database.read(
      (sql) => sql<{ count: number }[]>`select count(*)::integer as count from crl_publication where path = 'issuing-1'`,
    );
    expect(publications[0]?.count).toBe(2);
    expect((await standing(crls.ca)).whole).toBe(true);
  });

  test("what stands cannot be taken away, and a slot neither goes nor changes its scope", async () => {
    const { publication } = await standing(crls.ca);
    const refused = async (statement: string): Promise<unknown> =>
      crls.ca.database
        .read((sql) => sql.unsafe(statement))
        .then(
          () => "done",
          (error: Error) => error.message,
        );
    expect(await refused(`delete from crl_publication where id = '${publication}'`)).toContain("foreign key");
    expect(await refused("delete from crl_slot")).toContain("append-only");
    expect(await refused("update crl_slot set authority = 'root-1' where path = 'issuing-1'")).toMatch(/scope|check/);
    expect(await refused("update crl_slot set publication = previous, number = number - 1 where path = 'issuing-1'")).toContain(
      "greater number",
    );
  });
});

test("each publication has its audit record, and the database is whole after all of it", async () => {
  const records = await crls.ca.database.read(
    (sql) => sql<{ object: { crl: string; number: string; sha256: string } }[]>`
      select convert_from(bytes, 'UTF8')::jsonb -> 'object' as object from audit_record where convert_from(bytes, 'UTF8')::jsonb ->> 'operation' = 'crl.publish'`,
  );
  const { number, sha256 } = await standing(crls.ca);
  expect(
    records.filter(({ object }) => object.crl === "issuing-1" && object.number === String(number)).map(({ object }) => object.sha256),
  ).toEqual([sha256]);
  expect(
    await crls.ca.database
      .read((sql) => brokenInvariants(sql))
      .then((broken) => broken.filter((sentence) => !sentence.includes("revoked without"))),
  ).toEqual([]);
});
