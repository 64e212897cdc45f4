import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { type Checkout, isRunning, makeCheckout, plainEnvironment, runScript, start } from "./checkout.ts";

/** An npm that tells how it was called, and whose `run postinstall` records the installation; a call named in FAIL fails, one in HANG waits. */
const npmSource = `
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { recordInstallation } from "../scripts/stamp.mjs";
const [verb] = process.argv.slice(2);
appendFileSync(join(import.meta.dirname, "calls"), JSON.stringify({ args: process.argv.slice(2), pid: process.pid, env: process.env }) + "\\n");
if (verb === process.env.HANG) await pause(60_000);
if (verb === process.env.FAIL) process.exit(1);
if (verb === "ci") await pause(100);
if (verb === "run") recordInstallation(process.cwd());
`;

type Call = { args: string[]; pid: number; env: Record<string, string> };

test("a bare checkout is installed with no script but the named ones, then completed (NPM-2, NPM-8)", async () => {
  const { checkout, calls, env } = bare();
  mkdirSync(join(checkout.root, "node_modules/node"), { recursive: true });
  const ended = await runScript(checkout, "chancery.mjs", ["ca", "list"], env());
  expect(ended).toMatchObject({ code: 0, stderr: expect.stringMatching(/^chancery: installing dependencies/) });
  expect(JSON.parse(ended.stdout).args).toEqual(["ca", "list"]);
  expect(calls().map(({ args }) => args.filter((arg) => !/^--(no-|loglevel)/.test(arg)))).toEqual([
    ["ci", "--ignore-scripts", "--include=dev", "--include=optional"],
    ["rebuild", "--ignore-scripts=false", "node"],
    ["run", "--silent", "postinstall"],
  ]);
});

test("what the service will keep under var is open to its owner alone from the start", async () => {
  const { checkout, env } = bare();
  await runScript(checkout, "chancery.mjs", [], env());
  expect(statSync(join(checkout.root, "var")).mode & 0o777).toBe(0o700);
});

test("of two that start at once on a bare checkout one installs, the other waits (NPM-17)", async () => {
  const { checkout, calls, env } = bare();
  const both = [runScript(checkout, "chancery.mjs", [], env()), runScript(checkout, "chancery.mjs", [], env())];
  expect((await Promise.all(both)).map(({ code }) => code)).toEqual([0, 0]);
  expect(calls().filter(({ args }) => args[0] === "ci")).toHaveLength(1);
});

test("what is installed stays, until package.json, the lock file or the build of the addon changes (NPM-17)", async () => {
  const { checkout, calls, env } = bare();
  await runScript(checkout, "chancery.mjs", [], env());
  await runScript(checkout, "chancery.mjs", [], env());
  expect(calls().filter(({ args }) => args[0] === "ci")).toHaveLength(1);

  for (const path of ["package.json", "package-lock.json", "scripts/addon.mjs"]) {
    const before = calls().length;
    writeFileSync(join(checkout.root, path), `${readFileSync(join(checkout.root, path), "utf8")}\n`);
    await runScript(checkout, "chancery.mjs", [], env());
    expect(calls().length, path).toBeGreaterThan(before);
  }
});

test("npm gets the user's settings, and nothing of the npm that called us (NPM-14, NPM-16, NPM-18)", async () => {
  const { checkout, calls, env } = bare();
  const inside = join(checkout.root, "node_modules/.bin");
  const given = { NODE_EXTRA_CA_CERTS: "/etc/ca.pem", npm_config_registry: "https://npm.example.org/" };
  const outer = {
    npm_config_nodedir: "/usr",
    npm_config_ignore_scripts: "true",
    npm_config_omit: "dev",
    npm_package_name: "x",
    npm_lifecycle_event: "start",
  };
  await runScript(checkout, "chancery.mjs", [], env({ ...given, ...outer, PATH: `${inside}:${process.env["PATH"]}` }));
  expect(calls()[0]?.env).toMatchObject(given);
  expect(Object.keys(calls()[0]?.env ?? {}).filter((name) => name in outer)).toEqual([]);
  expect(calls()[0]?.env["PATH"]).not.toContain(inside);
});

test.for([
  { fail: "ci", sentence: "npm ci failed: see the lines above" },
  { fail: "run", sentence: "the installation is not complete: see the lines above" },
])("when npm $fail fails, one sentence says so and the next start may try again", async ({ fail, sentence }) => {
  const { checkout, env } = bare();
  const ended = await runScript(checkout, "chancery.mjs", [], env({ FAIL: fail }));
  expect(ended).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(new RegExp(`\nchancery: ${sentence}\n$`)) });
  expect(await runScript(checkout, "chancery.mjs", [], env())).toMatchObject({ code: 0 });
});

test("when npm rebuild fails, the Node at hand will do (NPM-4)", async () => {
  const { checkout, env } = bare();
  mkdirSync(join(checkout.root, "node_modules/node"), { recursive: true });
  expect(await runScript(checkout, "chancery.mjs", [], env({ FAIL: "rebuild" }))).toMatchObject({ code: 0 });
});

test.for([
  { present: ["python3", "make"], sentence: /^chancery: g\+\+ is missing: the addon .* \(.*\)\n$/ },
  { present: [], sentence: /^chancery: python3, make and g\+\+ are missing: the addon .* \(.*\)\n$/ },
])("with $present alone, one sentence names what compiling needs, before anything is fetched (NPM-6)", async ({ present, sentence }) => {
  const { checkout, calls, env } = bare();
  for (const tool of present) checkout.write(`bin/${tool}`, "#!/bin/sh\n", 0o755);
  symlinkSync("/bin/sh", checkout.write("bin/other", "").replace(/other$/, "sh"));
  const bin = { PATH: join(checkout.root, "bin"), PYTHON: undefined, MAKE: undefined, CXX: undefined };
  expect(await runScript(checkout, "chancery.mjs", [], env(bin))).toMatchObject({
    code: 1,
    stdout: "",
    stderr: expect.stringMatching(sentence),
  });
  expect(calls()).toEqual([]);
});

test.for(["SIGTERM", "SIGINT", "SIGKILL"] as const)(
  "%s during an installation ends it, and the next start begins again (NPM-15)",
  async (signal) => {
    const { checkout, calls, env } = bare();
    const { child, ended } = start(process.execPath, ["scripts/chancery.mjs"], { cwd: checkout.root, env: env({ HANG: "ci" }) });
    const npm = await vi.waitFor(() => calls()[0] ?? expect.fail("npm has not begun"), 10_000);
    child.kill(signal);
    expect((await ended).signal).toBe(signal);
    await vi.waitFor(() => expect(isRunning(npm.pid)).toBe(false), 10_000);

    expect(await runScript(checkout, "chancery.mjs", [], env())).toMatchObject({ code: 0 });
  },
);

function bare(): { checkout: Checkout; calls: () => Call[]; env: (more?: NodeJS.ProcessEnv) => NodeJS.ProcessEnv } {
  const checkout = makeCheckout({ installed: false });
  onTestFinished(() => checkout[Symbol.dispose]());
  const npm = checkout.write("npm/npm-cli.js", npmSource);
  mkdirSync(join(checkout.root, "node_modules"));
  const log = checkout.write("npm/calls", "");
  const calls = (): Call[] =>
    readFileSync(log, "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  // Whether this machine has a compiler is not the question.
  const compiler = { PYTHON: "true", MAKE: "true", CXX: "true" };
  return { checkout, calls, env: (more = {}) => plainEnvironment({ npm_execpath: npm, ...compiler, ...more }) };
}
