import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { failpoints } from "../support/failpoints.ts";
import { opensslRequest, startService, type TestService } from "../support/service.ts";
import { chancery, type Ran } from "./shell.ts";

let service: TestService;
/** Where it is set, a signature that is made says so and waits. */
let held: { readonly signed: PromiseWithResolvers<void>; readonly goOn: PromiseWithResolvers<void> } | undefined;
beforeAll(async () => {
  const { hsm } = failpoints(async (point) => {
    if (point !== "sign:after" || !held) return;
    held.signed.resolve();
    await held.goOn.promise;
  });
  service = await startService({ hsm });
});
afterAll(() => service[Symbol.asyncDispose]());

const cli = (...args: string[]): Promise<Ran> =>
  chancery(args, {
    cwd: service.ground.directory,
    env: {
      CHANCERY_DATA_DIR: service.ground.directory,
      CHANCERY_BASE_URL: `https://localhost:${service.service.listeners.tls.port}`,
    },
    now: () => new Date(),
  });

async function issued(): Promise<{ serial: string; key: string; csr: string; notBefore: string }> {
  const { csr, key } = await opensslRequest("cli.example.org");
  const answer = (await service.ask("/v1/certificates", { body: { csr, profile: "client" } })).json();
  const file = join(service.ground.directory, `${String(answer["serial"])}.key`);
  await writeFile(file, key);
  return { serial: String(answer["serial"]), key: file, csr, notBefore: String(answer["notBefore"]) };
}

const colons = (serial: string) => serial.toUpperCase().replace(/(..)(?=.)/g, "$1:");

test("cert revoke shows the certificate as it is then, as cert show does; again it is refused with exit code 3", async () => {
  const { serial } = await issued();
  const { exitCode, stdout } = await cli("cert", "revoke", colons(serial), "--reason", "superseded");
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/^status +revoked\nrevokedAt +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\nrevocationReason +superseded$/m);
  expect((await cli("cert", "show", serial)).stdout).toBe(stdout);
  const again = await cli("cert", "revoke", serial, "--reason", "superseded");
  expect([again.exitCode, again.stdout]).toEqual([3, ""]);
  expect(again.stderr).toMatch(/^chancery: the certificate is revoked already \(alreadyRevoked, request [0-9a-f]{32}\)\n$/);
});

test("cert revoke with a key makes the proof itself and sends no private key: the key is blocked", async () => {
  const { serial, key, csr, notBefore } = await issued();
  const args = ["cert", "revoke", serial, "--reason", "keyCompromise", "--key", key, "--revoked-at", notBefore, "--json"];
  const { exitCode, stdout } = await cli(...args);
  expect(exitCode).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ serial, status: "revoked", revocationReason: "keyCompromise", revokedAt: notBefore });
  const refused = await service.ask("/v1/certificates", { body: { csr, profile: "client" } });
  expect(refused.json()["code"]).toBe("badCSR");
});

const refusal = async (csr: string) => (await service.ask("/v1/certificates", { body: { csr, profile: "client" } })).json()["code"];
async function createOfKey(serial: string, ...more: string[]): Promise<Ran> {
  const { spkiSha256 } = (await service.ask(`/v1/certificates/${serial}`)).json();
  return await cli("revocation", "create", "--spki-sha256", String(spkiSha256), "--reason", "keyCompromise", ...more);
}

test("cert revoke with --block-key, and revocation create of a key unless with --no-block-key, block it without the key", async () => {
  const [one, other, third] = [await issued(), await issued(), await issued()];
  expect((await cli("cert", "revoke", one.serial, "--reason", "keyCompromise", "--block-key")).exitCode).toBe(0);
  expect((await createOfKey(other.serial)).exitCode).toBe(0);
  expect((await createOfKey(third.serial, "--no-block-key")).exitCode).toBe(0);
  expect([await refusal(one.csr), await refusal(other.csr), await refusal(third.csr)]).toEqual(["badCSR", "badCSR", undefined]);
});

test.for([
  { name: "a reason that is none", args: ["4".repeat(32), "--reason", "hold"], says: /Allowed choices are unspecified, keyCompromise/ },
  { name: "no serial", args: ["4f", "--reason", "superseded"], says: /"4f" is no serial/ },
  { name: "a key without keyCompromise", args: ["4".repeat(32), "--key", "k"], says: /--key goes with --reason keyCompromise/ },
  { name: "a duration for a time that is over", args: ["4".repeat(32), "--revoked-at", "3d"], says: /time that is over/ },
])("cert revoke with $name is wrong usage", async ({ args, says }) => {
  const { exitCode, stderr } = await cli("cert", "revoke", ...args);
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(says);
});

test("a file that holds no key is named", async () => {
  const { serial } = await issued();
  await writeFile(join(service.ground.directory, "noise"), "noise");
  const { exitCode, stderr } = await cli("cert", "revoke", serial, "--reason", "keyCompromise", "--key", "noise");
  expect(exitCode).toBe(2);
  expect(stderr).toContain("noise holds no private key");
});

test("revocation create counts with --dry-run, revokes without, and revocation show tells how far it is", async () => {
  const serials = [(await issued()).serial, (await issued()).serial];
  const filter = serials.flatMap((serial) => ["--serial", serial]);
  const preview = await cli("revocation", "create", ...filter, "--reason", "superseded", "--dry-run");
  expect(preview.exitCode).toBe(0);
  expect(preview.stdout).toMatch(/^2 would be revoked\nSERIAL/);
  for (const serial of serials) expect(preview.stdout).toContain(serial);
  const created = await cli("revocation", "create", ...filter, "--profile", "client", "--reason", "superseded", "--json");
  const { id } = JSON.parse(created.stdout) as { id: string };
  const shown = await cli("revocation", "show", id);
  expect(shown.stdout).toMatch(/^state +ended\nrevoked +2$/m);
  for (const serial of serials) expect((await cli("cert", "show", serial)).stdout).toContain("superseded");
});

const issueShort = async () => {
  const { csr } = await opensslRequest("stopped.example.org");
  return (await service.ask("/v1/certificates", { body: { csr, profile: "mtls" } })).json();
};

test("revocation stop ends one that goes on, with its reason: what it has revoked stays so, and nothing more is", async () => {
  const before = String((await issueShort())["serial"]);
  // It waits for what is being signed, and so has not ended when it is stopped.
  const own = { signed: Promise.withResolvers<void>(), goOn: Promise.withResolvers<void>() };
  held = own;
  const signing = issueShort();
  try {
    await own.signed.promise;
    const created = await cli("revocation", "create", "--profile", "mtls", "--reason", "superseded", "--json");
    const { id, state } = JSON.parse(created.stdout) as { id: string; state: string };
    expect([created.exitCode, state]).toEqual([0, "running"]);
    expect((await cli("revocation", "stop", id)).exitCode).toBe(2);
    const stopped = await cli("revocation", "stop", id, "--reason", "begun with a stolen token");
    expect([stopped.exitCode, stopped.stdout]).toEqual([0, expect.stringMatching(/^state +stopped\nrevoked +1$/m)]);
    expect(stopped.stdout).toMatch(/^stopReason +begun with a stolen token$/m);
    expect(stopped.stdout).not.toContain("goes on");
    expect((await cli("revocation", "show", id)).stdout).toBe(stopped.stdout);
  } finally {
    held = undefined;
    own.goOn.resolve();
  }
  const after = String((await signing)["serial"]);
  expect((await cli("cert", "show", before)).stdout).toMatch(/^status +revoked$/m);
  expect((await cli("cert", "show", after)).stdout).toMatch(/^status +valid$/m);
});

test("revocation stop of one that is not there is refused with exit code 3", async () => {
  const { exitCode, stderr } = await cli("revocation", "stop", "0".repeat(32), "--reason", "test");
  expect([exitCode, stderr]).toEqual([3, expect.stringContaining("notFound")]);
});

test("revocation create without a filter is refused, without a reason wrong usage", async () => {
  const empty = await cli("revocation", "create", "--reason", "superseded");
  expect([empty.exitCode, empty.stderr]).toEqual([3, expect.stringContaining("filter is empty")]);
  expect((await cli("revocation", "create", "--profile", "mtls")).exitCode).toBe(2);
});

test("halt and resume, and what whoever asks for a certificate is told meanwhile", async () => {
  expect((await cli("halt")).stdout).toContain("issuance is not halted");
  const halted = await cli("halt", "--reason", "a key may be lost");
  expect(halted.stdout).toMatch(/^issuance is halted\nsince .*\nby +token:.*\nreason +a key may be lost\n$/);
  expect((await cli("halt", "--json")).stdout).toContain('"halted": true');
  const refused = await cli("cert", "issue", "--name", "www.example.org");
  expect(refused.exitCode).toBe(4);
  expect(refused.stderr).toMatch(/^chancery: issuance is halted by an administrator.* \(reason: a key may be lost\) \(issuanceHalted, /);
  expect(refused.stderr).toContain("npx chancery resume --reason");
  expect((await cli("resume", "--reason", "it was found")).stdout).toContain("issuance is not halted");
  expect((await cli("cert", "issue", "--name", "www.example.org", "--force")).exitCode).toBe(0);
});
