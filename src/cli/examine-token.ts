import { access } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../config.ts";
import { Fault } from "../fault.ts";
import type { Running } from "./examine-listeners.ts";
import type { Finding } from "./finding.ts";
import type { RecordedKey, Token, Trials } from "./shell.ts";

/** What else is known of this data directory: its service, if it runs, and the keys that the database records in the token, if it could be asked. */
export type Known = { readonly running: Running | undefined; readonly keys: readonly RecordedKey[] | undefined };

/** What was found of the token; `made` is whether it was ever made, be it there or not. */
export type TokenExamination = { readonly findings: readonly Finding[]; readonly made: boolean };

/**
 * The PKCS#11 module, the issuing token, its PIN, and the recorded keys in it. The PIN is tried only where a wrong one could not lock the
 * token: when the token counts no failed try, and no running service holds it, which has tried the PIN itself.
 */
export async function examineToken(config: Config, trials: Trials, known: Known): Promise<TokenExamination> {
  const recorded = await keysOfToken(config, known);
  let tokens: readonly Token[];
  try {
    tokens = await trials.tokens(config);
  } catch (error) {
    return { findings: [{ check: "PKCS#11 module", verdict: "wrong", detail: detailOf(error) }], made: recorded !== undefined };
  }
  const loaded: Finding = { check: "PKCS#11 module", verdict: "ok", detail: config.pkcs11Module ?? "" };
  const found = tokens.filter(({ initialised, label }) => initialised && label === config.pkcs11Token);
  const [token] = found;
  if (!token || found.length > 1) {
    const finding =
      found.length === 0 && recorded !== undefined ? lostFinding(config, recorded, tokens) : labelFinding(config, found.length, tokens);
    return { findings: [loaded, finding], made: found.length > 0 || recorded !== undefined };
  }
  const there: Finding = { check: "token", verdict: "ok", detail: `${token.label}, serial ${token.serial}, ${token.manufacturer}` };
  const inside = known.running ? inUse(known.running) : await examineInside(config, trials, { token, keys: known.keys, recorded });
  return { findings: [loaded, there, ...inside], made: true };
}

/**
 * The keys that the token should hold, in words; undefined when it need not hold any yet. Where the database cannot be asked, the
 * certificates that the ceremony left in the data directory show that there are keys.
 */
async function keysOfToken({ dataDir }: Config, { keys }: Known): Promise<string | undefined> {
  if (keys) return keys.length === 0 ? undefined : keys.map(({ name }) => name).join(" and ");
  const chain = join(dataDir, "chain.pem");
  return (await access(chain).then(
    () => true,
    () => false,
  ))
    ? `the keys of the authorities in ${chain}`
    : undefined;
}

function inUse(running: Running): Finding[] {
  const hsm = running.checks.filter(({ name }) => name === "hsm");
  return [
    { check: "PIN", verdict: "ok", detail: "tried by the running service" },
    ...hsm.map(({ ready, detail }): Finding => ({ check: "HSM", verdict: ready ? "ok" : "wrong", detail })),
  ];
}

function lostFinding({ pkcs11Token, env, dataDir }: Config, keys: string, tokens: readonly Token[]): Finding {
  const detail = `no token has the label ${pkcs11Token}, the module shows ${labelsText(tokens)}: ${keys} are not there, and no start makes them anew`;
  const remedy =
    env === "evaluation"
      ? `put the files of ${join(dataDir, "tokens")} back, or begin anew with an empty data directory and database`
      : "set CHANCERY_PKCS11_TOKEN to the label of the token that holds them, or restore it";
  return { check: "token", verdict: "wrong", detail: `${detail}; ${remedy}` };
}

function labelFinding({ pkcs11Token, env }: Config, count: number, tokens: readonly Token[]): Finding {
  const check = "token";
  if (count === 0 && env === "evaluation")
    return { check, verdict: "ok", detail: `${pkcs11Token} is not there yet: the first start makes it` };
  const holders = count === 0 ? "no token has" : `${count} tokens have`;
  const detail = `${holders} the label ${pkcs11Token}, the module shows ${labelsText(tokens)}: set CHANCERY_PKCS11_TOKEN to the label of one, or initialise it`;
  return { check, verdict: "wrong", detail };
}

function labelsText(tokens: readonly Token[]): string {
  const labels = tokens.filter(({ initialised }) => initialised).map(({ label, serial }) => `${label} (serial ${serial})`);
  return labels.length === 0 ? "no initialised token" : labels.join(", ");
}

type Inside = { readonly token: Token; readonly keys: readonly RecordedKey[] | undefined; readonly recorded: string | undefined };

/** The PIN, and where it opens the token, whether the recorded keys are in it. */
async function examineInside(config: Config, trials: Trials, { token, keys, recorded }: Inside): Promise<Finding[]> {
  const untried = untriedFinding(token);
  if (untried) return [untried];
  let inToken: readonly string[];
  try {
    inToken = await trials.login(config);
  } catch (error) {
    return [{ check: "PIN", verdict: "wrong", detail: detailOf(error) }];
  }
  const accepted: Finding = { check: "PIN", verdict: "ok", detail: "accepted by the token" };
  if (recorded === undefined) return [accepted];
  const absent = keys?.filter(({ ckaId }) => !inToken.includes(ckaId)).map(({ name }) => name) ?? (inToken.length === 0 ? [recorded] : []);
  const detail =
    absent.length === 0
      ? `${keys?.length ?? inToken.length} on the token`
      : `not on the token ${token.label}: ${absent.join(" and ")}; restore the token, or the database that belongs to it`;
  return [accepted, { check: "keys", verdict: absent.length === 0 ? "ok" : "wrong", detail }];
}

/** Why the PIN is not tried; undefined when it may be. */
function untriedFinding(token: Token): Finding | undefined {
  const check = "PIN";
  if (token.userPinLocked) {
    return { check, verdict: "wrong", detail: "the user PIN is locked: the security officer of the token has to set it anew" };
  }
  if (token.userPinFinalTry) {
    const detail =
      "one try is left before the token locks, which neither this nor a start spends: log in once with another tool and the right PIN";
    return { check, verdict: "wrong", detail };
  }
  if (token.userPinCountLow) {
    const detail = "not tried, because a wrong one was tried since the last login: see to the PIN file; the next start tries it once";
    return { check, verdict: "warning", detail };
  }
  return undefined;
}

/** A Fault's detail names option and remedy; anything else is no expected answer of the module. */
function detailOf(error: unknown): string {
  if (error instanceof Fault) return error.detail;
  throw error;
}
