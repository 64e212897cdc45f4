import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { softHsmConf } from "../../src/hsm/softhsm.ts";
import { initialiseToken } from "../../src/hsm/token.ts";

/** A token of its own for one test, in a directory that goes with it. */
export type FreshToken = AsyncDisposable & {
  /** Path of the PKCS#11 module. */
  readonly module: string;
  /** Path of the configuration, for SOFTHSM2_CONF. */
  readonly softHsmConf: string;
  readonly label: string;
  readonly pin: string;
  /** Holds the configuration and the token's files (`tokens/`). */
  readonly directory: string;
};

/** A SoftHSM token that nobody else uses, initialised, with its user PIN set. */
export async function freshToken(label = "test"): Promise<FreshToken> {
  const module = modulePath();
  const directory = await mkdtemp(join(tmpdir(), "chancery-token-"));
  const configuration = await softHsmConf(directory);
  const pin = "246810";
  await initialiseToken({ module, softHsmConf: configuration, label, soPin: "13579135", userPin: pin });
  return {
    module,
    softHsmConf: configuration,
    label,
    pin,
    directory,
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

/** The module the tests use: the one the start script found, else one at a path where distributions and our own set-up put it. */
export function modulePath(): string {
  const configured = process.env["CHANCERY_PKCS11_MODULE"];
  const unpacked = fileURLToPath(new URL("../../var/softhsm/usr/lib/softhsm/libsofthsm2.so", import.meta.url));
  const found = [configured, ...knownPaths, unpacked].find((path) => path !== undefined && path !== "" && existsSync(path));
  if (found === undefined) throw new Error("no PKCS#11 module: run `npm test`, which finds or fetches one, or set CHANCERY_PKCS11_MODULE");
  return found;
}

const knownPaths = [
  "/usr/lib/softhsm/libsofthsm2.so",
  "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
  "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
  "/usr/lib64/pkcs11/libsofthsm2.so",
  "/usr/local/lib/softhsm/libsofthsm2.so",
  "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];
