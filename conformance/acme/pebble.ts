import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { outputOf } from "../execute.ts";
import { startDaemon, until } from "./daemon.ts";
import type { AcmeServer } from "./stage.ts";

/**
 * Pebble in Chancery's place: a recipe that fails against both is the recipe's fault. `program` is the file of Pebble 2.10 or newer.
 * @param nonceRejectPercent - how many good nonces it refuses
 */
export async function startPebble(program: string, directory: string, nonceRejectPercent = 0): Promise<AsyncDisposable & AcmeServer> {
  await mkdir(directory, { recursive: true });
  const file = (name: string): string => join(directory, name);
  const key = (name: string): string[] => ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file(name)];
  await outputOf("openssl", ["req", "-x509", ...key("ca.key"), "-subj", "/CN=Transport", "-days", "2", "-out", file("ca.pem")]);
  const signer = ["-CA", file("ca.pem"), "-CAkey", file("ca.key")];
  const leaf = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
  const subject = ["-subj", "/CN=localhost", "-days", "1", "-out", file("tls.pem")];
  await outputOf("openssl", ["req", "-x509", ...key("tls.key"), ...subject, ...signer, ...leaf]);
  const macKeys = Array.from({ length: 40 }, (_, index) => [`kid-${index}`, randomBytes(32).toString("base64url")] as const);
  const pebble = {
    listenAddress: "127.0.0.1:14000",
    managementListenAddress: "127.0.0.1:15000",
    certificate: file("tls.pem"),
    privateKey: file("tls.key"),
    httpPort: 80,
    tlsPort: 443,
    externalAccountBindingRequired: false,
    externalAccountMACKeys: Object.fromEntries(macKeys),
    keyAlgorithm: "ecdsa",
    retryAfter: { authz: 1, order: 1 },
  };
  await writeFile(file("pebble.json"), JSON.stringify({ pebble }));
  const environment = {
    ...process.env,
    PEBBLE_VA_NOSLEEP: "1",
    PEBBLE_AUTHZREUSE: "0",
    PEBBLE_WFE_NONCEREJECT: String(nonceRejectPercent),
  };
  const daemon = startDaemon(program, ["-config", file("pebble.json"), "-dnsserver", "127.0.0.1:53"], environment);
  const curl = ["--silent", "--fail", "--cacert", file("ca.pem")];
  const root = await until("pebble serves", () => outputOf("curl", [...curl, "https://localhost:15000/roots/0"]));
  await writeFile(file("roots.pem"), root);
  const unused = macKeys.values();
  return {
    directoryUrl: "https://localhost:14000/dir",
    transportRoots: file("ca.pem"),
    issuingRoots: file("roots.pem"),
    async eab() {
      const next = unused.next().value;
      if (next === undefined) throw new Error("no credential left");
      return { kid: next[0], macKey: next[1] };
    },
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  };
}
