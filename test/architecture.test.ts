import { readdirSync, readFileSync, statSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join, relative } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "..");
const src = join(root, "src");

/** Which part may import which: the table of docs/ARCHITECTURE.md. A part always may import itself. `types` stands for imports of types only. */
const table: Readonly<Record<string, { readonly values: readonly string[]; readonly types?: readonly string[] }>> = {
  fault: { values: [] },
  config: { values: ["fault"] },
  "process-identity": { values: [] },
  "durable-file": { values: ["fault", "process-identity"] },
  "child-process": { values: [] },
  pki: { values: ["fault"] },
  jose: { values: ["fault", "pki"] },
  ports: { values: ["fault"], types: ["pki"] },
  database: { values: ["fault", "ports"], types: ["config"] },
  audit: { values: ["fault", "ports", "pki", "database"] },
  access: { values: ["fault", "ports", "pki", "database", "audit"] },
  custody: { values: ["fault", "ports", "pki", "database", "audit"] },
  ca: { values: ["fault", "ports", "pki", "database", "audit", "access", "custody"] },
  acme: { values: ["fault", "ports", "pki", "jose", "database", "audit", "access", "ca"] },
  hsm: { values: ["fault", "child-process", "ports", "pki"], types: ["config"] },
  net: { values: ["fault", "child-process", "ports", "pki"], types: ["config"] },
  observe: { values: ["fault", "ports", "pki"], types: ["config"] },
  http: { values: ["fault", "ports", "pki", "jose", "database", "audit", "access", "custody", "ca", "acme"] },
  jobs: { values: ["fault", "durable-file", "ports", "pki", "jose", "database", "audit", "access", "custody", "ca", "acme"] },
  client: { values: ["fault", "pki"] },
  cli: { values: ["fault", "durable-file", "config", "pki", "client", "app", "initialise", "admin-token", "root-crl", "world"] },
};
/** The composition root and what only it uses: they may import everything. */
const roots = new Set([
  "app",
  "acme-directories",
  "crls",
  "main",
  "readiness",
  "root-crl",
  "world",
  "initialise",
  "admin-token",
  "provision",
  "data-directory",
]);

/** Packages that only these parts may import. */
const packages: Readonly<Record<string, readonly string[]>> = {
  "drizzle-orm": ["database/connect.ts", "tables.ts", "store.ts"],
  postgres: ["database/", "store.ts"],
  "graphene-pk11": ["hsm/"],
  pkcs11js: ["hsm/"],
  "dns-packet": ["net/"],
  hono: ["http/"],
  "@hono/node-server": ["http/"],
  pino: ["observe/"],
  "prom-client": ["observe/"],
  commander: ["cli/"],
};

const files = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => ({ name: file, text: readFileSync(join(src, file), "utf8") }));

type Import = { readonly from: string; readonly typesOnly: boolean };

/** Static and dynamic imports of a file, told apart from imports of types, which disappear when types are stripped. */
function imports(text: string): Import[] {
  const values = specifiers(stripTypeScriptTypes(text).replace(/^\s*(?:\/\/|\*|\/\*).*$/gm, ""));
  const typed = [...text.matchAll(/import type [^;]*?from "([^"]+)"/g)].map((match) => match[1] ?? "");
  return [...new Set([...values, ...typed])].map((from) => ({ from, typesOnly: !values.has(from) }));
}

function specifiers(code: string): Set<string> {
  return new Set([...code.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => match[1] ?? ""));
}

function part(file: string): string {
  return (file.split("/")[0] ?? "").replace(/\.ts$/, "");
}

test("the source runs as it is written: Node strips the types of every file", () => {
  for (const file of files) expect(() => stripTypeScriptTypes(file.text), file.name).not.toThrow();
});

test("every part imports only what its row of the table names", () => {
  const wrong: string[] = [];
  for (const file of files) {
    const own = part(file.name);
    if (roots.has(own)) continue;
    const row = table[own];
    if (!row) {
      wrong.push(`${file.name}: the part ${own} has no row`);
      continue;
    }
    for (const { from, typesOnly } of imports(file.text)) {
      if (!from.startsWith(".")) continue;
      const target = part(relative(src, join(src, file.name, "..", from)));
      const allowed = target === own || row.values.includes(target) || (typesOnly && row.types?.includes(target));
      if (!allowed) wrong.push(`${file.name} imports ${from}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("packages with a place of their own are imported nowhere else", () => {
  const wrong: string[] = [];
  for (const file of files) {
    for (const { from, typesOnly } of imports(file.text)) {
      const name = Object.keys(packages).find((candidate) => from === candidate || from.startsWith(`${candidate}/`));
      if (!name || roots.has(part(file.name))) continue;
      const places = packages[name] ?? [];
      const allowed = typesOnly || places.some((place) => file.name.startsWith(place) || file.name.endsWith(`/${place}`));
      if (!allowed) wrong.push(`${file.name} imports ${from}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("pki and jose are pure: of Node only node:crypto, and no clock, randomness, key generation, environment or log", () => {
  const wrong: string[] = [];
  for (const file of files.filter(({ name }) => /^(?:pki|jose)\//.test(name))) {
    const code = stripTypeScriptTypes(file.text).replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
    for (const { from } of imports(file.text))
      if (from.startsWith("node:") && !["node:crypto", "node:net"].includes(from)) wrong.push(`${file.name} imports ${from}`);
    for (const word of ["Date.now", "new Date()", "Math.random", "randomBytes", "generateKeyPair", "process.", "console."]) {
      if (code.includes(word)) wrong.push(`${file.name} uses ${word}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("time, randomness and environment are read at the edge only", () => {
  const edge = /^(app|main|world|provision|data-directory|config)\.ts$|^(hsm|net|observe|database)\//;
  const wrong: string[] = [];
  for (const file of files.filter(({ name }) => !edge.test(name))) {
    const code = stripTypeScriptTypes(file.text).replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
    for (const word of ["Date.now(", "new Date()", "Math.random(", "process.env"])
      if (code.includes(word)) wrong.push(`${file.name} uses ${word}`);
  }
  expect(wrong).toEqual([]);
});

test("nothing is thrown away by `any`, a non-null `!` or a silenced check", () => {
  const wrong = files
    .filter(({ text }) => /:\s*any\b|\bas any\b|@ts-ignore|@ts-expect-error|@ts-nocheck/.test(text))
    .map(({ name }) => name);
  expect(wrong).toEqual([]);
});

describe("file lengths", () => {
  test.for(files)("$name has one subject: at most 400 lines", ({ text }) => {
    expect(text.split("\n").length).toBeLessThanOrEqual(400);
  });
});

test("the migrations are forward SQL, numbered without gaps", () => {
  const names = readdirSync(join(root, "migrations")).toSorted();
  expect(names.length).toBeGreaterThan(0);
  names.forEach((name, index) => {
    expect(name).toMatch(/^\d{4}_[a-z0-9_]+\.sql$/);
    expect(Number(name.slice(0, 4))).toBe(index + 1);
    expect(statSync(join(root, "migrations", name)).size).toBeGreaterThan(0);
  });
});
