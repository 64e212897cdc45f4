import { once } from "node:events";
import { createServer, request, type RequestOptions } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";

/** Whom the balancer passes requests to: a port of the loopback. */
export type Target = { readonly port: number };

/** An HTTP balancer that sends every request to another instance than the one before. */
export type Balancer = AsyncDisposable & {
  /** The instances that take part from now on. */
  use(targets: readonly Target[]): void;
  /** How many answers said badNonce (RFC 8555 §6.5). */
  badNonces(): number;
  /** How many requests each port has answered. */
  answered(): ReadonlyMap<number, number>;
};

/**
 * Listens on `port` of the loopback with `certificate` and `key` (PEM), and trusts `ca` behind. A request that an instance does not take, as its
 * listener is closed, goes to the next; nothing is sent twice otherwise.
 */
export async function startBalancer(
  port: number,
  { certificate, key, ca }: { certificate: string; key: string; ca: string },
): Promise<Balancer> {
  let instances: readonly Target[] = [];
  let turn = 0;
  let badNonces = 0;
  const answered = new Map<number, number>();

  const pass = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const body = Buffer.concat(await Array.fromAsync(incoming as AsyncIterable<Buffer>)); // without an encoding, chunks are buffers
    const first = turn++;
    for (let attempt = 0; attempt < instances.length; attempt++) {
      const target = instances[(first + attempt) % instances.length];
      if (target === undefined) break;
      const answer = await forward(incoming, body, { port: target.port, ca });
      if (answer === "refused") continue;
      if (answer.body.includes("urn:ietf:params:acme:error:badNonce")) badNonces += 1;
      answered.set(target.port, (answered.get(target.port) ?? 0) + 1);
      outgoing.writeHead(answer.status, answer.headers).end(answer.body);
      return;
    }
    outgoing.writeHead(502).end();
  };
  const server = createServer({ cert: certificate, key }, (incoming, outgoing) => {
    pass(incoming, outgoing).catch(() => outgoing.destroy());
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return {
    use: (targets) => void (instances = targets),
    badNonces: () => badNonces,
    answered: () => answered,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

type Answer = { readonly status: number; readonly headers: string[]; readonly body: Buffer };

function forward(incoming: IncomingMessage, body: Buffer, to: { port: number; ca: string }): Promise<Answer | "refused"> {
  const { method, url: path, headers } = incoming;
  const options: RequestOptions = {
    host: "127.0.0.1",
    servername: "localhost",
    ...to,
    agent: false,
    headers: { ...headers, connection: "close" },
  };
  return new Promise((resolve, reject) => {
    const call = request({ ...options, ...(method && { method }), ...(path && { path }) }, (response) => {
      Array.fromAsync(response as AsyncIterable<Buffer>).then((chunks) => {
        const kept = response.rawHeaders.flatMap((name, index, all) =>
          index % 2 === 0 && !/^(connection|keep-alive|transfer-encoding)$/i.test(name) ? [name, all[index + 1] ?? ""] : [],
        );
        resolve({ status: response.statusCode ?? 502, headers: kept, body: Buffer.concat(chunks) });
      }, reject);
    });
    call.on("error", (error: NodeJS.ErrnoException) => (error.code === "ECONNREFUSED" ? resolve("refused") : reject(error)));
    call.end(body);
  });
}
