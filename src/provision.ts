import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "./config.ts";
import { createFile } from "./durable-file.ts";
import { Fault } from "./fault.ts";
import { softHsmConf } from "./hsm/softhsm.ts";
import { initialiseToken, listTokens, type ModuleOptions } from "./hsm/token.ts";
import type { Random } from "./ports/random.ts";

/**
 * The PKCS#11 module of this configuration; an evaluation's SoftHSM has its tokens in the data directory.
 * @throws Fault `refusedToStart` when no module is named.
 */
export async function moduleOptions(config: Config): Promise<ModuleOptions> {
  const module = config.pkcs11Module;
  if (module === undefined) {
    throw new Fault("refusedToStart", "CHANCERY_PKCS11_MODULE must name a PKCS#11 module; `npm start` finds or fetches SoftHSM by itself");
  }
  const conf = config.env === "evaluation" ? await softHsmConf(config.dataDir) : config.softHsmConf;
  return conf === undefined ? { module } : { module, softHsmConf: conf };
}

/** Makes an evaluation's two tokens, with random PINs in files of mode 0400; what is there already stays. */
export async function provisionEvaluation(config: Config, options: ModuleOptions, random: Random): Promise<void> {
  const pins = {
    root: await secretFile(config.pkcs11RootPinFile, random),
    issuing: await secretFile(config.pkcs11PinFile, random),
    securityOfficer: await secretFile(join(config.dataDir, "security-officer.pin"), random),
  };
  const present = new Set((await listTokens(options)).map((token) => token.label));
  const missing = [
    { label: config.pkcs11RootToken, userPin: pins.root },
    { label: config.pkcs11Token, userPin: pins.issuing },
  ].filter(({ label }) => !present.has(label));
  for (const { label, userPin } of missing) await initialiseToken({ ...options, label, soPin: pins.securityOfficer, userPin });
}

/**
 * The PIN that a file holds, without its line end.
 * @param option Names the option in the refusal.
 * @throws Fault `refusedToStart` when the file cannot be read, is empty, or may be read or written by other users.
 */
export async function readPin(file: string, option: string): Promise<string> {
  const { text, mode } = await readWithMode(file).catch((cause: unknown) => {
    throw new Fault("refusedToStart", `${option} ${file} cannot be read: it must hold the token's user PIN`, { cause });
  });
  if ((mode & 0o077) !== 0) {
    const shown = (mode & 0o777).toString(8).padStart(4, "0");
    throw new Fault("refusedToStart", `${option} ${file} is open to other users (mode ${shown}): chmod 0400 ${file}`);
  }
  const pin = text.replace(/\r?\n$/, "");
  if (pin === "") throw new Fault("refusedToStart", `${option} ${file} is empty: it must hold the token's user PIN`);
  return pin;
}

/** Text and mode of one file, whatever is put in its place meanwhile. */
async function readWithMode(file: string): Promise<{ readonly text: string; readonly mode: number }> {
  await using handle = await open(file);
  const { mode } = await handle.stat();
  return { text: await handle.readFile("utf8"), mode };
}

/** @throws Fault `refusedToStart` when the file is there and empty: no token opens with an empty PIN, nor is it known what the PIN was. */
async function secretFile(file: string, random: Random): Promise<string> {
  const kept = await readFile(file, "utf8").catch((cause: unknown) => {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw new Fault("refusedToStart", `${file} cannot be read: it must hold a PIN`, { cause });
  });
  if (kept?.trim() === "") {
    throw new Fault("refusedToStart", `${file} is empty: put the PIN of its token back, or remove the file if that token was never made`);
  }
  if (kept !== undefined) return kept.trim();
  const secret = Buffer.from(random.bytes(18)).toString("base64url");
  try {
    await createFile(file, { content: secret, mode: 0o400 }, "another start is making it; start again");
  } catch (cause) {
    if (cause instanceof Fault) throw cause;
    throw new Fault("refusedToStart", `${file} cannot be written`, { cause });
  }
  return secret;
}
