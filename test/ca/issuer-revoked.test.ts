import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCa } from "../../src/ca/ca.ts";
import type { HaltState } from "../../src/ca/halt.ts";
import { issue, type IssueRequest } from "../../src/ca/issue.ts";
import { settle } from "../../src/ca/settle.ts";
import { timekeeper } from "../../src/ca/timekeeper.ts";
import { csrFromText, parseCsr } from "../../src/pki/csr.ts";
import { type AcmeGround, acmeGround, finalized, readyOrder, standing } from "../support/acme-world.ts";
import { brokenInvariants } from "../support/invariants.ts";
import { opensslOcspRequest, opensslOcspVerdict, postOcsp } from "../support/ocsp.ts";
import { build } from "../../src/app.ts";
import { opensslRequest } from "../support/service.ts";
import { chanceryProcess } from "../cli/command-line.ts";

let ground: AcmeGround;
beforeAll(async () => {
  ground = await acmeGround();
});
afterAll(() => ground[Symbol.asyncDispose]());

const refused = { code: "issuerRevoked", detail: expect.stringContaining("issuing-1") as unknown };

/** What somebody by a token asks for, under a key where it is given. */
async function request(key?: string): Promise<IssueRequest> {
  const [token] = await ground.acme.database.read((sql) => sql<{ id: string }[]>`select id from api_token`);
  const csr = await parseCsr(csrFromText((await opensslRequest("issuer.example.org")).csr));
  const principal = { id: `token:${token?.id ?? ""}`, namespace: "/" };
  return { door: "rest", key, principal, requestHash: Buffer.alloc(32), profile: "server", names: csr.names, publicKey: csr.publicKey };
}

const count = async () => {
  const [row] = await ground.acme.database.read(
    (sql) => sql<{ certificates: number; open: number }[]>`
      select count(c.certificate)::integer as certificates, (count(*) filter (where c.serial is null))::integer as open
      from issuance i left join certificate c using (authority, serial)`,
  );
  return { ...row, signatures: ground.signatures() };
};

const revokeIssuer = async () => {
  const [row] = await ground.acme.database.read(
    (sql) => sql<{ serial: string }[]>`
      select encode(serial, 'hex') as serial from certificate where certificate = (select certificate from authority where slug = 'issuing-1')`,
  );
  return await ground.chancery.ask(`/v1/certificates/${row?.serial ?? ""}/revoke`, { body: { reason: "cessationOfOperation" } });
};

describe("an authority whose own certificate is revoked (XR-10)", () => {
  test("issues nothing for anybody, on no instance, whatever it knows: what was begun is closed, and orders stay as they are", async () => {
    const { acme, other, chancery: running } = ground;
    const account = await ground.newAccount();
    const order = await readyOrder(ground, account, "ready.example.org");
    const stands = await request("stands");
    const { certificate } = await issue(acme.ca, stands);
    const begun = await request("begun");
    ground.on.reach = (point) => {
      if (point === "sign:before") throw new Error("the token ends");
    };
    await expect(issue(acme.ca, begun)).rejects.toThrow("the token ends");
    ground.on.reach = undefined;
    await other.ca.halt.refresh();

    // While a certificate is on its way to being recorded: by the statement alone it is kept back.
    const recordCertificate: typeof acme.ca.recordCertificate = async (row) => {
      expect((await revokeIssuer()).status).toBe(200);
      return await acme.ca.recordCertificate(row);
    };
    await expect(issue({ ...acme.ca, recordCertificate }, await request("waits"))).rejects.toMatchObject(refused);

    const before = await count();
    expect(before).toMatchObject({ open: 2 });
    for (const { ca } of [acme, other]) {
      await expect(issue(ca, await request())).rejects.toMatchObject(refused);
      expect(await issue(ca, stands)).toMatchObject({ repeated: true, certificate: { serial: certificate.serial } });
    }
    for (const instance of [acme, other]) await expect(finalized(instance, account, order)).rejects.toMatchObject(refused);
    expect((await standing(acme, account, order)).status).toBe("ready");
    await acme.ca.halt.refresh();
    await expect(issue(acme.ca, begun)).rejects.toMatchObject(refused);
    expect(await count()).toEqual(before);

    ground.clock.aheadSeconds += 60;
    await acme.ca.halt.refresh();
    expect(await settle(acme.ca)).toEqual({ finished: 0, closed: 2, failed: 0 });
    await expect(issue(acme.ca, begun)).rejects.toMatchObject({
      code: "policyDenied",
      detail: expect.stringContaining("closed") as unknown,
    });
    expect(await acme.database.read((sql) => brokenInvariants(sql))).toEqual([]);

    // What is told of a serial number that no certificate was recorded under stays as it is: there is no key to say it of (XC-5).
    const closed = await acme.database.read(
      (sql) => sql<{ serial: string }[]>`select encode(serial, 'hex') as serial from certificate where certificate is null`,
    );
    for (const { serial } of closed) {
      const compromised = await running.ask(`/v1/certificates/${serial}/revoke`, { body: { reason: "keyCompromise" } });
      expect([compromised.status, compromised.json()["code"]]).toEqual([404, "notFound"]);
    }

    const { csr } = await opensslRequest("issuer.example.org");
    const answer = await running.ask("/v1/certificates", { body: { csr, profile: "server" } });
    expect([answer.status, answer.json()["code"], answer.headers["retry-after"]]).toEqual([503, "issuerRevoked", "3600"]);
  });

  test("with guard and knowledge taken out one is signed, and not recorded (negative control)", async () => {
    const never: HaltState = {
      current: () => Promise.resolve(undefined),
      known: () => undefined,
      revoked: () => [],
      refresh: () => Promise.resolve(),
    };
    const opened = await openCa({ ...ground.acme.ca, guard: (sql) => sql`true` });
    const before = await count();
    const blind = { ...opened, halt: never, timekeeper: timekeeper(ground.clock, undefined) };
    await expect(issue(blind, await request())).rejects.toMatchObject(refused);
    expect(await count()).toMatchObject({ signatures: before.signatures + 1, certificates: before.certificates });
    ground.clock.aheadSeconds += 60;
    await ground.acme.ca.halt.refresh();
    expect(await settle(ground.acme.ca)).toMatchObject({ closed: 1 });
  });

  test("is what readiness for issuing and doctor name; the service goes on and starts again, its status is answered, and it has what it needs itself", async () => {
    const { chancery: running, acme } = ground;
    const { ops } = running.service.listeners;
    const ready = async (part: string) => await fetch(`http://127.0.0.1:${ops.port}/readyz/${part}`);
    await running.service.ca.halt.refresh();
    const readiness = await ready("issue");
    expect([readiness.status, await readiness.json()]).toMatchObject([
      503,
      { checks: { issuers: { ready: false, detail: expect.stringContaining("issuing-1") as unknown }, halt: { ready: true } } },
    ]);
    expect((await ready("status")).status).toBe(200);
    const { exitCode, stdout } = await chanceryProcess(["doctor", "--json"], { cwd: running.ground.directory, env: running.ground.env });
    expect(exitCode).toBe(1);
    const { checks } = JSON.parse(stdout) as { checks: readonly unknown[] };
    expect(checks).toContainEqual({ check: "issuers", verdict: "wrong", detail: expect.stringContaining("issuing-1") as unknown });

    const own = { ...(await request()), door: "system", principal: { id: "system", namespace: "/" } } as const;
    const { certificate } = await issue(acme.ca, own);
    expect(certificate.status).toBe("valid");
    const files = { issuer: `${running.ground.directory}/chain.pem`, root: `${running.ground.directory}/root.pem` };
    const asked = await opensslOcspRequest({ serials: [certificate.serial], ...files });
    expect(
      await opensslOcspVerdict((await postOcsp(running.service, asked)).body, { serials: [certificate.serial], ...files }),
    ).toMatchObject({
      statuses: ["good"],
    });
    await running.service[Symbol.asyncDispose]();
    await using again = await build(running.ground.config);
    expect((await fetch(`http://127.0.0.1:${again.listeners.ops.port}/readyz/status`)).status).toBe(200);
  });
});
