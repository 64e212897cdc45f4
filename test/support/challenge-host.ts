import { createServer } from "node:http";

/** The one web server of every name below localhost: answers http-01 for whoever said what its account key is. */
export type ChallengeHost = AsyncDisposable & {
  readonly port: number;
  /** From now on this token is answered with the key authorization of this thumbprint. */
  meet(token: string, thumbprint: string): void;
  /** How often a token was asked for. */
  asked(token: string): number;
};

/** Starts the server on loopback. @see RFC 8555 §8.3 */
export async function startChallengeHost(): Promise<ChallengeHost> {
  const thumbprints = new Map<string, string>();
  const asked = new Map<string, number>();
  const server = createServer((incoming, outgoing) => {
    const token = /^\/\.well-known\/acme-challenge\/([A-Za-z0-9_-]+)$/.exec(incoming.url ?? "")?.[1] ?? "";
    asked.set(token, (asked.get(token) ?? 0) + 1);
    const thumbprint = thumbprints.get(token);
    outgoing.writeHead(thumbprint === undefined ? 404 : 200, { "content-type": "application/octet-stream" });
    outgoing.end(thumbprint === undefined ? "" : `${token}.${thumbprint}`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the web server has no port");
  return {
    port: address.port,
    meet: (token, thumbprint) => void thumbprints.set(token, thumbprint),
    asked: (token) => asked.get(token) ?? 0,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
