import { type IncomingHttpHeaders, request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
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

/**
 * Sends requests over one TLS connection, all written before the first answer is read (RFC 9112 §9.3.2), and gives status, content type
 * and body of each answer. At most as many as one connection may send.
 */
export async function pipeline({ port, ca }: Peer, requests: readonly Uint8Array[]): Promise<readonly PipelinedAnswer[]> {
  const socket = connectTls({ port, host: "127.0.0.1", servername: "localhost", ...(ca !== undefined && { ca }) });
  socket.write(Buffer.concat(requests));
  const answers: PipelinedAnswer[] = [];
  let rest = "";
  for await (const chunk of socket.setEncoding("latin1")) {
    rest += String(chunk);
    for (let answer = firstAnswer(rest); answer; answer = firstAnswer(rest)) {
      answers.push(answer);
      rest = rest.slice(answer.length);
    }
    if (answers.length === requests.length) break;
  }
  return answers;
}

export type PipelinedAnswer = { readonly status: number; readonly contentType: string; readonly body: string; readonly length: number };

/** The answer that `text` begins with, once all of it has come. */
function firstAnswer(text: string): PipelinedAnswer | undefined {
  const bodyAt = text.indexOf("\r\n\r\n") + 4;
  if (bodyAt < 4) return undefined;
  const head = text.slice(0, bodyAt);
  const length = bodyAt + Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
  if (text.length < length) return undefined;
  const contentType = /^content-type: (.*)\r$/im.exec(head)?.[1] ?? "";
  return { status: Number(head.slice(9, 12)), contentType, body: text.slice(bodyAt, length), length };
}
