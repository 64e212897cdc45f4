import { KeyObject, type webcrypto } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Account } from "../../src/acme/account.ts";
import { changeKey } from "../../src/acme/change-key.ts";
import type { Directory } from "../../src/acme/directory.ts";
import { finalize } from "../../src/acme/finalize.ts";
import { revokeCertificate, type Revoker } from "../../src/acme/revoke-certificate.ts";
import { type IntentRow, recordIntents } from "../../src/ca/attempt-store.ts";
import { readStoredCertificate, type StoredCertificate } from "../../src/ca/certificates.ts";
import { issue, type IssueRequest } from "../../src/ca/issue.ts";
import { reserveAccountKey } from "../../src/ca/reserved-key-store.ts";
import { revokeBlocked } from "../../src/ca/revoke.ts";
import { parseCsr } from "../../src/pki/csr.ts";
import { certificateKeys, certificateRequest, type SigningKey, signingKey } from "../support/acme-client.ts";
import {
  accountKey,
  accountUrl,
  type AccountWorld,
  accountWorld,
  asked,
  audited,
  certified,
  json,
  keyChange,
  keyChangeUrl,
  provenOrder,
  registered,
} from "./account-world.ts";
import { clockOf } from "../support/clock.ts";

let world: AccountWorld;
let account: Account;
beforeAll(async () => {
  world = await accountWorld();
  ({ account } = await registered(world.acme, world.directories.open));
});
afterAll(() => world[Symbol.asyncDispose]());

const fault = (code: string, detail: unknown = expect.anything()) => expect.objectContaining({ name: "Fault", code, detail });

let count = 0;
const freshName = () => `host-${(count += 1)}.example.org`;
const issued = (names: readonly string[] = [freshName()], keys?: webcrypto.CryptoKeyPair) =>
  certified(world.acme, world.directories.open, account, names, keys ? { keys } : {});
const encoded = (certificate: Uint8Array) => Buffer.from(certificate).toString("base64url");
const revoke = (by: Revoker, { certificate }: Pick<StoredCertificate, "certificate">, reason?: unknown, acme = world.acme) =>
  revokeCertificate(acme, by, json({ certificate: encoded(certificate), reason }), "revoke-1");
const now = async ({ authority, serial }: StoredCertificate) =>
  (await readStoredCertificate(world.acme.ca, authority, Buffer.from(serial, "hex")))?.status;
const revocations = ({ serial }: StoredCertificate) =>
  world.acme.database.read((sql) => sql<{ reason: number }[]>`select reason from revocation where serial = ${Buffer.from(serial, "hex")}`);
const records = async ({ serial }: StoredCertificate) =>
  (await audited(world.acme, "certificate.revoke")).filter(({ object }) => object["serial"] === serial);
const changes = async ({ serial }: StoredCertificate) =>
  (await audited(world.acme, "certificate.compromise")).filter(({ object }) => object["serial"] === serial);
/** The holder of a certificate's key, as the door gives it on. */
const holder = (keys: webcrypto.CryptoKeyPair): Revoker => ({
  key: accountKey({ jwk: KeyObject.from(keys.publicKey).export({ format: "jwk" }) }),
});
/** An account key for the pair of a certificate. */
const asAccountKey = (keys: webcrypto.CryptoKeyPair): SigningKey => ({
  alg: "ES256",
  privateKey: KeyObject.from(keys.privateKey),
  jwk: KeyObject.from(keys.publicKey).export({ format: "jwk" }),
});

describe("revokeCert (RFC 8555 §7.6)", () => {
  test("by the account that got the certificate revokes it, durable with its audit record (AR-1)", async () => {
    const certificate = await issued();
    await revoke({ account }, certificate);
    expect(await now(certificate)).toBe("revoked");
    expect(await revocations(certificate)).toEqual([{ reason: 0 }]);
    expect(await records(certificate)).toMatchObject([
      {
        principal: `acme:${account.id}`,
        requestId: "revoke-1",
        namespace: certificate.namespace,
        object: { authority: certificate.authority, reason: 0 },
      },
    ]);
  });

  test("by the key of the certificate revokes it (AR-1)", async () => {
    const keys = await certificateKeys();
    const certificate = await issued([freshName()], keys);
    await revoke(holder(keys), certificate, 4);
    expect(await revocations(certificate)).toEqual([{ reason: 4 }]);
  });

  test("by another account with valid authorizations for all names, a wildcard one for *.x (AR-3)", async () => {
    const { acme, directories } = world;
    const [name, base] = [freshName(), freshName()];
    const certificate = await issued([name, `*.${base}`]);
    const { account: other } = await registered(acme, directories.open);
    await expect(revoke({ account: other }, certificate)).rejects.toEqual(fault("unauthorized"));
    await provenOrder(acme, directories.open, other, [name, base, `*.${name}`]);
    await expect(revoke({ account: other }, certificate)).rejects.toEqual(fault("unauthorized"));
    await provenOrder(acme, directories.open, other, [`*.${base}`]);
    await expect(revoke({ account: other }, certificate, 1)).rejects.toEqual(fault("badRevocationReason"));
    await revoke({ account: other }, certificate, 5);
    expect(await records(certificate)).toMatchObject([{ principal: `acme:${other.id}` }]);
  });

  test.for([
    { account: "/", certificate: "/web", code: undefined },
    { account: "/web", certificate: "/web", code: undefined },
    { account: "/web", certificate: "/web/shop", code: undefined },
    { account: "/web/shop", certificate: "/web", code: "unauthorized" },
    { account: "/web", certificate: "/", code: "unauthorized" },
    { account: "/web", certificate: "/website", code: "unauthorized" },
  ])(
    "an account of $account with all authorizations, a certificate of $certificate in another directory: $code (AR-3, XN-21)",
    async (row) => {
      const { acme, directories } = world;
      const directory = (namespace: string): Directory => ({ ...directories.open, name: `of${namespace.replaceAll("/", "-")}`, namespace });
      const [theirs, mine] = [directory(row.certificate), directory(row.account)];
      const wide = { ...acme, directories: new Map([...acme.directories, [theirs.name, theirs], [mine.name, mine]]) };
      const name = freshName();
      const { account: owner } = await registered(wide, theirs);
      const certificate = await certified(wide, theirs, owner, [name]);
      expect(certificate.namespace).toBe(row.certificate);
      const { account: other } = await registered(wide, mine);
      await provenOrder(wide, mine, other, [name]);
      const outcome = revoke({ account: other }, certificate, 4, wide);
      if (row.code) await expect(outcome).rejects.toEqual(fault(row.code));
      else await outcome;
      expect(await now(certificate)).toBe(row.code ? "valid" : "revoked");
    },
  );

  test("by anybody else is unauthorized: another account, another key, the account's own key, its authorizations expired (AR-4)", async () => {
    const { acme, directories } = world;
    const name = freshName();
    const { account: mine, key } = await registered(acme, directories.open);
    const certificate = await certified(acme, directories.open, mine, [name]);
    const { account: other } = await registered(acme, directories.open);
    const late = { ...acme, clock: clockOf(() => new Date(acme.clock.now().getTime() + 31 * 86_400_000)) };
    await provenOrder(acme, directories.open, other, [name]);
    await expect(revoke({ account: other }, certificate, 0, late)).rejects.toEqual(fault("unauthorized"));
    for (const by of [
      { account: (await registered(acme, directories.open)).account },
      { key: accountKey(signingKey()) },
      { key: accountKey(key) },
    ])
      await expect(revoke(by, certificate)).rejects.toEqual(fault("unauthorized"));
    expect(await now(certificate)).toBe("valid");
  });

  test.for([{ given: undefined, kept: 0 }, ...[0, 1, 3, 4, 5].map((reason) => ({ given: reason, kept: reason }))])(
    "takes the reason $given (AR-7)",
    async ({ given, kept }) => {
      const certificate = await issued();
      await revoke({ account }, certificate, given);
      expect(await revocations(certificate)).toEqual([{ reason: kept }]);
    },
  );

  test("refuses every other reason, and lists those that are allowed (AR-8)", async () => {
    const certificate = await issued();
    for (const reason of [2, 6, 7, 8, 9, 10, 11, 255, -1, 1.5, 1e308, "1", null, true, [1], {}])
      await expect(revoke({ account }, certificate, reason)).rejects.toEqual(
        fault("badRevocationReason", expect.stringContaining("0, 1, 3, 4, 5")),
      );
    expect(await now(certificate)).toBe("valid");
  });

  test.for([
    { name: "absent", value: undefined, code: "malformed" },
    { name: "a number", value: 5, code: "malformed" },
    { name: "no base64url", value: "MII=", code: "malformed" },
    { name: "PEM", value: "-----BEGIN CERTIFICATE-----", code: "malformed" },
    { name: "empty", value: "", code: "malformed" },
    { name: "no DER", value: Buffer.from("no certificate").toString("base64url"), code: "malformed" },
    { name: "an empty SEQUENCE", value: "MAA", code: "malformed" },
    { name: "beyond 64 KiB", value: "A".repeat(65_540), code: "malformed" },
  ])("with a certificate that is $name is $code (AR-12)", async ({ value, code }) => {
    await expect(revokeCertificate(world.acme, { account }, json({ certificate: value }), "r")).rejects.toEqual(fault(code));
  });

  test("with octets behind or an altered signature is not ours, and that of an authority nobody's (AR-12, AE-4)", async () => {
    const certificate = await issued();
    const altered = Buffer.from(certificate.certificate);
    altered[altered.length - 1] = (altered.at(-1) ?? 0) ^ 1;
    await expect(revoke({ account }, { certificate: altered })).rejects.toEqual(fault("notFound"));
    await expect(revoke({ account }, { certificate: Buffer.concat([certificate.certificate, Buffer.from([0])]) })).rejects.toEqual(
      fault("malformed"),
    );
    for (const issuer of certificate.chain)
      await expect(revoke({ account }, { certificate: issuer })).rejects.toEqual(fault("unauthorized"));
    expect(await now(certificate)).toBe("valid");
  });

  test("again is alreadyRevoked, whoever asks and for whatever reason; the first reason stands (AR-11)", async () => {
    const keys = await certificateKeys();
    const certificate = await issued([freshName()], keys);
    await revoke({ account }, certificate, 3);
    for (const by of [{ account }, holder(keys)]) await expect(revoke(by, certificate, 4)).rejects.toEqual(fault("alreadyRevoked"));
    expect(await revocations(certificate)).toEqual([{ reason: 3 }]);
    expect(await records(certificate)).toHaveLength(1);
  });

  test("of one that has expired is unauthorized; on its last second it is not (AR-13)", async () => {
    const certificate = await issued();
    const at = (seconds: number) => ({ ...world.acme, clock: clockOf(() => new Date(certificate.notAfter.getTime() + seconds * 1000)) });
    await expect(revoke({ account }, certificate, 0, at(1))).rejects.toEqual(fault("unauthorized"));
    await revoke({ account }, certificate, 0, at(0));
    expect(await now(certificate)).toBe("revoked");
  });

  test.for([
    { name: "by account and by key", reason: 0, byAccount: (index: number) => index % 4 < 2 },
    { name: "by account and by key", reason: 4, byAccount: (index: number) => index % 4 < 2 },
    { name: "by the account", reason: 1, byAccount: () => true },
    { name: "by the key", reason: 1, byAccount: () => false },
  ])(
    "64 at once over two instances, $name, for $reason: one is done, the others are alreadyRevoked (AK-7)",
    async ({ reason, byAccount }) => {
      const keys = await certificateKeys();
      const certificate = await issued([freshName()], keys);
      const outcomes = await Promise.allSettled(
        Array.from({ length: 64 }, (_, index) => {
          const acme = index % 2 ? world.acme : world.second;
          return revoke(byAccount(index) ? { account } : holder(keys), certificate, reason, acme);
        }),
      );
      expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      for (const outcome of outcomes) if (outcome.status === "rejected") expect(outcome.reason).toEqual(fault("alreadyRevoked"));
      expect(await revocations(certificate)).toEqual([{ reason }]);
      expect(await records(certificate)).toHaveLength(1);
    },
  );
});

/** A ready order's finalize with this key. */
async function finalized(keys: webcrypto.CryptoKeyPair): Promise<unknown> {
  const { acme, directories } = world;
  const name = freshName();
  const order = await provenOrder(acme, directories.open, account, [name]);
  return await finalize(acme, account, order.id, json({ csr: await certificateRequest([name], { keys }) }), "r");
}

/** What the REST door asks for an administrator: a certificate for this key. */
async function restRequest(keys: webcrypto.CryptoKeyPair): Promise<IssueRequest> {
  const [token] = await world.acme.database.read((sql) => sql<{ id: string }[]>`select id from api_token`);
  const csr = await parseCsr(Buffer.from(await certificateRequest([freshName()], { keys }), "base64url"));
  const principal = { id: `token:${String(token?.id)}`, namespace: "/" };
  return { door: "rest", principal, requestHash: Buffer.alloc(32), profile: "server", names: csr.names, publicKey: csr.publicKey };
}

describe("keyCompromise", () => {
  test("by the certificate's key blocks it for good: its other certificates go with it, none is issued for it, by no door (AR-10)", async () => {
    const keys = await certificateKeys();
    const certificates = [await issued([freshName()], keys), await issued([freshName()], keys), await issued([freshName()], keys)];
    const untouched = await issued();
    const [first, second] = certificates;
    if (!first || !second) throw new Error("no certificates");
    await revoke({ account }, second, 3);
    await revoke(holder(keys), first, 1);
    expect(await Promise.all(certificates.map(revocations))).toEqual([[{ reason: 1 }], [{ reason: 1 }], [{ reason: 1 }]]);
    expect(await now(untouched)).toBe("valid");
    for (const certificate of certificates) expect(await records(certificate)).toHaveLength(1);
    // The one that was revoked for another reason (XC-5, BR 7.2.2).
    expect((await Promise.all(certificates.map(changes))).map(({ length }) => length)).toEqual([0, 1, 0]);
    expect(await changes(second)).toMatchObject([{ object: { reason: 1, keyBlocked: true }, namespace: second.namespace }]);
    expect((await records(first))[0]).toMatchObject({
      object: { keyBlocked: true },
      principal: expect.stringMatching(/^acme:key:/) as unknown,
    });

    await expect(finalized(keys)).rejects.toEqual(fault("badCSR"));
    await expect(issue(world.acme.ca, await restRequest(keys))).rejects.toEqual(fault("badCSR"));
    await expect(asked(world.acme, world.directories.open, asAccountKey(keys))).rejects.toEqual(fault("badPublicKey"));
  });

  test("of a certificate that is revoked for another reason takes that one's place and blocks the key, once (AR-10, XC-5, BR 7.2.2)", async () => {
    const keys = await certificateKeys();
    const [first, second] = [await issued([freshName()], keys), await issued([freshName()], keys)];
    await revoke({ account }, first, 4);
    await revoke(holder(keys), first, 1);
    for (let times = 0; times < 3; times++) await expect(revoke(holder(keys), first, 1)).rejects.toEqual(fault("alreadyRevoked"));
    expect([await revocations(first), await revocations(second)]).toEqual([[{ reason: 1 }], [{ reason: 1 }]]);
    expect([(await records(first)).length, (await records(second)).length]).toEqual([1, 1]);
    expect(await changes(first)).toMatchObject([
      { object: { reason: 1, keyBlocked: true }, principal: expect.stringMatching(/^acme:key:/) as unknown },
    ]);
    await expect(finalized(keys)).rejects.toEqual(fault("badCSR"));
  });

  test("by the key, after the account said it, blocks the key and is recorded, once (AR-10, XK-3)", async () => {
    const keys = await certificateKeys();
    const certificate = await issued([freshName()], keys);
    await revoke({ account }, certificate, 1);
    await revoke(holder(keys), certificate, 1);
    await expect(revoke(holder(keys), certificate, 1)).rejects.toEqual(fault("alreadyRevoked"));
    expect(await revocations(certificate)).toEqual([{ reason: 1 }]);
    expect(await records(certificate)).toMatchObject([{ principal: `acme:${account.id}`, object: { reason: 1 } }]);
    expect(await changes(certificate)).toMatchObject([
      { object: { reason: 1, keyBlocked: true }, principal: expect.stringMatching(/^acme:key:/) as unknown },
    ]);
    await expect(finalized(keys)).rejects.toEqual(fault("badCSR"));
  });

  test("by the account revokes that certificate alone and blocks no key (AR-9)", async () => {
    const keys = await certificateKeys();
    const [first, second] = [await issued([freshName()], keys), await issued([freshName()], keys)];
    await revoke({ account }, first, 1);
    expect(await revocations(first)).toEqual([{ reason: 1 }]);
    expect(await now(second)).toBe("valid");
    await expect(finalized(keys)).resolves.toMatchObject({ status: "valid" });
  });

  test("another reason by the certificate's key blocks no key (AR-10)", async () => {
    const keys = await certificateKeys();
    await revoke(holder(keys), await issued([freshName()], keys), 4);
    await expect(finalized(keys)).resolves.toMatchObject({ status: "valid" });
  });

  test("of ten certificates of one key by each at once: all are revoked, nobody waits in a circle (AR-10, AK-7)", async () => {
    const keys = await certificateKeys();
    const certificates: StoredCertificate[] = [];
    for (let index = 0; index < 10; index++) certificates.push(await issued([freshName()], keys));
    const outcomes = await Promise.allSettled(
      certificates.map((certificate, index) => revoke(holder(keys), certificate, 1, index % 2 ? world.acme : world.second)),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled").length).toBeGreaterThanOrEqual(1);
    for (const outcome of outcomes) if (outcome.status === "rejected") expect(outcome.reason).toEqual(fault("alreadyRevoked"));
    for (const certificate of certificates) {
      expect(await revocations(certificate)).toEqual([{ reason: 1 }]);
      expect(await records(certificate)).toHaveLength(1);
    }
  });

  test("what was being signed when its key was blocked is revoked by the job, once (AR-10, I2)", async () => {
    const keys = await certificateKeys();
    const certificate = await issued([freshName()], keys);
    const superseded = await issued([freshName()], keys);
    await revoke({ account }, superseded, 4);
    // The block of a transaction that did not see these certificates yet.
    await world.acme.database.read(
      (sql) =>
        sql`insert into reserved_key (spki_sha256, kind, reserved_at) values (${Buffer.from(certificate.spkiSha256, "hex")}, 'compromised', now())`,
    );
    expect(await revokeBlocked(world.acme.ca, new AbortController().signal)).toBe(2);
    expect(await revokeBlocked(world.acme.ca, new AbortController().signal)).toBe(0);
    expect([await revocations(certificate), await revocations(superseded)]).toEqual([[{ reason: 1 }], [{ reason: 1 }]]);
    expect(await changes(superseded)).toMatchObject([{ principal: "system", object: { reason: 1 } }]);
    expect(await records(certificate)).toMatchObject([{ principal: "system", namespace: certificate.namespace }]);
  });
});

/** Sessions of this database that wait for the lock of a key. */
const waiting = async () => {
  const rows = await world.acme.database.read(
    (sql) => sql`select from pg_locks l join pg_database d on d.oid = l.database
      where d.datname = current_database() and l.locktype = 'advisory' and not l.granted`,
  );
  return rows.length;
};
/** Has the key reserved for an account, and its transaction wait before it is committed until `end` is called. */
async function reserving(keys: webcrypto.CryptoKeyPair): Promise<{ reserved: Promise<boolean>; end: () => void }> {
  const { spki, spkiSha256 } = accountKey(asAccountKey(keys));
  const [held, holding] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const reserved = world.second.database.transact(async (tx) => {
    const done = await reserveAccountKey(tx, { spki, spkiSha256: Buffer.from(spkiSha256, "hex") }, world.acme.clock.now());
    holding.resolve();
    await held.promise;
    return done;
  });
  await holding.promise;
  return { reserved, end: held.resolve };
}

describe("a key is an account's or a certificate's (AF-9, RFC 8555 §11.1)", () => {
  test("the key of an account, and one that it had, is in no certificate", async () => {
    const { acme, directories } = world;
    const [before, after] = [await certificateKeys(), await certificateKeys()];
    const mine = await registered(acme, directories.open, asAccountKey(before));
    await expect(finalized(before)).rejects.toEqual(fault("badCSR"));
    const payload = keyChange(mine, asAccountKey(after));
    await changeKey(acme, mine.account, { payload, url: keyChangeUrl, accountUrl: accountUrl(mine.account), requestId: "r" });
    for (const keys of [before, after]) await expect(finalized(keys)).rejects.toEqual(fault("badCSR"));
  });

  test("the key of a certificate, revoked or not, becomes no account's", async () => {
    const { acme, directories } = world;
    const [live, revoked] = [await certificateKeys(), await certificateKeys()];
    await issued([freshName()], live);
    await revoke({ account }, await issued([freshName()], revoked));
    const mine = await registered(acme, directories.open);
    for (const keys of [live, revoked]) {
      await expect(asked(acme, directories.open, asAccountKey(keys))).rejects.toEqual(fault("badPublicKey"));
      const payload = keyChange(mine, asAccountKey(keys));
      const change = changeKey(acme, mine.account, { payload, url: keyChangeUrl, accountUrl: accountUrl(mine.account), requestId: "r" });
      await expect(change).rejects.toEqual(fault("badPublicKey"));
      // Refused and undone: the key is good for certificates as before.
      await expect(finalized(keys)).resolves.toMatchObject({ status: "valid" });
    }
  });

  test("nor does a key whose certificate is not signed yet", async () => {
    const { acme, directories } = world;
    const keys = await certificateKeys();
    const request = await restRequest(keys);
    const signing = Promise.withResolvers<void>();
    const hsm = {
      ...acme.ca.hsm,
      sign: async (...args: Parameters<typeof acme.ca.hsm.sign>) => (await signing.promise, acme.ca.hsm.sign(...args)),
    };
    const issuing = issue({ ...acme.ca, hsm, finishing: new Map() }, request);
    const intents = () =>
      acme.database.read((sql) => sql`select from issuance i left join certificate c using (authority, serial) where c.serial is null`);
    await expect.poll(async () => (await intents()).length).toBe(1);
    await expect(asked(acme, directories.open, asAccountKey(keys))).rejects.toEqual(fault("badPublicKey"));
    signing.resolve();
    await expect(issuing).resolves.toMatchObject({ repeated: false });
  });

  test("an intent waits for an account that is taking its key, and is refused", async () => {
    const keys = await certificateKeys();
    const { reserved, end } = await reserving(keys);
    const issuing = Promise.allSettled([finalized(keys)]);
    try {
      await expect.poll(waiting).toBe(1);
    } finally {
      end();
    }
    expect(await reserved).toBe(true);
    expect((await issuing)[0]).toMatchObject({ status: "rejected", reason: fault("badCSR") });
  });

  test("an account waits for an intent that is being recorded for its key, and is refused", async () => {
    const keys = await certificateKeys();
    const [held, holding] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const { ca } = world.acme;
    const recordIntent = async (row: IntentRow) =>
      await world.second.database.transact(async ({ sql }) => {
        const recorded = await recordIntents(sql, [row], ca.guard);
        holding.resolve();
        await held.promise;
        return recorded === 1 ? ("recorded" as const) : ("conflict" as const);
      });
    const issuing = issue({ ...ca, recordIntent }, await restRequest(keys));
    await holding.promise;
    const registering = Promise.allSettled([asked(world.acme, world.directories.open, asAccountKey(keys))]);
    try {
      await expect.poll(waiting).toBe(1);
    } finally {
      held.resolve();
    }
    expect((await registering)[0]).toMatchObject({ status: "rejected", reason: fault("badPublicKey") });
    await expect(issuing).resolves.toMatchObject({ repeated: false });
  });

  test("and of both at once one has it, the other is told so: 30 rounds", async () => {
    const { second, directories } = world;
    for (let round = 0; round < 30; round++) {
      const keys = await certificateKeys();
      const [certificate, made] = await Promise.allSettled([finalized(keys), asked(second, directories.open, asAccountKey(keys))]);
      expect([certificate.status, made.status].toSorted()).toEqual(["fulfilled", "rejected"]);
      if (certificate.status === "rejected") expect(certificate.reason).toEqual(fault("badCSR"));
      if (made.status === "rejected") expect(made.reason).toEqual(fault("badPublicKey"));
    }
  });

  // The database of this file is of no more use after this.
  test("without the lock of the key both have it: the tests above would see it", async () => {
    await world.acme.database.read(
      (sql) => sql`create or replace function key_is_reserved(key bytea) returns boolean language sql volatile as
        'select exists (select from reserved_key where spki_sha256 = key)'`,
    );
    const keys = await certificateKeys();
    const { reserved, end } = await reserving(keys);
    try {
      expect(await finalized(keys)).toMatchObject({ status: "valid" });
    } finally {
      end();
    }
    expect(await reserved).toBe(true);
  });
});
