import { execFile } from "node:child_process";
import { createPrivateKey } from "node:crypto";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { type ScriptedAnswer, type ScriptedServer, scriptedServer } from "../client/scripted-server.ts";
import { opensslRequest } from "../support/service.ts";
import { chancery, temporaryDirectory } from "./shell.ts";

const issued = {
  serial: "4f0c2a7d90b1e3856c4d2f1a0b9e8d7c",
  authority: "issuing-1",
  profile: "server",
  namespace: "/",
  subject: "",
  names: [{ type: "dns", value: "www.example.org" }],
  notBefore: "2026-11-01T11:59:00Z",
  notAfter: "2027-01-30T11:58:59Z",
  status: "valid",
  keyAlgorithm: "P-256",
  spkiSha256: "ab".repeat(32),
  certificate: "-----BEGIN CERTIFICATE-----\nleaf\n-----END CERTIFICATE-----\n",
  chain: "-----BEGIN CERTIFICATE-----\nissuer\n-----END CERTIFICATE-----\n",
};
const created: ScriptedAnswer = { status: 201, body: issued };

test("key and request are made on the spot: NAME.key is 0600 PKCS#8, NAME.pem is leaf and chain, and only the request was sent", async () => {
  await using place = await workplace([created]);
  const { exitCode, stdout } = await chancery(
    ["cert", "issue", "--name", "www.example.org", "--name", "192.0.2.7", "--lifetime", "30d"],
    place,
  );
  expect(exitCode).toBe(0);
  expect((await stat(join(place.cwd, "www.example.org.key"))).mode & 0o777).toBe(0o600);
  expect(await readFile(join(place.cwd, "www.example.org.pem"), "utf8")).toBe(issued.certificate + issued.chain);
  expect(stdout).toContain(issued.serial);
  expect(stdout).toContain(issued.notAfter);
  expect(stdout).toMatch(/^next: /m);

  const key = await readFile(join(place.cwd, "www.example.org.key"), "utf8");
  expect(key).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
  const sent = JSON.parse(place.server.seen[0]?.body ?? "");
  expect(Object.keys(sent).toSorted()).toEqual(["csr", "lifetimeSeconds", "profile"]);
  expect(sent).toMatchObject({ profile: "server", lifetimeSeconds: 30 * 86_400 });
  const request = await openssl(["req", "-noout", "-verify", "-text", "-subject"], sent.csr);
  expect(request).toContain("DNS:www.example.org, IP Address:192.0.2.7");
  expect(await openssl(["req", "-noout", "-pubkey"], sent.csr)).toBe(await openssl(["pkey", "-pubout"], key));
});

test.for([
  { algorithm: "P-256", details: { namedCurve: "prime256v1" } },
  { algorithm: "P-384", details: { namedCurve: "secp384r1" } },
  { algorithm: "RSA-2048", details: { modulusLength: 2048, publicExponent: 65537n } },
])("--key-algorithm $algorithm makes that key", async ({ algorithm, details }) => {
  await using place = await workplace([created]);
  await chancery(["cert", "issue", "--name", "www.example.org", "--key-algorithm", algorithm], place);
  expect(createPrivateKey(await readFile(join(place.cwd, "www.example.org.key"))).asymmetricKeyDetails).toEqual(details);
});

test.for([
  { name: "*.example.org", file: "_.example.org", san: "DNS:*.example.org" },
  { name: "WWW.Example.ORG", file: "www.example.org", san: "DNS:www.example.org" },
  { name: "bücher.example", file: "xn--bcher-kva.example", san: "DNS:xn--bcher-kva.example" },
  { name: "2001:DB8:0::1", file: "2001_db8__1", san: "IP Address:2001:DB8:0:0:0:0:0:1" },
  {
    name: "spiffe://example.org/../../etc/passwd",
    file: "spiffe___example.org_.._.._etc_passwd",
    san: "URI:spiffe://example.org/../../etc/passwd",
  },
])("--name $name asks for $san and writes $file.pem", async ({ name, file, san }) => {
  await using place = await workplace([created]);
  await chancery(["cert", "issue", "--name", name, "--out", "sub/folder"], place);
  expect((await readdir(join(place.cwd, "sub/folder"))).toSorted()).toEqual([`${file}.key`, `${file}.pem`]);
  expect(await openssl(["req", "-noout", "-text"], JSON.parse(place.server.seen[0]?.body ?? "").csr)).toContain(san);
});

test("a key that is there already is not overwritten, and nothing is asked", async () => {
  await using place = await workplace([created]);
  await writeFile(join(place.cwd, "www.example.org.key"), "precious");
  const { exitCode, stderr } = await chancery(["cert", "issue", "--name", "www.example.org"], place);
  expect(exitCode).toBe(1);
  expect(stderr).toContain("--force");
  expect(await readFile(join(place.cwd, "www.example.org.key"), "utf8")).toBe("precious");
  expect(place.server.seen).toEqual([]);
});

const request = await opensslRequest("www.example.org");

describe("what cannot be written is not issued", () => {
  const given = [
    { how: "--name", args: ["--name", "www.example.org"] },
    { how: "--csr", args: ["--csr", "r.csr"] },
  ];
  const cases = [
    { out: "file", says: /^chancery: --out [^\n]*file is a file: it takes a directory\n$/, exit: 2 },
    { out: "file/below", says: /^chancery: [^\n]*file\/below cannot be made \(not a directory\): [^\n]*--out[^\n]*\n$/, exit: 1 },
    { out: "/proc/foo", says: /^chancery: \/proc\/foo cannot be made \(no such file or directory\): [^\n]*--out[^\n]*\n$/, exit: 1 },
    { out: "/proc", says: /^chancery: \/proc cannot be written to \([^\n]*\): [^\n]*--out[^\n]*\n$/, exit: 1 },
    { out: "taken", says: /^chancery: [^\n]*www\.example\.org\.pem is a directory, [^\n]*--out\n$/, exit: 1 },
  ];
  test.for(given.flatMap(({ how, args }) => cases.map((row) => ({ how, args, ...row }))))(
    "$how --out $out exits with $exit and one sentence, and nothing is asked",
    async ({ args, out, says, exit }) => {
      await using place = await workplace([created]);
      await writeFile(join(place.cwd, "r.csr"), request.csr);
      await writeFile(join(place.cwd, "file"), "");
      await mkdir(join(place.cwd, "taken/www.example.org.pem"), { recursive: true });
      const { exitCode, stdout, stderr } = await chancery(["cert", "issue", ...args, "--out", out], place);
      expect({ exitCode, stdout }).toEqual({ exitCode: exit, stdout: "" });
      expect(stderr).toMatch(says);
      expect(place.server.seen).toEqual([]);
      expect(await readdir(join(place.cwd, "taken"))).toEqual(["www.example.org.pem"]);
    },
  );
});

test("a certificate that is issued and cannot be written after all is named, with the command that prints it", async () => {
  await using place = await workplace([created]);
  await writeFile(join(place.cwd, "r.csr"), (await opensslRequest("other.example.org")).csr);
  await mkdir(join(place.cwd, "www.example.org.pem"));
  const { exitCode, stderr } = await chancery(["cert", "issue", "--csr", "r.csr", "--out", "."], place);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/cannot be written \([^\n]*\); [^\n]*`npx chancery cert show 4f0c2a7d90b1e3856c4d2f1a0b9e8d7c --pem`[^\n]*\n$/);
});

test("with --force the key is replaced once its successor has a certificate", async () => {
  await using place = await workplace([created]);
  await writeFile(join(place.cwd, "www.example.org.key"), "old", { mode: 0o644 });
  expect((await chancery(["cert", "issue", "--name", "www.example.org", "--force"], place)).exitCode).toBe(0);
  expect(await readFile(join(place.cwd, "www.example.org.key"), "utf8")).toContain("BEGIN PRIVATE KEY");
  expect((await stat(join(place.cwd, "www.example.org.key"))).mode & 0o777).toBe(0o600);
  expect((await readdir(place.cwd)).toSorted()).toEqual(["var", "www.example.org.key", "www.example.org.pem"]);
});

const refused: ScriptedAnswer = {
  status: 403,
  body: {
    type: "https://x/problems/policyDenied",
    title: "No",
    status: 403,
    detail: "wildcards are not allowed",
    code: "policyDenied",
    requestId: "r-7",
  },
};

test.for([{ force: [] }, { force: ["--force"] }])(
  "a refusal $force exits with 3, names code and request, and leaves no new file",
  async ({ force }) => {
    await using place = await workplace([refused]);
    if (force.length > 0) await writeFile(join(place.cwd, "_.example.org.key"), "old");
    const before = await readdir(place.cwd);
    const { exitCode, stdout, stderr } = await chancery(["cert", "issue", "--name", "*.example.org", ...force], place);
    expect({ exitCode, stdout }).toEqual({ exitCode: 3, stdout: "" });
    expect(stderr).toMatch(
      /^chancery: wildcards are not allowed \(policyDenied, request r-7\); `npx chancery profile list` and `npx chancery profile show NAME` say [^\n]+\n$/,
    );
    expect(await readdir(place.cwd)).toEqual(before);
  },
);

test("with --json a refusal is an object that carries the problem document", async () => {
  await using place = await workplace([refused]);
  const { exitCode, stdout, stderr } = await chancery(["cert", "issue", "--name", "*.example.org", "--json"], place);
  expect({ exitCode, stdout }).toEqual({ exitCode: 3, stdout: "" });
  expect(JSON.parse(stderr)).toMatchObject({ error: { code: "policyDenied", exitCode: 3, problem: { status: 403, requestId: "r-7" } } });
});

test("when the outcome is not known the key stays, and the sentence says where (exit code 4)", async () => {
  await using place = await workplace([{ status: 503, body: { detail: "the HSM does not answer", code: "hsmUnavailable" } }]);
  const { exitCode, stderr } = await chancery(["cert", "issue", "--name", "www.example.org"], place);
  expect(exitCode).toBe(4);
  expect(stderr).toContain(join(place.cwd, "www.example.org.key"));
  expect(await readFile(join(place.cwd, "www.example.org.key"), "utf8")).toContain("BEGIN PRIVATE KEY");
});

test("while issuance is halted it says what may come of the request, and the key stays for that (exit code 4)", async () => {
  const body = { detail: "issuance is halted by an administrator", code: "issuanceHalted", reason: "INC-12" };
  await using place = await workplace([{ status: 503, body }]);
  const { exitCode, stderr } = await chancery(["cert", "issue", "--name", "www.example.org"], place);
  expect(exitCode).toBe(4);
  expect(stderr).toContain("begun before the halt is finished when issuance is resumed, else no certificate comes of it");
  expect(stderr).not.toContain("may yet have been issued");
  expect(stderr).toContain(join(place.cwd, "www.example.org.key"));
  expect(await readFile(join(place.cwd, "www.example.org.key"), "utf8")).toContain("BEGIN PRIVATE KEY");
});

test("where nothing listens the exit code is 4 and no key stays behind", async () => {
  await using place = await workplace([created]);
  await place.server[Symbol.asyncDispose]();
  const { exitCode, stderr } = await chancery(["cert", "issue", "--name", "www.example.org"], place);
  expect(exitCode).toBe(4);
  expect(stderr).toContain("npm start");
  expect(await readdir(place.cwd)).toEqual(["var"]);
});

test("--json prints one document: the certificate, and the files that were written", async () => {
  await using place = await workplace([created]);
  const { exitCode, stdout, stderr } = await chancery(["cert", "issue", "--name", "www.example.org", "--out", "a", "--json"], place);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  const files = { key: join(place.cwd, "a/www.example.org.key"), certificate: join(place.cwd, "a/www.example.org.pem") };
  expect(JSON.parse(stdout)).toEqual({ ...issued, files });
});

test("--csr takes a request made elsewhere, PEM or DER: without --out leaf and chain go to stdout, with it to a file, and no key is made", async () => {
  await using place = await workplace([created]);
  await writeFile(join(place.cwd, "r.pem"), "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n");
  await writeFile(join(place.cwd, "r.der"), Buffer.from([0x30, 0x00]));
  const shown = await chancery(["cert", "issue", "--csr", "r.pem", "--idempotency-key", "k-1"], place);
  expect(shown).toEqual({ exitCode: 0, stdout: issued.certificate + issued.chain, stderr: "" });
  expect(place.server.seen[0]?.headers["idempotency-key"]).toBe("k-1");

  await mkdir(join(place.cwd, "out"));
  expect((await chancery(["cert", "issue", "--csr", "r.der", "--out", "out"], place)).exitCode).toBe(0);
  expect(await readdir(join(place.cwd, "out"))).toEqual(["www.example.org.pem"]);
  expect(JSON.parse(place.server.seen[1]?.body ?? "").csr).toBe("MAA=");
});

test("what a service answers cannot move the terminal's cursor", async () => {
  await using place = await workplace([{ status: 400, body: { detail: "bad \u001b[2J\r\nname\u202e", code: "badCSR" } }]);
  const { stderr } = await chancery(["cert", "issue", "--name", "www.example.org"], place);
  expect(stderr).toMatch(/^chancery: bad \?\[2J\?\?name\? \(badCSR\)\n$/);
});

type Workplace = AsyncDisposable & {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly server: ScriptedServer;
};

/** A directory with the `var` of a service that answers by `script`. */
async function workplace(script: readonly ScriptedAnswer[]): Promise<Workplace> {
  const directory = await temporaryDirectory();
  const server = await scriptedServer(script);
  await mkdir(join(directory.path, "var"));
  await writeFile(join(directory.path, "var/root.pem"), server.ca);
  await writeFile(join(directory.path, "var/admin.token"), "chancery_token\n", { mode: 0o600 });
  return {
    cwd: directory.path,
    env: { CHANCERY_BASE_URL: server.baseUrl },
    server,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

async function openssl(args: readonly string[], input: string): Promise<string> {
  const run = promisify(execFile)("openssl", args);
  run.child.stdin?.end(input);
  return (await run).stdout;
}
