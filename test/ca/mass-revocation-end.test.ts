import { afterAll, beforeAll, expect, test } from "vitest";
import type { Ca } from "../../src/ca/ca.ts";
import { beginRevocation, continueRevocation, continueRevocations, readRevocation } from "../../src/ca/mass-revocation.ts";
import { writeCertificateRows } from "../support/certificate-rows.ts";
import { failpoints } from "../support/failpoints.ts";
import { rewritten } from "../support/rewritten-statement.ts";
import { opensslRequest, startService, type TestService } from "../support/service.ts";

let service: TestService;
let ca: Ca;
/** Where it is set, a signature that is made says so and waits. */
let held: { readonly signed: PromiseWithResolvers<void>; readonly goOn: PromiseWithResolvers<void> } | undefined;

beforeAll(async () => {
  const { hsm } = failpoints(async (point) => {
    if (point !== "sign:after" || !held) return;
    held.signed.resolve();
    await held.goOn.promise;
  });
  service = await startService({ hsm });
  ca = service.service.ca;
});
afterAll(() => service[Symbol.asyncDispose]());

async function newToken(role: string, namespace: string): Promise<{ readonly id: string; readonly token: string }> {
  const expiresAt = new Date(Date.now() + 86_400_000).toISOString().replace(/\.\d{3}Z$/, "Z");
  const { id, token } = (await service.ask("/v1/tokens", { body: { role, namespace, expiresAt } })).json();
  return { id: String(id), token: String(token) };
}

/** Begins a revocation while a certificate that fits is being signed; gives what `act` finds, and the certificate's status at the end. */
async function whileSigning<T>(namespace: string, act: (id: string) => Promise<T>, by = "system"): Promise<{ found: T; status: unknown }> {
  const { token } = await newToken("requester", namespace);
  const { csr } = await opensslRequest("late.example.org");
  const own = { signed: Promise.withResolvers<void>(), goOn: Promise.withResolvers<void>() };
  held = own;
  const answer = service.ask("/v1/certificates", { token, body: { csr, profile: "server" } });
  let id = "";
  let found: T;
  try {
    await own.signed.promise;
    const asked = { filter: { profile: "server" }, reason: "superseded", requestId: "r" };
    id = (await beginRevocation(ca, { id: by, namespace, role: "admin" }, asked)).campaign.id;
    found = await act(id);
  } finally {
    held = undefined;
    own.goOn.resolve();
  }
  const { serial } = (await answer).json();
  await expect.poll(async () => (await readRevocation(ca, "/", id))?.endedAt, { timeout: 30_000 }).toBeInstanceOf(Date);
  return { found, status: (await service.ask(`/v1/certificates/${String(serial)}`)).json()["status"] };
}

/** Whether it has ended after a few steps, whoever made them. */
async function endsSoon(own: Ca, id: string): Promise<boolean> {
  for (let step = 1; step <= 20; step++) await continueRevocation(own, id);
  return (await readRevocation(ca, "/", id))?.endedAt !== null;
}

test("a revocation of many does not end before what is being signed, and revokes it; with the wait taken away the same check finds it valid (XN-21)", async () => {
  expect(await whileSigning("/held", (id) => endsSoon(ca, id))).toEqual({ found: false, status: "revoked" });
  const unguarded = [{ find: "select from issuance i left join", put: "select from (select * from issuance limit 0) i left join" }];
  const without: Ca = { ...ca, database: rewritten(ca.database, unguarded) };
  expect(await whileSigning("/let-go", (id) => endsSoon(without, id))).toEqual({ found: true, status: "valid" });
});

test("what is being signed elsewhere, or cannot fit, is not waited for", async () => {
  const principal = { id: "system", namespace: "/", role: "admin" } as const;
  const { found } = await whileSigning("/other", async () => {
    const ends: boolean[] = [];
    for (const [namespace, filter] of [
      ["/apart", { profile: "server" }],
      ["/other", { profile: "client" }],
      ["/other", { account: "account-1" }],
      ["/other", { serials: ["4".repeat(32)] }],
      ["/other", { profile: "server", issuedBefore: "2020-01-01T00:00:00Z" }],
    ] as const) {
      const { campaign } = await beginRevocation(ca, { ...principal, namespace }, { filter, reason: "superseded", requestId: "r" });
      ends.push(await endsSoon(ca, campaign.id));
    }
    return ends;
  });
  expect(found).toEqual([true, true, true, true, true]);
});

/** Principal and namespace of the record that a revocation was stopped. */
const stopsOf = (id: string) =>
  ca.database.read(
    (sql) => sql`
      select convert_from(bytes, 'UTF8')::jsonb ->> 'principal' as principal, convert_from(bytes, 'UTF8')::jsonb ->> 'namespace' as namespace
      from audit_record where convert_from(bytes, 'UTF8')::jsonb ->> 'operation' = 'revocation.stop'
        and convert_from(bytes, 'UTF8')::jsonb #>> '{object,revocation}' = ${id}`,
  );

test("an administrator above it stops a revocation, with a record: it revokes nothing more; one beside it sees none", async () => {
  const { found, status } = await whileSigning("/stop/a", async (id) => {
    const path = `/v1/revocations/${id}/stop`;
    const body = { reason: "begun by mistake" };
    const ask = async (namespace: string) => await service.ask(path, { body, token: (await newToken("admin", namespace)).token });
    expect([(await ask("/stop/b")).status, (await ask("/stop/a/x")).status]).toEqual([404, 404]);
    expect((await service.ask(path, { body: {} })).status).toBe(400);
    const stopped = await ask("/stop");
    expect([stopped.status, stopped.json()]).toMatchObject([200, { state: "stopped", revoked: 0, stopReason: "begun by mistake" }]);
    // Once more it stays as it is.
    expect((await service.ask(path, { body: { reason: "again" } })).json()).toEqual(stopped.json());
    return { id, stoppedBy: stopped.json()["stoppedBy"] };
  });
  expect(status).toBe("valid");
  expect(await stopsOf(found.id)).toEqual([{ principal: found.stoppedBy, namespace: "/stop/a" }]);
});

test("a revocation ends with the revoking of the token that began it, with a record", async () => {
  const { id: tokenId } = await newToken("admin", "/stolen");
  const revoking = async (id: string) => {
    expect((await service.ask(`/v1/tokens/${tokenId}`, { method: "DELETE" })).status).toBeLessThan(300);
    await continueRevocation(ca, id);
    await expect
      .poll(async () => (await service.ask(`/v1/revocations/${id}`)).json(), { timeout: 20_000 })
      .toMatchObject({
        state: "stopped",
        stoppedBy: "system",
        stopReason: "the token that began it was revoked",
      });
    return id;
  };
  const { found, status } = await whileSigning("/stolen", revoking, `token:${tokenId}`);
  expect(status).toBe("valid");
  expect(await stopsOf(found)).toEqual([{ principal: "system", namespace: "/stolen" }]);
});

const begin = async (namespace: string): Promise<string> => {
  const asked = { filter: { profile: "server" }, reason: "superseded", requestId: "r" };
  return (await beginRevocation(ca, { id: "system", namespace, role: "admin" }, asked)).campaign.id;
};

test("campaigns go on by turns, a batch of each: those of one tenant do not keep another's waiting; and 17 of a namespace do not run at once", async () => {
  await whileSigning("/many", async () => {
    for (let campaign = 2; campaign <= 16; campaign++) await begin("/many");
    await expect(begin("/many")).rejects.toMatchObject({ code: "tooManyRevocations" });
    // A namespace of its own has its own bound, and does not wait.
    const other = await begin("/waiting");
    await continueRevocations(ca, new AbortController().signal);
    await expect.poll(async () => (await readRevocation(ca, "/", other))?.endedAt, { timeout: 10_000 }).toBeInstanceOf(Date);
  });
});

/** Certificates of each of these namespaces, more than one batch takes. */
const writeMany = async (...namespaces: readonly string[]): Promise<void> => {
  await ca.database.read(async (sql) => {
    for (const namespace of namespaces) await writeCertificateRows(sql, { count: 2_500, namespace, profile: "server" });
  });
};

const ended = async (id: string): Promise<void> => {
  await expect.poll(async () => (await readRevocation(ca, "/", id))?.endedAt, { timeout: 30_000 }).toBeInstanceOf(Date);
};

/** Whose the first two batches were. */
const firstBatches = async (...namespaces: readonly string[]): Promise<string[]> => {
  const rows = await ca.database.read(
    (sql) => sql<{ namespace: string }[]>`
      select convert_from(bytes, 'UTF8')::jsonb ->> 'namespace' as namespace from audit_record
      where convert_from(bytes, 'UTF8')::jsonb ->> 'operation' = 'certificate.revoke'
        and convert_from(bytes, 'UTF8')::jsonb ->> 'namespace' = any (${sql.array([...namespaces], 25)})
      group by transaction_id, 1 order by transaction_id`,
  );
  return rows.slice(0, 2).map(({ namespace }) => namespace);
};

test("the older of two that have much to do does not hold up the other", async () => {
  await writeMany("/first", "/second");
  const ids: string[] = [];
  await ca.database.transact(async ({ sql }) => {
    // The service's own job does not begin with them before both stand.
    await sql`lock table revocation in share mode`;
    for (const namespace of ["/first", "/second"]) {
      ids.push(await begin(namespace));
    }
  });
  for (const id of ids) await ended(id);
  // Neither has its second batch before the other has had its first.
  expect((await firstBatches("/first", "/second")).toSorted()).toEqual(["/first", "/second"]);
});

test("negative control: one that is begun when the other has ended comes behind all batches of that, and the audit log shows it so", async () => {
  await writeMany("/earlier", "/later");
  await ended(await begin("/earlier"));
  await ended(await begin("/later"));
  expect(await firstBatches("/earlier", "/later")).toEqual(["/earlier", "/earlier"]);
});
