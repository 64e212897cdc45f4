import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AcmeAnswer, acmeClient, type AcmeClient } from "../support/acme-client.ts";
import { standingGround, type Ground, startService, type TestService } from "../support/service.ts";
import { chancery, type Ran } from "./shell.ts";

let ground: Ground;
let service: TestService;
let web: Server;
let client: AcmeClient;
/** An order whose http-01 was answered with status 404. */
let failed: AcmeAnswer;

beforeAll(async () => {
  web = createServer((_, outgoing) => outgoing.writeHead(404).end("not here"));
  await new Promise<void>((resolve) => {
    web.listen(0, "127.0.0.1", resolve);
  });
  ground = await standingGround({ CHANCERY_HTTP01_PORT: String((web.address() as AddressInfo).port) });
  service = await startService({}, ground);
  client = await acmeClient(service);
  await client.register({ contact: ["mailto:admin@example.org"] });
  failed = await client.prove(await client.order(["127.0.0.1"]), "http-01");
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  web.close();
  await ground[Symbol.asyncDispose]();
});

function run(...args: string[]): Promise<Ran> {
  const env = {
    CHANCERY_BASE_URL: `https://localhost:${service.service.listeners.tls.port}`,
    CHANCERY_CA_FILE: join(ground.directory, "root.pem"),
    CHANCERY_TOKEN_FILE: join(ground.directory, "admin.token"),
  };
  return chancery(["acme", ...args], { cwd: ground.directory, env, now: () => new Date() });
}

/** The id that a URL ends with. */
function idOf(url: string | undefined): string {
  return url?.split("/").at(-1) ?? "";
}

describe("why did it fail?", () => {
  test("acme order show names the challenge, the address that was asked, and what it answered, by id or URL", async () => {
    const url = failed.header("location") ?? "";
    const { exitCode, stdout } = await run("order", "show", "--", idOf(url));
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^status +invalid$/m);
    expect(stdout).toMatch(/^127\.0\.0\.1: invalid, until /m);
    expect(stdout).toMatch(/^ {2}http-01: invalid$/m);
    expect(stdout).toMatch(/^ {4}why: .*127\.0\.0\.1.* status 404 instead of 200 \(unauthorized\)$/m);
    expect(stdout).toMatch(/^ {4}address: 127\.0\.0\.1$/m);
    // Nothing that the host sent, and no token that would let somebody else answer.
    expect(stdout).not.toContain("not here");
    expect((await run("order", "show", url)).stdout).toBe(stdout);
  });

  test("--json is the service's own document", async () => {
    const { stdout } = await run("order", "show", failed.header("location") ?? "", "--json");
    expect(JSON.parse(stdout)).toMatchObject({
      status: "invalid",
      account: idOf(client.account()),
      authorizations: [{ status: "invalid", challenges: [{ type: "http-01", status: "invalid", error: { status: 403 } }, {}] }],
    });
  });

  test("acme order list says of each order how it stands and why", async () => {
    const { stdout } = await run("order", "list", `--account=${client.account()}`);
    expect(stdout).toMatch(/^ID +STATUS +CREATED +NAMES +WHY$/m);
    expect(stdout).toMatch(/ invalid .* 127\.0\.0\.1 .*404 instead of 200/);
  });

  test("an order that is not there is refused with a sentence", async () => {
    const { exitCode, stderr } = await run("order", "show", "A".repeat(22));
    expect(exitCode).toBe(3);
    expect(stderr).toContain("there is no ACME order");
  });
});

test("acme account list and show know the account, its key by its thumbprint alone", async () => {
  const list = await run("account", "list");
  expect(list.stdout).toContain(idOf(client.account()));
  const { stdout } = await run("account", "show", client.account());
  expect(stdout).toMatch(/^contact +mailto:admin@example\.org$/m);
  expect(stdout).toMatch(/^thumbprint +[\w-]{43}$/m);
});

test("acme account revoke ends it, by id or URL, and wants a reason", async () => {
  const gone = await acmeClient(service);
  await gone.register();
  expect((await run("account", "revoke", gone.account())).stderr).toContain("--reason");
  const ended = await run("account", "revoke", "--reason", "the server was sold", gone.account());
  expect([ended.exitCode, ended.stdout]).toEqual([0, expect.stringMatching(/^status +revoked$/m)]);
  expect((await run("account", "show", gone.account())).stdout).toMatch(/^status +revoked$/m);
  expect((await gone.post(gone.account(), "")).status).toBe(401);
});

describe("keys for external account binding (AA-40)", () => {
  test("create shows KID and HMAC key this once; list shows uses and no HMAC key; revoke ends it", async () => {
    const created = await run("eab", "create", "--name", ".example.org", "--uses", "3", "--expires", "30d");
    expect(created.exitCode).toBe(0);
    const [, kid = ""] = /^kid +([\w-]{22})$/m.exec(created.stdout) ?? [];
    const [, key = ""] = /^hmacKey +([\w-]{43,})$/m.exec(created.stdout) ?? [];
    expect([kid, key]).not.toContain("");
    const list = await run("eab", "list");
    expect(list.stdout).toContain("0 of 3");
    expect(list.stdout).not.toContain(key);
    expect((await run("eab", "revoke", "--", kid)).stdout).toBe(`revoked ${kid}\n`);
    expect(JSON.parse((await run("eab", "list", "--json")).stdout)).toMatchObject({
      externalAccountKeys: [{ id: kid, revokedAt: expect.any(String) }],
    });
  });

  test("--out writes both to a new file of mode 0600 and shows the HMAC key nowhere", async () => {
    const { exitCode, stdout } = await run("eab", "create", "--uses", "any", "--out", "eab.json");
    expect(exitCode).toBe(0);
    const { kid, hmacKey } = JSON.parse(await readFile(join(ground.directory, "eab.json"), "utf8")) as Record<string, string>;
    expect(stdout).toContain(kid);
    expect(stdout).not.toContain(hmacKey);
    expect((await stat(join(ground.directory, "eab.json"))).mode & 0o777).toBe(0o600);
    expect((await run("eab", "create", "--out", "eab.json")).stderr).toContain("is there already");
  });

  test.for([
    { name: "a directory that is none", args: ["--directory", "nowhere"], says: "nowhere" },
    { name: "a pattern that is none", args: ["--name", "*.example.org"], says: "*.example.org" },
    { name: "a range that is none", args: ["--ip-range", "10.0.0.0/33"], says: "10.0.0.0/33" },
  ])("$name is refused with what was given", async ({ args, says }) => {
    const { exitCode, stderr } = await run("eab", "create", ...args);
    expect(exitCode).toBe(3);
    expect(stderr).toContain(says);
  });
});
