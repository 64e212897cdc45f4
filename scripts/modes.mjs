import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { findModule, provideModule } from "./pkcs11-module.mjs";
import { systemCode } from "./say.mjs";

/**
 * @typedef {object} World
 * @property {string} root the checkout's top directory
 * @property {string} cwd where the commands will run
 * @property {NodeJS.ProcessEnv} env
 * @property {readonly string[]} args what stood behind the mode
 *
 * @typedef {object} Plan
 * @property {readonly (readonly string[])[]} commands arguments of Node, each run after the one before, whatever became of it
 * @property {NodeJS.ProcessEnv} env what the commands get beside the environment as it is
 */

/**
 * What each npm script runs once Node 24 and the dependencies are there.
 * @type {Readonly<Record<string, (world: World) => Promise<Plan>>>}
 */
export const modes = { serve, cli, test, faults, soak, check, conformance, bench };

/** No code from strings, and no way to a prototype through parsed input: neither we nor our dependencies need them. */
const hardening = ["--disallow-code-generation-from-strings", "--disable-proto=throw"];

/**
 * Room for what a request leaves behind, so that little of it is copied by the garbage collector; and no further threads for so small a
 * space, which on few cores only wait for each other.
 */
const youngGeneration = ["--max-semi-space-size=32", "--no-parallel-scavenge"];

/**
 * `npm start`: the service on evaluation defaults, unless the environment or the configuration file says otherwise.
 * @param {World} world
 * @returns {Promise<Plan>}
 */
export async function serve({ root, cwd, env, args }) {
  const evaluation = env.CHANCERY_ENV || configures(args, cwd, "env") ? {} : { CHANCERY_ENV: "evaluation" };
  const module = configures(args, cwd, "pkcs11Module") ? {} : await provideModule({ root, env });
  return {
    commands: [[...hardening, ...youngGeneration, main(root), "serve", ...args]],
    env: { ...threads(env), ...evaluation, ...module },
  };
}

/**
 * `npx chancery`: one command. Outside production, what needs a token may fetch a module for it.
 * @param {World} world
 * @returns {Promise<Plan>}
 */
async function cli({ root, cwd, env, args }) {
  const evaluates = env.CHANCERY_ENV !== undefined && env.CHANCERY_ENV !== "production";
  const fetches = evaluates && ["serve", "init", "doctor"].includes(args[0] ?? "");
  const module = configures(args, cwd, "pkcs11Module")
    ? {}
    : fetches
      ? await provideModule({ root, env })
      : configuredOrFound({ root, env });
  const serves = args[0] === "serve";
  const flags = serves ? [...hardening, ...youngGeneration] : hardening;
  return { commands: [[...flags, main(root), ...args]], env: { ...(serves ? threads(env) : {}), ...module } };
}

/**
 * `npm test`: the tests, but for those of `npm run test:faults`; with arguments those that they name, whichever they are.
 * @param {World} world
 * @returns {Promise<Plan>}
 */
async function test({ root, env, args }) {
  const named = args.length > 0 ? args : ["--project", "pure", "--project", "service"];
  return { commands: [[tool(root, "vitest/vitest.mjs"), "run", ...named]], env: await provideModule({ root, env }) };
}

/**
 * `npm run test:faults`: the tests that kill, cut and take away.
 * @param {World} world
 * @returns {Promise<Plan>}
 */
async function faults({ root, env, args }) {
  const command = [tool(root, "vitest/vitest.mjs"), "run", "--project", "faults", ...args];
  return { commands: [command], env: { ...(await provideModule({ root, env })), TEST_REPORT: "var/faults-report.json" } };
}

/**
 * `npm run soak`: the tests that kill and cut, each as often as its requirement asks; an hour and more.
 * @param {World} world
 * @returns {Promise<Plan>}
 */
async function soak({ root, env, args }) {
  const files = ["test/crash", "test/database", "test/faults"];
  const titles = args.includes("-t") ? [] : ["-t", "T-CRASH|T-PGKILL|T-NET"];
  const options = ["--testTimeout", "7200000", "--reporter", "default", ...titles];
  const command = [tool(root, "vitest/vitest.mjs"), "run", ...options, ...files, ...args];
  return { commands: [command], env: { ...(await provideModule({ root, env })), SOAK: "1" } };
}

/**
 * Types, lint, format, import table, unused code.
 * @param {World} world
 * @returns {Promise<Plan>}
 */
async function check({ root }) {
  const commands = [
    [tool(root, "typescript/bin/tsc"), "--noEmit"],
    [tool(root, "oxlint/bin/oxlint")],
    [tool(root, "prettier/bin/prettier.cjs"), "--check", "--log-level", "warn", "."],
    // The default reporter alone: the report of the last whole run stays.
    [tool(root, "vitest/vitest.mjs"), "run", "--project", "pure", "--reporter", "default", "test/architecture.test.ts"],
    [tool(root, "knip/bin/knip.js")],
  ];
  return { commands, env: {} };
}

/**
 * @param {World} world
 * @returns {Promise<Plan>}
 */
async function conformance({ root, env, args }) {
  return { commands: [[join(root, "conformance/run.ts"), ...args]], env: await provideModule({ root, env }) };
}

/**
 * @param {World} world
 * @returns {Promise<Plan>}
 */
async function bench({ root, env, args }) {
  return { commands: [[join(root, "bench/run.ts"), ...args]], env: await provideModule({ root, env }) };
}

/** @param {string} root */
function main(root) {
  return join(root, "src", "main.ts");
}

/**
 * @param {string} root
 * @param {string} path
 */
function tool(root, path) {
  return join(root, "node_modules", path);
}

/**
 * Signature checks occupy the thread pool: as many threads as cores for them, four for files and names.
 * @param {NodeJS.ProcessEnv} env
 */
function threads(env) {
  return { UV_THREADPOOL_SIZE: env.UV_THREADPOOL_SIZE ?? String(availableParallelism() + 4) };
}

/**
 * A command that needs no module must not fail for want of one; the command itself says what it lacks.
 * @param {{ root: string, env: NodeJS.ProcessEnv }} world
 */
function configuredOrFound(world) {
  return world.env.CHANCERY_PKCS11_MODULE ? {} : (findModule(world) ?? {});
}

/**
 * True when the file named by `--config` sets `option`. The environment wins over that file, so what we would add to the
 * environment must give way to it here.
 * @param {readonly string[]} args
 * @param {string} cwd
 * @param {string} option
 */
function configures(args, cwd, option) {
  const index = args.findIndex((arg) => arg === "--config" || arg.startsWith("--config="));
  if (index === -1) return false;
  const file = args[index]?.startsWith("--config=") ? args[index].slice("--config=".length) : args[index + 1];
  return file !== undefined && new RegExp(`^\\s*["']?${option}["']?\\s*:`, "m").test(textOf(resolve(cwd, file)));
}

/** @param {string} file */
function textOf(file) {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    // The command reads it again, and says what is wrong with it.
    if (systemCode(error) === undefined) throw error;
    return "";
  }
}
