import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Client, Obtained, Walk } from "./client.ts";
import { serveWebroot } from "./webroot.ts";

/** acme-tiny: two hundred lines of Python that take a key and a request, and write the chain. */
export const acmeTiny: Client = { name: "acme-tiny", needs: "acme-tiny", retriesBadNonce: true, walk: walkWith };

async function walkWith(walk: Walk): Promise<void> {
  const { server } = walk.stage;
  const webroot = join(walk.home, "webroot");
  await mkdir(webroot);
  await using _ = await serveWebroot(webroot, walk.address);
  const environment = { ...process.env, SSL_CERT_FILE: server.transportRoots };
  const rsa = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
  await walk.run("openssl", ["genpkey", ...rsa, "-out", "account.key"]);

  const issue = async (label: string, names: readonly string[], subject: string, ...more: string[]): Promise<Obtained> => {
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", `${label}.key`];
    const extension = subject === "/" ? ["-addext", `subjectAltName=${names.map((name) => `DNS:${name}`).join(",")}`] : [];
    await walk.run("openssl", ["req", "-new", ...key, "-subj", subject, ...extension, "-out", `${label}.csr`]);
    const files = ["--account-key", "account.key", "--csr", `${label}.csr`, "--acme-dir", webroot];
    const chain = await walk.run("acme-tiny", [...files, "--directory-url", server.directoryUrl, ...more], { environment });
    await writeFile(join(walk.home, `${label}.pem`), chain);
    return { certificate: `${label}.pem`, names };
  };

  await walk.can("register", async () => {
    await issue("contact", [walk.name("contact")], "/", "--contact", "mailto:tiny@acme.test");
    return undefined;
  });
  // The name stands in CN alone: legal in ACME (RFC 8555 §7.4), and usual with this client.
  await walk.can("http-01", () => issue("http", [walk.name("h")], `/CN=${walk.name("h")}`));
  await walk.can("several names", () => issue("several", ["a", "b", "c"].map(walk.name), "/"));
}
