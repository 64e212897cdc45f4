import { expect, test } from "vitest";
import { chancery, temporaryDirectory } from "./shell.ts";

test.for([
  { args: ["no-such-command"], says: "no-such-command" },
  { args: ["cert", "show"], says: "serial|file" },
  { args: ["cert", "show", "1234"], says: "1234 is neither a file nor a serial: a serial is 32 hex digits" },
  { args: ["cert", "show", "missing.pem"], says: "missing.pem is neither a file nor a serial" },
  { args: ["cert", "show", "one", "two"], says: "too many arguments" },
  { args: ["cert", "show", "x", "--der", "--pem"], says: "cannot be used with" },
  { args: ["cert", "issue"], says: "either --name or --csr" },
  { args: ["cert", "issue", "--name", "a.example.org", "--csr", "x.csr"], says: "either --name or --csr" },
  { args: ["cert", "issue", "--name", "a_b.example.org"], says: "neither a DNS name nor" },
  { args: ["cert", "issue", "--name", "localhost:8443"], says: "neither a DNS name nor" },
  { args: ["cert", "issue", "--name", "127.1"], says: "neither a DNS name nor" },
  { args: ["cert", "issue", "--name", "fe80::1%eth0"], says: "neither a DNS name nor" },
  { args: ["cert", "issue", "--name", "spiffe://bücher/x"], says: "This URI needs a fully qualified domain name" },
  { args: ["cert", "issue", "--name", "spiffe://prod/x"], says: "This URI needs a fully qualified domain name" },
  { args: ["cert", "issue", "--name", "a.example.org", "--lifetime", "90"], says: "90d" },
  { args: ["cert", "issue", "--name", "a.example.org", "--lifetime", "0d"], says: "90d" },
  { args: ["cert", "issue", "--name", "a.example.org", "--key-algorithm", "RSA-1024"], says: "P-256, P-384, RSA-2048" },
  { args: ["cert", "issue", "--name", "a.example.org", "--idempotency-key", "has blank"], says: "visible ASCII" },
  { args: ["cert", "issue", "--name", "a.example.org", "--idempotency-key", "k".repeat(256)], says: "visible ASCII" },
  { args: ["cert", "list", "--limit", "0"], says: "1 to 1000000" },
  { args: ["cert", "list", "--limit", "1000001"], says: "1 to 1000000" },
  { args: ["cert", "list", "--status", "good"], says: "valid, revoked, expired" },
  { args: ["cert", "list", "--not-after-before", "tomorrow"], says: "2027-01-31T12:00:00Z" },
  { args: ["init", "--country", "gb"], says: "two capital letters" },
  { args: ["init", "--organization", ""], says: "1 to 50 characters" },
  { args: ["init", "--root-key-algorithm", "P-521"], says: "RSA-4096" },
  { args: ["serve"], says: "CHANCERY_BASE_URL, CHANCERY_STATUS_URL, DATABASE_URL, CHANCERY_PKCS11_MODULE, CHANCERY_PKCS11_TOKEN and " },
  { args: ["migrate", "--config", "missing.yaml"], says: "missing.yaml cannot be read" },
  { args: ["token", "create", "--role", "viewer", "--namespace", "/"], says: "--expires" },
  { args: ["token", "create", "--role", "root", "--namespace", "/", "--expires", "90d"], says: "viewer, requester, admin" },
  { args: ["token", "create", "--role", "viewer", "--namespace", "/", "--expires", "2027-01-31T12:00:00"], says: "zone" },
])("chancery $args exits with 2 and says what it takes", async ({ args, says }) => {
  await using directory = await temporaryDirectory();
  const { exitCode, stdout, stderr } = await chancery(args, { cwd: directory.path });
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
  expect(stderr).toMatch(/^chancery: [^\n]*\n$/);
  expect(stderr).toContain(says);
});

test("with --json a failure is one JSON object on stderr, and stdout stays empty", async () => {
  await using directory = await temporaryDirectory();
  const { exitCode, stdout, stderr } = await chancery(["cert", "issue", "--json"], { cwd: directory.path });
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
  expect(JSON.parse(stderr)).toEqual({ error: { code: "usage", exitCode: 2, detail: expect.stringContaining("--name") } });
});

test("before the first start, a command says which file is missing and how to get it", async () => {
  await using directory = await temporaryDirectory();
  const { exitCode, stderr } = await chancery(["ca", "list"], { cwd: directory.path });
  expect(exitCode).toBe(1);
  expect(stderr).toBe(
    `chancery: the root certificate ${directory.path}/var/root.pem cannot be read: start the service once (npm start), or set CHANCERY_CA_FILE\n`,
  );
});
