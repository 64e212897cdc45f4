import postgres from "postgres";
import { Fault } from "../fault.ts";

/** The error as callers see it: a Fault `databaseUnavailable` where the database is away, full or did not answer in time; else unchanged. */
export function databaseFault(error: unknown): unknown {
  const code = errorCode(error);
  if (code === undefined || error instanceof Fault) return error;
  if (error instanceof postgres.PostgresError) {
    const reason = unavailable[code] ?? unavailable[code.slice(0, 2)];
    return reason === undefined ? error : new Fault("databaseUnavailable", reason, { cause: error });
  }
  return connectionErrors.has(code) ? new Fault("databaseUnavailable", "the connection to the database failed", { cause: error }) : error;
}

/** Whether the server undid the transaction for the sake of another: it may be run again as it is. */
export function isRerunnable(error: unknown): boolean {
  return error instanceof postgres.PostgresError && (error.code === "40001" || error.code === "40P01");
}

/** Whether the connection is of no more use although it stands: a server that turned read-only at a fail-over (25006). */
export function endsConnection(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.code === "25006";
}

/** Whether the server ended the statement after the time that one may take. */
export function isTimeout(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.code === "57014";
}

/** The name of the unique constraint that a statement ran against (23505), undefined for every other error. */
export function violatedConstraint(error: unknown): string | undefined {
  return error instanceof postgres.PostgresError && error.code === "23505" ? error.constraint_name : undefined;
}

/**
 * Codes after which the service answers 503: a whole SQLSTATE or a class of them.
 * @see PostgreSQL 18, appendix A
 */
const unavailable: Readonly<Record<string, string>> = {
  "08": "the connection to the database failed",
  "53": "the database is out of resources",
  "25006": "the database is read-only",
  "25P03": "the database ended an idle transaction",
  "25P04": "the database ended a transaction that took too long",
  "55P03": "the database did not grant a lock in time",
  "57014": "the database did not answer in time",
  "57P01": "the database is shutting down",
  "57P02": "the database is recovering",
  "57P03": "the database is starting",
  "57P05": "the database ended an idle session",
};

/** Errors of the socket, of name resolution and of postgres.js itself. TLS errors are none: they stand until the configuration changes. */
const connectionErrors = new Set([
  "CONNECTION_CLOSED",
  "CONNECTION_DESTROYED",
  "CONNECTION_ENDED",
  "CONNECT_TIMEOUT",
  "EAI_AGAIN",
  "ECONNABORTED",
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOENT",
  "ENOTCONN",
  "ENOTFOUND",
  "EPIPE",
  "ERR_STREAM_DESTROYED",
  "ERR_STREAM_WRITE_AFTER_END",
  "ETIMEDOUT",
]);

function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
