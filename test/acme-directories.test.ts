import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readDirectories } from "../src/acme-directories.ts";
import type { Directory } from "../src/acme/directory.ts";
import { loadConfig } from "../src/config.ts";
import { Fault } from "../src/fault.ts";

const production = {
  DATABASE_URL: "postgresql://chancery@localhost/chancery",
  CHANCERY_BASE_URL: "https://ca.example.org",
  CHANCERY_STATUS_URL: "http://status.example.org",
  CHANCERY_PKCS11_MODULE: "/usr/lib/hsm.so",
  CHANCERY_PKCS11_TOKEN: "issuing",
  CHANCERY_PKCS11_PIN_FILE: "/run/secrets/pin",
};

async function read(text: string, env: Readonly<Record<string, string>> = production): Promise<ReadonlyMap<string, Directory>> {
  const directory = await mkdtemp(join(tmpdir(), "chancery-directories-"));
  try {
    await writeFile(join(directory, "directories.yaml"), text);
    return await readDirectories(loadConfig({ env: { ...env, CHANCERY_ACME_DIRECTORIES: "directories.yaml" }, directory }));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

test("production has no ACME directory unless it is told", async () => {
  expect(await readDirectories(loadConfig({ env: production, directory: "/srv" }))).toEqual(new Map());
});

test("an evaluation has one that takes every name, single labels, wildcards and addresses, without limits", async () => {
  const directories = await readDirectories(loadConfig({ env: { CHANCERY_ENV: "evaluation" }, directory: "/srv" }));
  expect([...directories.keys()]).toEqual(["default"]);
  expect(directories.get("default")).toMatchObject({
    identifiers: { names: ["*"], wildcards: true, singleLabels: true, ipRanges: ["0.0.0.0/0", "::/0"] },
    challengeTypes: ["http-01", "dns-01", "tls-alpn-01"],
    externalAccountRequired: false,
    limits: {},
  });
});

test("what a directory does not say is closed, and limits are those that no healthy client reaches (AN-3)", async () => {
  expect((await read("a: { names: [.example.org] }")).get("a")).toEqual({
    name: "a",
    namespace: "/",
    profile: "server",
    identifiers: { names: [".example.org"], wildcards: false, singleLabels: false, ipRanges: [] },
    challengeTypes: ["http-01", "dns-01", "tls-alpn-01"],
    externalAccountRequired: false,
    renewedConsent: false,
    limits: {
      newAccountsPerAddress: { count: 500, seconds: 10_800 },
      newOrdersPerAccount: { count: 1500, seconds: 10_800 },
      accountUpdates: { count: 60, seconds: 3600 },
      failedValidations: { count: 5, seconds: 3600 },
    },
  });
});

test.for([
  { name: "with external account binding", text: "a: { names: ['*'], externalAccountRequired: true }", env: production },
  { name: "told so", text: "a: { names: ['*'], newAccountsPerAddress: null }", env: production },
  { name: "in an evaluation, whose clients have one address", text: "a: { names: ['*'] }", env: { CHANCERY_ENV: "evaluation" } },
])("a directory $name takes any number of accounts from an address (AN-3)", async ({ text, env }) => {
  expect((await read(text, env)).get("a")?.limits).not.toHaveProperty("newAccountsPerAddress");
});

test("null takes a limit away", async () => {
  const text =
    "a: { names: ['*'], newOrdersPerAccount: null, accountUpdates: null, failedValidations: null, newAccountsPerAddress: { count: 2, seconds: 60 } }";
  expect((await read(text)).get("a")?.limits).toEqual({ newAccountsPerAddress: { count: 2, seconds: 60 } });
});

test.for([
  { name: "an unknown member", text: "a: { names: ['*'], wildcard: true }", says: 'a: has the unknown member "wildcard"' },
  {
    name: "what CAA records would have to name, which nobody asks for yet",
    text: "a: { names: ['*'], caaIdentities: [ca.example.org] }",
    says: 'a: has the unknown member "caaIdentities"',
  },
  { name: "a name in capitals", text: "A: { names: ['*'] }", says: "lower-case" },
  { name: "nothing to order", text: "a: {}", says: "neither names nor ipRanges" },
  { name: "a profile of authorities", text: "a: { names: ['*'], profile: root }", says: '"root" is no profile' },
  { name: "a pattern that is none", text: "a: { names: ['*.example.org'] }", says: "a.names.0" },
  { name: "a range that is none", text: "a: { ipRanges: ['10.0.0.0'] }", says: "a.ipRanges.0" },
  { name: "a challenge that is none", text: "a: { names: ['*'], challengeTypes: [dns-02] }", says: "a.challengeTypes.0" },
  { name: "no YAML", text: "a: [", says: "cannot be read" },
  { name: "no names of directories", text: "[a]", says: "its document" },
  { name: "a limit without its seconds", text: "a: { names: ['*'], newOrdersPerAccount: { count: 5 } }", says: "a.newOrdersPerAccount" },
])("$name is refused by its name", async ({ text, says }) => {
  const refusal: unknown = await read(text).catch((error: unknown) => error);
  if (!(refusal instanceof Fault)) throw new Error("it was taken");
  expect(refusal.code).toBe("refusedToStart");
  expect(refusal.detail).toContain("CHANCERY_ACME_DIRECTORIES");
  expect(refusal.detail).toContain(says);
});
