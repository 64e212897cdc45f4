import type { IncomingMessage } from "node:http";
import { Fault } from "../fault.ts";

/**
 * The whole body of a request, empty when it has none. At most `maxBytes` are kept, whether the length was told or the body is chunked;
 * what comes after them is read and thrown away, so that the client sees the answer before its connection ends.
 * @throws Fault `tooLarge` beyond `maxBytes`; `malformed` when the headers contradict each other (RFC 9112 §6.3), or the body ends early.
 */
export async function readBody(incoming: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  const length = declaredLength(incoming);
  if (length === 0) return new Uint8Array(0);
  if (length !== undefined && length > maxBytes) throw tooLarge(maxBytes);
  const body = await collect(incoming, maxBytes);
  if (length !== undefined && body.byteLength !== length) throw new Fault("malformed", "the body is not as long as Content-Length says");
  return body;
}

/**
 * Reads the body of a request that nobody may make, and keeps nothing of it, so that its sender gets to read the answer: at most `maxBytes`.
 * @returns whether there was a body, after which the connection is not to be used again.
 */
export async function discardBody(incoming: IncomingMessage, maxBytes: number): Promise<boolean> {
  const { headers } = incoming;
  if (headers["transfer-encoding"] === undefined && (headers["content-length"] ?? "0") === "0") return false;
  const { promise, resolve } = Promise.withResolvers<void>();
  let total = 0;
  const onData = (chunk: Uint8Array) => {
    total += chunk.byteLength;
    if (total > maxBytes) resolve();
  };
  incoming.on("data", onData).on("end", resolve).on("close", resolve).on("error", resolve);
  if (!incoming.destroyed && !incoming.readableEnded) await promise;
  incoming.off("data", onData).pause();
  return true;
}

/** Content-Length, 0 without a body, undefined when it is chunked. Node's parser refuses most contradictions itself; nothing here depends on it. */
function declaredLength({ headers }: IncomingMessage): number | undefined {
  const length = headers["content-length"];
  const coding = headers["transfer-encoding"];
  if (coding !== undefined) {
    if (length !== undefined) throw new Fault("malformed", "Content-Length and Transfer-Encoding contradict each other");
    if (coding.toLowerCase() !== "chunked") throw new Fault("malformed", "the only Transfer-Encoding is chunked");
    return undefined;
  }
  if (length === undefined) return 0;
  if (!/^\d{1,15}$/.test(length)) throw new Fault("malformed", "Content-Length is not one number");
  return Number(length);
}

function collect(incoming: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let total = 0;
    const onData = (chunk: Uint8Array) => {
      total += chunk.byteLength;
      if (total <= maxBytes) chunks.push(chunk);
      else settle(() => reject(tooLarge(maxBytes)));
    };
    const onEnd = () => settle(() => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, total)));
    const onGone = () => settle(() => reject(new Fault("malformed", "the connection ended before the body did")));
    const settle = (outcome: () => void) => {
      incoming.off("data", onData).off("end", onEnd).off("close", onGone).off("error", onGone);
      incoming.on("error", () => undefined);
      incoming.resume();
      outcome();
    };
    incoming.on("data", onData).on("end", onEnd).on("close", onGone).on("error", onGone);
    if (incoming.destroyed) onGone();
  });
}

function tooLarge(maxBytes: number): Fault {
  return new Fault("tooLarge", `the body is larger than ${maxBytes} bytes`);
}
