import { type IncomingHttpHeaders, request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import { connect } from "node:net";
import { buffer } from "node:stream/consumers";

/** Where a listener under test stands. With `ca` it is asked by TLS under the name localhost. */
export type Peer = { readonly port: number; readonly ca?: string };

/** One request. A body is sent with its length, in chunks when `chunked`. */
export type Sent = {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: Uint8Array | string | undefined;
  readonly chunked?: boolean;
};

/** One answer, whole. */
export type Received = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: Buffer; readonly text: string };

/** Sends a request on a connection of its own. */
export function exchange({ port, ca }: Peer, { method = "GET", path, headers = {}, body, chunked = false }: Sent): Promise<Received> {
  const { promise, resolve, reject } = Promise.withResolvers<Received>();
  const length = body === undefined || chunked ? {} : { "content-length": Buffer.byteLength(body) };
  const options = { host: "127.0.0.1", port, method, path, agent: false, headers: { ...length, ...headers } };
  const request = ca === undefined ? plainRequest(options) : tlsRequest({ ...options, ca, servername: "localhost" });
  request.on("response", (response) => {
    const { statusCode: status = 0, headers: received } = response;
    buffer(response).then((bytes) => resolve({ status, headers: received, body: bytes, text: bytes.toString("utf8") }), reject);
  });
  // A server that refuses a body may close while it is still being sent: what counts is whether an answer came.
  request.on("error", reject);
  if (chunked && body !== undefined) request.write(body);
  request.end(chunked ? undefined : body);
  return promise;
}

/** Sends bytes as they are on one plain connection, and gives what came until the other side ended it. */
export async function exchangeBytes(port: number, bytes: string | Uint8Array): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port });
  socket.write(bytes);
  const received: Buffer[] = [];
  try {
    for await (const chunk of socket) received.push(chunk);
  } catch {
    // A reset after the answer is an end like any other.
  }
  return Buffer.concat(received).toString("latin1");
}
