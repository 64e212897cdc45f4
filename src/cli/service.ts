import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Client, connect } from "../client/connect.ts";
import { Fault } from "../fault.ts";
import type { Shell } from "./shell.ts";

/** Where the commands that talk to a service find it, and how they show who they are. Paths are absolute. */
export type ServiceLocation = { readonly baseUrl: string; readonly tokenFile: string; readonly caFile: string };

/** The data directory: CHANCERY_DATA_DIR, or `var` of the checkout from wherever in it the command was called. */
export function dataDirectory(shell: Shell): string {
  const given = shell.env["CHANCERY_DATA_DIR"];
  return given ? resolve(shell.cwd, given) : join(shell.checkout, "var");
}

/** CHANCERY_BASE_URL, CHANCERY_TOKEN_FILE and CHANCERY_CA_FILE, each with what the evaluation's data directory holds by default. */
export function serviceLocation(shell: Shell): ServiceLocation {
  const dataDir = dataDirectory(shell);
  const file = (variable: string, name: string) => resolve(shell.cwd, shell.env[variable] || join(dataDir, name));
  return {
    baseUrl: shell.env["CHANCERY_BASE_URL"] || "https://localhost:9443",
    tokenFile: file("CHANCERY_TOKEN_FILE", "admin.token"),
    caFile: file("CHANCERY_CA_FILE", "root.pem"),
  };
}

/**
 * A client of the service that the environment names, with its root and token read.
 * @throws Fault `refusedToStart` when a file cannot be read, `malformed` when the base URL or the token is none.
 */
export function openService(shell: Shell): Client {
  const { baseUrl, tokenFile, caFile } = serviceLocation(shell);
  const ca = read(caFile, "root certificate", "CHANCERY_CA_FILE");
  const token = read(tokenFile, "token", "CHANCERY_TOKEN_FILE").trim();
  // What cannot stand in an Authorization header (RFC 6750 §2.1) is not sent, and not shown either: it may be another secret.
  if (!/^[A-Za-z0-9\-._~+/]+=*$/.test(token)) throw new Fault("malformed", `${tokenFile} holds no bearer token: set CHANCERY_TOKEN_FILE`);
  return connect({ baseUrl, ca, caFile, token });
}

function read(file: string, what: string, variable: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    const remedy =
      variable === "CHANCERY_TOKEN_FILE"
        ? "on the service's machine `npx chancery token recover` writes an admin token"
        : "start the service once (npm start)";
    throw new Fault("refusedToStart", `the ${what} ${file} cannot be read: ${remedy}, or set ${variable}`, { cause });
  }
}
