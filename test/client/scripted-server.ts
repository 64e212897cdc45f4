// The decorators in @peculiar/x509 need it loaded before them.
// oxlint-disable-next-line import/no-unassigned-import
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { createServer, type Server } from "node:https";
import * as x509 from "@peculiar/x509";

/** One answer of the script: written as it stands, or `cut`: the connection ends when the request has been read. */
export type ScriptedAnswer =
  { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: unknown } | "cut" | "silence";

/** What the server saw. */
export type SeenRequest = { readonly method: string; readonly url: string; readonly headers: IncomingHttpHeaders; readonly body: string };

/** A TLS server that answers by a script: the last answer is repeated. */
export type ScriptedServer = AsyncDisposable & { readonly baseUrl: string; readonly ca: string; readonly seen: readonly SeenRequest[] };

/** A server on a free port of 127.0.0.1 whose certificate, self-signed, is for `names`. */
export async function scriptedServer(script: readonly ScriptedAnswer[], names = ["localhost"]): Promise<ScriptedServer> {
  const { key, cert } = await selfSigned(names);
  const seen: SeenRequest[] = [];
  const server = createServer({ key, cert }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const answer = script[Math.min(seen.length, script.length - 1)] ?? "cut";
      const body = Buffer.concat(chunks).toString("utf8");
      seen.push({ method: request.method ?? "", url: request.url ?? "", headers: request.headers, body });
      if (answer === "cut") request.socket.destroy();
      else if (answer !== "silence") {
        const type = answer.status < 400 ? "application/json" : "application/problem+json";
        response.writeHead(answer.status, { "content-type": type, ...answer.headers });
        response.end(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body ?? {}));
      }
    });
  });
  const port = await listening(server);
  return {
    baseUrl: `https://localhost:${port}`,
    ca: cert,
    seen,
    [Symbol.asyncDispose]: () => closed(server),
  };
}

async function selfSigned(names: readonly string[]): Promise<{ key: string; cert: string }> {
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const san = new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: "dns" as const, value })));
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    { name: "CN=peer", keys, signingAlgorithm: algorithm, extensions: [san] },
    webcrypto,
  );
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  return { key: `-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n`, cert: certificate.toString("pem") };
}

function listening(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      if (address && typeof address === "object") resolve(address.port);
    });
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
