import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freshGround, type Ground, opensslRequest } from "../support/service.ts";
import { chanceryProcess, entry, freePorts, type Place, type Started, startChancery, untilWritten } from "./command-line.ts";
import { chancery, type Ran } from "./shell.ts";

const run = promisify(execFile);
let ground: Ground;
let place: Place;
let service: Started;

beforeAll(async () => {
  const [tls, status, ops] = await freePorts(3);
  ground = await freshGround({
    CHANCERY_LISTEN: `127.0.0.1:${tls}`,
    CHANCERY_STATUS_LISTEN: `127.0.0.1:${status}`,
    CHANCERY_OPS_LISTEN: `127.0.0.1:${ops}`,
    CHANCERY_BASE_URL: `https://localhost:${tls}`,
    CHANCERY_STATUS_URL: `http://localhost:${status}`,
    CHANCERY_LOG_LEVEL: "info",
  });
  place = { cwd: ground.directory, env: ground.env };
  service = startChancery(["serve"], place);
  await untilWritten(service, "--help what else there is.\n");
}, 60_000);

afterAll(async () => {
  service.child.kill("SIGTERM");
  await service.ended;
  await ground[Symbol.asyncDispose]();
});

const now = () => new Date();
const ask = (...args: string[]): Promise<Ran> => chancery(args, { ...place, now });

async function doctor(): Promise<{ healthy: boolean; checks: unknown }> {
  return JSON.parse((await chanceryProcess(["doctor", "--json"], place)).stdout);
}

const issueUnderOneKey = (file: string) => ask("cert", "issue", "--csr", file, "--idempotency-key", "key-1", "--json");

async function answer(...args: string[]): Promise<Record<string, unknown>> {
  const { exitCode, stdout, stderr } = await ask(...args, "--json");
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  return JSON.parse(stdout);
}

test("serve says in under 20 lines where everything is, and the command it shows gets a certificate that OpenSSL verifies", async () => {
  const lines = service.stdout().trimEnd().split("\n");
  expect(lines.length).toBeLessThan(20);
  for (const text of [ground.env["CHANCERY_BASE_URL"], ground.env["CHANCERY_STATUS_URL"], "root.pem", "admin.token", "Ctrl-C"])
    expect(service.stdout()).toContain(text);
  const command = lines
    .find((line) => line.includes("npx chancery cert issue"))
    ?.replace("npx chancery", `'${process.execPath}' '${entry}'`);
  await run("sh", ["-c", command ?? "false"], { cwd: ground.directory, env: { PATH: process.env["PATH"] } });

  const [key, pem] = [join(ground.directory, "first/localhost.key"), join(ground.directory, "first/localhost.pem")];
  expect((await stat(key)).mode & 0o777).toBe(0o600);
  const root = join(ground.directory, "root.pem");
  const verified = await run("openssl", [
    "verify",
    "-x509_strict",
    "-purpose",
    "sslserver",
    "-verify_hostname",
    "localhost",
    "-CAfile",
    root,
    "-untrusted",
    pem,
    pem,
  ]);
  expect(verified.stdout).toBe(`${pem}: OK\n`);
  const [ofKey, ofCertificate] = await Promise.all([
    run("openssl", ["pkey", "-in", key, "-pubout"]),
    run("openssl", ["x509", "-in", pem, "-noout", "-pubkey"]),
  ]);
  expect(ofKey.stdout).toBe(ofCertificate.stdout);
});

test("the certificate of a file and the one of the service by its serial are shown alike", async () => {
  const issued = await answer(
    "cert",
    "issue",
    "--name",
    "shown.example.org",
    "--name",
    "192.0.2.7",
    "--lifetime",
    "30d",
    "--key-algorithm",
    "RSA-2048",
  );
  const serial = String(issued["serial"]);
  const [ofService, ofFile] = await Promise.all([answer("cert", "show", serial), answer("cert", "show", "shown.example.org.pem")]);
  for (const member of ["serial", "subject", "names", "notBefore", "notAfter", "keyAlgorithm", "spkiSha256", "certificate"])
    expect({ [member]: ofFile[member] }).toEqual({ [member]: ofService[member] });
  expect(ofService).toMatchObject({
    keyAlgorithm: "RSA-2048",
    status: "valid",
    names: [
      { type: "dns", value: "shown.example.org" },
      { type: "ip", value: "192.0.2.7" },
    ],
  });

  const colons = serial.toUpperCase().replace(/(..)(?=.)/g, "$1:");
  expect((await ask("cert", "show", colons, "--pem")).stdout).toBe(await readFile(join(ground.directory, "shown.example.org.pem"), "utf8"));
  const der = await run(process.execPath, [entry, "cert", "show", serial, "--der"], {
    encoding: "buffer",
    env: { PATH: process.env["PATH"], ...ground.env },
  });
  expect(new X509Certificate(der.stdout).serialNumber.toLowerCase()).toBe(serial);
});

test("a list takes the interface's filters, pages through them, and says when there is more", async () => {
  for (const host of ["one", "two", "three"])
    await answer("cert", "issue", "--name", `${host}.list.example.org`, "--name", "list.example.org");
  const all = await answer("cert", "list", "--name", "list.example.org", "--not-after-from", "1d");
  expect(all).toMatchObject({ more: false, certificates: [{}, {}, {}] });
  expect(await answer("cert", "list", "--name", "list.example.org", "--limit", "2")).toMatchObject({ more: true, certificates: [{}, {}] });
  expect((await ask("cert", "list", "--name", "list.example.org", "--limit", "2")).stdout).toMatch(
    /^SERIAL +STATUS +NOT AFTER .*\n([0-9a-f]{32}  valid .*\n){2}there are more: /,
  );
  expect(await answer("cert", "list", "--name", "list.example.org", "--status", "expired")).toEqual({ certificates: [], more: false });
});

test("the same request under the same --idempotency-key is the same certificate; another request is refused (exit code 3)", async () => {
  for (const name of ["a", "b"])
    await writeFile(join(ground.directory, `${name}.csr`), (await opensslRequest(`${name}.key.example.org`)).csr);
  const first = await issueUnderOneKey("a.csr");
  const again = await issueUnderOneKey("a.csr");
  const other = await issueUnderOneKey("b.csr");
  expect(JSON.parse(again.stdout).serial).toBe(JSON.parse(first.stdout).serial);
  expect(other).toMatchObject({ exitCode: 3, stdout: "" });
  expect(JSON.parse(other.stderr)).toMatchObject({ error: { code: "idempotencyMismatch", problem: { status: 422 } } });
});

test("authorities and profiles are listed, and a profile is shown whole", async () => {
  expect(await answer("ca", "list")).toMatchObject({
    authorities: expect.arrayContaining([
      expect.objectContaining({ slug: "root-1" }),
      expect.objectContaining({ slug: "issuing-1", issuer: "root-1" }),
    ]),
  });
  expect((await ask("profile", "list")).stdout).toMatch(/^server +end-entity +90d /m);
  expect(await answer("profile", "show", "mtls")).toMatchObject({ name: "mtls", lifetimeSeconds: { default: 86_400 } });
  expect(await ask("profile", "show", "none")).toMatchObject({ exitCode: 3, stdout: "", stderr: expect.stringContaining("server") });
});

test("a viewer's token sees and may not request (3); once revoked it is refused (3), and the list says so", async () => {
  const { id, file } = await answer("token", "create", "--role", "viewer", "--namespace", "/", "--expires", "1d", "--out", "viewer.token");
  const viewer = { now, cwd: ground.directory, env: { ...ground.env, CHANCERY_TOKEN_FILE: "viewer.token" } };
  expect(file).toBe(join(ground.directory, "viewer.token"));
  expect((await chancery(["cert", "list"], viewer)).exitCode).toBe(0);
  const refused = await chancery(["cert", "issue", "--name", "viewer.example.org", "--json"], viewer);
  expect(refused).toMatchObject({ exitCode: 3, stdout: "" });
  expect(JSON.parse(refused.stderr)).toMatchObject({ error: { code: "policyDenied" } });
  await expect(stat(join(ground.directory, "viewer.example.org.key"))).rejects.toThrow("ENOENT");

  expect(await answer("token", "revoke", String(id))).toEqual({ id, revoked: true });
  expect(await chancery(["cert", "list"], viewer)).toMatchObject({
    exitCode: 3,
    stderr: expect.stringContaining("CHANCERY_TOKEN_FILE"),
  });
  expect(await answer("token", "list")).toMatchObject({
    tokens: expect.arrayContaining([expect.objectContaining({ id, revokedAt: expect.any(String) })]),
  });
});

test("what a profile does not allow is refused with exit code 3 and the profile's limit", async () => {
  const { exitCode, stderr } = await ask("cert", "issue", "--name", "long.example.org", "--lifetime", "400d");
  expect(exitCode).toBe(3);
  expect(stderr).toMatch(/^chancery: .*\(lifetimeOutOfRange, request .*\); .*profile show.*\n$/);
});

test("a service under another root is not trusted: exit code 4, naming URL and CA file", async () => {
  const { exitCode, stderr } = await chancery(["ca", "list"], {
    cwd: ground.directory,
    env: { ...ground.env, CHANCERY_CA_FILE: "first/localhost.pem" },
  });
  expect(exitCode).toBe(4);
  expect(stderr).toContain(ground.env["CHANCERY_BASE_URL"]);
  expect(stderr).toContain("first/localhost.pem");
});

test("doctor beside the running service finds everything well, and does not try the PIN (PK-9)", { timeout: 60_000 }, async () => {
  const { checks, healthy } = await doctor();
  expect({ healthy, wrong: JSON.stringify(checks).includes('"wrong"') }).toEqual({ healthy: true, wrong: false });
  expect(checks).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ check: "PIN", detail: "tried by the running service" }),
      expect.objectContaining({ check: "HSM", verdict: "ok", detail: "token chancery-issuing: it signs, with 8 sessions" }),
      expect.objectContaining({ check: "TLS port", detail: expect.stringContaining("held by the running service") }),
      expect.objectContaining({ check: "status port", detail: expect.stringContaining("held by the running service") }),
      expect.objectContaining({ check: "ops port", detail: expect.stringContaining("held by the running service") }),
      expect.objectContaining({ check: "migrations", detail: "all applied" }),
      expect.objectContaining({ check: "service certificate", detail: expect.stringContaining("renews itself") }),
    ]),
  );
});

test(
  "doctor of another data directory does not take the service on its ports for its own, and says which process it is",
  { timeout: 60_000 },
  async () => {
    const listeners = ["CHANCERY_LISTEN", "CHANCERY_STATUS_LISTEN", "CHANCERY_OPS_LISTEN"].map((name) => [name, ground.env[name] ?? ""]);
    await using other = await freshGround(Object.fromEntries(listeners));
    const { exitCode, stdout } = await chanceryProcess(["doctor", "--json"], { cwd: other.directory, env: other.env });
    expect(exitCode).toBe(1);
    const { checks } = JSON.parse(stdout);
    const wrong = checks.filter(({ verdict }: { verdict: string }) => verdict === "wrong");
    expect(wrong).toEqual([
      { check: "TLS port", verdict: "wrong", detail: expect.stringContaining("is held by another process") },
      { check: "status port", verdict: "wrong", detail: expect.stringContaining("is held by another process") },
      {
        check: "ops port",
        verdict: "wrong",
        detail: expect.stringContaining(`is held by a Chancery with another data directory, process ${service.child.pid}: end it`),
      },
    ]);
    expect(stdout).not.toContain("tried by the running service");
    expect(stdout).not.toContain(ground.directory);
  },
);

test("a second service on the same data directory says who holds it and exits with 1", async () => {
  const { exitCode, stdout, stderr } = await chanceryProcess(["serve"], place);
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
  expect(stderr).toContain(`in use by process ${service.child.pid}`);
});

test(
  "SIGTERM, though it arrives twice as from a terminal, ends it with exit code 0, its log is JSON lines on stderr, and the ports are free again",
  { timeout: 60_000 },
  async () => {
    service.child.kill("SIGTERM");
    service.child.kill("SIGTERM");
    const { exitCode, stderr } = await service.ended;
    expect(exitCode).toBe(0);
    for (const line of stderr.trimEnd().split("\n")) expect(JSON.parse(line)).toBeTypeOf("object");
    const { checks } = await doctor();
    expect(checks).toEqual(
      expect.arrayContaining([expect.objectContaining({ check: "TLS port", detail: expect.stringContaining("is free") })]),
    );
    expect(checks).toEqual(expect.arrayContaining([expect.objectContaining({ check: "PIN", detail: "accepted by the token" })]));
  },
);
