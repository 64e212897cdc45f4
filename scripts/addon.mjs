import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { Refusal } from "./say.mjs";

/**
 * Refuses, naming them all, when tools are missing that compile pkcs11js.
 * @param {NodeJS.ProcessEnv} env
 * @throws Refusal
 */
export function requireCompiler(env) {
  const missing = compilerTools(env).filter((tool) => spawnSync(tool, ["--version"], { stdio: "ignore", env }).status !== 0);
  if (missing.length === 0) return;
  const install = process.platform === "darwin" ? "xcode-select --install" : "on Debian: apt-get install python3 make g++";
  throw new Refusal(`${list(missing)} missing: the addon that talks to the HSM is compiled at installation (${install})`);
}

/**
 * The directory whose `include/node` holds the headers of the Node that will load the addon.
 * @param {string} root
 * @throws Refusal
 */
export function headersDirectory(root) {
  // The package `node` keeps the platform's build inside itself, next to its own set-up tool: only one of them has headers.
  const nested = join(root, "node_modules", "node", "node_modules");
  const inside = existsSync(nested) ? readdirSync(nested).map((name) => join(nested, name)) : [];
  const found = [...inside, dirname(dirname(process.execPath))].find((directory) => existsSync(join(directory, "include/node/node_api.h")));
  if (found) return found;
  throw new Refusal(
    "no Node headers (include/node/node_api.h) were found: install Node 24 with its headers, or let npm run the install scripts",
  );
}

/**
 * Compiles pkcs11js against the headers in `nodedir`, offline. Must run inside npm, which names its node-gyp.
 * @param {string} root
 * @param {string} nodedir
 * @param {NodeJS.ProcessEnv} env
 * @throws Refusal
 */
export function buildAddon(root, nodedir, env) {
  const gyp = env.npm_config_node_gyp;
  if (!gyp) throw new Refusal("the HSM addon is built by `npm run postinstall`, not by this script alone");
  const run = spawnSync(process.execPath, [gyp, "rebuild", `--nodedir=${nodedir}`, "--loglevel=warn"], {
    cwd: addonDirectory(root),
    env: gypEnvironment(env, nodedir),
    encoding: "utf8",
    maxBuffer: 64 * 2 ** 20,
  });
  if (run.status === 0) return;
  process.stderr.write(`${run.stdout}${run.stderr}`);
  throw new Refusal("the HSM addon (pkcs11js) did not compile: see the lines above");
}

/**
 * True when the addon's binary is there.
 * @param {string} root
 */
export function isAddonBuilt(root) {
  return existsSync(join(addonDirectory(root), "build/Release/pkcs11.node"));
}

/**
 * Where npm puts pkcs11js.
 * @param {string} root
 */
export function addonDirectory(root) {
  return join(root, "node_modules", "pkcs11js");
}

/**
 * node-gyp lets a `nodedir` of the environment, which a user's npmrc sets, win over its own argument.
 * @param {NodeJS.ProcessEnv} env
 * @param {string} nodedir
 */
function gypEnvironment(env, nodedir) {
  const kept = Object.entries(env).filter(([name]) => !/^npm_config_nodedir$/i.test(name));
  return { ...Object.fromEntries(kept), npm_package_config_node_gyp_nodedir: nodedir };
}

/** @param {NodeJS.ProcessEnv} env */
function compilerTools(env) {
  return [env.npm_config_python ?? env.PYTHON ?? "python3", env.MAKE ?? "make", env.CXX?.split(" ")[0] ?? "g++"];
}

/** @param {string[]} names */
function list(names) {
  const last = names.at(-1);
  return names.length === 1 ? `${last} is` : `${names.slice(0, -1).join(", ")} and ${last} are`;
}
