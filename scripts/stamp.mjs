import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemCode } from "./say.mjs";

/** What decides how node_modules must look. A clone's file times mean nothing, so their content is compared. */
const inputs = ["package.json", "package-lock.json", "scripts/postinstall.mjs", "scripts/addon.mjs"];

/**
 * True when node_modules was installed completely, from these very files, for this platform.
 * @param {string} root the checkout's top directory
 */
export function isInstalled(root) {
  try {
    return readFileSync(stampFile(root), "utf8") === stampOf(root);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw error;
  }
}

/**
 * Records that the installation is complete. It lies in node_modules, so that it goes when that goes.
 * @param {string} root
 */
export function recordInstallation(root) {
  writeFileSync(stampFile(root), stampOf(root));
}

/** @param {string} root */
function stampFile(root) {
  return join(root, "node_modules", ".chancery-stamp");
}

/** @param {string} root */
function stampOf(root) {
  const hash = createHash("sha256");
  for (const input of inputs) hash.update(readFileSync(join(root, input)));
  return `${hash.digest("hex")} ${process.platform}-${process.arch}`;
}
