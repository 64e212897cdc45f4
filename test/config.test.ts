import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig } from "../src/config.ts";
import { Fault } from "../src/fault.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "chancery-config-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const refusal = (env: Record<string, string>, configFile?: string): string => {
  try {
    loadConfig({ env, directory, ...(configFile !== undefined && { configFile }) });
  } catch (error) {
    if (error instanceof Fault && error.code === "refusedToStart") return error.detail;
    throw error;
  }
  return "accepted";
};
const production = {
  DATABASE_URL: "postgresql://chancery@db.example.org/chancery",
  CHANCERY_BASE_URL: "https://ca.example.org",
  CHANCERY_STATUS_URL: "http://status.example.org",
  CHANCERY_PKCS11_MODULE: "/usr/lib/hsm.so",
  CHANCERY_PKCS11_TOKEN: "issuing",
  CHANCERY_PKCS11_PIN_FILE: "/run/secrets/pin",
};

describe("an evaluation", () => {
  test("needs nothing but its name, and lies in ./var", () => {
    const config = loadConfig({ env: { CHANCERY_ENV: "evaluation" }, directory: "/srv/chancery" });
    expect(config).toMatchObject({
      dataDir: "/srv/chancery/var",
      listen: { host: "127.0.0.1", port: 9443 },
      statusListen: { host: "127.0.0.1", port: 9080 },
      opsListen: { host: "127.0.0.1", port: 9090 },
      baseUrl: "https://localhost:9443",
      statusUrl: "http://localhost:9080",
      databaseUrl: undefined,
      pkcs11PinFile: "/srv/chancery/var/issuing.pin",
    });
    expect(Object.isFrozen(config)).toBe(true);
  });
});

test.for([
  { name: "an evaluation reaches loopback", env: { CHANCERY_ENV: "evaluation" }, allow: ["127.0.0.0/8", "::1/128"] },
  { name: "production reaches public addresses alone", env: production, allow: [] },
  { name: "none is none", env: { CHANCERY_ENV: "evaluation", CHANCERY_VALIDATION_ALLOW: "none" }, allow: [] },
  {
    name: "ranges are listed",
    env: { ...production, CHANCERY_VALIDATION_ALLOW: "10.0.0.0/8, fd00::/8" },
    allow: ["10.0.0.0/8", "fd00::/8"],
  },
])("for ACME's challenges $name", ({ env, allow }) => {
  expect(loadConfig({ env, directory })).toMatchObject({
    validationAllow: allow,
    http01Port: 80,
    tlsAlpn01Port: 443,
    testAlwaysValid: false,
  });
});

test("an evaluation may refuse every second nonce for tests of clients, and no more", () => {
  const env = { CHANCERY_ENV: "evaluation", CHANCERY_TEST_NONCE_REJECT_PERCENT: "50" };
  expect(loadConfig({ env, directory }).testNonceRejectPercent).toBe(50);
  expect(refusal({ ...env, CHANCERY_TEST_NONCE_REJECT_PERCENT: "51" })).toContain("must be a whole number from 0 to 50");
});

test("an evaluation's URLs lead to the ports it listens on", () => {
  const env = { CHANCERY_ENV: "evaluation", CHANCERY_LISTEN: "127.0.0.1:19443", CHANCERY_STATUS_LISTEN: "127.0.0.1:19080" };
  const urls = { baseUrl: "https://localhost:19443", statusUrl: "http://localhost:19080" };
  expect(loadConfig({ env, directory })).toMatchObject(urls);
});

describe("production, which is the default", () => {
  test("starts with every required option", () => {
    expect(loadConfig({ env: production, directory })).toMatchObject({ env: "production", databaseUrl: production.DATABASE_URL });
  });

  test.for(Object.keys(production))("is refused without %s, by its name", (missing) => {
    const env = Object.fromEntries(Object.entries(production).filter(([name]) => name !== missing));
    expect(refusal(env)).toBe(`${missing} must be set (its default suits CHANCERY_ENV=evaluation only)`);
  });

  test("is told everything that is missing at once", () => {
    const all = "CHANCERY_PKCS11_MODULE, CHANCERY_PKCS11_TOKEN and CHANCERY_PKCS11_PIN_FILE";
    expect(refusal({})).toBe(
      `CHANCERY_BASE_URL, CHANCERY_STATUS_URL, DATABASE_URL, ${all} must be set (their defaults suit CHANCERY_ENV=evaluation only)`,
    );
  });
});

type Refused = { readonly name: string; readonly env: Record<string, string>; readonly says: string | RegExp };

test.for([
  { name: "an unknown variable", env: { CHANCERY_LISTEM: "127.0.0.1:1" }, says: "CHANCERY_LISTEM is no option" },
  { name: "an address without a port", env: { CHANCERY_LISTEN: "127.0.0.1" }, says: "CHANCERY_LISTEN must be HOST:PORT" },
  { name: "a port above 65535", env: { CHANCERY_LISTEN: "127.0.0.1:65536" }, says: "CHANCERY_LISTEN must be HOST:PORT" },
  {
    name: "a base URL by plain http",
    env: { CHANCERY_BASE_URL: "http://ca.example.org" },
    says: "CHANCERY_BASE_URL must be an https:// URL",
  },
  { name: "a base URL with a path", env: { CHANCERY_BASE_URL: "https://ca.example.org/x" }, says: "CHANCERY_BASE_URL must be" },
  {
    name: "a status URL by https (RFC 5280 §8)",
    env: { CHANCERY_STATUS_URL: "https://s.example.org" },
    says: "CHANCERY_STATUS_URL must be an http:// URL",
  },
  {
    name: "an environment that is none",
    env: { CHANCERY_ENV: "staging", DATABASE_URL: "" },
    says: /^CHANCERY_ENV must be production or evaluation$/,
  },
  {
    name: "a log level that is none",
    env: { CHANCERY_LOG_LEVEL: "loud" },
    says: /^CHANCERY_LOG_LEVEL must be debug, info, warn or error$/,
  },
  {
    name: "a label of 33 characters",
    env: { CHANCERY_PKCS11_TOKEN: "x".repeat(33) },
    says: /^CHANCERY_PKCS11_TOKEN must be 1 to 32 characters/,
  },
  ...["0", "257", "1.5", "0x10", "many"].map((sessions) => ({
    name: `a number of sessions that is ${sessions}`,
    env: { CHANCERY_PKCS11_SESSIONS: sessions },
    says: /^CHANCERY_PKCS11_SESSIONS must be a whole number from 1 to 256$/,
  })),
  {
    name: "a pool of one connection",
    env: { CHANCERY_DATABASE_POOL: "1" },
    says: /^CHANCERY_DATABASE_POOL must be a whole number from 2 to 90$/,
  },
  {
    name: "a resolver by its name",
    env: { CHANCERY_DNS_SERVERS: "dns.example.org" },
    says: "CHANCERY_DNS_SERVERS must be IP addresses with commas between",
  },
  {
    name: "an address where a range is due",
    env: { CHANCERY_VALIDATION_ALLOW: "10.0.0.0/8,192.0.2.1" },
    says: "CHANCERY_VALIDATION_ALLOW must be none, or address ranges",
  },
  {
    name: "a NAT64 prefix of a length that RFC 6052 §2.2 does not have",
    env: { CHANCERY_NAT64_PREFIXES: "2001:db8:64::/96,2001:db8:65::/80" },
    says: "CHANCERY_NAT64_PREFIXES must be none, or IPv6 prefixes of 32, 40, 48, 56, 64 or 96 bits",
  },
  {
    name: "an IPv4 range as a NAT64 prefix",
    env: { CHANCERY_NAT64_PREFIXES: "10.0.0.0/32" },
    says: "CHANCERY_NAT64_PREFIXES must be none, or IPv6 prefixes",
  },
  {
    name: "an option for tests of clients",
    env: { CHANCERY_TEST_ALWAYS_VALID: "true" },
    says: "CHANCERY_TEST_ALWAYS_VALID is for tests of clients: it works with CHANCERY_ENV=evaluation only",
  },
  {
    name: "another one, even with what it is by default",
    env: { CHANCERY_TEST_NONCE_REJECT_PERCENT: "0" },
    says: "CHANCERY_TEST_NONCE_REJECT_PERCENT is for tests of clients",
  },
  {
    name: "another database",
    env: { DATABASE_URL: "mysql://x/y" },
    says: /^DATABASE_URL must be a URL, postgresql:\/\/user@host\/database, or for a Unix socket /,
  },
] satisfies Refused[])("$name is refused by its name", ({ env, says }: Refused) => {
  const told = refusal({ ...production, ...env });
  if (typeof says === "string") expect(told).toContain(says);
  else expect(told).toMatch(says);
});

test.for([
  { name: "none unless they are said", text: undefined, shards: {} },
  { name: "none is none", text: "none", shards: {} },
  { name: "of each profile that is named", text: "mtls=16, server=1024", shards: { mtls: 16, server: 1024 } },
])("shards of CRLs: $name", ({ text, shards }) => {
  const env = { ...production, ...(text !== undefined && { CHANCERY_CRL_SHARDS: text }) };
  expect(loadConfig({ env, directory })).toMatchObject({ crlShards: shards, crlDir: join(directory, "var/crl") });
});

test.for(["mtls", "mtls=", "mtls=0", "mtls=1025", "mtls=1=2", "mtls=1,mtls=2", "MTLS=1", "=4", "mtls=1.5", ","])(
  "CHANCERY_CRL_SHARDS=%s is refused",
  (text) => {
    expect(refusal({ ...production, CHANCERY_CRL_SHARDS: text })).toContain("CHANCERY_CRL_SHARDS must be none, or profiles");
  },
);

async function file(text: string): Promise<string> {
  const path = join(directory, "chancery.yaml");
  await writeFile(path, text);
  return path;
}

/** The shards that a configuration file gives. */
const shards = async (text: string) => loadConfig({ env: production, directory, configFile: await file(text) }).crlShards;

describe("a configuration file", () => {
  test("holds the same options in camelCase; the environment wins", async () => {
    const configFile = await file("env: evaluation\nlisten: 0.0.0.0:443\npkcs11Sessions: 4\nbaseUrl: https://ca.example.org\n");
    const config = loadConfig({ env: { CHANCERY_LISTEN: "[::1]:8443" }, directory, configFile });
    expect(config).toMatchObject({ listen: { host: "::1", port: 8443 }, pkcs11Sessions: 4, baseUrl: "https://ca.example.org" });
  });

  test("gives the shards of CRLs as a mapping, or as the environment does", async () => {
    expect(await shards("crlShards: {mtls: 16, server: 8}\n")).toEqual({ mtls: 16, server: 8 });
    expect(await shards("crlShards:\n  mtls: '16'\n")).toEqual({ mtls: 16 });
    expect(await shards("crlShards: mtls=4\n")).toEqual({ mtls: 4 });
  });

  test.for([
    { name: "shards that are a list", text: "crlShards: [mtls]\n", says: "crlShards is neither text nor a number" },
    {
      name: "a number of shards that is none",
      text: "env: evaluation\ncrlShards: {mtls: many}\n",
      says: "CHANCERY_CRL_SHARDS must be none",
    },
    { name: "a mapping where there is none", text: "listen: {host: a}\n", says: "and listen is neither text nor a number" },
    { name: "an unknown option", text: "env: evaluation\nlisten_: x\n", says: "listen_ in the configuration file is no option" },
    { name: "what is no YAML", text: "a: [\nb: c: d\n", says: /cannot be read: [^\n]* at line \d+, column \d+$/ },
    { name: "a list", text: "- a\n", says: /must hold options in camelCase, one a line, as listen: 0.0.0.0:9443$/ },
    {
      name: "a label that is a number",
      text: "env: evaluation\npkcs11Token: 1234\n",
      says: "CHANCERY_PKCS11_TOKEN must be 1 to 32 characters",
    },
    { name: "an option that is a list", text: "listen: [a]\n", says: "and listen is neither text nor a number" },
  ])("with $name is refused", async ({ text, says }) => {
    expect(refusal({}, await file(text))).toMatch(says);
  });

  test("that is not there is refused by its name", () => {
    expect(refusal({}, "nowhere.yaml")).toContain("nowhere.yaml");
  });
});

test("docs/OPERATIONS.md has a row for every option", async () => {
  const source = await readFile(join(import.meta.dirname, "../src/config.ts"), "utf8");
  const variables = [...source.matchAll(/variable: "([A-Z0-9_]+)"/g)].map((match) => match[1] ?? "");
  expect(variables.length).toBeGreaterThan(10);
  const table = await readFile(join(import.meta.dirname, "../docs/OPERATIONS.md"), "utf8");
  for (const variable of variables) expect(table).toContain(`| \`${variable}\` |`);
});
