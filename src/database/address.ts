import { isIPv4 } from "node:net";
import { Fault } from "../fault.ts";

/** Where a PostgreSQL server listens and as whom it is asked: what a `DATABASE_URL` says. */
export type DatabaseAddress = {
  /** A Unix socket's directory when it begins with "/", else a host name or an IP address. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** libpq's word: `disable` (no TLS), `require` (TLS, whoever answers), `verify-full` (TLS, certificate and name are checked). */
  readonly sslmode: "disable" | "require" | "verify-full";
};

/**
 * Reads a connection URI in libpq's form: `postgresql://user:password@host:port/database`, or with a Unix socket's directory
 * `postgresql:///database?host=/run/postgresql&user=chancery`. Only `host`, `port`, `user`, `password` and `sslmode` may stand in its query.
 * @param options `writtenSslmode`: whether the address of another machine must say its sslmode, so that nobody goes without TLS unawares.
 * @throws Fault `refusedToStart` naming what is wrong, never the password.
 * @see PostgreSQL 18, 32.1.1.2 Connection URIs
 */
export function parseDatabaseUrl(text: string, { writtenSslmode = false }: { readonly writtenSslmode?: boolean } = {}): DatabaseAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !["postgres:", "postgresql:"].includes(url.protocol)) throw notUrl();
  // Not named: behind a "?" that was not encoded it may be half a password.
  if ([...url.searchParams.keys()].some((name) => !parameters.includes(name)))
    throw new Fault("refusedToStart", `DATABASE_URL has a parameter that is none of ${parameters.join(", ")}`);
  const part = (name: string, fallback: string) => url.searchParams.get(name) ?? decoded(fallback);
  const host = part("host", url.hostname.replace(/^\[(.*)\]$/, "$1"));
  const port = Number(part("port", url.port || "5432"));
  const user = part("user", url.username);
  const database = decoded(url.pathname.slice(1)) || user;
  if (host === "") throw new Fault("refusedToStart", "DATABASE_URL names no host");
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new Fault("refusedToStart", "DATABASE_URL names a port outside 1 to 65535");
  if (user === "") throw new Fault("refusedToStart", "DATABASE_URL names no user");
  if (writtenSslmode && !isOnThisMachine(host) && !url.searchParams.has("sslmode")) {
    throw new Fault(
      "refusedToStart",
      "DATABASE_URL names another machine and no sslmode: add sslmode=verify-full, or require or disable if you mean it",
    );
  }
  return { host, port, user, password: part("password", url.password), database, sslmode: sslmode(part("sslmode", "disable")) };
}

/** A Unix socket or a loopback address. What `localhost` resolves to is this machine's own say. */
function isOnThisMachine(host: string): boolean {
  return host.startsWith("/") || host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

function notUrl(): Fault {
  return new Fault("refusedToStart", "DATABASE_URL is not a URL of the form postgresql://user@host:port/database");
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw notUrl();
  }
}

const parameters = ["host", "port", "user", "password", "sslmode"];

function sslmode(text: string): DatabaseAddress["sslmode"] {
  if (text === "disable" || text === "require" || text === "verify-full") return text;
  // "prefer" would let an attacker on the wire turn TLS off, and says so only to who reads libpq's manual.
  throw new Fault("refusedToStart", "DATABASE_URL has an sslmode that is none of disable, require and verify-full");
}
