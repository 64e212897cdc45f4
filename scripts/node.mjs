import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Refusal } from "./say.mjs";

const neededMajor = 24;

/**
 * Path of a Node that runs TypeScript sources as they are: the one npm installed here, or else the one that runs this.
 * @param {string} root the checkout's top directory
 * @param {{ path: string, version: string }} self the Node that runs this
 * @throws Refusal when neither is new enough
 */
export function requireNode(root, self = { path: process.execPath, version: process.versions.node }) {
  const installed = join(root, "node_modules", "node", "bin", "node");
  if (existsSync(installed) && isNewEnough(versionOf(installed))) return installed;
  if (isNewEnough(self.version)) return self.path;
  throw new Refusal(
    `Node ${neededMajor} or newer is needed; this is ${self.version} and npm could not install one: install Node ${neededMajor} and run again`,
  );
}

/** @param {string} version */
function isNewEnough(version) {
  return Number(version.split(".")[0]) >= neededMajor;
}

/** @param {string} node */
function versionOf(node) {
  if (node === process.execPath) return process.versions.node;
  // NODE_OPTIONS may hold what this Node does not know.
  const run = spawnSync(node, ["-p", "process.versions.node"], { encoding: "utf8", env: { ...process.env, NODE_OPTIONS: "" } });
  return run.status === 0 ? run.stdout.trim() : "0";
}
