import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { keyText, openAuthorities } from "./ca/open-authorities.ts";
import type { Config } from "./config.ts";
import type { KeyPair } from "./custody/key-pair.ts";
import { listKeyPairs } from "./custody/store.ts";
import type { Database } from "./database/connect.ts";
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

/**
 * Makes an evaluation's two tokens, with random PINs in files of mode 0400; what is there already stays. A token that is gone though keys
 * are recorded in it is not made anew: an empty one in its place would hide that the keys are lost.
 * @throws Fault `refusedToStart` when the issuing token is gone with its keys. The root's may be away: only a ceremony opens it.
 */
export async function provisionEvaluation(
  { config, database, random }: { readonly config: Config; readonly database: Database; readonly random: Random },
  options: ModuleOptions,
): Promise<void> {
  const present = new Set((await listTokens(options)).map((token) => token.label));
  const missing = [
    { label: config.pkcs11RootToken, pinFile: config.pkcs11RootPinFile },
    { label: config.pkcs11Token, pinFile: config.pkcs11PinFile },
  ].filter(({ label }) => !present.has(label));
  const lost = new Map<string, readonly KeyPair[]>();
  for (const { label } of missing) {
    const pairs = await database.transact((tx) => listKeyPairs(tx, label));
    if (pairs.length > 0) lost.set(label, pairs);
  }
  if (lost.has(config.pkcs11Token)) throw await keysLost({ config, database }, [...lost.values()].flat());
  for (const { label, pinFile } of missing.filter((token) => !lost.has(token.label))) {
    const userPin = await secretFile(pinFile, random);
    const soPin = await secretFile(join(config.dataDir, "security-officer.pin"), random);
    await initialiseToken({ ...options, label, soPin, userPin });
  }
}

async function keysLost({ config, database }: { config: Config; database: Database }, pairs: readonly KeyPair[]): Promise<Fault> {
  const authorities = await openAuthorities(database, config.statusUrl);
  const keys = pairs.map(({ name, reference }) => `${keyText(authorities, name)} is not on the token ${reference.token}`);
  const detail = `no token has the label ${config.pkcs11Token}: ${keys.join("; ")}`;
  return new Fault(
    "refusedToStart",
    `${detail}. Put the files of ${join(config.dataDir, "tokens")} back, or begin anew with an empty data directory and database`,
  );
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
