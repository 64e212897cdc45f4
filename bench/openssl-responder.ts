import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { outputOf } from "../conformance/execute.ts";
import { freePort } from "../conformance/service.ts";

/** An authority of `openssl ca`'s kind, with a certificate that is good and a responder of its own; every key P-256. Files in its directory. */
export type OpensslAuthority = { readonly directory: string; readonly issuer: string; readonly serial: string };

/** `openssl ocsp` as a responder, in so many processes. */
export type OpensslResponder = AsyncDisposable & { readonly port: number; readonly processId: number };

/** Makes keys, certificates and index. */
export async function makeOpensslAuthority(directory: string): Promise<OpensslAuthority> {
  await mkdir(directory, { recursive: true });
  const openssl = (...words: string[]) => outputOf("openssl", words, { directory });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  await openssl("req", "-x509", ...key, "-subj", "/O=Example/CN=Issuing 1", "-days", "365", "-keyout", "issuer.key", "-out", "issuer.pem");
  await openssl("req", ...key, "-subj", "/O=Example/CN=OCSP Responder 1", "-keyout", "responder.key", "-out", "responder.csr");
  await writeFile(join(directory, "responder.ext"), "extendedKeyUsage = OCSPSigning\nnoCheck = yes\n");
  const signed = ["-CA", "issuer.pem", "-CAkey", "issuer.key", "-days", "90", "-set_serial", "1", "-extfile", "responder.ext"];
  await openssl("x509", "-req", "-in", "responder.csr", ...signed, "-out", "responder.pem");
  const serial = "4a080f161d242b323940474e555c6304";
  await writeFile(join(directory, "index.txt"), `V\t491231235959Z\t\t${serial.toUpperCase()}\tunknown\t/CN=bench.example.org\n`);
  return { directory, issuer: join(directory, "issuer.pem"), serial };
}

/** Starts the responder; it listens on all addresses, for it cannot be told on which. */
export async function startOpensslResponder({ directory }: OpensslAuthority, processes: number): Promise<OpensslResponder> {
  const port = await freePort();
  const names = ["-index", "index.txt", "-CA", "issuer.pem", "-rsigner", "responder.pem", "-rkey", "responder.key"];
  const several = processes > 1 ? ["-multi", String(processes)] : [];
  const words = ["ocsp", "-port", String(port), ...names, "-ndays", "1", ...several];
  const child = spawn("openssl", words, { cwd: directory, stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "exit");
  // It tells of itself and of every request, and waits where nobody reads that. A connection that asks nothing would hold it up.
  child.stderr.resume();
  const telling = once(child.stdout, "data");
  await Promise.race([telling, ended.then(() => Promise.reject(new Error("openssl ocsp ended")))]);
  child.stdout.resume();
  return {
    port,
    processId: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      // Several make a group of their own, whose first waits for the others to end and passes nothing on to them.
      if (child.pid !== undefined) process.kill(processes > 1 ? -child.pid : child.pid, "SIGTERM");
      await ended;
    },
  };
}
