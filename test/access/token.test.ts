import { createHash } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Principal, Role } from "../../src/access/principal.ts";
import { tokenGuard } from "../../src/access/store.ts";
import { formatToken, parseToken } from "../../src/access/token-text.ts";
import { type Access, openAccess } from "../../src/access/token.ts";
import { type FixedClock, fixedClock } from "../support/clock.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { seeded } from "../support/random.ts";

const system: Principal = { id: "system", namespace: "/", role: "admin" };
const random = seeded(3);
const inAnHour = new Date("2026-01-01T01:00:00Z");

let database: TestDatabase;
let clock: FixedClock;
let access: Access;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());
beforeEach(() => {
  clock = fixedClock("2026-01-01T00:00:00.750Z");
  access = openAccess({ database, clock, random, node: "node-1" });
});

/** Another instance of the service on the same database. */
const otherInstance = () => openAccess({ database, clock, random, node: "node-2" });

const grant = (role: Role = "requester", namespace = "/team-a") => access.createToken(system, { role, namespace, expiresAt: inAnHour });
const authenticate = (token: string, instance = access) => instance.authenticate(`Bearer ${token}`);
const audit = async (operation: string) =>
  (await database.read((sql) => sql`select bytes from audit_record order by transaction_id`))
    .map((row) => JSON.parse(Buffer.from(row["bytes"]).toString("utf8")))
    .filter((entry) => entry.operation === operation);

const count = async (table: string) => (await database.read((sql) => sql`select 1 from ${sql(table)}`)).length;
/** Another token, but the audit id that `seeded(4)` made. */
function halfRepeated() {
  const repeated = seeded(4);
  return {
    bytes(length: number) {
      const bytes = repeated.bytes(length);
      return length === 10 ? bytes : bytes.map((byte) => byte ^ 0xff);
    },
  };
}

/** Resolves once a statement waits for the lock of another transaction. */
async function waitingForLock(): Promise<void> {
  while ((await waiting()).length === 0);
}

/** Whether the guard holds for a row of this principal. */
const holds = async (principal: string, createdAt = clock.now()) => {
  const [row] = await database.read(
    (sql) =>
      sql`select ${tokenGuard(sql)} as holds from (values (${principal}::text, ${createdAt.toISOString()}::timestamptz)) as u (principal, created_at)`,
  );
  return row?.["holds"];
};

const waiting = () =>
  database.read((sql) => sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`);

describe("a new token", () => {
  test("authenticates as itself, with its role and namespace, at every instance", async () => {
    const { id, token } = await grant();
    const expected = { id: `token:${id}`, namespace: "/team-a", role: "requester" };
    expect(await authenticate(token)).toEqual(expected);
    expect(await authenticate(token, otherInstance())).toEqual(expected);
    expect(await access.authenticate(`bearer   ${token}`)).toEqual(expected);
  });

  test("has an id, times in whole seconds, and its maker", async () => {
    const created = await access.createToken(system, { role: "viewer", namespace: "/", expiresAt: new Date("2026-01-01T01:00:00.999Z") });
    expect(created).toMatchObject({ createdAt: new Date("2026-01-01T00:00:00Z"), expiresAt: inAnHour, createdBy: "system" });
    expect(Buffer.from(parseToken(created.token)?.id ?? "").toString("hex")).toBe(created.id.replaceAll("-", ""));
  });

  test("has an id that is a UUID of version 4 (RFC 9562 §5.4)", async () => {
    const ids = await Promise.all(Array.from({ length: 16 }, async () => (await grant()).id));
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(new Set(ids.map((id) => id.charAt(19))).size).toBeGreaterThan(1);
  });

  test("leaves nothing of its secret but a hash: not in its row, not in its audit record (S-40, AUD-18)", async () => {
    const { id, token } = await grant();
    const secret = Buffer.from(parseToken(token)?.secret ?? "");
    const [row] = await database.read((sql) => sql`select * from api_token where id = ${id}`);
    expect(Buffer.from(row?.["secret_hash"]).equals(createHash("sha256").update(secret).digest())).toBe(true);
    const everything = await database.read(
      (sql) =>
        sql`select t::text as text from api_token t union all select encode(bytes, 'escape') || encode(bytes, 'hex') from audit_record`,
    );
    for (const canary of [token, secret.toString("hex"), secret.toString("base64"), secret.toString("base64url")])
      expect(everything.filter((found) => String(found["text"]).includes(canary))).toEqual([]);
  });

  test("has its audit record, or is not there at all (AUD-1)", async () => {
    const { id } = await grant("viewer", "/team-b");
    expect((await audit("token.create")).at(-1)).toMatchObject({
      principal: "system",
      namespace: "/",
      outcome: "success",
      node: "node-1",
      object: { token: id, role: "viewer", namespace: "/team-b", expiresAt: "2026-01-01T01:00:00.000Z" },
    });
    // The same bytes again: the audit record's id stands already, so the token cannot.
    const before = await count("api_token");
    const repeating = openAccess({ database, clock, random: seeded(4), node: "n" });
    await repeating.createToken(system, { role: "viewer", namespace: "/", expiresAt: inAnHour });
    const again = openAccess({ database, clock, random: halfRepeated(), node: "n" });
    await expect(again.createToken(system, { role: "viewer", namespace: "/", expiresAt: inAnHour })).rejects.toThrow();
    expect(await count("api_token")).toBe(before + 1);
  });

  test.for([
    { name: "now", expiresAt: new Date("2026-01-01T00:00:00.750Z") },
    { name: "in the past", expiresAt: new Date("2025-12-31T23:59:59Z") },
    { name: "at no time", expiresAt: new Date(Number.NaN) },
  ])("cannot expire $name (ACC-9)", async ({ expiresAt }) => {
    await expect(access.createToken(system, { role: "viewer", namespace: "/", expiresAt })).rejects.toMatchObject({ code: "malformed" });
  });

  test("may be made at the host, whose user no credential gives, and says so in its row and record", async () => {
    const { id, createdBy } = await access.createToken(
      { ...system, id: "host:1000" },
      { role: "admin", namespace: "/", expiresAt: inAnHour },
    );
    expect(createdBy).toBe("host:1000");
    expect((await audit("token.create")).at(-1)).toMatchObject({ principal: "host:1000", outcome: "success", object: { token: id } });
  });

  test("cannot lie in what is no namespace", async () => {
    await expect(grant("viewer", "/Team")).rejects.toMatchObject({ code: "malformed" });
  });
});

describe("nobody raises himself (ACC-9)", () => {
  test.for<{ name: string; own: Role; role: Role; namespace: string }>([
    { name: "to a namespace above", own: "admin", role: "admin", namespace: "/" },
    { name: "to a namespace beside", own: "admin", role: "viewer", namespace: "/team-ab" },
    { name: "from requester to requester", own: "requester", role: "requester", namespace: "/team-a" },
    { name: "from requester to admin", own: "requester", role: "admin", namespace: "/team-a" },
    { name: "from viewer to viewer", own: "viewer", role: "viewer", namespace: "/team-a" },
  ])("$name: refused, with a record of the denial", async ({ own, role, namespace }) => {
    const { token } = await grant(own);
    const principal = await authenticate(token);
    await expect(access.createToken(principal, { role, namespace, expiresAt: inAnHour })).rejects.toMatchObject({ code: "policyDenied" });
    expect((await audit("token.create")).at(-1)).toMatchObject({ principal: principal.id, outcome: "denied", object: { role, namespace } });
    expect((await access.listTokens(system, { limit: 1000 })).tokens.filter(({ createdBy }) => createdBy === principal.id)).toEqual([]);
  });
});

const grantBy = (principal: Principal, expiresAt = inAnHour) =>
  otherInstance().createToken(principal, { role: "viewer", namespace: "/team-a", expiresAt });

describe("a token that no longer counts neither makes nor revokes others, though an instance remembers it (ACC-9)", () => {
  test("once it is revoked", async () => {
    const { id, token } = await grant("admin");
    const { id: sibling } = await grant();
    const principal = await authenticate(token, otherInstance());
    await access.revokeToken(system, id);
    const before = await count("api_token");
    await expect(grantBy(principal)).rejects.toMatchObject({ code: "unauthenticated" });
    await expect(otherInstance().revokeToken(principal, sibling)).rejects.toMatchObject({ code: "unauthenticated" });
    expect([await count("api_token"), await holds(`token:${sibling}`)]).toEqual([before, true]);
  });

  test("once it has expired", async () => {
    const principal = await authenticate((await grant("admin")).token);
    clock.set(inAnHour.toISOString());
    await expect(grantBy(principal, new Date("2026-01-01T02:00:00Z"))).rejects.toMatchObject({ code: "unauthenticated" });
  });

  test("though its revocation is not yet committed when the new one is asked for", async () => {
    const { id, token } = await grant("admin");
    const principal = await authenticate(token);
    const [revoked, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const revocation = database.transact(async ({ sql }) => {
      await sql`insert into api_token_revocation (token_id, revoked_at) values (${id}, now())`;
      revoked.resolve();
      await release.promise;
    });
    await revoked.promise;
    const refused = expect(grantBy(principal)).rejects.toMatchObject({ code: "unauthenticated" });
    await waitingForLock();
    release.resolve();
    await Promise.all([revocation, refused]);
  });

  test("two administrators who revoke each other at once: one of them comes first", async () => {
    const [left, right] = await Promise.all([grant("admin"), grant("admin")]);
    const outcomes = await Promise.allSettled([
      access.revokeToken(await authenticate(left.token), right.id),
      otherInstance().revokeToken(await authenticate(right.token), left.id),
    ]);
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    expect(outcomes.find(({ status }) => status === "rejected")).toMatchObject({ reason: { code: "unauthenticated" } });
    expect([await holds(`token:${left.id}`), await holds(`token:${right.id}`)].toSorted()).toEqual([false, true]);
  });
});

describe("no token outlives the one that creates it (ACC-9)", () => {
  test.for([
    { name: "to the same second", expiresAt: inAnHour, allowed: true },
    { name: "for one second more", expiresAt: new Date("2026-01-01T01:00:01Z"), allowed: false },
  ])("$name: $allowed", async ({ expiresAt, allowed }) => {
    const principal = await authenticate((await grant("admin")).token);
    const created = access.createToken(principal, { role: "viewer", namespace: "/team-a", expiresAt });
    if (allowed) return expect(await created).toMatchObject({ expiresAt });
    await expect(created).rejects.toMatchObject({
      code: "policyDenied",
      detail: expect.stringContaining("expires at 2026-01-01T01:00:00Z"),
    });
    expect((await audit("token.create")).at(-1)).toMatchObject({ principal: principal.id, outcome: "denied" });
  });
});

describe("one Fault for whatever is not valid", () => {
  const refusal = { code: "unauthenticated", detail: "the bearer token is not valid" };

  test("unknown, wrong, expired, revoked and garbled tell the same", async () => {
    const { id, token } = await grant();
    const parsed = parseToken(token);
    if (!parsed) throw new Error("the token parses");
    const expired = await access.createToken(system, { role: "viewer", namespace: "/", expiresAt: new Date("2026-01-01T00:00:01Z") });
    const revoked = await grant();
    await access.revokeToken(system, revoked.id);
    clock.advance(1);
    const wrong = [
      formatToken({ id: random.bytes(16), secret: parsed.secret }),
      formatToken({ id: parsed.id, secret: random.bytes(32) }),
      expired.token,
      revoked.token,
      `${token.slice(0, -1)}_`,
      "",
      id,
      "chancery_",
      `${token} ${token}`,
    ];
    // Remembered as valid or not, a wrong secret is wrong.
    for (const instance of [access, otherInstance()])
      for (const text of wrong) await expect(authenticate(text, instance)).rejects.toMatchObject(refusal);
    await authenticate(token);
    for (const text of wrong) await expect(authenticate(text)).rejects.toMatchObject(refusal);
    await expect(access.authenticate(`Basic ${token}`)).rejects.toMatchObject(refusal);
  });

  test("no header at all is unauthenticated too", async () => {
    await expect(access.authenticate(undefined)).rejects.toMatchObject({ code: "unauthenticated" });
  });

  test("a token is valid until the second of its expiry, remembered or not", async () => {
    const { token } = await access.createToken(system, { role: "viewer", namespace: "/", expiresAt: new Date("2026-01-01T00:00:05Z") });
    clock.set("2026-01-01T00:00:04.999Z");
    await authenticate(token);
    clock.set("2026-01-01T00:00:05Z");
    await expect(authenticate(token)).rejects.toMatchObject(refusal);
    await expect(authenticate(token, otherInstance())).rejects.toMatchObject(refusal);
  });
});

describe("revocation", () => {
  test("counts at once where it was made, and within ten seconds everywhere", async () => {
    const { id, token } = await grant();
    const other = otherInstance();
    await Promise.all([authenticate(token), authenticate(token, other)]);
    await access.revokeToken(system, id);
    await expect(authenticate(token)).rejects.toMatchObject({ code: "unauthenticated" });
    clock.advance(9.999);
    await authenticate(token, other);
    clock.advance(0.001);
    await expect(authenticate(token, other)).rejects.toMatchObject({ code: "unauthenticated" });
  });

  test("a clock that is set back does not make a token remembered for longer", async () => {
    const { id, token } = await grant();
    const other = otherInstance();
    await authenticate(token, other);
    await access.revokeToken(system, id);
    clock.advance(-1);
    await expect(authenticate(token, other)).rejects.toMatchObject({ code: "unauthenticated" });
  });

  test("has one audit record, however often it is asked for", async () => {
    const { id } = await grant();
    await Promise.all([access.revokeToken(system, id), access.revokeToken(system, id), otherInstance().revokeToken(system, id)]);
    await access.revokeToken(system, id.toUpperCase());
    expect((await audit("token.revoke")).filter((entry) => entry.object.token === id)).toMatchObject([
      { namespace: "/team-a", outcome: "success" },
    ]);
  });

  test.for([
    { name: "of another namespace", id: "other" },
    { name: "that does not exist", id: "00000000-0000-4000-8000-000000000000" },
    { name: "whose id is none", id: "1 or true" },
  ])("of a token $name is notFound, and told the same", async ({ id }) => {
    const { id: other, token } = await grant("viewer", "/team-b");
    const { token: own } = await grant("admin", "/team-a");
    const refused = access.revokeToken(await authenticate(own), id === "other" ? other : id);
    await expect(refused).rejects.toMatchObject({ code: "notFound", detail: "there is no such token" });
    await authenticate(token);
  });
});

describe("lists", () => {
  test("show what lies in the namespace and within it, newest first, page by page, without secrets", async () => {
    const made: string[] = [];
    for (const namespace of ["/list", "/list/x", "/listing", "/list"]) {
      clock.advance(namespace === "/list/x" ? 0 : 1);
      made.push((await grant("admin", namespace)).id);
    }
    const [first = "", second = "", beside = "", last = ""] = made;
    await access.revokeToken(system, last);
    const principal: Principal = { id: "token:x", namespace: "/list", role: "admin" };
    const { tokens: all, nextCursor } = await access.listTokens(principal, { limit: 3 });
    expect(all.map(({ id }) => id)).toEqual([last, ...[first, second].toSorted().toReversed()]);
    expect(nextCursor).toBeUndefined();
    expect(all.map(({ revokedAt }) => revokedAt !== undefined)).toEqual([true, false, false]);
    expect(Object.keys(all[1] ?? {}).toSorted()).toEqual(["createdAt", "createdBy", "expiresAt", "id", "namespace", "revokedAt", "role"]);
    expect((await access.listTokens(system, { limit: 1000 })).tokens.map(({ id }) => id)).toContain(beside);

    const pages: string[] = [];
    let page = await access.listTokens(principal, { limit: 1 });
    pages.push(...page.tokens.map(({ id }) => id));
    while (page.nextCursor !== undefined) {
      // What is recorded meanwhile is newer: it shifts nothing.
      clock.advance(1);
      await grant("viewer", "/list");
      page = await access.listTokens(principal, { limit: 1, cursor: page.nextCursor });
      pages.push(...page.tokens.map(({ id }) => id));
    }
    expect(pages).toEqual(all.map(({ id }) => id));
  });

  test.for(["x", "A".repeat(31), "A".repeat(33), Buffer.alloc(24, 0xff).toString("base64url")])(
    "a cursor that this service did not give is refused: %s",
    async (cursor) => {
      await expect(access.listTokens(system, { limit: 1, cursor })).rejects.toMatchObject({ code: "malformed" });
    },
  );
});

describe("the guard of an issuance", () => {
  test("holds for the service itself and for a token that is valid", async () => {
    const { id } = await grant();
    expect(await holds("system")).toBe(true);
    expect(await holds(`token:${id}`)).toBe(true);
  });

  test("fails for a token from the second of its expiry on", async () => {
    const { id } = await grant();
    expect(await holds(`token:${id}`, new Date(inAnHour.getTime() - 1))).toBe(true);
    expect(await holds(`token:${id}`, inAnHour)).toBe(false);
  });

  test("fails for a token as soon as it is revoked, though an instance may remember it", async () => {
    const { id, token } = await grant();
    const other = otherInstance();
    await authenticate(token, other);
    await access.revokeToken(system, id);
    await authenticate(token, other);
    expect(await holds(`token:${id}`)).toBe(false);
  });

  test.for(["token:00000000-0000-4000-8000-000000000000", "systems", "", "user:x"])("fails for %s, which is nobody", async (principal) => {
    expect(await holds(principal)).toBe(false);
  });
});
