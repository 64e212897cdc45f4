import { getSystemErrorMessage } from "node:util";
import { CommanderError } from "commander";
import { ClientError, type Problem } from "../client/client-error.ts";
import { Fault, type FaultCode, type ServiceFaultCode } from "../fault.ts";
import { printable } from "./table.ts";

/** What the exit code of every command says. */
export type ExitCode = 0 | 1 | 2 | 3 | 4;

/** How a command ended without doing what it was asked. */
export type Failure = {
  readonly exitCode: ExitCode;
  readonly code: string;
  /** One sentence: what is wrong, and what to do. */
  readonly detail: string;
  readonly problem?: Problem;
};

/** 1 failed, 2 usage, 3 refused, 4 unavailable. */
const exitCodes: Readonly<Partial<Record<FaultCode, ExitCode>> & Record<ServiceFaultCode, ExitCode>> = {
  malformed: 2,
  badCSR: 3,
  tooLarge: 3,
  unauthenticated: 3,
  policyDenied: 3,
  notFound: 3,
  idempotencyMismatch: 3,
  lifetimeOutOfRange: 3,
  lintRefused: 3,
  issuanceHalted: 4,
  issuerRevoked: 4,
  alreadyRevoked: 3,
  badRevocationReason: 3,
  tooManyRevocations: 3,
  certificateExpired: 3,
  hsmUnavailable: 4,
  databaseUnavailable: 4,
  busy: 4,
  refusedToStart: 1,
  internal: 1,
};

/** What helps after the service's own detail, by the problem's code. */
const remedies: Readonly<Record<string, string>> = {
  unauthenticated:
    "set CHANCERY_TOKEN_FILE to a file with a valid token (an admin makes one with `npx chancery token create`, and `npx chancery token recover` on the service's machine the admin's own)",
  policyDenied:
    "`npx chancery profile list` and `npx chancery profile show NAME` say what profiles allow, `npx chancery token list` what a token may",
  lifetimeOutOfRange: "`npx chancery profile show NAME` says which lifetimes a profile allows",
  idempotencyMismatch: "use another --idempotency-key for another request",
  hsmUnavailable: "try again; `npx chancery doctor` says what is wrong",
  databaseUnavailable: "try again; `npx chancery doctor` says what is wrong",
  busy: "try again",
  issuanceHalted: "an administrator of / lets it go on with `npx chancery resume --reason TEXT`",
  issuerRevoked: "`npx chancery doctor` names it; certificates come from another authority, once there is one",
};

/** The failure that `error` stands for; undefined when it is none: help was asked for and has been shown. */
export function failureOf(error: unknown): Failure | undefined {
  if (error instanceof CommanderError) return usage(error);
  if (error instanceof ClientError) return ofClient(error);
  if (error instanceof Fault) return { exitCode: exitCodes[error.code] ?? 1, code: error.code, detail: error.detail };
  if (isSystemError(error)) {
    const detail = `${error.path ?? error.syscall ?? "system call"}: ${systemReason(error)}`;
    return { exitCode: 1, code: "failed", detail };
  }
  const told = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { exitCode: 1, code: "internal", detail: `this should not happen, please report it: ${told}` };
}

/** Why a system call failed, in the system's own words. */
export function systemReason(error: unknown): string {
  return isSystemError(error) ? (getSystemErrorMessage(error.errno) ?? error.code) : "unknown error";
}

/** The failure as stderr gets it: a sentence, or with `json` an object. */
export function failureText({ exitCode, code, detail, problem }: Failure, json: boolean): string {
  if (json) return `${JSON.stringify({ error: { code, detail, exitCode, ...(problem && { problem }) } })}\n`;
  // Only a fault of our own comes with a stack, whose lines stay apart.
  return `chancery: ${code === "internal" ? detail : printable(detail)}\n`;
}

function usage(error: CommanderError): Failure | undefined {
  if (error.code === "commander.helpDisplayed" || error.code === "commander.version") return undefined;
  // A group named without its command: commander has shown the group's help on stderr.
  if (error.code === "commander.help") return { exitCode: 2, code: "usage", detail: "a command is missing; the lines above list them" };
  const detail = error.message.replace(/^error: /, "").replaceAll("\n", " ");
  return { exitCode: 2, code: "usage", detail: `${detail}${/(\.|\?\))$/.test(detail) ? "" : ";"} see --help` };
}

function ofClient({ reason, detail, problem }: ClientError): Failure {
  const exitCode = reason === "refused" ? 3 : reason === "unavailable" ? 4 : 1;
  if (!problem) return { exitCode, code: reason, detail };
  const rules = Array.isArray(problem.members["rules"]) ? ` (rules: ${problem.members["rules"].map(ruleName).join(", ")})` : "";
  const why =
    problem.code === "issuanceHalted" && typeof problem.members["reason"] === "string" ? ` (reason: ${problem.members["reason"]})` : "";
  const remedy = remedies[problem.code] ? `; ${remedies[problem.code]}` : "";
  const request = problem.requestId === "" ? "" : `, request ${problem.requestId}`;
  return {
    exitCode,
    code: problem.code || reason,
    detail: `${detail}${why}${rules} (${problem.code || problem.status}${request})${remedy}`,
    problem,
  };
}

function ruleName(rule: unknown): string {
  return typeof rule === "object" && rule !== null && "rule" in rule ? String(rule.rule) : String(rule);
}

function isSystemError(error: unknown): error is Error & { code: string; errno: number; path?: string; syscall?: string } {
  return error instanceof Error && "errno" in error && typeof error.errno === "number" && "code" in error;
}
