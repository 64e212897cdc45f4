import { afterAll, beforeAll, expect, test } from "vitest";
import { revokeBlocked } from "../../src/ca/revoke.ts";
import { writeCertificateRows } from "../support/certificate-rows.ts";
import { type CrlGround, crlGround, issueLeaf } from "../support/crl-world.ts";
import { holdBeforeFaults } from "../support/emitted-status.ts";

let crls: CrlGround;
beforeAll(async () => {
  crls = await crlGround();
  await issueLeaf(crls.ca);
  // No CRL is published of what is revoked here.
  await holdBeforeFaults(crls.ground);
});
afterAll(() => crls[Symbol.asyncDispose]());

/** A key's SHA-256: keys are in the order of the first octet, then of the second. */
const keyOf = (first: number, second = 0): Buffer => Buffer.concat([Buffer.of(first, second), Buffer.alloc(30)]);

/** Certificates of keys, as many each, which were blocked by a transaction that did not see them. */
async function blockedInUse(keys: readonly Buffer[], count: number): Promise<void> {
  for (const spkiSha256 of keys) {
    await crls.ca.database.read((sql) => writeCertificateRows(sql, { count, spkiSha256 }));
    await crls.ca.database.read(
      (sql) => sql`insert into reserved_key (spki_sha256, kind, reserved_at) values (${spkiSha256}, 'compromised', now())`,
    );
  }
}

/** How many certificates of the key are revoked for keyCompromise. */
async function compromised(key: Buffer): Promise<number> {
  const [row] = await crls.ca.database.read(
    (sql) => sql<{ count: number }[]>`
      select count(*)::integer as count from certificate join revocation using (authority, serial) where spki_sha256 = ${key} and reason = 1`,
  );
  return row?.count ?? 0;
}

const running = (): AbortSignal => new AbortController().signal;

test("all certificates of compromised keys are revoked in one turn of the job, however many (I2)", async () => {
  const keys = [keyOf(0x80), keyOf(0x81)];
  await blockedInUse(keys, 250);
  expect(await revokeBlocked(crls.ca, AbortSignal.abort())).toBe(0);
  expect(await revokeBlocked(crls.ca, running())).toBe(500);
  expect(await Promise.all(keys.map(compromised))).toEqual([250, 250]);
  expect(await revokeBlocked(crls.ca, running())).toBe(0);
});

test("keys whose certificates cannot be revoked now keep none behind them from it, and are told of (I2)", async () => {
  const failing = Array.from({ length: 120 }, (_, second) => keyOf(0x00, second));
  const others = [keyOf(0xfe), keyOf(0xff)];
  await blockedInUse([...failing, ...others], 1);
  await crls.ca.database.read((sql) =>
    sql.unsafe(`
      create function refuse_some() returns trigger language plpgsql as $$
      begin
        if exists (select from certificate c where c.serial = new.serial and get_byte(c.spki_sha256, 0) = 0) then raise 'refused'; end if;
        return new;
      end $$`),
  );
  await crls.ca.database.read((sql) =>
    sql.unsafe("create trigger refuse_some before insert on revocation for each row execute function refuse_some()"),
  );
  await expect(revokeBlocked(crls.ca, running())).rejects.toThrow("refused");
  expect(await Promise.all([...others, keyOf(0x00)].map(compromised))).toEqual([1, 1, 0]);
  await crls.ca.database.read((sql) => sql`drop trigger refuse_some on revocation`);
  expect(await revokeBlocked(crls.ca, running())).toBe(120);
});
