import { once } from "node:events";
import { createServer, request, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";

/** What stood in a request line. */
export type Seen = { readonly method: string; readonly path: string };

/**
 * What stands at the public address, as a web server or a network of caches would: it hands requests to the service and answers to the caller, bytes as
 * they are, and remembers what it was asked for.
 */
export type Relay = AsyncDisposable & {
  readonly seen: readonly Seen[];
  /**
   * From now on the answer to `path` is what the service has under another path, or other bytes, which stand below the path too: an OCSP request by
   * GET. The path itself ends that.
   */
  serve(path: string, other: string | Uint8Array): void;
};

/** Listens on `port` of the loopback; `target` is the prefix of the service's status listener. */
export async function startRelay(port: number, target: string): Promise<Relay> {
  const seen: Seen[] = [];
  const replaced = new Map<string, string | Uint8Array>();
  const below = (url: string): string | Uint8Array => {
    const bytes = [...replaced].find(([path, answer]) => typeof answer !== "string" && url.startsWith(`${path}/`))?.[1];
    return bytes ?? url;
  };
  const server = createServer((incoming, outgoing) => {
    const { method = "GET", url = "/" } = incoming;
    seen.push({ method, path: url });
    const answer = replaced.get(url) ?? below(url);
    if (typeof answer === "string") pass(`${target}${answer}`, incoming, outgoing);
    else outgoing.writeHead(200, { "Content-Type": typeOf(url) }).end(answer);
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return {
    seen,
    serve: (path, other) => void replaced.set(path, other),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function typeOf(path: string): string {
  return path.startsWith("/ocsp/") ? "application/ocsp-response" : "application/pkix-crl";
}

function pass(url: string, incoming: IncomingMessage, outgoing: ServerResponse): void {
  const call = request(url, { method: incoming.method ?? "GET", headers: endToEnd(incoming.headers) }, (answer) => {
    outgoing.writeHead(answer.statusCode ?? 502, endToEnd(answer.headers));
    answer.pipe(outgoing);
  });
  call.on("error", () => (outgoing.headersSent ? outgoing.destroy() : outgoing.writeHead(502).end()));
  incoming.pipe(call);
}

/** Fields without those of one connection (RFC 9110 §7.6.1): a client of HTTP/1.0, as nginx is one, waits for its connection to be closed. */
function endToEnd(fields: IncomingHttpHeaders): IncomingHttpHeaders {
  const ofConnection = ["connection", "keep-alive", "transfer-encoding"];
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !ofConnection.includes(name)));
}
