import { existsSync } from "node:fs";
import { join } from "node:path";
import { withLock } from "./lock.mjs";
import { Refusal, say } from "./say.mjs";
import { fetchSoftHsm, unpackedSoftHsm } from "./softhsm.mjs";

/** Where distributions put SoftHSM: Debian and Arch, Fedora, Homebrew on Apple silicon and on Intel. */
const knownModules = [
  "/usr/lib/softhsm/libsofthsm2.so",
  "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
  "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
  "/usr/lib64/pkcs11/libsofthsm2.so",
  "/usr/lib64/softhsm/libsofthsm2.so",
  "/usr/local/lib/softhsm/libsofthsm2.so",
  "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

/**
 * @typedef {object} World
 * @property {string} root the checkout's top directory
 * @property {NodeJS.ProcessEnv} env
 * @property {NodeJS.Platform} [platform]
 * @property {readonly string[]} [known] paths at which an installed module is looked for
 */

/**
 * The variables that name the PKCS#11 module to a child process, without going to the network: the configured module,
 * else one installed at a known path, else the SoftHSM unpacked in this checkout; undefined when there is none.
 * @param {World} world
 * @returns {NodeJS.ProcessEnv | undefined}
 * @throws Refusal when the configured module does not exist
 */
export function findModule({ root, env, known = knownModules }) {
  const configured = env.CHANCERY_PKCS11_MODULE;
  if (configured) {
    if (existsSync(configured)) return { CHANCERY_PKCS11_MODULE: configured };
    throw new Refusal(`CHANCERY_PKCS11_MODULE names ${configured}, which does not exist`);
  }
  const installed = known.find((path) => existsSync(path));
  if (installed) return { CHANCERY_PKCS11_MODULE: installed };
  return unpackedSoftHsm(softHsmDirectory(root), env);
}

/**
 * The same, and where there is no module, Debian's SoftHSM is fetched and unpacked in this checkout first, without root.
 * @param {World} world
 * @returns {Promise<NodeJS.ProcessEnv>}
 * @throws Refusal when that cannot be done here: it says how to get a module
 */
export async function provideModule({ platform = process.platform, ...world }) {
  const found = findModule(world);
  if (found) return found;
  if (platform === "darwin") throw new Refusal("no PKCS#11 module was found: run `brew install softhsm` and start again");

  const directory = softHsmDirectory(world.root);
  await withLock(`${directory}.lock`, async () => {
    if (unpackedSoftHsm(directory, world.env)) return;
    say("fetching SoftHSM (apt-get download libsofthsm2)");
    fetchSoftHsm(directory, world.env);
  });
  const fetched = findModule(world);
  if (fetched) return fetched;
  throw new Refusal("SoftHSM was fetched, but its module is not where Debian puts it: set CHANCERY_PKCS11_MODULE to the path of a module");
}

/** @param {string} root */
function softHsmDirectory(root) {
  return join(root, "var", "softhsm");
}
