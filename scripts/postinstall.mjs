// npm runs this at the end of every installation, under Node 18 or newer: it completes what npm installed and records that it is complete.
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { addonDirectory, buildAddon, headersDirectory, isAddonBuilt, requireCompiler } from "./addon.mjs";
import { requireNode } from "./node.mjs";
import { Refusal, say } from "./say.mjs";
import { recordInstallation } from "./stamp.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

try {
  // `npm install --package-lock-only` runs this too, with nothing installed.
  if (existsSync(addonDirectory(root))) complete();
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  say(error.message);
  process.exitCode = 1;
}

function complete() {
  requireNode(root);
  if (!isAddonBuilt(root)) {
    const nodedir = headersDirectory(root);
    requireCompiler(process.env);
    say("compiling the addon that talks to the HSM");
    buildAddon(root, nodedir, process.env);
  }
  recordInstallation(root);
}
