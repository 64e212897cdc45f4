import { generateKeyPairSync, sign } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Authority } from "../../src/ca/authority.ts";
import type { Ca } from "../../src/ca/ca.ts";
import { publishCrl } from "../../src/ca/publish-crl.ts";
import { publishDueCrls } from "../../src/ca/publish-due-crls.ts";
import { encodeName } from "../../src/pki/name.ts";
import type { Hsm } from "../../src/ports/hsm.ts";
import { type CrlGround, crlGround, issueLeaf, type Leaf, opensslCrl, revokeLeaf, standing } from "../support/crl-world.ts";
import { rewritten, tampered } from "../support/rewritten-statement.ts";

let crls: CrlGround;
let leaves: Leaf[];
beforeAll(async () => {
  crls = await crlGround({ mtls: 2 });
  leaves = await Promise.all(Array.from({ length: 6 }, () => issueLeaf(crls.ca)));
  for (const leaf of leaves) await revokeLeaf(crls.ca, leaf);
  await revokeLeaf(crls.ca, await issueLeaf(crls.ca, "mtls"));
  crls.clock.aheadSeconds += 1;
  await publishDueCrls(crls.ca);
});
afterAll(() => crls[Symbol.asyncDispose]());
beforeEach(() => void (crls.clock.aheadSeconds += 2));

/** The world with an authority that is another in some of its parts. */
const withAuthority = (change: (authority: Authority) => Authority): Ca => {
  const authorities = new Map(
    [...crls.ca.authorities].map(([slug, authority]) => [slug, slug === "issuing-1" ? change(authority) : authority]),
  );
  return { ...crls.ca, authorities };
};

/** DER INTEGER of six octets. */
const integer = (value: bigint): Buffer => Buffer.from(`0206${value.toString(16).padStart(12, "0")}`, "hex");

/** Content of a UTCTime. */
const utcTime = (time: Date): Buffer => Buffer.from(time.toISOString().replace(/^..|[-:T]|\.000/g, ""), "latin1");

/** Octets that stand in the bytes become others of the same length. */
const replacing = (find: Uint8Array, put: Uint8Array) => (bytes: Buffer) => {
  const at = bytes.indexOf(find);
  if (at >= 0) bytes.set(put, at);
};

/** A signature that the token gives, with what becomes of it on the way. */
type Signature = Uint8Array<ArrayBuffer>;
const withSignature = (change: (signature: Signature, turn: number) => Signature | Promise<Signature>): Hsm => {
  let turn = 0;
  return new Proxy(crls.ca.hsm, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (property === "replaceHost") return () => undefined;
      if (property !== "signParts") return typeof value === "function" ? value.bind(target) : value;
      return async (...args: Parameters<Hsm["signParts"]>) => change(await target.signParts(...args), ++turn);
    },
  });
};

const refusals = (): unknown[] => crls.events.told.filter(({ event }) => event === "crl.refused").map(({ fields }) => fields["rules"]);

/** What stood before stands, whole, and the next turn of an instance without the fault publishes. */
const refused = async (ca: Ca, rules: readonly string[], path = "issuing-1"): Promise<void> => {
  const before = await standing(crls.ca, path);
  await expect(publishCrl(ca, path)).rejects.toMatchObject({ code: expect.stringMatching(/^(?:internal|lintRefused)$/) });
  expect(refusals().at(-1)).toEqual(rules);
  expect(await standing(crls.ca, path)).toEqual(before);
  expect(await publishCrl(crls.ca, path)).toBeUndefined();
  // The lease of what was refused ends; nobody made the same again meanwhile.
  await crls.ca.database.read((sql) => sql`update crl_slot set lease_until = clock_timestamp() - interval '1 second' where path = ${path}`);
  expect((await publishCrl(crls.ca, path))?.number).toBeGreaterThan(before.number);
  expect((await standing(crls.ca, path)).whole).toBe(true);
};

const otherName = encodeName([{ type: "CN", value: "Another CA" }]);

describe("a CRL is refused, told and not published, and the one before stays (XC-21)", () => {
  test("whose issuer is the name of another authority, in the slot during a rollover (XN-11)", async () => {
    const ca = withAuthority((authority) => ({ ...authority, issuer: { ...authority.issuer, subject: otherName } }));
    await refused(ca, ["chancery_crl_issuer_not_slot"]);
  });

  test("whose authorityKeyIdentifier is that of another key, in the slot during a rollover (XN-11)", async () => {
    const subjectKeyIdentifier = new Uint8Array(20).fill(7);
    const ca = withAuthority((authority) => ({ ...authority, issuer: { ...authority.issuer, subjectKeyIdentifier } }));
    await refused(ca, ["chancery_crl_authority_key_not_slot"]);
  });

  test("whose number is not greater than the published one", async () => {
    const { number, thisUpdate } = await standing(crls.ca);
    const at = crls.clock.now();
    const next = BigInt(Math.floor(at.getTime() / 1000) * 1000);
    const database = tampered(crls.ca.database, replacing(integer(next), integer(number)));
    const timekeeper = { ...crls.ca.timekeeper, signingTime: () => new Date(Number(next)) };
    expect(next).toBeGreaterThan(number);
    expect(thisUpdate.getTime()).toBeLessThan(Number(next));
    await refused({ ...crls.ca, database, timekeeper }, ["chancery_crl_number_not_greater"]);
  });

  test("whose thisUpdate is not later than the published one's", async () => {
    const { thisUpdate } = await standing(crls.ca);
    const next = new Date(Math.floor(crls.clock.now().getTime() / 1000) * 1000);
    const database = tampered(crls.ca.database, replacing(utcTime(next), utcTime(thisUpdate)));
    const timekeeper = { ...crls.ca.timekeeper, signingTime: () => next };
    await refused({ ...crls.ca, database, timekeeper }, ["chancery_crl_this_update_not_later"]);
  });

  test("whose issuingDistributionPoint is not what certificates name: that of another shard", async () => {
    const database = tampered(crls.ca.database, replacing(Buffer.from("issuing-1/1.crl"), Buffer.from("issuing-1/0.crl")));
    await refused({ ...crls.ca, database }, ["chancery_crl_idp_not_slot_uri"], "issuing-1/1");
  });

  test("that lacks a revoked certificate which is not over: a condition of the statement lost it (XN-7)", async () => {
    const lost = [{ find: "where r.authority =", put: "where r.reason <> 4 and r.authority =" }];
    await refused({ ...crls.ca, database: rewritten(crls.ca.database, lost) }, ["chancery_crl_entry_removed_early"]);
  });

  test("in which another certificate stands in the place of a revoked one (XN-7)", async () => {
    const serials = (await opensslCrl((await standing(crls.ca)).der)).serials;
    const [first = ""] = serials;
    const other = `40${"00".repeat(15)}`;
    const database = tampered(crls.ca.database, replacing(Buffer.from(first, "hex"), Buffer.from(other, "hex")));
    await refused({ ...crls.ca, database }, ["chancery_crl_entry_removed_early"]);
  });

  test("that has fewer entries than the snapshot counted: nine tenths of them were not read (XN-8)", async () => {
    const before = await standing(crls.ca);
    const lost = [{ find: "order by r.serial", put: "and get_byte(r.serial, 1) < 26 order by r.serial" }];
    const ca = { ...crls.ca, database: rewritten(crls.ca.database, lost) };
    await expect(publishCrl(ca, "issuing-1")).rejects.toMatchObject({
      code: "internal",
      detail: expect.stringMatching(/entries of \d+ octets were planned/),
    });
    expect(crls.events.told.at(-1)).toMatchObject({ level: "error", event: "crl.failed", fields: { crl: "issuing-1" } });
    expect(await standing(crls.ca)).toEqual(before);
    await crls.ca.database.read((sql) => sql`update crl_slot set lease_until = clock_timestamp() - interval '1 second'`);
  });

  test.for(["set bytes = set_byte(bytes, 40, get_byte(bytes, 40) # 1)", "set bytes = bytes || '\\x00'", "set bytes = substr(bytes, 2)"])(
    "of which another octet lies in the database than was signed: %s",
    async (fault) => {
      const hsm = withSignature(async (signature) => {
        const changed = await crls.ca.database.read((sql) =>
          sql.unsafe(
            `update crl_part ${fault} where publication = (select lease_owner from crl_slot where path = 'issuing-1') and position = 1`,
          ),
        );
        expect(changed.count).toBe(1);
        return signature;
      });
      await refused({ ...crls.ca, hsm }, ["chancery_crl_signature_invalid"]);
    },
  );

  test("whose signature is that of another key", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const foreign = new Uint8Array(sign("sha256", Buffer.from("other bytes"), privateKey));
    const corrupt = () => crls.events.told.filter(({ event }) => event === "signature.corrupt").length;
    const before = corrupt();
    await refused({ ...crls.ca, hsm: withSignature(() => foreign) }, ["chancery_crl_signature_invalid"]);
    expect(corrupt() - before).toBe(2);
  });
});

test("a signature with a flipped bit is discarded and asked for once more (XI-6)", async () => {
  const flipped = withSignature((signature, turn) => (turn === 1 ? signature.with(40, (signature[40] ?? 0) ^ 1) : signature));
  const published = await publishCrl({ ...crls.ca, hsm: flipped }, "issuing-1");
  expect(published).toBeDefined();
  const { der, whole } = await standing(crls.ca);
  expect(whole).toBe(true);
  expect((await opensslCrl(der, `${crls.ground.directory}/chain.pem`)).verified).toBe(true);
});
