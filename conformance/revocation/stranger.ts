import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { outputOf } from "../execute.ts";
import type { Family } from "./method.ts";
import { filesOf, newKey, statusUrls, type Place } from "./stock.ts";
import type { Specimen } from "./tool.ts";

/** An authority that is none of ours, and keeps its keys in files. */
export type Stranger = { readonly root: string; readonly issuer: string; readonly issuerKey: string };

/** A root and an issuer, made by OpenSSL below `directory`; the issuer names `rootCrlUrl` in its CDP. */
export async function makeStranger(directory: string, rootCrlUrl: string): Promise<Stranger> {
  const [root, issuer] = [join(directory, "stranger-root.pem"), join(directory, "stranger.pem")];
  const own = ["keyUsage=critical,keyCertSign,cRLSign", "subjectKeyIdentifier=hash"];
  const extensions = [...own, "basicConstraints=critical,CA:TRUE", "authorityKeyIdentifier=keyid"];
  await newKey(`${root}.key`);
  await newKey(`${issuer}.key`);
  const configuration = `${root}.cnf`;
  await writeFile(configuration, `[req]\ndistinguished_name=name\n[name]\n[root]\n${extensions.join("\n")}\n`);
  const selfSigned = ["-x509", "-new", "-key", `${root}.key`, "-subj", "/O=Stranger/CN=Root", "-days", "3650"];
  await outputOf("openssl", ["req", ...selfSigned, "-config", configuration, "-extensions", "root", "-out", root]);
  const subject = "/O=Stranger/CN=Issuing";
  await certify({ root, issuer: root, issuerKey: `${root}.key` }, issuer, {
    subject,
    extensions: [...extensions, `crlDistributionPoints=URI:${rootCrlUrl}`],
  });
  return { root, issuer, issuerKey: `${issuer}.key` };
}

/** A certificate of the stranger's that names the same URLs as `model`, one of ours. */
export async function strangersSpecimen(stranger: Stranger, place: Place, family: Family, model: Specimen): Promise<Specimen> {
  const files = filesOf(place, family, "another issuer's");
  await newKey(files.key);
  const urls = [`crlDistributionPoints=URI:${model.crlUrl}`, `authorityInfoAccess=OCSP;URI:${model.ocspUrl}`];
  const names = [`subjectAltName=critical,DNS:${files.name}`, "extendedKeyUsage=serverAuth", "keyUsage=critical,digitalSignature"];
  await certify(stranger, files.certificate, { subject: "/", extensions: [...names, ...urls, "authorityKeyIdentifier=keyid"] }, files.key);
  const { root, issuer } = stranger;
  return { condition: "another issuer's", ...files, issuer, root, ...(await statusUrls(files.certificate)) };
}

async function certify(
  { issuer, issuerKey }: Stranger,
  file: string,
  { subject, extensions }: { subject: string; extensions: readonly string[] },
  key = `${file}.key`,
): Promise<void> {
  const configuration = `${file}.cnf`;
  await writeFile(configuration, `[req]\ndistinguished_name=name\n[name]\n[ext]\n${extensions.join("\n")}\n`);
  await outputOf("openssl", ["req", "-new", "-key", key, "-subj", subject, "-config", configuration, "-out", `${file}.csr`]);
  // 0x40 and 15 random octets, as ours: positive and of a fixed length.
  const serial = `0x40${Buffer.from(crypto.getRandomValues(new Uint8Array(15))).toString("hex")}`;
  const signing = ["-req", "-in", `${file}.csr`, "-CA", issuer, "-CAkey", issuerKey, "-set_serial", serial, "-days", "7"];
  await outputOf("openssl", ["x509", ...signing, "-extfile", configuration, "-extensions", "ext", "-out", file]);
}
