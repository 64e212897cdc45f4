import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

type Manifest = {
  engines: Record<string, string>;
  allowScripts: Record<string, boolean>;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  optionalDependencies: Record<string, string>;
};
type Entry = {
  version?: string;
  engines?: Record<string, string>;
  hasInstallScript?: boolean;
  optionalDependencies?: Record<string, string>;
};

const top = join(import.meta.dirname, "../..");
const manifest: Manifest = JSON.parse(readFileSync(join(top, "package.json"), "utf8"));
const lock: { packages: Record<string, Entry> } = JSON.parse(readFileSync(join(top, "package-lock.json"), "utf8"));
const entries = Object.entries(lock.packages).filter(([path]) => path !== "");
const nameOf = (path: string): string => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
const versionsOf = (name: string): (string | undefined)[] =>
  entries.filter(([path]) => nameOf(path) === name).map(([, entry]) => entry.version);

/** Packages that compile without saying so in the lock file: npm runs node-gyp where it sees a binding.gyp. */
const implicitBuilds = ["pkcs11js"];

test("the install scripts that may run are a closed list (NPM-2)", () => {
  const scripted = entries.filter(([, entry]) => entry.hasInstallScript).map(([path]) => nameOf(path));
  expect(Object.keys(manifest.allowScripts).toSorted()).toEqual([...new Set([...scripted, ...implicitBuilds])].toSorted());
});

test("pkcs11js is compiled by our postinstall alone (NPM-5)", () => {
  expect(manifest.allowScripts["pkcs11js"]).toBe(false);
});

test("the list names packages without versions (NPM-3)", () => {
  expect(Object.keys(manifest.allowScripts).filter((name) => name.lastIndexOf("@") > 0)).toEqual([]);
});

test("node is an optional dependency, so that a platform without its build can still install (NPM-4)", () => {
  expect(manifest.optionalDependencies["node"]).toBeDefined();
  expect({ ...manifest.dependencies, ...manifest.devDependencies }).not.toHaveProperty("node");
});

test("every version of package.json is exact", () => {
  const versions = { ...manifest.dependencies, ...manifest.devDependencies, ...manifest.optionalDependencies };
  expect(Object.entries(versions).filter(([, version]) => !/^\d+\.\d+\.\d+(-[0-9a-z.]+)?$/.test(version))).toEqual([]);
});

test("every optional dependency of an entry has an entry of its own, for all platforms (NPM-13)", () => {
  const names = new Set(entries.map(([path]) => nameOf(path)));
  const wanted = entries.flatMap(([path, entry]) => Object.keys(entry.optionalDependencies ?? {}).map((name) => ({ path, name })));
  expect(wanted.filter(({ name }) => !names.has(name))).toEqual([]);
});

test.for(["pkcs11js", "asn1js"])("there is one %s: a second copy would not know the first one's objects (NPM-11, TR-3)", (name) => {
  expect(versionsOf(name)).toHaveLength(1);
});

describe("no dependency is older than its last known hole", () => {
  test.for([
    { name: "hono", floor: "4.12.25", because: "CVE-2026-22817, CVE-2026-22818, CVE-2026-44456, CVE-2026-54288" },
    { name: "drizzle-orm", floor: "0.45.2", because: "CVE-2026-39356" },
    { name: "node", floor: "24.21.0", because: "the oldest version that was measured" },
  ])("$name is at least $floor: $because", ({ name, floor }) => {
    const versions = versionsOf(name);
    expect(versions.length).toBeGreaterThan(0);
    expect(versions.filter((version) => version === undefined || isBelow(version, floor))).toEqual([]);
  });

  test.for(["node-forge", "jsrsasign"])("%s is not installed: its signature checks could be forged", (name) => {
    expect(versionsOf(name)).toEqual([]);
  });
});

function isBelow(version: string, floor: string): boolean {
  const [a, b] = [version, floor].map((text) => text.split(".").map(Number));
  const difference = a?.map((part, index) => part - (b?.[index] ?? 0)).find((part) => part !== 0);
  return difference !== undefined && difference < 0;
}

test("the Node that the README asks for is the one npm asks for, since ours comes with the installation: npm warns nobody who has it", () => {
  const asked = /Node (\d+) or newer/.exec(readFileSync(join(top, "README.md"), "utf8"))?.[1];
  expect([manifest.engines, lock.packages[""]?.engines]).toEqual([{ node: `>=${asked}` }, { node: `>=${asked}` }]);
});
