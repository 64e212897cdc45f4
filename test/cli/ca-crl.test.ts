import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { examineCrls } from "../../src/cli/examine-crls.ts";
import { parseCertificate } from "../../src/pki/certificate.ts";
import { askOps } from "../../src/cli/examine-listeners.ts";
import { opensslCrl } from "../support/crl-world.ts";
import { exchange } from "../http/exchange.ts";
import { recordedEvents } from "../support/events.ts";
import { startService, type TestService } from "../support/service.ts";
import { chanceryProcess } from "./command-line.ts";

const events = recordedEvents();
let chancery: TestService;
beforeAll(async () => {
  chancery = await startService({ events: () => events });
});
afterAll(() => chancery[Symbol.asyncDispose]());

const served = async (): Promise<Buffer> => (await exchange(chancery.service.listeners.status, { path: "/crl/root-1.crl" })).body;

/** The command line beside the running service. */
const run = (...args: readonly string[]) => {
  const { ground, service } = chancery;
  const place = { ...ground.env, CHANCERY_BASE_URL: `https://localhost:${service.listeners.tls.port}` };
  return chanceryProcess(args, { cwd: ground.directory, env: place });
};

describe("chancery ca crl", () => {
  test("renews the root's CRL beside a running service, which serves it within seconds (XC-17)", async () => {
    const before = await served();
    const { exitCode, stdout, stderr } = await run("ca", "crl", "root-1", "--json");
    expect([exitCode, stderr.includes('"level":"error"')]).toEqual([0, false]);
    const crl = JSON.parse(stdout) as { number: string; thisUpdate: string; nextUpdate: string; entries: number };
    expect(Date.parse(crl.nextUpdate) - Date.parse(crl.thisUpdate)).toBe(180 * 86_400_000);
    await expect.poll(served, { timeout: 20_000, interval: 500 }).not.toEqual(before);
    const { text, verified } = await opensslCrl(await served(), join(chancery.ground.directory, "root.pem"));
    expect(verified).toBe(true);
    expect(text).toMatch(new RegExp(`X509v3 CRL Number: \\s+${crl.number}\\b`));

    const listed = await run("ca", "list");
    expect(listed.stdout.split("\n").find((line) => line.startsWith("root-1"))).toContain(
      [crl.number, crl.thisUpdate, crl.nextUpdate, "0"].join("  "),
    );
  });

  test.for([
    { slug: "issuing-1", sentence: "issuing-1 is no root: its CRLs are renewed by the service" },
    { slug: "root-9", sentence: "there is no authority root-9; roots are root-1" },
  ])("of $slug is refused in a sentence", async ({ slug, sentence }) => {
    const { exitCode, stderr } = await run("ca", "crl", slug);
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain(sentence);
  });
});

/** What is found so many days from now. */
const found = async (days: number) => {
  const { config } = chancery.ground;
  return (await examineCrls(config, new Date(Date.now() + days * 86_400_000))).map(({ verdict, detail }) => `${verdict} ${detail}`);
};

describe("doctor looks at the CRLs of the directory", () => {
  test("and finds nothing wrong while they are current", async () => {
    expect(await found(0)).toEqual([`ok 2 in ${chancery.ground.config.crlDir}, all current`]);
  });

  test.for([
    { days: 91, said: "warning more than half of the life of root-1" },
    { days: 181, said: "wrong root-1 ended at" },
  ])("$days days later it says of the root's what to do: $said", async ({ days, said }) => {
    const findings = await found(days);
    expect(findings).toContainEqual(expect.stringContaining(said));
    expect(findings.find((finding) => finding.includes("root-1"))).toContain("npx chancery ca crl root-1");
    expect(findings).toContainEqual(expect.stringMatching(/^warning issuing-1 ended at .*: a running service renews it/));
  });

  test("and beside a running service of a revocation that the root's lacks, as readiness and the log do, until it is made (XC-17)", async () => {
    const { ground, service } = chancery;
    const dataDir = join(ground.directory, "of-the-process");
    await mkdir(dataDir);
    const { instance } = JSON.parse((await exchange(service.listeners.ops, { path: "/livez" })).text) as { instance: string };
    await writeFile(join(dataDir, "instance.lock"), instance);
    const opsListen = { host: "127.0.0.1", port: service.listeners.ops.port };
    const crlFindings = async () =>
      await examineCrls(ground.config, new Date(), (await askOps({ ...ground.config, dataDir, opsListen })).running);
    const readiness = async () => {
      const { checks } = JSON.parse((await exchange(service.listeners.ops, { path: "/readyz/status" })).text) as {
        checks: { crls: { ready: boolean; detail: string } };
      };
      return checks.crls;
    };
    const issuing = service.ca.authorities.get("issuing-1");
    const serial = parseCertificate(issuing?.certificate ?? new Uint8Array()).serial;
    const revoked = await chancery.ask(`/v1/certificates/${serial}/revoke`, { body: { reason: "cessationOfOperation" } });
    expect(revoked.status).toBe(200);

    const sentence = "a revocation is not on root-1 yet: npx chancery ca crl root-1, with the root's token at hand";
    await expect.poll(readiness, { timeout: 20_000, interval: 500 }).toEqual({ ready: true, detail: sentence });
    expect(await crlFindings()).toEqual([{ check: "CRLs", verdict: "warning", detail: sentence }]);
    await service.jobs.find(({ name }) => name === "crl age")?.act(new AbortController().signal);
    expect(events.told).toContainEqual(
      expect.objectContaining({ level: "warn", event: "crl.stale", fields: expect.objectContaining({ crl: "root-1" }) }),
    );

    expect((await run("ca", "crl", "root-1")).exitCode).toBe(0);
    await expect.poll(readiness, { timeout: 20_000, interval: 500 }).toEqual({ ready: true, detail: "2 served, all current" });
    expect(await crlFindings()).toMatchObject([{ verdict: "ok" }]);
  });

  test("says before the first start that there are none yet, and of a file that is none that it is not a CRL", async () => {
    const { config } = chancery.ground;
    const crlDir = join(config.dataDir, "other");
    expect(await examineCrls({ ...config, crlDir }, new Date())).toMatchObject([{ verdict: "ok" }]);
    await mkdir(crlDir);
    await writeFile(join(crlDir, "issuing-1.crl"), "not one");
    expect(await examineCrls({ ...config, crlDir }, new Date())).toMatchObject([
      { verdict: "wrong", detail: expect.stringContaining("is no CRL") },
    ]);
  });
});
