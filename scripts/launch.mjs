import { existsSync, mkdirSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureInstalled } from "./install.mjs";
import { modes } from "./modes.mjs";
import { requireNode } from "./node.mjs";
import { Refusal, say } from "./say.mjs";
import { endLike, run } from "./supervise.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Takes the checkout to a Node that runs TypeScript with everything installed, then runs `mode` with `args` in the directory
 * `cwd`, and ends this process as that ended.
 * @param {string} mode
 * @param {readonly string[]} args
 * @param {string} cwd
 */
export async function launch(mode, args, cwd) {
  try {
    const plan = modes[mode];
    if (!plan) throw new Refusal(`there is no mode ${mode}: it is one of ${Object.keys(modes).join(", ")}`);
    // Locks, SoftHSM and, by default, the service's data lie here, and some of it is secret.
    mkdirSync(join(root, "var"), { recursive: true, mode: 0o700 });
    await ensureInstalled(root);
    const node = requireNode(root);
    await runAll(node, await plan({ root, cwd, env: process.env, args }), cwd);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    say(error.message);
    process.exitCode = 1;
  }
}

/**
 * @param {string} node
 * @param {import("./modes.mjs").Plan} plan
 * @param {string} cwd
 */
async function runAll(node, plan, cwd) {
  const env = { ...process.env, ...plan.env, PATH: [dirname(node), process.env.PATH].join(delimiter) };
  /** @type {string[]} */
  const failed = [];
  for (const command of plan.commands) {
    const script = command.find((argument) => !argument.startsWith("--")) ?? "";
    if (!existsSync(script)) throw new Refusal(`${script} is missing: npm ci installs what this needs`);
    const ending = await run(node, command, { cwd, env, stdio: "inherit" });
    if (plan.commands.length === 1 || ending.asked) return endLike(ending);
    if (ending.code !== 0) failed.push(script);
  }
  if (failed.length === 0) return;
  throw new Refusal(`failed: ${failed.map((script) => script.slice(root.length + 1)).join(", ")}`);
}
