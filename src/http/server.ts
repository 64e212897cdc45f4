import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Duplex } from "node:stream";
import { Fault } from "../fault.ts";
import { descriptorLimit } from "./descriptor-limit.ts";
import { connectionCap } from "./remote-address.ts";

/** Bounds of one listener. Node's own defaults are minutes, or none at all. */
export type Limits = {
  /** TLS handshake. */
  readonly handshakeTimeoutMs: number;
  /** From the connection, or the end of the last answer, to the last header. */
  readonly headersTimeoutMs: number;
  /** From the connection, or the end of the last answer, to the end of the body. */
  readonly requestTimeoutMs: number;
  /** How long a connection may stand still while its answer is made or read: a client that does not read is not waited for. */
  readonly stillTimeoutMs: number;
  /** How long an idle connection is kept. */
  readonly keepAliveTimeoutMs: number;
  /** How often the time-outs above are looked at: they come late by as much. */
  readonly checkingIntervalMs: number;
  readonly maxRequestsPerSocket: number;
  /** Further connections are closed at once; a quarter of the descriptors that the process may open is the most. */
  readonly maxConnections: number;
  /** Further connections of one address, or of one /64 of IPv6, are closed at once. */
  readonly maxConnectionsPerAddress: number;
  readonly maxHeaderBytes: number;
  /** How long requests in flight may take once the listener drains. */
  readonly drainMs: number;
};

/** The bounds of every listener of the service. */
export const serviceLimits: Limits = {
  handshakeTimeoutMs: 10_000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 15_000,
  stillTimeoutMs: 60_000,
  keepAliveTimeoutMs: 5_000,
  checkingIntervalMs: 1_000,
  maxRequestsPerSocket: 1_000,
  maxConnections: 8_192,
  maxConnectionsPerAddress: 256,
  maxHeaderBytes: 16 * 1024,
  drainMs: 10_000,
};

/** The service's own certificate: PEM of the leaf and its issuers, and of its private key. */
export type Credentials = { readonly certificate: string; readonly key: string };

/** Why a connection ends before its request reaches a handler. */
export type Refusal = "malformed" | "headersTooLarge" | "requestTimeout";

/** What answers the requests of a listener. */
export type Handler = {
  readonly handle: (incoming: IncomingMessage, outgoing: ServerResponse) => void;
  /** The whole answer, head and body, to a request that Node's parser has refused. The connection ends after it. */
  readonly refuse: (refusal: Refusal) => string;
};

/** Where to listen, and the option that says so: a sentence to the operator names it. Port 0 takes a free one. */
export type ListenAddress = {
  readonly host: string;
  readonly port: number;
  readonly option: string;
  /** The option with the URL that must lead to this address, where there is one. */
  readonly url?: string;
};

/** An open listener. Disposing it drains: no new connection, requests in flight are answered, then it is closed. */
export type Listener = AsyncDisposable & {
  readonly host: string;
  readonly port: number;
  /** New connections see these credentials; those that stand keep theirs. Does nothing on a plain listener. */
  readonly renew: (credentials: Credentials) => void;
};

/** Ciphers of TLS 1.2 with forward secrecy and authenticated encryption alone (RFC 9325 §4.2), beside those of TLS 1.3. */
const ciphers = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");

/**
 * Opens a listener: TLS 1.2 or newer with `credentials`, plain HTTP without.
 * @throws Fault `refusedToStart` that names the address and its option when it cannot be had.
 */
export async function listen(
  address: ListenAddress,
  handler: Handler,
  { credentials, limits = serviceLimits }: { readonly credentials?: Credentials; readonly limits?: Limits } = {},
): Promise<Listener> {
  const answering = new Set<ServerResponse>();
  let draining = false;
  const handle = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    answering.add(outgoing);
    outgoing.once("close", () => answering.delete(outgoing));
    if (draining) outgoing.setHeader("connection", "close");
    handler.handle(incoming, outgoing);
  };
  const server = openServer(handle, credentials, limits);
  // Of three listeners each takes a quarter at most: the rest is for the database, the token's host and files.
  server.maxConnections = Math.min(limits.maxConnections, Math.floor((descriptorLimit() ?? Infinity) / 4));
  server.prependListener("connection", connectionCap(limits.maxConnectionsPerAddress));
  server.maxRequestsPerSocket = limits.maxRequestsPerSocket;
  server.timeout = limits.stillTimeoutMs;
  server.on("clientError", (error, socket) => refuseConnection(handler, error, socket));
  // An expectation we do not know is no reason to refuse (RFC 9110 §10.1.1); 100-continue Node answers itself.
  server.on("checkExpectation", handle);

  const port = await bind(server, address);
  return {
    host: address.host,
    port,
    renew: (renewed) => {
      if ("setSecureContext" in server)
        server.setSecureContext({ key: renewed.key, cert: renewed.certificate, minVersion: "TLSv1.2", ciphers });
    },
    [Symbol.asyncDispose]: () => {
      draining = true;
      return drain(server, answering, limits.drainMs);
    },
  };
}

/**
 * Finds out that an address can be had, and gives it back at once.
 * @throws Fault `refusedToStart` as `listen`.
 */
export async function requireFree(address: ListenAddress): Promise<void> {
  const server = createServer();
  await bind(server, address);
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

function openServer(
  handle: (incoming: IncomingMessage, outgoing: ServerResponse) => void,
  credentials: Credentials | undefined,
  limits: Limits,
) {
  const options = {
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: limits.checkingIntervalMs,
    maxHeaderSize: limits.maxHeaderBytes,
    insecureHTTPParser: false,
    // The door refuses a missing Host itself, with a problem document.
    requireHostHeader: false,
  };
  if (!credentials) return createServer(options, handle);
  const tls = {
    key: credentials.key,
    cert: credentials.certificate,
    minVersion: "TLSv1.2",
    ciphers,
    handshakeTimeout: limits.handshakeTimeoutMs,
  } as const;
  return createTlsServer({ ...options, ...tls }, handle);
}

function bind(server: Server, address: ListenAddress): Promise<number> {
  const { host, port } = address;
  return new Promise((resolve, reject) => {
    const refuse = (error: NodeJS.ErrnoException) => reject(new Fault("refusedToStart", bindSentence(error, address), { cause: error }));
    server.once("error", refuse);
    server.listen({ host, port, backlog: 1024 }, () => {
      server.off("error", refuse);
      const bound = server.address();
      resolve(typeof bound === "object" && bound ? bound.port : port);
    });
  });
}

function bindSentence(error: NodeJS.ErrnoException, { host, port, option, url }: ListenAddress): string {
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const change = url === undefined ? option : `${option} and ${url}`;
  switch (error.code) {
    case "EADDRINUSE":
      return `${address} (${option}) is in use: stop what listens there, or set ${change} to another address`;
    case "EACCES":
      return `${address} (${option}) may not be opened by this user: set ${option} to a port above 1023`;
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return `${address} (${option}) is no address of this machine: set ${option} to one that is`;
    default:
      return `${address} (${option}) cannot be opened (${error.code ?? "unknown error"}): set ${option} to another address`;
  }
}

function refuseConnection(handler: Handler, error: NodeJS.ErrnoException, socket: Duplex): void {
  // Nothing can be written before the handshake is done: a clear answer would wait for it, and hold the connection open.
  const handshaking = "secureConnecting" in socket && socket.secureConnecting === true;
  if (handshaking || error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  // Pipelined requests that arrive while answers wait to be sent are no fault of the client's, but Node's parser cannot go on with them
  // over TLS. A client that pipelines sends again what was not answered (RFC 9112 §9.3.2).
  if (error.code === "HPE_PAUSED") socket.end(() => socket.destroy());
  else socket.end(handler.refuse(refusalOf(error.code)), () => socket.destroy());
}

function refusalOf(code: string | undefined): Refusal {
  if (code === "HPE_HEADER_OVERFLOW") return "headersTooLarge";
  return code === "ERR_HTTP_REQUEST_TIMEOUT" ? "requestTimeout" : "malformed";
}

/**
 * Closes without losing an answer: `Connection: close` stands in every head still to be written, idle connections are ended as they become
 * idle, and what has not ended after `drainMs` is cut. `server.close()` alone waits for the clients to go.
 */
async function drain(server: Server, answering: ReadonlySet<ServerResponse>, drainMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const outgoing of answering) if (!outgoing.headersSent) outgoing.setHeader("connection", "close");
  const idle = setInterval(() => server.closeIdleConnections(), 50);
  const bound = setTimeout(() => server.closeAllConnections(), drainMs);
  await closed;
  clearInterval(idle);
  clearTimeout(bound);
}
