import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Refusal } from "./say.mjs";

const neededMajor = 24;

/**
 * Path of a Node that runs TypeScript sources as they are: the one npm installed here, or else the one that runs this.
 * @param {string} root
 * @throws Refusal when neither is new enough
 */
export function findNode(root) {
  const found = candidates(root).find((node) => isNewEnough(node));
  if (found) return found;
  throw new Refusal(tooOld());
}

/**
 * The sentence for a machine on which no Node is new enough.
 */
export function tooOld() {
  return `Node ${neededMajor} or newer is needed; this is ${process.version} and npm could not install one: install Node ${neededMajor} and run again`;
}

/**
 * True when there is, or npm has installed, a Node that is new enough.
 * @param {string} root
 */
export function hasNode(root) {
  return candidates(root).some((node) => isNewEnough(node));
}

/** @param {string} root */
function candidates(root) {
  return [join(root, "node_modules", "node", "bin", "node"), process.execPath].filter((node) => existsSync(node));
}

/** @param {string} node */
function isNewEnough(node) {
  return Number(versionOf(node).split(".")[0]) >= neededMajor;
}

/** @param {string} node */
function versionOf(node) {
  if (node === process.execPath) return process.versions.node;
  // NODE_OPTIONS may hold what this Node does not know.
  const run = spawnSync(node, ["-p", "process.versions.node"], { encoding: "utf8", env: { ...process.env, NODE_OPTIONS: "" } });
  return run.status === 0 ? run.stdout.trim() : "0";
}
