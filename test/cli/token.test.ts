import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { scriptedServer } from "../client/scripted-server.ts";
import { chancery, temporaryDirectory } from "./shell.ts";

const created = {
  id: "01964d5e-7c3a-7b1e-9f20-5a6b7c8d9e0f",
  role: "requester",
  namespace: "/shop",
  createdAt: "2026-11-01T12:00:00Z",
  expiresAt: "2027-01-30T12:00:00Z",
  createdBy: "token:1",
  token: "chancery_secret_text",
};
const create = ["token", "create", "--role", "requester", "--namespace", "/shop", "--expires", "90d"];

test("a new token's text is all of stdout, and the days are counted from now", async () => {
  await using place = await workplace();
  expect(await chancery(create, place)).toEqual({ exitCode: 0, stdout: "chancery_secret_text\n", stderr: "" });
  expect(JSON.parse(place.server.seen[0]?.body ?? "")).toEqual({
    role: "requester",
    namespace: "/shop",
    expiresAt: "2027-01-30T12:00:00Z",
  });
});

test("--out writes the token to a new file of mode 0600 and shows it nowhere", async () => {
  await using place = await workplace();
  const { exitCode, stdout, stderr } = await chancery([...create, "--out", "shop.token"], place);
  expect(exitCode).toBe(0);
  expect(stdout + stderr).not.toContain(created.token);
  expect(await readFile(join(place.cwd, "shop.token"), "utf8")).toBe("chancery_secret_text\n");
  expect((await stat(join(place.cwd, "shop.token"))).mode & 0o777).toBe(0o600);
});

test("a file that is there already is kept, and nothing is created", async () => {
  await using place = await workplace();
  await writeFile(join(place.cwd, "shop.token"), "another");
  const { exitCode, stderr } = await chancery([...create, "--out", "shop.token"], place);
  expect(exitCode).toBe(1);
  expect(stderr).toContain("shop.token is there already");
  expect(await readFile(join(place.cwd, "shop.token"), "utf8")).toBe("another");
  expect(place.server.seen).toEqual([]);
});

test("a token file that holds something else is not sent, and not shown", async () => {
  await using place = await workplace();
  await writeFile(join(place.cwd, "var/admin.token"), "-----BEGIN PRIVATE KEY-----\nsecret");
  const { exitCode, stderr } = await chancery(create, place);
  expect(exitCode).toBe(2);
  expect(stderr).toContain("CHANCERY_TOKEN_FILE");
  expect(stderr).not.toContain("secret");
  expect(place.server.seen).toEqual([]);
});

test("a list shows every page of the service's", async () => {
  const { token, ...listed } = created;
  await using place = await workplace([
    { status: 200, body: { tokens: [listed], nextCursor: "abc" } },
    { status: 200, body: { tokens: [{ ...listed, id: "older" }] } },
  ]);
  const { stdout } = await chancery(["token", "list", "--json"], place);
  expect(JSON.parse(stdout).tokens.map(({ id }: { id: string }) => id)).toEqual([created.id, "older"]);
  expect(place.server.seen.map(({ url }) => url)).toEqual(["/v1/tokens?limit=1000", "/v1/tokens?limit=1000&cursor=abc"]);
  expect(stdout).not.toContain(token);
});

/** A directory with the `var` of a service that creates that token, or gives these answers. */
async function workplace(answers: Parameters<typeof scriptedServer>[0] = [{ status: 201, body: created }]) {
  const directory = await temporaryDirectory();
  const server = await scriptedServer(answers);
  await mkdir(join(directory.path, "var"));
  await writeFile(join(directory.path, "var/root.pem"), server.ca);
  await writeFile(join(directory.path, "var/admin.token"), "chancery_token\n");
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
