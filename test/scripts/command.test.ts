import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type Checkout, makeCheckout, plainEnvironment, runScript, type Seen, start } from "./checkout.ts";

const hardening = ["--disallow-code-generation-from-strings", "--disable-proto=throw"];
const youngGeneration = ["--max-semi-space-size=32", "--no-parallel-scavenge"];

test("a command gets its arguments and the caller's directory, and its exit code and stdout come back as they are", async () => {
  const checkout = ready();
  const below = join(checkout.root, "docs/deep");
  mkdirSync(below, { recursive: true });
  const args = ["cert", "issue", "--name", "a b", "--json", "", "--", "*"];
  const ended = await runScript(checkout, "chancery.mjs", args, plainEnvironment({ CODE: "3" }), below);
  expect(ended).toMatchObject({ code: 3, stderr: "" });
  expect(JSON.parse(ended.stdout)).toMatchObject({ args, cwd: below, execArgv: hardening });
});

test("through a symbolic link, as npx calls it, the command is the same", async () => {
  const checkout = ready();
  const link = join(checkout.root, "link");
  symlinkSync(join(checkout.root, "scripts/chancery.mjs"), link);
  const ended = await start(process.execPath, [link, "ca", "list"], { cwd: checkout.root, env: plainEnvironment() }).ended;
  expect(JSON.parse(ended.stdout).args).toEqual(["ca", "list"]);
});

test("npm run chancery runs the command where npm was called", async () => {
  const checkout = ready();
  const env = plainEnvironment({ INIT_CWD: "/", npm_command: "run" });
  const ended = await runScript(checkout, "bootstrap.mjs", ["cli", "ca", "list"], env);
  expect(JSON.parse(ended.stdout)).toMatchObject({ args: ["ca", "list"], cwd: "/" });
});

test("npm start serves on evaluation defaults, with threads for the signature checks and room for young objects (JW-2)", async () => {
  const { env, execArgv, args } = await serve(ready(), ["--config", "absent.yaml"]);
  expect(args).toEqual(["serve", "--config", "absent.yaml"]);
  expect(execArgv).toEqual([...hardening, ...youngGeneration]);
  expect(env).toMatchObject({ CHANCERY_ENV: "evaluation", UV_THREADPOOL_SIZE: String(availableParallelism() + 4) });
});

test("npx chancery serve is production unless something else is said", async () => {
  const { env, execArgv } = await serve(ready(), [], {}, ["chancery.mjs", "serve"]);
  expect(execArgv).toEqual([...hardening, ...youngGeneration]);
  expect(env).not.toHaveProperty("CHANCERY_ENV");
  expect(env).toHaveProperty("UV_THREADPOOL_SIZE");
});

test("what the environment says stands", async () => {
  const given = { CHANCERY_ENV: "production", UV_THREADPOOL_SIZE: "9", SOFTHSM2_CONF: "/etc/softhsm2.conf" };
  expect((await serve(ready(), [], given)).env).toMatchObject(given);
});

test.for([
  { form: ["--config", "service.yaml"], text: 'env: production\npkcs11Module: "/opt/hsm/libhsm.so"\n' },
  { form: ["--config=service.yaml"], text: '{\n  "env": "production",\n  "pkcs11Module": "/opt/hsm/libhsm.so"\n}\n' },
])("what the file of $form says is not overruled by a default in the environment", async ({ form, text }) => {
  const checkout = ready();
  checkout.write("service.yaml", text);
  const { env } = await serve(checkout, form, { CHANCERY_PKCS11_MODULE: undefined });
  expect(Object.keys(env).filter((name) => name === "CHANCERY_ENV" || name === "CHANCERY_PKCS11_MODULE")).toEqual([]);
});

test("an unknown mode is one sentence", async () => {
  const ended = await runScript(ready(), "bootstrap.mjs", ["deploy"], plainEnvironment());
  expect(ended).toMatchObject({
    code: 1,
    stderr: "chancery: there is no mode deploy: it is one of serve, cli, test, faults, soak, check, conformance, bench\n",
  });
});

test("npm run check runs all its checks and names every one that failed", async () => {
  const checkout = ready();
  for (const tool of ["typescript/bin/tsc", "oxlint/bin/oxlint", "prettier/bin/prettier.cjs", "vitest/vitest.mjs", "knip/bin/knip.js"])
    checkout.write(`node_modules/${tool}`, `process.exitCode = ${/oxlint|knip/.test(tool) ? 1 : 0};`);
  const ended = await runScript(checkout, "bootstrap.mjs", ["check"], plainEnvironment());
  expect(ended).toMatchObject({ code: 1, stderr: "chancery: failed: node_modules/oxlint/bin/oxlint, node_modules/knip/bin/knip.js\n" });
});

test("every dependency loads where code from strings and __proto__ are forbidden (TS-5)", () => {
  const { dependencies }: { dependencies: Record<string, string> } = JSON.parse(
    readFileSync(join(import.meta.dirname, "../../package.json"), "utf8"),
  );
  const imports = ["reflect-metadata", ...Object.keys(dependencies)].map((name) => `await import(${JSON.stringify(name)});`);
  const run = spawnSync(process.execPath, [...hardening, "--input-type=module", "-e", imports.join("\n")], {
    cwd: import.meta.dirname,
    env: plainEnvironment(),
    encoding: "utf8",
  });
  expect(run).toMatchObject({ status: 0, stderr: "" });
});

function ready(): Checkout {
  const checkout = makeCheckout({ installed: true });
  onTestFinished(() => checkout[Symbol.dispose]());
  return checkout;
}

/** Starts the stand-in service, and gives what it saw. */
async function serve(
  checkout: Checkout,
  args: string[],
  given: NodeJS.ProcessEnv = {},
  [script = "bootstrap.mjs", mode = "serve"]: string[] = [],
): Promise<Seen> {
  const module = checkout.write("hsm/libhsm.so", "");
  const env = plainEnvironment({ CHANCERY_PKCS11_MODULE: module, ...given });
  const { child, ended } = start(process.execPath, [join(checkout.root, "scripts", script), mode, ...args], { cwd: checkout.root, env });
  child.stdout.once("data", () => child.kill("SIGTERM"));
  const { code, stdout, stderr } = await ended;
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout.split("\n")[0] ?? "");
}
