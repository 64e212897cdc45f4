import type { Config } from "../config.ts";
import { Fault } from "../fault.ts";
import type { Running } from "./examine-listeners.ts";
import type { Finding } from "./finding.ts";
import type { Token, Trials } from "./shell.ts";

/**
 * The PKCS#11 module, the issuing token, and its PIN. The PIN is tried only where a wrong one could not lock the token: when the token
 * counts no failed try, and no running service holds it, which has tried the PIN itself.
 */
export async function examineToken(config: Config, trials: Trials, running: Running | undefined): Promise<Finding[]> {
  let tokens: readonly Token[];
  try {
    tokens = await trials.tokens(config);
  } catch (error) {
    return [{ check: "PKCS#11 module", verdict: "wrong", detail: detailOf(error) }];
  }
  const loaded: Finding = { check: "PKCS#11 module", verdict: "ok", detail: config.pkcs11Module ?? "" };
  const found = tokens.filter(({ initialised, label }) => initialised && label === config.pkcs11Token);
  const [token] = found;
  if (!token || found.length > 1) return [loaded, labelFinding(config, found.length, tokens)];
  const there: Finding = { check: "token", verdict: "ok", detail: `${token.label}, serial ${token.serial}, ${token.manufacturer}` };
  return [loaded, there, ...(running ? inUse(running) : [await examinePin(config, trials, token)])];
}

function inUse(running: Running): Finding[] {
  const hsm = running.checks.filter(({ name }) => name === "hsm");
  return [
    { check: "PIN", verdict: "ok", detail: "tried by the running service" },
    ...hsm.map(({ ready, detail }): Finding => ({ check: "HSM", verdict: ready ? "ok" : "wrong", detail: detail || "signs" })),
  ];
}

function labelFinding({ pkcs11Token, env }: Config, count: number, tokens: readonly Token[]): Finding {
  const check = "token";
  if (count === 0 && env === "evaluation")
    return { check, verdict: "ok", detail: `${pkcs11Token} is not there yet: the first start makes it` };
  const labels = tokens.filter(({ initialised }) => initialised).map(({ label, serial }) => `${label} (serial ${serial})`);
  const seen = labels.length === 0 ? "no initialised token" : labels.join(", ");
  const holders = count === 0 ? "no token has" : `${count} tokens have`;
  const detail = `${holders} the label ${pkcs11Token}, the module shows ${seen}: set CHANCERY_PKCS11_TOKEN to the label of one, or initialise it`;
  return { check, verdict: "wrong", detail };
}

async function examinePin(config: Config, trials: Trials, token: Token): Promise<Finding> {
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
  try {
    await trials.login(config);
    return { check, verdict: "ok", detail: "accepted by the token" };
  } catch (error) {
    return { check, verdict: "wrong", detail: detailOf(error) };
  }
}

/** A Fault's detail names option and remedy; anything else is no expected answer of the module. */
function detailOf(error: unknown): string {
  if (error instanceof Fault) return error.detail;
  throw error;
}
