import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** One answer, as far as a fuzz test looks at it. */
export type RawAnswer = { readonly status: number; readonly contentType: string; readonly body: Buffer };

/**
 * Sends each request, bytes as they are, and gives its answer to `judge`: over so many connections, each with one request at a time. A
 * connection that the server ends is opened again; one that it ends without an answer gives the status 0.
 */
export async function sendRaw(
  port: number,
  requests: readonly Uint8Array[],
  judge: (answer: RawAnswer, index: number) => void,
  connections = 16,
): Promise<void> {
  let next = 0;
  const one = async (): Promise<void> => {
    let line: Line | undefined;
    for (let index = next++; index < requests.length; index = next++) {
      line ??= await open(port);
      const { answer, ended } = await exchangeOn(line, requests[index] ?? new Uint8Array());
      judge(answer, index);
      if (!ended) continue;
      line.socket.destroy();
      line = undefined;
    }
    line?.socket.destroy();
  };
  await Promise.all(Array.from({ length: connections }, one));
}

type Line = { readonly socket: Socket; readonly chunks: AsyncIterator<Buffer> };

async function open(port: number): Promise<Line> {
  const socket = connect({ host: "127.0.0.1", port });
  await once(socket, "connect");
  return { socket, chunks: socket[Symbol.asyncIterator]() };
}

async function exchangeOn({ socket, chunks }: Line, request: Uint8Array): Promise<{ answer: RawAnswer; ended: boolean }> {
  socket.write(request);
  let received = Buffer.alloc(0);
  for (;;) {
    const found = answerIn(received);
    if (found) return found;
    const chunk = await chunks.next().catch(() => ({ done: true, value: undefined }));
    if (chunk.done || chunk.value === undefined) return { answer: { status: 0, contentType: "", body: received }, ended: true };
    received = Buffer.concat([received, chunk.value]);
  }
}

/** The whole answer that the bytes are, once they are. */
function answerIn(received: Buffer): { answer: RawAnswer; ended: boolean } | undefined {
  const bodyAt = received.indexOf("\r\n\r\n") + 4;
  if (bodyAt < 4) return undefined;
  const head = received.toString("latin1", 0, bodyAt);
  const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
  if (received.length < bodyAt + length) return undefined;
  const contentType = /^content-type: (.*)\r$/im.exec(head)?.[1] ?? "";
  const answer = { status: Number(head.slice(9, 12)), contentType, body: received.subarray(bodyAt, bodyAt + length) };
  return { answer, ended: /^connection: close/im.test(head) };
}
